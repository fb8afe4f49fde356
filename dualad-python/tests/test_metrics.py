"""Metrics, against their definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import dualad
from dualad import metrics


def plain_auroc(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    normal, anomalous = scores[labels == 0], scores[labels != 0]
    wins = (anomalous[:, None] > normal[None]).sum() + 0.5 * (anomalous[:, None] == normal[None]).sum()
    return float(wins / (len(normal) * len(anomalous)))


def plain_curve(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> tuple[float, float, float]:
    """The average precision, the best F1 and its highest threshold."""
    precision, best, threshold, recall = 0.0, -1.0, 0.0, 0.0
    for value in np.unique(scores)[::-1]:
        found = scores >= value
        true = (labels[found] != 0).sum()
        step = true / (labels != 0).sum()
        precision += true / found.sum() * (step - recall)
        recall = step
        f1 = 2 * true / (found.sum() + (labels != 0).sum())
        if f1 > best:
            best, threshold = f1, float(value)
    return precision, float(best), threshold


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.int8, np.int32, np.int64, np.uint8])
@pytest.mark.parametrize("seed", range(4))
def test_rankings_have_the_metrics_of_their_definition(seed: int, dtype: Any) -> None:
    random = np.random.default_rng(seed)
    scores = (random.normal(0, 1, 120) * 20).round(seed).astype(dtype)
    labels = random.random(120) < 0.4
    assert metrics.auroc(scores, labels) == pytest.approx(plain_auroc(scores, labels), abs=1e-12)
    precision, best, threshold = plain_curve(scores, labels)
    assert metrics.average_precision(scores, labels) == pytest.approx(precision, abs=1e-12)
    found = metrics.f1_max(scores, labels)
    assert found.f1 == pytest.approx(best, abs=1e-12) and found.threshold == threshold


def test_scores_of_float64_are_not_rounded() -> None:
    # As float32 all of these are 1.
    scores = 1 + np.array([0.0, 1.0, 2.0, 3.0]) * 1e-12
    assert metrics.auroc(scores, [0, 0, 1, 1]) == 1.0
    assert metrics.auroc(scores, [0, 1, 0, 1]) == 0.75
    assert metrics.f1_max(scores, [0, 0, 1, 1]) == (1.0, scores[2])
    assert metrics.auroc([-1e300, 1e-310, 1e300, 1e308], [0, 0, 1, 1]) == 1.0
    large = np.array([0, 1, 2, 3]) + (1 << 60)
    assert metrics.auroc(large, [0, 0, 1, 1]) == 1.0
    maps = 1 + np.arange(18.0).reshape(2, 3, 3) * 1e-13
    masks = np.zeros((2, 3, 3), bool)
    masks[1, 2] = True
    assert metrics.aupro(maps, masks) == 1.0


def plain_aupro(maps: list[npt.NDArray[Any]], masks: list[npt.NDArray[Any]], limit: float = 0.3) -> float:
    """By every threshold, with regions that are rectangles of their own images or halves."""
    values = np.concatenate([values.ravel() for values in maps])
    normal = np.concatenate([values[mask == 0] for values, mask in zip(maps, masks, strict=True)])
    regions = [values[mask == mark] for values, mask in zip(maps, masks, strict=True) for mark in np.unique(mask) if mark]
    rates, overlaps = [0.0], [0.0]
    for value in np.unique(values)[::-1]:
        rates.append(float((normal >= value).mean()))
        overlaps.append(float(np.mean([(region >= value).mean() for region in regions])))
    area = 0.0
    for (x0, y0), (x1, y1) in zip(
        zip(rates[:-1], overlaps[:-1], strict=True), zip(rates[1:], overlaps[1:], strict=True), strict=True
    ):
        if x1 > limit:
            if x0 < limit:
                y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
                area += (limit - x0) * (y0 + y1) / 2
            break
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


@pytest.mark.parametrize("factor", [1.0, 1e-300, 1e308 / 400])
def test_sampled_aupro_of_float64_is_that_of_float32(factor: float) -> None:
    """Its thresholds are at equal distances of the score, not of the rank."""
    random = np.random.default_rng(0)
    maps = np.exp(3 * random.standard_normal((4, 48, 48))).clip(None, 400)
    masks = np.zeros((4, 48, 48), bool)
    masks[2:, 10:20, 10:22] = True
    maps[masks] *= 3
    maps = maps.clip(None, 400)
    expected = metrics.evaluate([0.1, 0.2, 0.9, 0.3], [0, 0, 1, 1], maps.astype(np.float32), masks)
    found = metrics.evaluate([0.1, 0.2, 0.9, 0.3], [0, 0, 1, 1], maps * factor, masks)
    assert expected.mean.pixel_aupro_200 is not None
    for one, other in ((found.mean, expected.mean), (found.pooled, expected.pooled), (found.categories[""], expected.categories[""])):
        assert one.pixel_aupro_200 == pytest.approx(other.pixel_aupro_200, abs=1e-3)
    assert found.mean.pixel_aupro == pytest.approx(expected.mean.pixel_aupro, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_aupro_has_its_definition(dtype: Any) -> None:
    random = np.random.default_rng(3)
    sizes = [(9, 7), (12, 5), (6, 6)]
    maps, masks = [], []
    for height, width in sizes:
        mask = np.zeros((height, width), np.uint8)
        mask[1:3, 1:3] = 1
        mask[4:, 4:] = 2
        maps.append((random.random((height, width)) + 0.5 * (mask > 0)).astype(dtype))
        masks.append(mask)
    masks[2][:] = 0
    assert metrics.aupro(maps, masks) == pytest.approx(plain_aupro(maps, masks), abs=1e-12)
    assert metrics.aupro([m[:, ::-1] for m in maps], [m[:, ::-1] for m in masks]) == pytest.approx(plain_aupro(maps, masks), abs=1e-12)


def test_all_metrics_at_once() -> None:
    random = np.random.default_rng(5)
    maps = random.random((6, 8, 9))
    masks = [None if index % 2 == 0 else random.random((8, 9)) < 0.2 for index in range(6)]
    scores, labels = maps.max(axis=(1, 2)), [mask is not None for mask in masks]
    found = metrics.evaluate(scores, labels, maps, masks, ["a", "a", "a", "b", "b", "b"])
    assert set(found.categories) == {"a", "b"} and found.pooled.images == 6 and found.pooled.anomalous == 3
    assert found.pooled.image_auroc == metrics.auroc(scores, labels)
    filled = [np.zeros((8, 9)) if mask is None else mask for mask in masks]
    assert found.pooled.pixel_auroc == pytest.approx(metrics.auroc(maps, np.stack(filled)), abs=1e-12)
    assert found.pooled.pixel_aupro == metrics.aupro(maps, filled)
    undefined = metrics.evaluate(scores, labels, maps, [None] * 6)
    assert undefined.pooled.pixel_auroc is None and undefined.pooled.image_auroc is not None


@pytest.mark.parametrize(
    ("scores", "labels", "text"),
    [
        ([0.1, 0.2], [0, 1, 1], "shape"),
        ([0.1, float("nan")], [0, 1], "place 1"),
        (np.array([0.1, np.inf], np.float32), [0, 1], "place 1"),
        ([0.1, 0.2], [1, 1], "no normal"),
        ([0.1, 0.2], [0, 0], "no anomalous"),
        ([], [], "no normal"),
        ([0.1, 0.2], [-1, 1], "negative"),
        ([0.1, 0.2], [0.3, 0.7], "limit"),
        (["a", "b"], [0, 1], "real numbers"),
        ([1j, 2], [0, 1], "real numbers"),
    ],
)
def test_what_cannot_be_measured(scores: Any, labels: Any, text: str) -> None:
    for metric in (metrics.auroc, metrics.average_precision, metrics.f1_max):
        with pytest.raises(dualad.InvalidInputError, match=text):
            metric(scores, labels)
        with pytest.raises(ValueError):
            metric(scores, labels)


def test_maps_that_cannot_be_measured() -> None:
    maps, masks = np.zeros((2, 4, 4)), np.zeros((2, 4, 4), bool)
    with pytest.raises(dualad.InvalidInputError, match="no anomalous"):
        metrics.aupro(maps, masks)
    with pytest.raises(dualad.InvalidInputError, match="2 maps and 1 masks"):
        metrics.aupro(maps, masks[:1])
    with pytest.raises(dualad.InvalidInputError, match=r"masks\[0\]"):
        metrics.aupro(maps, masks[:, :3])
    with pytest.raises(dualad.InvalidInputError, match=r"maps\[0\]"):
        metrics.aupro(maps[None], masks[None])
    with pytest.raises(dualad.InvalidInputError):
        metrics.aupro([], [])
    with pytest.raises(dualad.InvalidInputError, match="image 1"):
        metrics.evaluate([0.1, 0.2], [0, 0], maps, [None, np.ones((4, 4))])
