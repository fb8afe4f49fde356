"""Thresholds, and the rules that choose them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, Union

from dualad import _check, _native


@dataclass(frozen=True, slots=True)
class FalseAlarmRate:
    """The smallest threshold whose false-alarm rate is at most ``rate`` with probability ``confidence``. Needs good images."""

    #: The maximum share of good images at or above the threshold, between 0 and 1.
    rate: float = 0.01
    #: The probability of the guarantee, between 0 and 1.
    confidence: float = 0.95

    def __post_init__(self) -> None:
        _set(self, "rate", _check.number(self.rate, "rate", 0, 1, above=True, below=True))
        _set(self, "confidence", _check.number(self.confidence, "confidence", 0, 1, above=True, below=True))


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile of the scores of good images."""

    #: The share of good images below the threshold, from 0 to 1.
    quantile: float

    def __post_init__(self) -> None:
        _set(self, "quantile", _check.number(self.quantile, "quantile", 0, 1))


@dataclass(frozen=True, slots=True)
class F1Max:
    """The threshold with the best F1. Needs good and defective images."""


@dataclass(frozen=True, slots=True)
class Recall:
    """The highest threshold that a share of the defective images reaches. Needs defective images."""

    #: The share, above 0 and at most 1.
    share: float

    def __post_init__(self) -> None:
        _set(self, "share", _check.number(self.share, "share", 0, 1, above=True))


#: A rule that chooses a threshold.
Rule: TypeAlias = Union[FalseAlarmRate, Quantile, F1Max, Recall]


def _set(rule: object, name: str, value: float) -> None:
    # Rules are frozen.
    object.__setattr__(rule, name, value)


def rule_value(rule: Rule) -> dict[str, Any]:
    """Return a rule as a value for JSON, and check it."""
    if isinstance(rule, FalseAlarmRate):
        value: dict[str, Any] = {"kind": "false-alarm-rate", "rate": rule.rate, "confidence": rule.confidence}
    elif isinstance(rule, Quantile):
        value = {"kind": "quantile", "quantile": rule.quantile}
    elif isinstance(rule, F1Max):
        value = {"kind": "f1-max"}
    elif isinstance(rule, Recall):
        value = {"kind": "recall", "share": rule.share}
    else:
        raise TypeError(f"a rule is {type(rule).__name__}; give FalseAlarmRate, Quantile, F1Max or Recall")
    _native.check_rule(json.dumps(value))
    return value


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds that separate accepted, reviewed and rejected images."""

    #: The image score from which on an image is reviewed.
    review: float
    #: The image score from which on an image is rejected.
    reject: float
    #: The value of the anomaly map from which on a pixel belongs to a region.
    region: float
    #: The number of good images that chose them.
    normal_images: int
    #: The number of defective images that chose them.
    anomalous_images: int
    #: Warnings, such as of too few images for a rule's guarantee.
    warnings: tuple[str, ...]


class Calibration:
    """The thresholds of each category, and the pooled thresholds of all. It does not change, and can be pickled."""

    __slots__ = ("_json", "_value")

    def __init__(self, text: str) -> None:
        """Read JSON such as ``{"categories": {"gear": {"review": 2.1, "reject": 2.6}}, "pooled": {"reject": 2.9}}``."""
        self._json = _native.calibration_json(_check.text(text, "the calibration's JSON"))
        self._value: dict[str, Any] = json.loads(self._json)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read a file such as a model's ``calibration.json``."""
        return cls(_native.load_calibration(_check.path(path, "path")))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file, which gets its name when it is complete."""
        _native.save_calibration(self._json, _check.path(path, "path"))

    @property
    def categories(self) -> Mapping[str, Thresholds]:
        """The thresholds of each category."""
        return {name: _thresholds(value) for name, value in self._value.get("categories", {}).items()}

    @property
    def pooled(self) -> Thresholds | None:
        """The thresholds for images without a category, or of a category without thresholds."""
        value = self._value.get("pooled")
        return None if value is None else _thresholds(value)

    @property
    def precision(self) -> str:
        """The precision of the scores that the thresholds are for: ``f32`` or ``int8``."""
        return str(self._value.get("precision", "f32"))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Notices, and the warnings of each category's thresholds."""
        found = list(self._value.get("notices", []))
        for name, thresholds in self.categories.items():
            found += [f'category "{name}": {warning}' for warning in thresholds.warnings]
        if self.pooled is not None:
            found += [f"pooled thresholds: {warning}" for warning in self.pooled.warnings]
        return tuple(found)

    def merged_into(self, earlier: Calibration | None, *, replace_pooled: bool = False) -> Calibration:
        """Return these thresholds, with those of ``earlier`` for the categories that have none here, and its pooled ones.

        Without earlier thresholds, these are returned as they are.

        :raises InvalidInputError: for thresholds of two models or of two precisions: their scores differ.
        """
        if earlier is None:
            return self
        replaced = _check.flag(replace_pooled, "replace_pooled")
        return Calibration(_native.merge_calibrations(self._json, calibration_json(earlier, "earlier"), replaced))

    def to_json(self) -> str:
        """Return the JSON of ``calibration.json``."""
        return self._json

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calibration) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._json)

    def __reduce__(self) -> tuple[Any, ...]:
        return (Calibration, (self._json,))

    def __repr__(self) -> str:
        rejects = {name: thresholds.reject for name, thresholds in self.categories.items()}
        return f"Calibration(reject={rejects}, pooled={self.pooled and self.pooled.reject})"


def calibration_json(calibration: Calibration, name: str) -> str:
    """Return the JSON of thresholds."""
    if not isinstance(calibration, Calibration):
        raise TypeError(f"{name} is {type(calibration).__name__}; give a Calibration, such as Calibration.load(path)")
    return calibration.to_json()


def _thresholds(value: dict[str, Any]) -> Thresholds:
    return Thresholds(
        value["review"],
        value["reject"],
        value["region"],
        value["normal_images"],
        value["anomalous_images"],
        tuple(value.get("warnings", ())),
    )
