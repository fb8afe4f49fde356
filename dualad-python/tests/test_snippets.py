"""The code of docs/python.md: it is checked for types, and run from top to bottom."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, picture, resnet18, save_safetensors

import dualad

GUIDE = Path(__file__).parents[2] / "docs" / "python.md"
ONNX = GUIDE.with_name("onnx.md")


def snippets(guide: Path = GUIDE) -> list[str]:
    if not guide.exists():
        pytest.skip(f"{guide} is not there: this is not a clone")
    return re.findall(r"^```python\n(.*?)^```", guide.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def needs(code: str) -> list[str]:
    """Return the packages that a snippet names and that are not installed."""
    named = re.match(r"# needs: (.*)", code)
    packages = named[1].split(", ") if named else []
    return [package for package in packages if importlib.util.find_spec(package) is None]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the guide names."""
    pil = pytest.importorskip("PIL.Image", reason="pillow is not installed")
    places = {"parts/gear": (0, 10), "parts/plate": (20, 26), "new-good": (40, 52)}
    places |= {"all-parts/gear": (0, 10), "all-parts/plate": (20, 26), "all-parts/cup": (60, 66)}
    for place, (first, last) in places.items():
        (tmp_path / place).mkdir(parents=True)
        for seed in range(first, last):
            # The products differ: a dataset whose folders look alike is refused.
            pixels = {"plate": picture(seed)[::-1], "cup": 255 - picture(seed)}.get(place.split("/")[-1], picture(seed))
            pil.fromarray(pixels).save(tmp_path / place / f"{seed:03}.png")
    pil.fromarray(picture(90, defect=True)).save(tmp_path / "part.png")
    save_safetensors(tmp_path / "resnet18.safetensors", resnet18())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_snippet_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    found = snippets()
    assert len(found) > 8
    for number, code in enumerate(found):
        compiled = compile(code, f"{GUIDE.name}, snippet {number + 1}", "exec")
        missing = needs(code)
        if missing:
            with capsys.disabled():
                print(f"skipped: snippet {number + 1} of {GUIDE.name} (not installed: {', '.join(missing)})")
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dualad.DualadWarning)
            warnings.simplefilter("ignore", ResourceWarning)
            exec(compiled, names)
    assert (folder / "heat.png").exists() and (folder / "model" / "backbone.safetensors").exists()


def test_snippets_have_the_types_of_the_package(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not installed")
    path = tmp_path / "guide.py"
    path.write_text("\n".join(code for code in snippets() if not code.startswith("# needs:")), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_resizing_of_the_guide_to_onnx_is_that_of_an_inspection() -> None:
    """An image that has the size of the input is not resized: with the same pixels, the score and the map have the same bits."""
    names: dict[str, Any] = {}
    [code] = [code for code in snippets(ONNX) if "def resized" in code]
    exec(compile(code, ONNX.name, "exec"), names)
    # Sides whose weights are no multiples of a power of two: 48 x 80.
    recipe = {**TINY, "network": {**TINY["network"], "grid": [3, 5]}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dualad.DualadWarning)
        detector = dualad.Detector.fit({"part": [picture(seed) for seed in range(12)]}, recipe=recipe)
    random = np.random.default_rng(4)
    # Smaller, larger, by whole and broken factors, and with one side that stays.
    sizes = [(1, 1), (2, 3), (17, 31), (47, 81), (48, 80), (48, 99), (96, 80), (96, 160), (53, 97), (100, 130), (72, 333), (1001, 777)]
    for height, width in sizes:
        for image in (random.integers(0, 256, (height, width, 3), np.uint8), random.choice(np.array([0, 255], np.uint8), (height, width, 3))):
            pixels = names["resized"](image, 48, 80)
            assert pixels.dtype == np.uint8 and pixels.shape == (48, 80, 3)
            found, wanted = detector.inspect(pixels), detector.inspect(image)
            assert found.score == wanted.score and (found.anomaly_map == wanted.anomaly_map).all(), (height, width)
