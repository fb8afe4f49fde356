"""The metrics with scikit-learn, SciPy and NumPy. Compare dualad/benches/metrics.rs.

    cargo bench --workspace --bench metrics -- --save FOLDER
    .venv/bin/python tools/bench/metrics.py FOLDER [--pooled]

Reads what the benchmark saved, prints both sides' seconds (by the clock, and of processor time) and the largest difference between their results. Maps and
masks are in memory before the clock starts, on both sides. Without `--pooled` only each category is measured here, which
is less than what the benchmark did; with it all pixels at once too, which takes some 10 GB.

scikit-learn has no AUPRO: regions are SciPy's, the exact area is one sort of a category's pixels, and the sampled one looks
up 200 thresholds in it. (The published code compares every pixel with every threshold, which takes far longer.)
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from scipy import ndimage
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score


NAMES = ["image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro", "pixel_aupro_200"]


def ranked(labels, scores):
    precision, recall, _ = precision_recall_curve(labels, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return [roc_auc_score(labels, scores), average_precision_score(labels, scores), f1.max()]


def overlap_weights(masks):
    """For every anomalous pixel, 1 / (size of its region); and the number of regions."""
    weights, regions = np.zeros(masks.shape), 0
    for mask, weight in zip(masks, weights):
        if not mask.any():
            continue
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions += count
        sizes = np.bincount(labels.ravel()).astype(np.float64)
        sizes[0] = np.inf
        weight += 1 / sizes[labels]
    return weights.ravel(), regions


def aupro(labels, scores, weights, regions):
    order = np.argsort(-scores)
    scores = scores[order]
    # The last pixel of every distinct score.
    last = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]
    normal = np.cumsum(labels[order] == 0)
    overlap = np.cumsum(weights[order])
    total = normal[-1]
    rates, overlaps = np.r_[0, normal[last] / total], np.r_[0, overlap[last] / regions]
    inside = np.searchsorted(rates, 0.3, side="right")
    rates_in, overlaps_in = rates[:inside], overlaps[:inside]
    if rates_in[-1] < 0.3:
        share = (0.3 - rates_in[-1]) / (rates[inside] - rates_in[-1])
        overlaps_in = np.r_[overlaps_in, overlaps_in[-1] + share * (overlaps[inside] - overlaps_in[-1])]
        rates_in = np.r_[rates_in, 0.3]
    exact = np.trapezoid(overlaps_in, rates_in) / 0.3

    low, high = float(scores[-1]), float(scores[0])
    thresholds = low + np.arange(199, -1, -1) * ((high - low) / 200)
    above = np.searchsorted(-scores.astype(np.float64), -thresholds, side="left")
    rates, overlaps = np.r_[0, normal][above] / total, np.r_[0, overlap][above] / regions
    rates, overlaps = rates[rates < 0.3], overlaps[rates < 0.3]
    return exact, np.trapezoid(overlaps, (rates - rates.min()) / (rates.max() - rates.min()))


def measure(labels, image_scores, maps, masks):
    pixel_labels, pixel_scores = masks.ravel(), maps.ravel()
    weights, regions = overlap_weights(masks)
    return [
        *ranked(labels, image_scores),
        *ranked(pixel_labels, pixel_scores),
        *aupro(pixel_labels, pixel_scores, weights, regions),
    ]


def main():
    folder, pooled = Path(sys.argv[1]), "--pooled" in sys.argv[2:]
    result = json.loads((folder / "result.json").read_text())
    names, labels, image_scores = (np.array(column) for column in zip(*result["images"]))
    shape = (len(names), result["side"], result["side"])
    maps = np.fromfile(folder / "maps.f32", np.float32).reshape(shape)
    masks = np.fromfile(folder / "masks.u8", np.uint8).reshape(shape)

    started = np.array([time.perf_counter(), time.process_time()])
    found = {}
    for name in sorted(set(names)):
        ours = names == name
        found[name] = measure(labels[ours], image_scores[ours], maps[ours], masks[ours])
    categories = [time.perf_counter(), time.process_time()] - started
    found_pooled = measure(labels, image_scores, maps, masks) if pooled else None
    both = [time.perf_counter(), time.process_time()] - started

    pairs = [(values, result["categories"][name]) for name, values in found.items()]
    if pooled:
        pairs.append((found_pooled, result["pooled"]))
    differences = [abs(a - theirs[name]) for values, theirs in pairs for name, a in zip(NAMES, values, strict=True)]
    ours = np.array([result["seconds"], result["processor_seconds"]])
    print(f"categories and pooled, dualad, {result['threads']} thread(s): {ours[0]:.2f} s, processor {ours[1]:.2f} s")
    for what, theirs in [("categories", categories)] + ([("categories and pooled", both)] if pooled else []):
        ratios = theirs / ours
        print(f"{what}, scikit-learn: {theirs[0]:.2f} s, processor {theirs[1]:.2f} s; ratios {ratios[0]:.1f}, {ratios[1]:.1f}")
    print(f"largest difference: {max(differences):.1e}")


if __name__ == "__main__":
    main()
