// Times of the package in Node and in Chromium, and of onnxruntime-web with the same model in the same browser.
//
//     node bench.mjs FOLDER BROWSER [ROUNDS]
//
// FOLDER has package/ (dualad-web/build.sh), model/ (with its backbone's weights), picture.png, and for the comparison model.onnx
// (`dualad export --format onnx`) and node_modules/onnxruntime-web. A round measures each once, so that all see the same load of the
// machine; medians are printed. onnxruntime-web gets ready pixels: its time has no decoding and no resizing.

import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";

import { chromium } from "playwright-core";

import { serve } from "./server.mjs";

const [folder, executablePath, rounds = "15"] = process.argv.slice(2);
const ort = `${folder}/node_modules/onnxruntime-web/dist`;
const hasOrt = existsSync(`${folder}/model.onnx`) && existsSync(ort);

const model = async () => {
    const bytes = async (name) => (existsSync(`${folder}/model/${name}`) ? new Uint8Array(await readFile(`${folder}/model/${name}`)) : undefined);
    return {
        config: await bytes("config.json"),
        parameters: await bytes("model.safetensors"),
        backbone: await bytes("backbone.safetensors"),
        calibration: await bytes("calibration.json"),
    };
};
const median = (times) => times.toSorted((a, b) => a - b)[times.length >> 1];

const { default: init, Detector } = await import(`${folder}/package/dualad_web.js`);
await init({ module_or_path: await readFile(`${folder}/package/dualad_web_bg.wasm`) });
const detector = Detector.fromBytes(await model());
const picture = new Uint8Array(await readFile(`${folder}/picture.png`));
const inNode = () => {
    const begun = performance.now();
    const { score } = detector.inspectFile(picture, "picture.png");
    return [performance.now() - begun, score];
};

const page = `<!doctype html><link rel="icon" href="data:,"><script type="module">
import { DetectorWorker } from "/package/client.js";
const bytes = async (url) => { const found = await fetch(url); return found.ok ? new Uint8Array(await found.arrayBuffer()) : undefined; };
const detector = await DetectorWorker.fromBytes({
    config: await bytes("/model/config.json"), parameters: await bytes("/model/model.safetensors"),
    backbone: await bytes("/model/backbone.safetensors"), calibration: await bytes("/model/calibration.json"),
});
const picture = await bytes("/picture.png");
window.ours = async () => { const found = await detector.inspectFile(picture, "picture.png"); return [found.milliseconds, found.score]; };
window.ready = true;
</script>`;
const other = `<!doctype html><link rel="icon" href="data:,"><script type="module">
import * as ort from "/node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";
ort.env.wasm.numThreads = 1;
ort.env.wasm.proxy = false;
const session = await ort.InferenceSession.create("/model.onnx", { executionProviders: ["wasm"] });
const name = session.inputNames[0];
const shape = (session.inputMetadata?.[0]?.shape ?? []).map((side) => (typeof side === "number" ? side : 1));
const sides = shape.length === 4 ? shape : [1, 3, 256, 256];
const input = new ort.Tensor("float32", Float32Array.from({ length: sides.reduce((a, b) => a * b) }, (_, at) => Math.sin(at)), sides);
window.theirs = async () => { const begun = performance.now(); await session.run({ [name]: input }); return [performance.now() - begun, sides.join("x")]; };
window.ready = true;
</script>`;
const server = await serve(folder, new Map([["/ours.html", page], ["/theirs.html", other]]));
const browser = await chromium.launch({
    executablePath,
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-component-update", "--disable-sync"],
});
const opened = async (path) => {
    const page = await browser.newPage();
    page.on("console", (message) => message.type() === "error" && console.error(message.text()));
    page.on("pageerror", (error) => console.error(error.message));
    await page.goto(server.url + path);
    await page.waitForFunction(() => window.ready, null, { timeout: 120_000 });
    return page;
};
try {
    const ours = await opened("ours.html");
    const theirs = hasOrt ? await opened("theirs.html") : null;
    const measured = { node: [], chromium: [], onnxruntime: [] };
    const notes = {};
    for (let round = 0; round < Number(rounds) + 3; round++) {
        const found = {
            node: inNode(),
            chromium: await ours.evaluate(() => window.ours()),
            onnxruntime: theirs ? await theirs.evaluate(() => window.theirs()) : [NaN, ""],
        };
        // The first rounds compile.
        if (round < 3) continue;
        for (const [name, [time, note]] of Object.entries(found)) {
            measured[name].push(time);
            notes[name] = note;
        }
    }
    for (const [name, times] of Object.entries(measured)) console.log(name, median(times).toFixed(1), "ms", notes[name]);
} finally {
    await browser.close();
    server.close();
}
