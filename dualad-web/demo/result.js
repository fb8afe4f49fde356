// The result: the picture with its heat map and outlines, and the facts beside it.

const at = (id) => document.getElementById(id);
const DECISIONS = { accept: "Good", review: "Have a look", reject: "Defective" };

/** The picture, the heat map over it and the outlines of the regions. */
export class View {
    #found = null;
    #regions = true;

    /** Shows a picture. That of a camera keeps the result of the one before it until its own is there. */
    setPicture(bitmap, isLive = false) {
        const canvas = at("picture");
        if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
            canvas.width = bitmap.width;
            canvas.height = bitmap.height;
        }
        canvas.getContext("2d").drawImage(bitmap, 0, 0);
        const stage = at("stage");
        stage.style.setProperty("--ratio", bitmap.width / bitmap.height);
        stage.classList.toggle("live", isLive);
        stage.hidden = false;
        at("hint").hidden = true;
        at("drop").classList.add("filled");
        if (!isLive) this.setResult(null, null);
    }

    setResult(found, heat) {
        this.#found = found;
        at("badge").hidden = !found?.verdict;
        const canvas = at("heat");
        canvas.hidden = !heat;
        at("view").disabled = !heat;
        if (heat) {
            canvas.width = heat.width;
            canvas.height = heat.height;
            canvas.getContext("2d").putImageData(heat, 0, 0);
        }
        this.setOpacity(at("opacity").value);
        this.#draw();
    }

    setOpacity(percent) {
        at("heat").style.opacity = percent / 100;
        at("opacity-value").textContent = `${percent} %`;
    }

    setRegions(shown) {
        this.#regions = shown;
        this.#draw();
    }

    setBusy(busy) {
        at("stage").setAttribute("aria-busy", String(busy));
    }

    #draw() {
        const svg = at("outlines");
        svg.replaceChildren();
        if (!this.#found || !this.#regions) return;
        svg.setAttribute("viewBox", `0 0 ${this.#found.width} ${this.#found.height}`);
        svg.setAttribute("preserveAspectRatio", "none");
        for (const { outline } of this.#found.regions) {
            const polygon = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
            polygon.setAttribute("points", outline.map((corner) => corner.join(",")).join(" "));
            svg.append(polygon);
        }
    }
}

/** Shows the facts of an inspection. */
export function show(found, category) {
    const { verdict, score, regions, regionsLeftOut, nearestCategory, milliseconds } = found;
    const status = at("verdict");
    status.dataset.decision = verdict?.decision ?? "none";
    status.textContent = verdict ? DECISIONS[verdict.decision] : "Not decided: the model has no thresholds";
    at("badge").dataset.decision = status.dataset.decision;
    at("badge").textContent = status.textContent;
    at("picture").setAttribute("aria-label", `The picture: ${status.textContent}`);
    at("score").textContent = number(score);
    at("score").dataset.value = score;
    at("count").textContent = verdict ? String(regions.length + regionsLeftOut) : "–";
    const elsewhere = nearestCategory && nearestCategory !== category;
    at("nearest-row").hidden = !nearestCategory;
    at("nearest").textContent = nearestCategory ? nearestCategory + (category && elsewhere ? ` (not ${category})` : "") : "";
    at("time").textContent = `${milliseconds.toFixed(0)} ms`;
    at("facts").hidden = false;
    at("scale").hidden = !verdict;
    if (verdict) {
        // Half of the bar lies below the threshold.
        const end = 2 * Math.max(verdict.reject, Number.EPSILON);
        const share = (value) => `${(100 * Math.min(Math.max(value / end, 0), 1)).toFixed(1)}%`;
        at("scale").style.setProperty("--from", share(verdict.review));
        at("scale").style.setProperty("--to", share(verdict.reject));
        at("mark").style.left = share(score);
        const same = number(verdict.review) === number(verdict.reject);
        at("limits").textContent = same
            ? `threshold ${number(verdict.reject)}`
            : `review ${number(verdict.review)}, reject ${number(verdict.reject)}`;
    }
}

/** Shows that there is no result. */
export function showNothing() {
    at("verdict").dataset.decision = "none";
    at("verdict").textContent = "No result";
    at("facts").hidden = at("scale").hidden = true;
}

/** Shows an error, or hides it. */
export function showError(error) {
    at("error").hidden = !error;
    at("error").textContent = error ? error.message : "";
    if (error) at("error").scrollIntoView({ block: "nearest" });
}

function number(value) {
    return value.toPrecision(3).includes("e") ? value.toExponential(2) : Number(value.toPrecision(3)).toString();
}
