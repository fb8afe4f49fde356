// Runs a test program of Rust that was built for wasm32-unknown-unknown: the runner of `cargo test` in tools/web/check.sh.
//
// Such a program cannot print. A test that fails is a trap, whose stack names it.

import { readFile } from "node:fs/promises";

const path = process.argv[2];
const { instance } = await WebAssembly.instantiate(await readFile(path), {});
try {
    const code = instance.exports.main(0, 0);
    if (code !== 0) throw new Error(`the tests ended with ${code}`);
} catch (error) {
    console.error(`FAILED in ${path}\n${error.stack}`);
    process.exit(1);
}
console.log(`passed: the tests in ${path}`);
