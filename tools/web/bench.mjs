// Times of the package in Node and in Chromium, of the program on one thread, and of onnxruntime-web with the same model in the same
// browser.
//
//     node bench.mjs FOLDER BROWSER [ROUNDS]
//
// FOLDER has package/ (dualad-web/build.sh), model/ (with its backbone's weights), picture.png, node_modules/playwright-core, and for
// the comparisons dualad (the program), model.onnx (`dualad export`), node_modules/onnxruntime-web, int8/ (the model with thresholds
// for int8), and other/ (a package that was built in another way). A round measures each once, so that all see the same load of the
// machine. Medians are printed, and medians of the rounds' ratios to the first. onnxruntime-web gets ready pixels: its time has no
// decoding and no resizing.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";

import { chromium } from "playwright-core";

import { serve } from "./server.mjs";

const [folder, executablePath, rounds = "15"] = process.argv.slice(2);
const has = (...names) => names.every((name) => existsSync(`${folder}/${name}`));
const median = (times) => times.toSorted((a, b) => a - b)[times.length >> 1];
const bytes = async (name) => (has(name) ? new Uint8Array(await readFile(`${folder}/${name}`)) : undefined);
const picture = await bytes("picture.png");

/* Each measures one inspection: [milliseconds, a note]. */
const contenders = new Map();
const ends = [];

async function inNode(name, package_, model) {
    const { default: init, Detector } = await import(`${folder}/${package_}/dualad_web.js`);
    await init({ module_or_path: await readFile(`${folder}/${package_}/dualad_web_bg.wasm`) });
    const detector = Detector.fromBytes({
        config: await bytes(`${model}/config.json`),
        parameters: await bytes(`${model}/model.safetensors`),
        backbone: await bytes(`${model}/backbone.safetensors`),
        calibration: await bytes(`${model}/calibration.json`),
    });
    contenders.set(name, () => {
        const begun = performance.now();
        const { score } = detector.inspectFile(picture, "picture.png");
        return [performance.now() - begun, `score ${score}`];
    });
}

/** The program on one thread, as a server: the time from the upload's last byte to the score. */
async function native() {
    const model = has("model/backbone.safetensors") ? ["--weights", `${folder}/model/backbone.safetensors`] : [];
    const program = spawn(`${folder}/dualad`, ["serve", "--model", `${folder}/model`, ...model, "--threads", "1", "--linger-ms", "0", "--port", "0", "--scores-only"]);
    ends.push(() => program.kill());
    program.stderr.resume();
    const address = await new Promise((resolve, reject) => {
        program.stdout.on("data", (text) => /http\S+/.test(text) && resolve(String(text).match(/http\S+/)[0]));
        program.on("exit", (code) => reject(new Error(`the program ended with ${code}`)));
    });
    const busy = async () => Number((await (await fetch(`${address}/metrics`)).text()).match(/^dualad_inspection_seconds_sum (\S+)/m)[1]);
    contenders.set("program, one thread", async () => {
        const before = await busy();
        const found = await (await fetch(`${address}/inspect`, { method: "POST", body: picture })).json();
        return [1000 * ((await busy()) - before), `score ${found.image_score}`];
    });
}

const ours = (package_, model) => `<!doctype html><link rel="icon" href="data:,"><script type="module">
import { DetectorWorker } from "/${package_}/client.js";
const bytes = async (url) => { const found = await fetch(url); return found.ok ? new Uint8Array(await found.arrayBuffer()) : undefined; };
const detector = await DetectorWorker.fromBytes({
    config: await bytes("/${model}/config.json"), parameters: await bytes("/${model}/model.safetensors"),
    backbone: ${has(`${model}/backbone.safetensors`)} ? await bytes("/${model}/backbone.safetensors") : undefined,
    calibration: await bytes("/${model}/calibration.json"),
});
const picture = await bytes("/picture.png");
window.measure = async () => { const found = await detector.inspectFile(picture, "picture.png"); return [found.milliseconds, "score " + found.score]; };
window.ready = true;
</script>`;
// The picture must have the size of the model's input: both then see the same values, and the scores can be compared.
const theirs = `<!doctype html><link rel="icon" href="data:,"><script type="module">
import * as ort from "/node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create("/model.onnx", { executionProviders: ["wasm"] });
const bitmap = await createImageBitmap(await (await fetch("/picture.png")).blob());
const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
context.drawImage(bitmap, 0, 0);
const { data, width, height } = context.getImageData(0, 0, bitmap.width, bitmap.height);
const plane = width * height;
const input = new ort.Tensor("float32", Float32Array.from({ length: 3 * plane }, (_, at) => data[4 * (at % plane) + Math.floor(at / plane)]), [1, 3, height, width]);
window.measure = async () => {
    const begun = performance.now();
    const found = await session.run({ image: input });
    return [performance.now() - begun, "score " + found.score.data[0]];
};
window.ready = true;
</script>`;

const pages = new Map([["Chromium", ours("package", "model")]]);
if (has("int8")) pages.set("Chromium, int8", ours("package", "int8"));
if (has("other")) pages.set("Chromium, other", ours("other", "model"));
if (has("model.onnx", "node_modules/onnxruntime-web")) pages.set("onnxruntime-web", theirs);
const server = await serve(folder, new Map([...pages].map(([name, page]) => [`/${name}.html`, page])));
ends.push(server.close);
const browser = await chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-component-update", "--disable-sync"],
});
ends.push(() => browser.close());
try {
    for (const name of pages.keys()) {
        const page = await browser.newPage();
        page.on("console", (message) => message.type() === "error" && console.error(message.text()));
        page.on("pageerror", (error) => console.error(error.message));
        await page.goto(`${server.url}${encodeURIComponent(name)}.html`);
        await page.waitForFunction(() => window.ready, null, { timeout: 120_000 });
        contenders.set(name, () => page.evaluate(() => window.measure()));
    }
    await inNode("Node", "package", "model");
    if (has("int8")) await inNode("Node, int8", "package", "int8");
    if (has("other")) await inNode("Node, other", "other", "model");
    if (has("dualad")) await native();

    const measured = new Map([...contenders.keys()].map((name) => [name, []]));
    const notes = new Map();
    for (let round = -3; round < Number(rounds); round++) {
        for (const [name, measure] of contenders) {
            const [time, note] = await measure();
            // The first rounds compile.
            if (round >= 0) measured.get(name).push(time);
            notes.set(name, note);
        }
    }
    const [first] = measured.values();
    console.log(`${rounds} rounds`);
    for (const [name, times] of measured) {
        const ratio = median(times.map((time, round) => time / first[round]));
        const [least, most] = [Math.min(...times), Math.max(...times)];
        console.log(`${name}: ${median(times).toFixed(1)} ms (${least.toFixed(1)} to ${most.toFixed(1)}), ${ratio.toFixed(2)} of Chromium's, ${notes.get(name)}`);
    }
} finally {
    for (const end of ends.reverse()) await end();
}
