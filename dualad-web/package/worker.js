// The worker behind client.js: one detector, one call at a time.

import init, { Detector, heatMap } from "./dualad_web.js";

let detector = null;
const ready = init();
// The first call reports the failure.
ready.catch(() => {});

function replace(made) {
    detector?.free();
    detector = made;
    const { categories, backbone, hasThresholds, precision } = made;
    return { categories, backbone, hasThresholds, precision };
}

function loaded() {
    if (!detector) throw Object.assign(new Error("no model is loaded: call `load` or `fit` first"), { kind: "input" });
    return detector;
}

function inspected(inspect) {
    const detector = loaded();
    const begun = performance.now();
    const inspection = inspect(detector);
    inspection.milliseconds = performance.now() - begun;
    return inspection;
}

const methods = {
    load: (id, files) => replace(Detector.fromBytes(files)),
    fit: (id, images, options) =>
        replace(Detector.fit(images, options, (...progress) => postMessage({ id, progress }))),
    inspect: (id, image, category) => inspected((detector) => detector.inspect(image, category)),
    inspectFile: (id, bytes, name, category) =>
        inspected((detector) => detector.inspectFile(bytes, name, category)),
    toBytes: () => loaded().toBytes(),
    heatMap: (id, inspection, width, height) => heatMap(inspection, width, height),
};

onmessage = async ({ data: { id, method, args } }) => {
    try {
        await ready;
        const value = methods[method](id, ...args);
        const transfer = value?.map ? [value.map.values.buffer] : [];
        postMessage({ id, value }, transfer);
    } catch (error) {
        const fatal = error instanceof WebAssembly.RuntimeError;
        const message = fatal
            ? `the module stopped, perhaps for lack of memory (${error.message}); load the model again, or use smaller images`
            : error.message ?? String(error);
        postMessage({ id, error: { message, kind: error.kind ?? "system", fatal } });
    }
};
