"""The code of docs/python.md: it is checked for types, and run from top to bottom."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from conftest import picture, resnet18, save_safetensors

import dualad

GUIDE = Path(__file__).parents[2] / "docs" / "python.md"


def snippets() -> list[str]:
    if not GUIDE.exists():
        pytest.skip(f"{GUIDE} is not there: this is not a clone")
    return re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


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
            pixels = picture(seed) if "plate" not in place else picture(seed)[::-1]
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
