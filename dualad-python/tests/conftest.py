"""Images and models that the tests make for themselves."""

from __future__ import annotations

import json
import os
import shutil
import struct
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


def resnet18() -> dict[str, Array]:
    """Random weights with the names and shapes of torchvision's ResNet-18."""
    random = np.random.default_rng(1)
    found: dict[str, Any] = {}

    def convolution(name: str, out: int, channels: int, side: int) -> None:
        found[f"{name}.weight"] = random.normal(0, (2 / (channels * side * side)) ** 0.5, (out, channels, side, side))

    def norm(name: str, channels: int) -> None:
        for field, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            found[f"{name}.{field}"] = np.full(channels, value)

    convolution("conv1", 64, 3, 7)
    norm("bn1", 64)
    channels = 64
    for layer, out in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f"layer{layer}.{block}"
            convolution(f"{name}.conv1", out, channels, 3)
            norm(f"{name}.bn1", out)
            convolution(f"{name}.conv2", out, out, 3)
            norm(f"{name}.bn2", out)
            if channels != out:
                convolution(f"{name}.downsample.0", out, channels, 1)
                norm(f"{name}.downsample.1", out)
            channels = out
    found["fc.weight"], found["fc.bias"] = random.normal(0, 0.01, (1000, 512)), np.zeros(1000)
    return {name: value.astype(np.float32) for name, value in found.items()}


def save_safetensors(path: Path, tensors: dict[str, Any]) -> None:
    header, at = {}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            file.write(value.tobytes())


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
