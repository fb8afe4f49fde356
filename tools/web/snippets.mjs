// The code of the guide: blocks of `js`, those for Node and those for a page.

import { readFile } from "node:fs/promises";

export async function snippets(path) {
    const text = await readFile(path, "utf8");
    const blocks = [...text.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code], index) => ({ number: index + 1, code }));
    const isNode = ({ code }) => code.startsWith("// Node");
    return { forNode: blocks.filter(isNode), forPage: blocks.filter((block) => !isNode(block)) };
}

/** Throws unless `holds`. */
export function check(holds, message) {
    if (!holds) throw new Error(message);
}

/** Returns the lines that `dualad inspect` wrote, by the names of their files. */
export async function expectedScores(path) {
    const lines = (await readFile(path, "utf8")).trim().split("\n").map((line) => JSON.parse(line));
    return new Map(lines.map((line) => [line.image.split("/").pop(), line]));
}

/** Checks a score against that of the program. */
export function checkScore(name, found, expected) {
    const difference = Math.abs(found - expected) / Math.max(1, Math.abs(expected));
    check(difference <= 1e-4, `${name}: score ${found}, and dualad inspect gives ${expected}`);
    return difference;
}
