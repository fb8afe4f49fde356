// The package in Node under misuse: broken files, wrong and huge images, calls after `free`, and memory over many calls.
//
//     node misuse.mjs FOLDER [INSPECTIONS]     FOLDER has package/, model/, site/

import { readFile } from "node:fs/promises";
import { deflateSync } from "node:zlib";

import { check } from "./snippets.mjs";

const [folder, inspections = "100"] = process.argv.slice(2);
const { default: init, Detector, heatMap } = await import(`${folder}/package/dualad_web.js`);
const { memory } = await init({ module_or_path: await readFile(`${folder}/package/dualad_web_bg.wasm`) });
const mebibytes = () => memory.buffer.byteLength / 2 ** 20;

const bytes = async (name) => new Uint8Array(await readFile(`${folder}/${name}`));
const files = {
    config: await bytes("model/config.json"),
    parameters: await bytes("model/model.safetensors"),
    calibration: await bytes("model/calibration.json"),
};
const picture = await bytes("site/examples/gear-good.png");
const detector = Detector.fromBytes(files);
const { score } = detector.inspectFile(picture, "gear-good.png");

/** Checks that a call throws a `DualadError` of one of the kinds, whose message has a pattern. */
function refused(what, kinds, pattern, call) {
    let error = null;
    try {
        call();
    } catch (thrown) {
        error = thrown;
    }
    check(error?.name === "DualadError", `${what}: no DualadError, but ${error}`);
    check(kinds.includes(error.kind), `${what}: the kind of "${error.message}" is ${error.kind}`);
    check(pattern.test(error.message), `${what}: "${error.message}" does not say ${pattern}`);
}

/* Files that are cut, damaged, exchanged or no files. */
let broken = 0;
for (const name of ["config", "parameters", "calibration"]) {
    const whole = files[name];
    const cuts = [0, 1, 7, 8, 9, 100, Math.floor(whole.length / 2), whole.length - 1].map((length) => whole.slice(0, length));
    // Spread over the file, and all of its first bytes: the lengths and names of what follows.
    const damaged = Array.from({ length: 60 }, (_, number) => {
        const copy = whole.slice();
        copy[number < 30 ? number : Math.floor((number / 60) * whole.length)] ^= 0x55;
        return copy;
    });
    for (const file of [...cuts, ...damaged, picture]) {
        try {
            // A byte of a text may be another valid one.
            Detector.fromBytes({ ...files, [name]: file }).free();
        } catch (error) {
            check(error.name === "DualadError" && ["model", "input"].includes(error.kind), `${name}: ${error.kind} ${error}`);
            check(error.message.length > 20, `${name}: "${error.message}" says little`);
            broken++;
        }
    }
}
check(broken > 100, `only ${broken} broken files were refused`);
refused("a text instead of bytes", ["input"], /config.*Uint8Array/, () => Detector.fromBytes({ ...files, config: "{}" }));
refused("an ArrayBuffer", ["input"], /config.*Uint8Array/, () => Detector.fromBytes({ ...files, config: files.config.buffer }));
refused("no files", ["input"], /files/, () => Detector.fromBytes());

/* Images of no size, of a wrong length, and huge ones. */
const pixels = (width, height, length = 4 * width * height) => ({ width, height, data: new Uint8ClampedArray(length) });
for (const [width, height] of [[0, 0], [0, 5], [5, 0], [-1, 5], [1e10, 1], [NaN, 1], ["5", 5]]) {
    refused(`${width} x ${height}`, ["input", "image"], /width|height/, () => detector.inspect({ width, height, data: new Uint8ClampedArray(4) }));
}
refused("a huge size", ["input", "image"], /bytes/, () => detector.inspect(pixels(4e9, 4e9, 4)));
for (const image of [undefined, null, 5, "picture", {}, []]) refused(`${image}`, ["input"], /image|width/, () => detector.inspect(image));
check(detector.inspect(pixels(1, 1)).width === 1, "an image of one pixel");
check(detector.inspect(pixels(3000, 1)).width === 3000, "an image of one line");

/** A png file of one color, whose pixels compress to little. */
function png(width, height, lines) {
    const crcs = Uint32Array.from({ length: 256 }, (_, n) => Array.from({ length: 8 }).reduce((c) => (c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1), n));
    const chunk = (type, data) => {
        const body = Buffer.concat([Buffer.from(type), data]);
        const crc = ~body.reduce((c, byte) => crcs[(c ^ byte) & 255] ^ (c >>> 8), ~0);
        const [size, end] = [Buffer.alloc(4), Buffer.alloc(4)];
        size.writeUInt32BE(data.length);
        end.writeInt32BE(crc | 0);
        return Buffer.concat([size, body, end]);
    };
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width, 0);
    header.writeUInt32BE(height, 4);
    header.set([8, 2], 8);
    const data = deflateSync(Buffer.alloc(lines * (1 + 3 * width)));
    return new Uint8Array(Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk("IHDR", header), chunk("IDAT", data), chunk("IEND", Buffer.alloc(0))]));
}
refused("a png of 4 gigapixels", ["image", "input"], /huge.png.*too large/, () => detector.inspectFile(png(65000, 65000, 1), "huge.png"));
refused("a png without its lines", ["image"], /cut.png/, () => detector.inspectFile(png(500, 500, 10), "cut.png"));
check(detector.inspectFile(png(3000, 2000, 2000), "large.png").width === 3000, "a png of 6 megapixels");
refused("half a picture", ["image"], /half.png/, () => detector.inspectFile(picture.slice(0, picture.length / 2), "half.png"));
refused("a picture of another kind", ["image"], /note.txt/, () => detector.inspectFile(new TextEncoder().encode("no picture"), "note.txt"));

/* Heat maps of what is no inspection, and of any size. */
const found = detector.inspectFile(picture, "gear-good.png");
for (const wrong of [undefined, null, {}, { map: {} }, { ...found, map: { ...found.map, width: 7 } }, { ...found, map: { ...found.map, values: [1] } }]) {
    refused(`the heat map of ${JSON.stringify(wrong)?.slice(0, 40)}`, ["input", "image"], /./, () => heatMap(wrong));
}
for (const [width, height] of [[0, 5], [-1, 5], [0.5, 5], [1e6, 1e6]]) refused(`a heat map of ${width} x ${height}`, ["input"], /heat map|width/, () => heatMap(found, width, height));
found.map.values.fill(NaN);
refused("a map without numbers", ["input"], /NaN/, () => heatMap(found, 5, 5));

/* Wrong trainings. */
const plate = { image: pixels(40, 40), category: "plate" };
refused("no images", ["input"], /images/, () => Detector.fit());
refused("an image of no size", ["input", "image"], /width/, () => Detector.fit([{ image: pixels(0, 0), category: "plate" }]));
for (const [name, value] of [["epochs", -1], ["epochs", 1e12], ["holdOut", 1], ["holdOut", "much"], ["seed", 0.5], ["backbone", "resnet99"], ["backbone", "resnet18"], ["weights", new Uint8Array(9)]]) {
    refused(`${name}: ${value}`, ["input", "model"], /./, () => Detector.fit([plate, plate], { [name]: value, ...(name === "epochs" && value > 1 ? { preset: "none" } : {}) }));
}
refused("options that are no object", ["input"], /options/, () => Detector.fit([plate], "fast"));
Detector.fit([plate, plate, plate, plate, plate], {}, () => { throw new Error("the function's own"); }).free();

/* The earlier detector is as before. */
check(detector.inspectFile(picture, "gear-good.png").score === score, "the score after all of this");

/* After `free`. */
const freed = Detector.fromBytes(files);
freed.free();
for (const call of [() => freed.free(), () => freed.inspectFile(picture, "x.png"), () => freed.categories, () => freed.toBytes()]) {
    let error = null;
    try {
        call();
    } catch (thrown) {
        error = thrown;
    }
    check(error instanceof Error && !(error instanceof WebAssembly.RuntimeError), `after free: ${error}`);
}
check(detector.inspectFile(picture, "gear-good.png").score === score, "the score after calls of a freed detector");

/* Memory: many inspections and many models need no more than a few. */
const grown = (times, act) => {
    for (let number = 0; number < 5; number++) act();
    const before = mebibytes();
    for (let number = 0; number < times; number++) act();
    return mebibytes() - before;
};
const taken = grown(Number(inspections), () => heatMap(detector.inspectFile(picture, "gear-good.png"), 20, 20));
check(taken === 0, `${inspections} inspections take ${taken} MiB`);
const loads = grown(50, () => Detector.fromBytes(files).free());
check(loads === 0, `50 loads take ${loads} MiB`);
const failures = grown(50, () => {
    try {
        Detector.fromBytes({ ...files, parameters: files.parameters.slice(0, -1) });
    } catch {}
});
check(failures === 0, `50 failed loads take ${failures} MiB`);

console.log(`misuse in Node: ${broken} broken files refused; memory stays at ${mebibytes()} MiB over ${inspections} inspections and 50 models`);
