"""Visual anomaly detection: one model for all product categories, trained on normal images only.

    import dualad

    detector = dualad.Detector.fit("good-images", backbone="resnet18", weights="resnet18.safetensors")
    detector.save("model", with_backbone=True)

    detector = dualad.Detector.load("model")
    found = detector.inspect("part.png", category="gear")
    print(found.score, found.decision, found.regions)

:mod:`dualad.metrics` has exact metrics for arrays of any method.
"""

from __future__ import annotations

import atexit

from dualad import _native, metrics
from dualad._calibration import Calibration, F1Max, FalseAlarmRate, Quantile, Recall, Rule, Thresholds
from dualad._detector import Detector, OnProgress, WeightsLike
from dualad._errors import (
    CancelledError,
    DeviceError,
    DualadError,
    DualadWarning,
    FileError,
    FileMissingError,
    ForkError,
    ImageError,
    InternalError,
    InvalidInputError,
    ModelError,
    NumericError,
)
from dualad._images import ImageLike
from dualad._results import (
    Bounds,
    CategoryChange,
    Decision,
    Evaluation,
    Inspection,
    Metrics,
    Parts,
    Progress,
    Region,
    Training,
    Verdict,
)

__all__ = [
    "Bounds",
    "Calibration",
    "CancelledError",
    "CategoryChange",
    "Decision",
    "Detector",
    "DeviceError",
    "DualadError",
    "DualadWarning",
    "Evaluation",
    "F1Max",
    "FalseAlarmRate",
    "FileError",
    "FileMissingError",
    "ForkError",
    "ImageError",
    "ImageLike",
    "Inspection",
    "InternalError",
    "InvalidInputError",
    "Metrics",
    "ModelError",
    "NumericError",
    "OnProgress",
    "Parts",
    "Progress",
    "Quantile",
    "Recall",
    "Region",
    "Rule",
    "Thresholds",
    "Training",
    "Verdict",
    "WeightsLike",
    "metrics",
]

for _name in __all__:
    _value = globals()[_name]
    # An alias such as `Callable[..., object]` says of itself that it is a class.
    if issubclass(type(_value), type):
        # Tracebacks and pickles name the public module.
        _value.__module__ = __name__
del _name, _value

__version__: str = _native.VERSION

# Work that was left behind by an interrupt ends before the interpreter does.
atexit.register(_native.wait, 10.0)
