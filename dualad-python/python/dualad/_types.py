"""The values that the native half takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, TypedDict, Union

import numpy as np
import numpy.typing as npt

Image: TypeAlias = Union[str, bytes, "npt.NDArray[np.uint8]"]

class SyntheticWeights:
    """Random weights of a seed, for tests and measurements of speed. They detect nothing."""

    def __init__(self, seed: int) -> None:
        self.seed = seed


TrainingImages: TypeAlias = Union[str, Sequence[tuple[str, Image]]]
Source: TypeAlias = Union[int, bytes, str]
OnStep: TypeAlias = Callable[
    [str, int, int, Union[int, None], Union[int, None], Union[float, None], Union[float, None]], object
]
Scored: TypeAlias = tuple[str, bool, float, "npt.NDArray[np.float32]", Union["npt.NDArray[np.uint8]", None]]


class Settings(TypedDict):
    """The settings of a detector."""

    weights: Source | None
    threads: int | None
    max_pixels: int | None
    precision: str | None
    calibration: str | None
    revision: str | None


class Rules(TypedDict):
    """The rules for thresholds."""

    reject: str | None
    review: str | None
    training_images: bool
