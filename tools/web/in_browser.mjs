// The demonstration page in Chromium, as a person uses it, and the code of the guide in pages of its own.
//
//     node in_browser.mjs FOLDER BROWSER [SCREENSHOTS]     FOLDER has site/, package/, model/, expected.jsonl

import { mkdir, readdir } from "node:fs/promises";

import { chromium } from "playwright-core";

import { serve } from "./server.mjs";
import { check, checkScore, expectedScores, snippets } from "./snippets.mjs";

const [folder, executablePath, screenshots] = process.argv.slice(2);
const expected = await expectedScores(`${folder}/expected.jsonl`);
const guide = await snippets(`${folder}/guide.md`);
const pages = new Map(guide.forPage.map(({ number, code }) => [
    `/snippet-${number}.html`,
    `<!doctype html><link rel="icon" href="data:,"><canvas></canvas><video></video>
    <script type="importmap">{"imports": {"dualad-web": "/dualad/dualad_web.js", "dualad-web/": "/dualad/"}}</script>
    <script type="module">${code}\nwindow.done = true;</script>`,
]));
pages.set("/misuse.html", `<!doctype html><link rel="icon" href="data:,"><script type="module">
import { DetectorWorker } from "/dualad/client.js";
const bytes = async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer());
const files = { config: await bytes("model/config.json"), parameters: await bytes("model/model.safetensors"), calibration: await bytes("model/calibration.json") };
const picture = await bytes("part.png");
const faults = [];
/** Notes a promise that is not refused with an error of a kind. A call must not throw instead of returning a promise. */
async function refused(what, kind, call) {
    try {
        const promise = call();
        await promise.then(() => faults.push(what + ": no error"), (error) => {
            if (error.name !== "DualadError" || error.kind !== kind) faults.push(what + ": " + error.kind + " " + error);
        });
    } catch (error) {
        faults.push(what + ": thrown at once: " + error);
    }
}
await refused("no files", "input", () => DetectorWorker.fromBytes());
await refused("broken files", "model", () => DetectorWorker.fromBytes({ ...files, parameters: picture }));
const empty = new DetectorWorker();
await refused("no model", "input", () => empty.inspectFile(picture, "part.png"));
await empty.load(files);
const [one, two] = [empty, await DetectorWorker.fromBytes(files)];
const found = await Promise.all([one, two, one, two].map((worker) => worker.inspectFile(picture, "part.png")));
if (new Set(found.map(({ score }) => score)).size !== 1) faults.push("scores of two workers: " + found.map(({ score }) => score));
await refused("a load of a broken model", "model", () => one.load({ ...files, config: picture }));
if ((await one.inspectFile(picture, "part.png")).score !== found[0].score) faults.push("the earlier model is lost");
for (const image of [undefined, null, 5, {}, { width: 0, height: 0, data: new Uint8ClampedArray() }]) await refused("the image " + image, "input", () => one.inspect(image));
await refused("an image that cannot be sent", "input", () => one.inspect({ width: 1, height: 1, data: () => 1 }));
await refused("no picture", "image", () => one.inspectFile(new Uint8Array(9), "part.png"));
await refused("an unknown product", "input", () => one.inspectFile(picture, "part.png", "gears"));
await refused("no inspection", "input", () => one.heatMap({}));
await refused("no training images", "input", () => one.fit([]));
if ((await one.inspectFile(picture, "part.png")).score !== found[0].score) faults.push("the score after errors");
const late = one.inspectFile(picture, "part.png");
one.close();
one.close();
await refused("a call without an answer", "cancelled", () => late);
await refused("a call after the end", "cancelled", () => one.inspectFile(picture, "part.png"));
if ((await two.inspectFile(picture, "part.png")).score !== found[0].score) faults.push("the other worker");
two.close();
window.outcome = faults;
</script>`);
const server = await serve(`${folder}/site`, pages);
const browser = await chromium.launch({
    executablePath,
    args: [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        "--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    ],
});

/** Opens a page whose errors fail the check. */
async function open(path, options = {}) {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(error.message));
    page.on("console", (message) => message.type() === "error" && errors.push(`${message.text()} (${message.location().url})`));
    page.on("requestfailed", (request) => errors.push(`${request.url()}: ${request.failure().errorText}`));
    page.on("request", (request) => {
        if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(server.url)) errors.push(`the page asks for ${request.url()}`);
    });
    await page.goto(server.url + path);
    const close = async () => {
        check(errors.length === 0, `errors in the console of ${path || "the page"}: ${errors.join("; ")}`);
        await context.close();
    };
    return { page, close };
}

async function modelIsLoaded(page) {
    await page.waitForFunction(() => document.getElementById("model").textContent.includes("backbone"));
}

/** Waits for the result of a picture, and returns its score and decision. */
async function result(page, act) {
    // An earlier picture may still be inspected with a new model.
    await page.waitForFunction(() => document.getElementById("stage").getAttribute("aria-busy") !== "true");
    await page.evaluate(() => {
        document.getElementById("score").dataset.value = "";
    });
    await act();
    await page.waitForFunction(() => document.getElementById("score").dataset.value !== "");
    return page.evaluate(() => ({
        score: Number(document.getElementById("score").dataset.value),
        decision: document.getElementById("verdict").dataset.decision,
        outlines: document.querySelectorAll("#outlines polygon").length,
        error: document.getElementById("error").hidden ? "" : document.getElementById("error").textContent,
    }));
}

async function shot(page, name) {
    if (!screenshots) return;
    await mkdir(screenshots, { recursive: true });
    await page.screenshot({ path: `${screenshots}/${name}.png`, fullPage: true });
}

try {
    /* A person at a desk. */
    const { page, close } = await open("", { colorScheme: "light", viewport: { width: 1280, height: 860 } });
    await modelIsLoaded(page);
    await shot(page, "empty");
    await page.waitForSelector("#example-list button");
    await page.selectOption("#category", "");

    /* Dropped. */
    const dropped = [...expected.keys()].find((name) => expected.get(name).regions.length > 0);
    const drop = async (name) => {
        const data = await page.evaluateHandle(async (name) => {
            const blob = await (await fetch(`examples/${name}`)).blob();
            const transfer = new DataTransfer();
            transfer.items.add(new File([blob], name, { type: blob.type }));
            return transfer;
        }, name);
        await page.dispatchEvent("#drop", "drop", { dataTransfer: data });
    };
    let largest = 0;
    for (const [name, line] of expected) {
        const found = await result(page, () => drop(name));
        largest = Math.max(largest, checkScore(name, found.score, line.image_score));
        check(found.decision === line.verdict.decision, `${name}: the page says ${found.decision}`);
        check(found.outlines === line.regions.length, `${name}: ${found.outlines} outlines`);
        check(found.error === "", `${name}: ${found.error}`);
    }
    console.log(`${expected.size} pictures in the browser: scores within ${largest.toExponential(1)} of dualad inspect`);
    await result(page, () => drop(dropped));

    /* The picture is under the heat map and the outlines, of the same size. */
    const boxes = await page.evaluate(() => ["picture", "heat", "outlines"].map((id) => {
        const { x, y, width, height } = document.getElementById(id).getBoundingClientRect();
        return [x, y, width, height].map(Math.round).join(" ");
    }));
    check(new Set(boxes).size === 1, `the picture, heat map and outlines lie at ${boxes}`);

    /* Chosen, and an example. */
    const file = await result(page, () => page.setInputFiles("#file", `${folder}/site/examples/${dropped}`));
    checkScore("the chosen file", file.score, expected.get(dropped).image_score);
    const example = await result(page, () => page.click(`#example-list button[data-file="${dropped}"]`));
    checkScore("the example", example.score, expected.get(dropped).image_score);
    check((await page.inputValue("#category")) !== "", "an example does not choose its product");
    await shot(page, "desktop-light");

    /* By keyboard: every control is reached, and the slider moves. */
    const reached = new Set();
    await page.evaluate(() => document.activeElement?.blur());
    await page.click("h1");
    for (let presses = 0; presses < 60; presses++) {
        await page.keyboard.press("Tab");
        const id = await page.evaluate(() => document.activeElement?.id || document.activeElement?.dataset?.file || document.activeElement?.tagName);
        reached.add(id);
    }
    for (const id of ["file", "camera", "opacity", "show-regions", "category", "model-files", "SUMMARY", dropped]) {
        check(reached.has(id), `the keyboard does not reach ${id}: ${[...reached]}`);
    }
    const before = await page.evaluate(() => getComputedStyle(document.getElementById("heat")).opacity);
    await page.focus("#opacity");
    for (let presses = 0; presses < 10; presses++) await page.keyboard.press("ArrowLeft");
    const after = await page.evaluate(() => getComputedStyle(document.getElementById("heat")).opacity);
    check(Number(after) < Number(before), `the slider does not change the heat map: ${before}, ${after}`);
    await page.uncheck("#show-regions");
    check((await page.locator("#outlines polygon").count()) === 0, "the outlines stay");
    await page.check("#show-regions");

    /* Wrong files are named, and the page goes on. */
    await page.setInputFiles("#file", { name: "note.png", mimeType: "image/png", buffer: Buffer.from("no picture") });
    await page.waitForFunction(() => document.getElementById("error").textContent.includes("note.png"));
    await page.setInputFiles("#model-files", [
        { name: "config.json", mimeType: "application/json", buffer: Buffer.from("{}") },
        { name: "model.safetensors", mimeType: "application/octet-stream", buffer: Buffer.from("no model") },
    ]);
    await page.waitForFunction(() => /config/.test(document.getElementById("error").textContent));
    const again = await result(page, () => page.click(`#example-list button[data-file="${dropped}"]`));
    checkScore("the example with the earlier model", again.score, expected.get(dropped).image_score);

    /* The model from chosen files. */
    await page.setInputFiles("#model-files", ["config.json", "model.safetensors"].map((name) => `${folder}/model/${name}`));
    await page.waitForFunction(() => document.getElementById("model").textContent.includes("without thresholds"));

    /* Training on good pictures. */
    await page.click("#training summary");
    const train = `${folder}/model/data/plate/train/good`;
    const good = (await readdir(train)).filter((name) => name.endsWith(".png")).sort().slice(0, 10);
    await page.setInputFiles("#good", good.map((name) => `${train}/${name}`));
    await page.waitForFunction(() => document.getElementById("good-count").textContent.startsWith("10"));
    await page.fill("#name", "plate");
    await shot(page, "training");
    await page.click("#train");
    await page.waitForFunction(() => document.getElementById("model").textContent.includes("trained here on 10"), null, { timeout: 120_000 });
    const defect = [...expected.keys()].find((name) => name.startsWith("plate-") && !name.endsWith("-good.png"));
    const [fine, defective] = [
        await result(page, () => page.click('#example-list button[data-file="plate-good.png"]')),
        await result(page, () => page.click(`#example-list button[data-file="${defect}"]`)),
    ];
    check(defective.score > fine.score && defective.decision === "reject", `trained here: ${JSON.stringify([fine, defective])}`);
    await shot(page, "trained");

    /* The trained model is saved, and opened again. */
    const saved = [];
    page.on("download", (download) => saved.push(download));
    await page.click("#save");
    for (let tries = 0; saved.length < 3 && tries < 100; tries++) await page.waitForTimeout(100);
    const names = saved.map((download) => download.suggestedFilename()).sort();
    check(names.join() === "calibration.json,config.json,model.safetensors", `saved: ${names}`);
    for (const download of saved) await download.saveAs(`${folder}/saved/${download.suggestedFilename()}`);
    await page.setInputFiles("#model-files", names.map((name) => `${folder}/saved/${name}`));
    await page.waitForFunction(() => document.getElementById("model").textContent.includes("from your files"));
    const reopened = await result(page, () => page.click(`#example-list button[data-file="${defect}"]`));
    check(reopened.score === defective.score && reopened.decision === "reject", `the saved model: ${JSON.stringify([defective, reopened])}`);

    /* The camera. */
    const seen = await result(page, () => page.click("#camera"));
    check(seen.score > 0, "the camera's picture has no score");
    const shades = await page.evaluate(async () => {
        const shades = new Set();
        for (let frame = 0; frame < 60; frame++) {
            shades.add(getComputedStyle(document.getElementById("stage")).opacity);
            await new Promise(requestAnimationFrame);
        }
        return [...shades];
    });
    check(shades.join() === "1", `the camera's picture flickers: its opacities are ${shades}`);
    await page.click("#snap");
    await page.waitForFunction(() => document.getElementById("good-count").textContent.startsWith("11"));
    await page.click("#camera");
    await close();

    /* The same in the dark, and on a phone. */
    for (const [name, options] of [
        ["desktop-dark", { colorScheme: "dark", viewport: { width: 1280, height: 860 } }],
        ["phone-light", { colorScheme: "light", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }],
        ["phone-dark", { colorScheme: "dark", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }],
    ]) {
        const { page, close } = await open("", options);
        await modelIsLoaded(page);
        await page.waitForSelector("#example-list button");
        const found = await result(page, () => page.click(`#example-list button[data-file="${dropped}"]`));
        check(found.decision !== "none", `${name}: no decision`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        check(wide <= 0, `${name}: the page is ${wide} pixels wider than the screen`);
        const high = await page.evaluate(() => {
            const [picture, verdict] = ["drop", "verdict"].map((id) => document.getElementById(id).getBoundingClientRect());
            return verdict.bottom - picture.top - innerHeight;
        });
        check(high <= 0, `${name}: the verdict lies ${high} pixels below the screen that begins with the picture`);
        const badge = await page.evaluate(() => {
            const [badge, picture] = ["badge", "picture"].map((id) => document.getElementById(id).getBoundingClientRect());
            const above = badge.bottom <= picture.top && badge.right <= innerWidth;
            return badge.width === 0 ? "none" : above && document.getElementById("badge").textContent;
        });
        const verdict = await page.textContent("#verdict");
        check(badge === (options.isMobile ? verdict : "none"), `${name}: above the picture is ${badge}, and the result ${verdict}`);
        await shot(page, name);

        /* A tall picture fits on the screen. */
        const tall = await page.evaluateHandle(async () => {
            const canvas = new OffscreenCanvas(300, 900);
            canvas.getContext("2d").fillRect(50, 50, 200, 800);
            const transfer = new DataTransfer();
            transfer.items.add(new File([await canvas.convertToBlob()], "tall.png", { type: "image/png" }));
            return transfer;
        });
        await result(page, () => page.dispatchEvent("#drop", "drop", { dataTransfer: tall }));
        const shape = await page.evaluate(() => {
            const { width, height } = document.getElementById("picture").getBoundingClientRect();
            return { share: height / innerHeight, ratio: height / width };
        });
        check(shape.share < 0.8 && Math.abs(shape.ratio - 3) < 0.02, `${name}: a tall picture is ${JSON.stringify(shape)}`);
        await close();
    }

    /* Workers under misuse, and two at a time. */
    const misused = await open("misuse.html");
    const outcome = await misused.page.waitForFunction(() => window.outcome, null, { timeout: 120_000 });
    const faults = await outcome.jsonValue();
    check(faults.length === 0, `workers: ${faults.join("; ")}`);
    await misused.close();

    /* The guide. */
    for (const { number } of guide.forPage) {
        const { page, close } = await open(`snippet-${number}.html`);
        const done = await page.waitForFunction(() => window.done, null, { timeout: 60_000 }).catch(() => null);
        await close();
        check(done, `docs/web.md, code number ${number} does not end`);
    }
    console.log(`${guide.forPage.length} pages of docs/web.md run; the demonstration page passes`);
} finally {
    await browser.close();
    server.close();
}
