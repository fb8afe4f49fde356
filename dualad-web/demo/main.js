// The page: its model, its picture and the result. dualad/ is the package; model/ and examples/ lie beside it.

import { DetectorWorker } from "./dualad/client.js";
import { readModel, fetchModel, saveModel } from "./model.js";
import { toPixels, withPicture } from "./pictures.js";
import { show, showError, showNothing, View } from "./result.js";

const at = (id) => document.getElementById(id);
const view = new View();
let detector = null;
/** The backbone's name and weights of the model that was opened: a training here uses them too. */
let backbone = null;
let current = null;
let good = [];
let camera = null;
/** Counts inspections: an answer to an earlier picture is not shown. */
let turn = 0;

/* The model */

function setModel(text) {
    at("model").textContent = text;
}

async function open(files, origin) {
    showError(null);
    setModel("Loading …");
    try {
        detector ??= new DetectorWorker();
        await detector.load(files);
        backbone = { name: detector.info.backbone, weights: files.backbone };
        at("save").hidden = true;
        opened(origin);
    } catch (error) {
        setModel(detector?.info ? described("the earlier one") : "No model. Open the files of one, or train one below.");
        failed(error);
    }
}

function described(origin) {
    const { categories, backbone, hasThresholds } = detector.info;
    const products = categories.length === 0 ? "No named products" : `Products: ${categories.join(", ")}`;
    return `${products}; backbone ${backbone}; ${origin}${hasThresholds ? "" : "; without thresholds nothing is decided"}`;
}

function opened(origin) {
    setModel(described(origin));
    const select = at("category");
    const before = select.value;
    select.replaceChildren(new Option("Any product", ""), ...detector.info.categories.map((name) => new Option(name, name)));
    if (detector.info.categories.includes(before)) select.value = before;
    select.disabled = false;
    if (current) inspect();
}

/** Shows an error. A worker that has ended is replaced when a model is opened next. */
function failed(error) {
    showError(error);
    if (error.kind === "system") {
        detector?.close();
        detector = null;
        setModel("No model. Open the files of one, or train one below.");
    }
}

at("model-files").addEventListener("change", async ({ target }) => {
    const files = [...target.files];
    target.value = "";
    if (files.length === 0) return;
    try {
        await open(await readModel(files), "from your files");
    } catch (error) {
        showError(error);
    }
});

at("save").addEventListener("click", async () => {
    showError(null);
    try {
        await saveModel(await detector.toBytes());
    } catch (error) {
        failed(error);
    }
});

/* The picture */

async function choose(blob, name, category) {
    stopCamera();
    showError(null);
    try {
        current = await withPicture(blob, name);
    } catch {
        showError(new Error(`${name} is no picture that this browser can show; choose a png, jpeg or webp file`));
        return;
    }
    if (category !== undefined && [...at("category").options].some((option) => option.value === category)) {
        at("category").value = category;
    }
    document.querySelectorAll("#example-list button").forEach((button) => {
        button.setAttribute("aria-pressed", String(button.dataset.file === name));
    });
    view.setPicture(current.bitmap);
    await inspect();
}

async function inspect() {
    if (!detector?.info || !current) return;
    const number = ++turn;
    const category = at("category").value || null;
    view.setBusy(true);
    try {
        const found = current.bytes
            ? await detector.inspectFile(current.bytes, current.name, category)
            : await detector.inspect(current.pixels, category);
        const heat = await detector.heatMap(found, found.map.width, found.map.height);
        if (number !== turn) return;
        view.setResult(found, heat);
        show(found, category);
    } catch (error) {
        if (number !== turn) return;
        view.setResult(null, null);
        showNothing();
        failed(error);
    } finally {
        if (number === turn) view.setBusy(false);
    }
}

at("file").addEventListener("change", ({ target }) => {
    const [file] = target.files;
    target.value = "";
    if (file) choose(file, file.name);
});
at("category").addEventListener("change", inspect);
at("opacity").addEventListener("input", () => view.setOpacity(at("opacity").value));
at("show-regions").addEventListener("change", () => view.setRegions(at("show-regions").checked));

const drop = at("drop");
addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
});
addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
});
addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) choose(file, file.name);
});
addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file) choose(file, file.name || "the pasted picture");
});

/* The camera */

function stopCamera() {
    camera?.getTracks().forEach((track) => track.stop());
    camera = null;
    at("video").hidden = true;
    at("video").srcObject = null;
    at("camera").textContent = "Use the camera";
    at("snap").disabled = true;
}

at("camera").addEventListener("click", async () => {
    if (camera) {
        stopCamera();
        return;
    }
    showError(null);
    // A second click would start it twice.
    at("camera").disabled = true;
    try {
        camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
        const reason = navigator.mediaDevices ? error.message : "browsers allow it on https:// and localhost only";
        showError(new Error(`the camera cannot be used: ${reason}`));
        return;
    } finally {
        at("camera").disabled = false;
    }
    const stream = camera;
    const video = at("video");
    video.srcObject = stream;
    await video.play();
    at("camera").textContent = "Stop the camera";
    at("snap").disabled = false;
    while (camera === stream) {
        const bitmap = await createImageBitmap(video).catch(() => null);
        if (bitmap && camera === stream) {
            current = { bitmap, pixels: toPixels(bitmap), bytes: null, name: "the camera" };
            view.setPicture(bitmap, true);
            await inspect();
        }
        await new Promise((resolve) => setTimeout(resolve, detector?.info ? 0 : 200));
        await new Promise(requestAnimationFrame);
    }
});

/* Training */

function goodChanged() {
    const few = good.length > 0 && good.length < 5 ? ": five or more give thresholds" : "";
    at("good-count").textContent = good.length === 0 ? "No pictures yet" : `${good.length} good picture${good.length === 1 ? "" : "s"}${few}`;
    at("train").disabled = at("clear").disabled = good.length === 0;
}

at("good").addEventListener("change", async ({ target }) => {
    const files = [...target.files];
    target.value = "";
    for (const file of files) {
        try {
            good.push((await withPicture(file, file.name, true)).pixels);
        } catch {
            showError(new Error(`${file.name} is no picture that this browser can show`));
        }
    }
    goodChanged();
});
at("snap").addEventListener("click", () => {
    if (current?.pixels) good.push(current.pixels);
    goodChanged();
});
at("clear").addEventListener("click", () => {
    good = [];
    goodChanged();
});
at("train").addEventListener("click", async () => {
    const category = at("name").value.trim() || "part";
    const bar = at("progress");
    showError(null);
    bar.hidden = false;
    bar.removeAttribute("value");
    at("train").disabled = true;
    const begun = performance.now();
    const steps = { reading: "reading the pictures", features: "computing features", bank: "collecting normal features", training: "training", scoring: "setting the thresholds" };
    try {
        detector ??= new DetectorWorker();
        const options = backbone?.weights ? { backbone: backbone.name, weights: backbone.weights } : {};
        await detector.fit(good.map((image) => ({ image, category })), options, (step, done, total) => {
            setModel(`Training: ${steps[step] ?? step} …`);
            bar.value = total > 0 ? done / total : 0;
        });
        at("save").hidden = false;
        opened(`trained here on ${good.length} pictures in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
    } catch (error) {
        if (detector?.info) setModel(described("the earlier one"));
        failed(error);
    } finally {
        bar.hidden = true;
        goodChanged();
    }
});

/* The start */

async function examples() {
    const response = await fetch("examples/index.json").catch(() => null);
    const list = response?.ok ? await response.json() : [];
    if (list.length === 0) return;
    at("example-list").append(...list.map(({ file, label, category }) => {
        const item = document.createElement("li");
        const button = document.createElement("button");
        const image = document.createElement("img");
        const text = document.createElement("span");
        button.type = "button";
        button.dataset.file = file;
        button.setAttribute("aria-pressed", "false");
        image.src = `examples/${file}`;
        image.alt = "";
        image.loading = "lazy";
        text.textContent = label ?? file;
        button.append(image, text);
        button.addEventListener("click", async () => {
            const picture = await fetch(`examples/${file}`);
            await choose(await picture.blob(), file, category);
        });
        item.append(button);
        return item;
    }));
    at("examples").hidden = false;
}

goodChanged();
examples();
const found = await fetchModel("model/").catch((error) => showError(error));
if (found) {
    await open(found, "from the folder model/");
} else {
    setModel("No model. Open the files of one, or train one below.");
    at("training").open = true;
}
