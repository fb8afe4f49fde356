"""The snippets of docs/scale.md, each with its engine, where that is installed."""

from __future__ import annotations

import importlib.util
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import fit, picture

GUIDE = Path(__file__).parents[2] / "docs" / "scale.md"


def snippets() -> list[str]:
    if not GUIDE.exists():
        pytest.skip(f"{GUIDE} is not there: this is not a clone")
    return re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_a_folder_becomes_a_parquet_file(tmp_path: Path) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        pytest.skip("pyarrow is not installed")
    import pyarrow.parquet as pq  # type: ignore[import-not-found, unused-ignore]

    [code] = [code for code in snippets() if "ParquetWriter" in code]
    contents = {f"photos/line4/{number:04}.png": b"content %d" % number for number in range(1100)}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    file = pq.ParquetFile(tmp_path / "images.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [1000, 100]
    assert {row["path"]: row["image"] for row in file.read().to_pylist()} == contents


@pytest.mark.parametrize("engine", ["daft", "ray", "pyspark"])
def test_an_engine_gives_the_scores_of_the_detector(engine: str, tmp_path: Path) -> None:
    for needed in (engine, "pyarrow", "PIL"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    import pyarrow as pa  # type: ignore[import-not-found, unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-not-found, unused-ignore]
    from PIL import Image

    found = snippets()
    [shared] = [code for code in found if "def inspected(" in code]
    [code] = [code for code in found if code.startswith(f"# needs: {engine}\n")]
    detector = fit({"gear": [picture(seed) for seed in range(12)]})
    detector.save(tmp_path / "model")
    images: list[bytes | None] = []
    for seed in range(20):
        content = io.BytesIO()
        Image.fromarray(picture(100 + seed, defect=seed % 5 == 0)).save(content, "png")
        images.append(content.getvalue())
    images[7], images[9] = b"broken", None
    table = pa.table({"id": list(range(20)), "line": ["A", "B"] * 10, "image": images})
    pq.write_table(table, tmp_path / "images.parquet", compression="zstd", row_group_size=6)

    script = tmp_path / "script.py"
    script.write_text(shared + "\n" + code, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    if engine == "pyspark" and "JAVA_HOME" in done.stderr:
        pytest.skip("there is no Java")
    assert done.returncode == 0, done.stderr[-3000:]

    [folder] = tmp_path.glob("scores-*")
    rows = pq.read_table(folder).sort_by("id").to_pylist()
    assert [row["id"] for row in rows] == list(range(20))
    for row, image in zip(rows, images, strict=True):
        got = row.get("found", row)
        if image is None:
            assert got["score"] is None and got["error"] is None
        elif image == b"broken":
            assert got["score"] is None and got["error"]
        else:
            alone = detector.inspect(image)
            assert got["decision"] == alone.decision
            assert got["score"] == pytest.approx(alone.score, rel=1e-5)
