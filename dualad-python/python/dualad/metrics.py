"""Metrics of anomaly scores and maps, of this library or of any other method: exact, ties included.

Scores are arrays, or lists, of real numbers of any dtype; larger is more anomalous. Scores of float64 are ranked as they are, and are
not rounded to float32. Labels and masks are bool, or whole numbers of any dtype: 0 for normal and a positive number for anomalous. As
floats they are 0, 1 or 255. Every function raises :class:`dualad.InvalidInputError`, a ``ValueError``, for other labels, for a score
that is not finite, for shapes that do not match, for maps of more than 100 million pixels, and where the metric is undefined, because
no score is normal or none is anomalous.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from dualad import _native
from dualad._errors import InvalidInputError
from dualad._results import Evaluation, Metrics, evaluation

__all__ = ["Evaluation", "F1", "Metrics", "aupro", "auroc", "average_precision", "evaluate", "f1_max"]

#: Maps or masks: an array of shape ``(images, height, width)``, or a list of arrays of shape ``(height, width)``.
Maps: TypeAlias = Union[npt.ArrayLike, Sequence[npt.ArrayLike]]

#: The smallest normal float32, as an integer. Ranks begin there: smaller values are subnormal, and may be flushed to zero.
_FIRST = 0x0080_0000
#: The number of float32 values from there to infinity.
_RANKS = 0x7F80_0000 - _FIRST


#: The largest map: the largest image that a detector takes by default.
_LARGEST_MAP = 100_000_000


class F1(NamedTuple):
    """The best F1, and the threshold that gives it."""

    #: The F1 score, from 0 to 1.
    f1: float
    #: The highest threshold that gives it: a score at or above it counts as anomalous.
    threshold: float


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the area under the ROC curve, from 0 to 1; ties count half.

    :param scores: an array of any shape: image scores, or the maps of all images for the AUROC of pixels.
    :param labels: an array of the same shape.
    """
    return _ranking(scores, labels)[0]


def average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the average precision, from 0 to 1: the precision at each distinct score, weighted by the recall that it adds.

    The arguments are those of :func:`auroc`.
    """
    return _ranking(scores, labels)[1]


def f1_max(scores: npt.ArrayLike, labels: npt.ArrayLike) -> F1:
    """Return the best F1 over all thresholds, and the highest threshold that gives it.

    The arguments are those of :func:`auroc`.
    """
    found = _ranking(scores, labels)
    return F1(found[2], found[3])


def aupro(maps: Maps, masks: Maps) -> float:
    """Return the area under the curve of mean overlap of 8-connected defect regions against the false-positive rate.

    The area goes up to a rate of 0.3 and is divided by 0.3, so it is from 0 to 1. Every distinct score is a threshold. All maps are
    measured together.

    :param maps: an array of shape ``(images, height, width)``, or a list of arrays of shape ``(height, width)`` of any sizes.
    :param masks: the masks, of the same shapes; zeros for a normal image.
    """
    listed, ground_truth = _maps(maps, "maps"), _maps(masks, "masks")
    _same(len(listed), len(ground_truth), "maps", "masks")
    exact, _ = _flat(listed)
    images = []
    for place, (values, mask) in enumerate(zip(exact, ground_truth, strict=True)):
        marked = _mask(mask, values, place)
        images.append(("", bool(marked.any()), 0.0, values, marked))
    return _native.aupro(images)


def evaluate(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    maps: Maps,
    masks: Sequence[npt.ArrayLike | None] | npt.ArrayLike,
    categories: Sequence[str] | None = None,
) -> Evaluation:
    """Return all metrics of a test set, for each category, their means, and of all images together.

    :param scores: the image scores, of shape ``(images,)``.
    :param labels: the labels of the images, of shape ``(images,)``.
    :param maps: the anomaly maps, as :func:`aupro` takes them.
    :param masks: the masks; None for a normal image without one. An anomalous image without a mask leaves the pixel metrics undefined.
    :param categories: the category of each image; by default all are of the category ``""``.
    """
    given = _unmasked(scores, "scores")
    _within(given, _RANKS, "the array of scores")
    image_scores, _ = _exact(given.ravel(), "scores")
    anomalous = _labels(labels, "labels").ravel()
    listed, ground_truth = _maps(maps, "maps"), _listed(masks, "masks")
    names = [""] * len(listed) if categories is None else _listed(categories, "categories")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a category is {type(name).__name__}; give a str")
    for count, argument in ((len(anomalous), "labels"), (len(listed), "maps"), (len(ground_truth), "masks"), (len(names), "categories")):
        _same(len(image_scores), count, "scores", argument)
    exact, original = _flat(listed)
    images = []
    for place, values in enumerate(exact):
        mask = ground_truth[place]
        marked = None if mask is None else _mask(np.asarray(mask), values, place)
        images.append((str(names[place]), bool(anomalous[place]), float(image_scores[place]), values, marked))
    found = evaluation(_native.evaluate(images))
    if original is float:
        return found
    # Its 200 thresholds are at equal distances between the smallest score and the largest one, which ranks do not keep.
    scaled = _scaled(listed)
    sampled = [(name, label, score, values, mask) for (name, label, score, _, mask), values in zip(images, scaled, strict=True)]
    return _with_aupro_200(found, evaluation(_native.evaluate(sampled)))


def _ranking(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[float, float, float, float]:
    values, given = _unmasked(scores, "scores"), _unmasked(labels, "labels")
    if values.shape != given.shape:
        raise InvalidInputError(f"the scores have shape {values.shape} and the labels {given.shape}; give one label for each score")
    # Before anything is copied: an array of few bytes can have any shape.
    _within(values, _RANKS, "the array of scores")
    marks = _labels(given, "labels")
    exact, original = _exact(values.ravel(), "scores")
    area, precision, f1, threshold = _native.ranking(exact, np.ascontiguousarray(marks.ravel()))
    return area, precision, f1, original(threshold)


def _exact(values: npt.NDArray[Any], name: str) -> tuple[npt.NDArray[np.float32], Callable[[float], float]]:
    """Return float32 values in the order of these, and the function to the original values: `float` if they are the same."""
    if values.dtype.kind not in "fiu":
        raise InvalidInputError(f"the {name} have dtype {values.dtype}; give real numbers")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InvalidInputError(f"the {name} hold {values[place]} at place {place}, which cannot be ranked")
    with np.errstate(over="ignore"):
        rounded = np.ascontiguousarray(values, dtype=np.float32)
    # Compared in the wider type: an integer beyond 2^53 would be rounded too.
    if values.dtype.itemsize <= 2 or values.dtype == np.float32 or _is_same(rounded, values):
        return rounded, float
    distinct, places = np.unique(values, return_inverse=True)
    if len(distinct) > _RANKS:
        raise InvalidInputError(f"the {name} have {len(distinct)} different values; at most {_RANKS} can be ranked")
    ranks = (places.ravel().astype(np.uint32) + np.uint32(_FIRST)).view(np.float32)
    return ranks, lambda rank: float(distinct[int(np.float32(rank).view(np.uint32)) - _FIRST])


def _is_same(rounded: npt.NDArray[np.float32], values: npt.NDArray[Any]) -> bool:
    if values.dtype.kind == "f":
        return bool((rounded.astype(values.dtype) == values).all())
    # Every integer up to 2^24 is a float32.
    return values.size == 0 or (int(values.min()) >= -(1 << 24) and int(values.max()) <= 1 << 24)


def _labels(labels: npt.ArrayLike, name: str) -> npt.NDArray[np.bool_]:
    """Return labels as bool: True for anomalous."""
    values = np.asarray(labels)
    _within(values, _RANKS, f"the array of {name}")
    if values.dtype == np.bool_:
        return values
    if values.dtype.kind not in "iuf" and values.size:
        raise InvalidInputError(f"the {name} have dtype {values.dtype}; give bool, or 0 for normal and 1 for anomalous")
    if values.dtype.kind == "f" and not np.isin(values, (0, 1, 255)).all():
        raise InvalidInputError(f"the {name} are floats other than 0, 1 and 255; choose a limit, such as labels > 0.5")
    if values.dtype.kind == "i" and (values < 0).any():
        raise InvalidInputError(f"the {name} have negative values; give 0 for normal and 1 for anomalous")
    marks: npt.NDArray[np.bool_] = np.not_equal(values, 0)
    return marks


def _maps(maps: Any, name: str) -> list[npt.NDArray[Any]]:
    """Return a list of arrays of two dimensions."""
    listed = [_unmasked(value, f"{name}[{place}]") for place, value in enumerate(_listed(maps, name))]
    for place, values in enumerate(listed):
        if values.ndim != 2:
            raise InvalidInputError(f"{name}[{place}] has shape {values.shape}; give (height, width)")
        _within(values, _LARGEST_MAP, f"{name}[{place}]")
    return listed


def _unmasked(values: Any, name: str) -> npt.NDArray[Any]:
    """Return an array of these values; masked ones are refused, because every value counts."""
    if np.ma.is_masked(values):
        raise InvalidInputError(f"{name} is a masked array; give the values that count, such as scores.compressed()")
    return np.asarray(values)


def _listed(values: Any, name: str) -> list[Any]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable) or (isinstance(values, np.ndarray) and values.ndim == 0):
        raise TypeError(f"{name} is {type(values).__name__}; give a list with one for each image")
    return list(values)


def _within(values: npt.NDArray[Any], largest: int, name: str) -> None:
    if values.size > largest:
        raise InvalidInputError(f"{name} has shape {values.shape}; at most {largest} values can be measured")


def _mask(mask: npt.NDArray[Any], values: npt.NDArray[Any], place: int) -> npt.NDArray[np.uint8]:
    if mask.shape != values.shape:
        raise InvalidInputError(
            f"masks[{place}] has shape {mask.shape}, and its map {values.shape}; resize the mask to the map"
        )
    return np.ascontiguousarray(_labels(mask, f"masks[{place}]")).view(np.uint8)


def _flat(maps: list[npt.NDArray[Any]]) -> tuple[list[npt.NDArray[np.float32]], Callable[[float], float]]:
    """Return maps as float32 in the order of all their values, and the function to the original values: `float` if they are the same."""
    if not maps:
        return [], float
    total = sum(values.size for values in maps)
    if total > _RANKS:
        raise InvalidInputError(f"the maps have {total} values together; at most {_RANKS} can be measured")
    exact, original = _exact(np.concatenate([values.ravel() for values in maps]), "maps")
    ends = np.cumsum([values.size for values in maps])[:-1]
    return [part.reshape(values.shape) for part, values in zip(np.split(exact, ends), maps, strict=True)], original


def _scaled(maps: list[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
    """Return the maps as float32, all together from 0 to 1."""
    wide = [values.astype(np.float64) for values in maps]
    smallest, largest = min(values.min() for values in wide if values.size), max(values.max() for values in wide if values.size)
    # In halves: the difference may exceed the largest float64.
    half = (largest / 2 - smallest / 2) or 1.0
    return [np.ascontiguousarray((values / 2 - smallest / 2) / half, dtype=np.float32) for values in wide]


def _with_aupro_200(found: Evaluation, other: Evaluation) -> Evaluation:
    """Return an evaluation with the ``pixel_aupro_200`` of another one."""

    def with_it(metrics: Metrics, of: Metrics) -> Metrics:
        return replace(metrics, pixel_aupro_200=of.pixel_aupro_200)

    categories = {name: with_it(metrics, other.categories[name]) for name, metrics in found.categories.items()}
    return Evaluation(categories, with_it(found.mean, other.mean), with_it(found.pooled, other.pooled))


def _same(count: int, other: int, name: str, other_name: str) -> None:
    if count != other:
        raise InvalidInputError(f"there are {count} {name} and {other} {other_name}; give one for each")
