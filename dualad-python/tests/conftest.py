"""Images and models that the tests make for themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import dualad

#: A network small enough for a test: 64 x 64 pixels.
TINY: dict[str, Any] = {
    "network": {
        "grid": [4, 4],
        "neighbor_mask": [1, 1],
        "levels": 2,
        "narrow_width": 8,
        "chunk_width": 8,
        "ffn_width": 8,
        "heads": 2,
        "encoder_layers": 1,
        "memory_slots": 6,
    },
    "train": {"epochs": 2, "batch_size": 4},
    "bank": None,
}

Array = npt.NDArray[np.uint8]


def picture(seed: int, height: int = 72, width: int = 80, defect: bool = False) -> Array:
    """Return a striped part with a little noise, and with a bright spot if it is defective."""
    noise = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    level = 120 + 40 * np.sin(rows / 5) + 30 * np.cos(columns / 7) + noise.normal(0, 3, (height, width))
    image = np.stack([level, level * 0.9, level * 0.7], axis=2)
    if defect:
        image[20:34, 30:46] = (255, 20, 240)
    return image.clip(0, 255).astype(np.uint8)


def fit(images: Any, **options: Any) -> dualad.Detector:
    """Train the tiny network, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dualad.DualadWarning)
        return dualad.Detector.fit(images, recipe=TINY, **options)


@pytest.fixture(scope="session")
def pictures() -> list[Array]:
    return [picture(seed) for seed in range(12)]


@pytest.fixture(scope="session")
def detector(pictures: list[Array]) -> dualad.Detector:
    """A detector of one category, "part", with thresholds."""
    return fit({"part": pictures})


@pytest.fixture(scope="session")
def model(detector: dualad.Detector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    detector.save(folder)
    return folder


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Image files: gray and RGB, good and defective, of several sizes."""
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    folder = tmp_path_factory.mktemp("images")
    found = []
    for index in range(11):
        pixels = picture(100 + index, 60 + 7 * index, 90 - 3 * index, defect=index % 3 == 0)
        path = folder / f"{index:02}.png"
        image.fromarray(pixels[:, :, 0] if index == 5 else pixels).save(path)
        found.append(path)
    return found


@pytest.fixture(scope="session")
def program() -> str:
    """The program `dualad`, of the same sources as this package."""
    named = os.environ.get("DUALAD_PROGRAM")
    root = Path(__file__).parents[2]
    target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    for path in [named] if named else [str(target / "release" / "dualad"), str(target / "debug" / "dualad")]:
        found = shutil.which(path)
        if found:
            return found
    pytest.skip("the program dualad is not built: cargo build, or name it by DUALAD_PROGRAM")


@pytest.fixture
def script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs Python code in a process of its own."""

    def run(code: str, *arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    return run
