"""The results of inspections, training and evaluation: plain values that can be pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from dualad import _check, _native
from dualad._images import ImageLike, prepare

#: The decision on an image.
Decision: TypeAlias = Literal["accept", "review", "reject"]


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a call, given to a function ``progress``."""

    #: The phase: ``reading``, ``features``, ``bank``, ``training``, ``scoring``, ``inspecting`` or ``calibrating``.
    phase: str
    #: The number of images done, or in the phase ``training`` of steps.
    done: int
    #: The number of images or steps in all.
    total: int
    #: The epoch, from 1; None outside of training.
    epoch: int | None = None
    #: The number of epochs; None outside of training.
    epochs: int | None = None
    #: The loss of the step; None outside of training.
    loss: float | None = None
    #: The seconds that the remaining steps take; None outside of training.
    remaining: float | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """A rectangle of whole pixels."""

    #: The first column.
    x: int
    #: The first row.
    y: int
    #: The number of columns.
    width: int
    #: The number of rows.
    height: int


@dataclass(frozen=True, slots=True)
class Region:
    """A region of an image at or above a value of the anomaly map, in pixels of the image."""

    #: The smallest rectangle of whole pixels that covers it.
    bounds: Bounds
    #: The area in pixels, with fractions.
    area: float
    #: The largest value of the map.
    peak: float
    #: The column and row of the pixel at the center of the peak.
    peak_at: tuple[int, int]
    #: The mean of the pixels' centers, x and y.
    centroid: tuple[float, float]
    #: The mean value of the map.
    mean: float
    #: The corners of the outer border, x and y, clockwise.
    outline: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision, with the thresholds that it was made by."""

    #: The decision: ``accept``, ``review`` or ``reject``.
    decision: Decision
    #: The image score.
    score: float
    #: The image score from which on an image is reviewed.
    review: float
    #: The image score from which on an image is rejected.
    reject: float
    #: The value of the anomaly map from which on a pixel belongs to a region.
    region: float
    #: The category whose thresholds decided; None for the pooled thresholds.
    thresholds_of: str | None


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the image score of a model with a bank of normal tokens. Without tiling they add up to the score."""

    #: The part of the reconstruction network.
    reconstruction: float
    #: The part of the bank.
    bank: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Inspection:
    """The result of an inspection. It can be pickled."""

    #: The category of the request.
    category: str | None
    #: The number of columns of the image.
    width: int
    #: The number of rows of the image.
    height: int
    #: The image score, 0 or more. Larger is more anomalous; it is not a probability. The number has the digits of the program's
    #: JSON: as float32 it is the score to the bit.
    score: float
    #: The parts of the score; None for a model without a bank.
    parts: Parts | None
    #: The category whose normal images are nearest to the image, for a model with a bank of several categories. If another category was
    #: named, the image may show another product than expected; the verdict does not depend on it. None for other models.
    nearest_category: str | None
    #: The decision and its thresholds; None if the detector has no thresholds.
    verdict: Verdict | None
    #: The regions at or above the thresholds' region value, the most severe first. Empty without thresholds.
    regions: tuple[Region, ...]
    #: The number of less severe regions that are not listed.
    regions_left_out: int
    #: The anomaly map at the size of the network's input, float32 of shape ``(rows, columns)``, from 0 to 1e18. It is read-only:
    #: change a copy of it.
    anomaly_map: npt.NDArray[np.float32]
    _json: str = field(repr=False)

    @property
    def decision(self) -> Decision | None:
        """The decision: ``accept``, ``review`` or ``reject``; None if the detector has no thresholds."""
        return None if self.verdict is None else self.verdict.decision

    @property
    def threshold(self) -> float | None:
        """The score from which on the image is rejected; None if the detector has no thresholds."""
        return None if self.verdict is None else self.verdict.reject

    def to_json(self) -> str:
        """Return everything but the map, as one line of ``dualad inspect --json`` has it."""
        return self._json

    def regions_above(self, value: float, *, min_area: int = 1, max_regions: int = 100) -> tuple[Region, ...]:
        """Return the regions of the map at or above a value, in pixels of the image, the most severe first.

        ``min_area`` is in pixels of the map.
        """
        value = _check.number(value, "value")
        min_area = _check.whole(min_area, "min_area", 0, _check.U64)
        max_regions = _check.whole(max_regions, "max_regions", 0, _check.U32)
        found = _native.regions(self.anomaly_map, (self.height, self.width), value, min_area, max_regions)
        return tuple(_region(region) for region in json.loads(found))

    def map_at_original(self) -> npt.NDArray[np.float32]:
        """Return the map at the size of the image: bilinear, float32 of shape ``(height, width)``."""
        return _native.resize_map(self.anomaly_map, (self.height, self.width))

    def heat_map(self, image: ImageLike, *, opacity: float = 0.5, max_pixels: int | None = None) -> npt.NDArray[np.uint8]:
        """Return the image with the map's colors over it: uint8 of shape ``(height, width, 3)``, red first.

        The colors range from half the review threshold to one and a half times the reject threshold. Without thresholds they range
        from the map's minimum to its maximum. ``opacity`` is from 0 (only the image) to 1 (only the map).
        """
        opacity = _check.number(opacity, "opacity", 0, 1)
        max_pixels = _check.whole_or_none(max_pixels, "max_pixels", 1, _check.U64)
        scale = None
        if self.verdict is not None and self.verdict.review > 0:
            scale = (0.5 * self.verdict.review, 1.5 * self.verdict.reject)
        return _native.heat_map(prepare(image), self.anomaly_map, scale, opacity, max_pixels)

    def __reduce__(self) -> tuple[Any, ...]:
        return (inspection, (self._json, self.anomaly_map))

    def __repr__(self) -> str:
        decision = self.decision or "no thresholds"
        return f"Inspection(score={self.score}, {decision}, regions={len(self.regions)}, {self.width}x{self.height})"


def inspection(text: str, anomaly_map: npt.NDArray[np.float32]) -> Inspection:
    """Return the inspection of its JSON and its map."""
    found: dict[str, Any] = json.loads(text)
    anomaly_map.flags.writeable = False
    parts = found.get("parts")
    verdict = found["verdict"]
    return Inspection(
        category=found["category"],
        width=found["width"],
        height=found["height"],
        score=found["image_score"],
        parts=None if parts is None else Parts(**parts),
        nearest_category=found.get("nearest_category"),
        verdict=None if verdict is None else _verdict(verdict),
        regions=tuple(_region(region) for region in found["regions"]),
        regions_left_out=found["regions_left_out"],
        anomaly_map=anomaly_map,
        _json=text,
    )


def _verdict(found: dict[str, Any]) -> Verdict:
    source = found.pop("source")
    return Verdict(**found, thresholds_of=source.get("name"))


def _region(found: dict[str, Any]) -> Region:
    outline = tuple((x, y) for x, y in found.get("outline", ()))
    [column, row], [x, y] = found["peak_at"], found["centroid"]
    return Region(
        Bounds(**found["bounds"]), found["area"], found["peak"], (column, row), (x, y), found["mean"], outline
    )


@dataclass(frozen=True, slots=True)
class CategoryChange:
    """The scores of a category's held-out images before and after a model's training was continued."""

    #: The category.
    category: str
    #: The number of images.
    images: int
    #: The mean score before, and after.
    mean: tuple[float, float]
    #: The largest score before, and after.
    largest: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Training:
    """The report of a training run."""

    #: The mean loss of each epoch.
    losses: tuple[float, ...]
    #: The category and the image score of every held-out image.
    held_out: tuple[tuple[str, float], ...]
    #: The changes to the scores of categories that a continued model knew.
    changes: tuple[CategoryChange, ...]
    #: Notices, such as of categories with few images.
    notices: tuple[str, ...]


def training(text: str) -> Training:
    """Return the report of its JSON."""
    found = json.loads(text)
    changes = (
        CategoryChange(change["category"], change["images"], tuple(change["mean"]), tuple(change["largest"]))
        for change in found["changes"]
    )
    held_out = tuple((name, score) for name, score in found["held_out"])
    return Training(tuple(found["losses"]), held_out, tuple(changes), tuple(found["notices"]))


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of a set of images, from 0 to 1; None where a metric is undefined."""

    #: The area under the ROC curve over image scores.
    image_auroc: float | None
    #: The average precision over image scores.
    image_ap: float | None
    #: The best F1 over image scores.
    image_f1_max: float | None
    #: The area under the ROC curve over pixels.
    pixel_auroc: float | None
    #: The average precision over pixels.
    pixel_ap: float | None
    #: The best F1 over pixels.
    pixel_f1_max: float | None
    #: The area under the curve of region overlap up to a false-positive rate of 0.3, exact.
    pixel_aupro: float | None
    #: The same with the paper's 200 thresholds.
    pixel_aupro_200: float | None
    #: The number of images; None for means.
    images: int | None = None
    #: The number of anomalous images; None for means.
    anomalous: int | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The metrics of a test set."""

    #: The metrics of each category.
    categories: Mapping[str, Metrics]
    #: The mean of each metric over the categories in which it is defined.
    mean: Metrics
    #: The metrics of all images together: the result of one threshold for all categories.
    pooled: Metrics


def evaluation(text: str) -> Evaluation:
    """Return the evaluation of its JSON."""
    found = json.loads(text)
    categories = {name: Metrics(**metrics) for name, metrics in found["categories"].items()}
    return Evaluation(categories, Metrics(**found["mean"]), Metrics(**found["pooled"]))
