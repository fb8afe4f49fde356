// The package in Node: scores of every example beside those of `dualad inspect`, errors, a training, and the code of the guide.
//
//     node in_node.mjs FOLDER GUIDE     FOLDER has package/, model/, site/, expected.jsonl, and int8/, expected-int8.jsonl

import { execFile } from "node:child_process";
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { promisify } from "node:util";

import { check, checkScore, expectedScores, snippets } from "./snippets.mjs";

const [folder, guide] = process.argv.slice(2);
const { default: init, Detector, heatMap } = await import(`${folder}/package/dualad_web.js`);
await init({ module_or_path: await readFile(`${folder}/package/dualad_web_bg.wasm`) });

const bytes = async (path) => new Uint8Array(await readFile(path));
const model = `${folder}/model`;
const files = {
    config: await bytes(`${model}/config.json`),
    parameters: await bytes(`${model}/model.safetensors`),
    calibration: await bytes(`${model}/calibration.json`),
};
const detector = Detector.fromBytes(files);
check(detector.categories.includes("gear") && detector.hasThresholds, "the model's categories and thresholds");
check(detector.precision === "f32", `the precision is ${detector.precision}`);

const expected = await expectedScores(`${folder}/expected.jsonl`);
let largest = 0;
for (const [name, line] of expected) {
    const found = detector.inspectFile(await bytes(`${folder}/site/examples/${name}`), name);
    largest = Math.max(largest, checkScore(name, found.score, line.image_score));
    check(found.verdict.decision === line.verdict.decision, `${name}: ${found.verdict.decision}`);
    check(found.nearestCategory === line.nearest_category, `${name}: looks like ${found.nearestCategory}`);
    check(found.regions.length === line.regions.length, `${name}: ${found.regions.length} regions`);
    check(found.map.values.length === found.map.width * found.map.height, `${name}: the map's size`);
    check(Math.max(...found.map.values) > 0, `${name}: the map is empty`);
    const heat = heatMap(found, 20, 10);
    check(heat.width === 20 && heat.height === 10 && heat.data.length === 800, `${name}: the heat map's size`);
}
check(expected.size >= 10, `only ${expected.size} pictures were compared`);
console.log(`${expected.size} pictures in Node: scores within ${largest.toExponential(1)} of dualad inspect`);

/* Pixels instead of files, and the category's thresholds. */
const gray = { width: 40, height: 30, data: new Uint8ClampedArray(40 * 30 * 4).fill(128) };
check(detector.inspect(gray).verdict.thresholdsOf === null, "the pooled thresholds");
check(detector.inspect(gray, "gear").verdict.thresholdsOf === "gear", "the thresholds of gears");

/* A model with thresholds for int8 computes in int8. */
const int8 = {
    config: await bytes(`${folder}/int8/config.json`),
    parameters: await bytes(`${folder}/int8/model.safetensors`),
    calibration: await bytes(`${folder}/int8/calibration.json`),
};
const inBytes = Detector.fromBytes(int8);
const inFloats = Detector.fromBytes({ ...int8, calibration: undefined });
check(inBytes.precision === "int8" && inFloats.precision === "f32", "the precision is that of the thresholds");
const expectedInt8 = await expectedScores(`${folder}/expected-int8.jsonl`);
check(expectedInt8.size >= 2, `only ${expectedInt8.size} pictures were inspected in int8`);
let [differs, apart] = [0, 0];
for (const [name, line] of expectedInt8) {
    const picture = await bytes(`${folder}/site/examples/${name}`);
    const found = inBytes.inspectFile(picture, name);
    differs = Math.max(differs, checkScore(`${name} in int8`, found.score, line.image_score));
    check(found.verdict.decision === line.verdict.decision, `${name} in int8: ${found.verdict.decision}`);
    apart = Math.max(apart, Math.abs(inFloats.inspectFile(picture, name).score / found.score - 1));
}
check(apart > 1e-5, `int8 has the scores of f32: ${apart}`);
console.log(`in int8: scores within ${differs.toExponential(1)} of dualad inspect, and ${apart.toExponential(1)} from those in f32`);

/* Errors are exceptions that name what is wrong. */
const wrong = [
    ["input", "data", () => detector.inspect({ ...gray, data: [1, 2] })],
    ["input", "4800 bytes.*40x31", () => detector.inspect({ ...gray, height: 31 })],
    ["input", "width", () => detector.inspect({ ...gray, width: 0.5 })],
    ["input", "gears.*trained on", () => detector.inspect(gray, "gears")],
    ["input", "image", () => detector.inspect(undefined)],
    ["image", "part.png", () => detector.inspectFile(new Uint8Array(100), "part.png")],
    ["input", "parameters is missing", () => Detector.fromBytes({ config: files.config })],
    ["model", "<bytes>", () => Detector.fromBytes({ ...files, config: new Uint8Array(3) })],
    ["model", "sha256|SHA-256|parameters", () => Detector.fromBytes({ ...files, parameters: files.parameters.slice(0, 999) })],
    ["input", "preset", () => Detector.fit([{ image: gray, category: "part" }], { preset: "slow" })],
    ["input", "speed", () => Detector.fit([{ image: gray, category: "part" }], { speed: 1 })],
    ["input", "category", () => Detector.fit([{ image: gray }])],
    ["input", "no images", () => Detector.fit([])],
];
for (const [kind, pattern, call] of wrong) {
    let error = null;
    try {
        call();
    } catch (thrown) {
        error = thrown;
    }
    check(error?.name === "DualadError", `no DualadError for ${pattern}: ${error}`);
    check(error.kind === kind, `the kind of "${error.message}" is ${error.kind}, not ${kind}`);
    check(new RegExp(pattern).test(error.message), `"${error.message}" does not say ${pattern}`);
}

/* A training on a few good pictures finds a defect. */
const good = [];
let seed = 1;
const noise = () => (seed = (seed * 16807) % 2147483647) % 12;
const part = (defect) => {
    const data = new Uint8ClampedArray(96 * 96 * 4).map((_, at) => 90 + noise() + ((at >> 6) % 2) * 40);
    if (defect) for (let y = 40; y < 56; y++) data.fill(255, (y * 96 + 40) * 4, (y * 96 + 56) * 4);
    return { width: 96, height: 96, data };
};
for (let number = 0; number < 8; number++) good.push({ image: part(false), category: "part" });
const steps = new Set();
const trained = Detector.fit(good, {}, (step) => steps.add(step));
check(steps.has("bank"), `the steps of the training: ${[...steps]}`);
const [fine, defective] = [part(false), part(true)].map((image) => trained.inspect(image, "part"));
check(defective.score > fine.score && defective.verdict.decision === "reject", `trained: ${fine.score}, ${defective.score}`);

/* Its files make the same detector. */
const kept = trained.toBytes();
const again = Detector.fromBytes(kept);
check(again.hasThresholds && again.inspect(part(true), "part").verdict.decision === "reject", "the files of the trained model");
check(again.inspect(good[0].image).score === trained.inspect(good[0].image).score, "the files of the trained model have other scores");
check(detector.toBytes().parameters.every((byte, at) => byte === files.parameters[at]), "the files of the loaded model");

/* The guide. */
const { forNode } = await snippets(guide);
const place = `${folder}/guide`;
await mkdir(`${place}/node_modules`, { recursive: true });
await symlink(`${folder}/package`, `${place}/node_modules/dualad-web`);
await cp(model, `${place}/model`, { recursive: true });
await cp(`${folder}/site/examples/gear-good.png`, `${place}/part.png`);
for (const { number, code } of forNode) {
    await writeFile(`${place}/snippet-${number}.mjs`, code);
    await promisify(execFile)(process.execPath, [`snippet-${number}.mjs`], { cwd: place }).catch((error) => {
        throw new Error(`${guide}, code number ${number}: ${error.stderr}`);
    });
}
console.log(`${forNode.length} programs of ${guide} run in Node`);
