"""Inspection: kinds of images, equality with the program, errors."""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Array, fit, picture, resnet18, save_safetensors

import dualad
from dualad._types import SyntheticWeights


def bits(found: dualad.Inspection) -> tuple[str, bytes]:
    return found.to_json(), found.anomaly_map.tobytes()


def lines(program: str, model: Path, images: list[Path], *flags: str) -> list[dict[str, Any]]:
    command = [program, "inspect", "--model", str(model), "--json", "-", *flags, *map(str, images)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in printed.splitlines()]


def test_a_result_has_the_score_the_decision_the_map_and_the_regions(detector: dualad.Detector) -> None:
    good, bad = detector.inspect(picture(40), "part"), detector.inspect(picture(41, defect=True), category="part")
    assert 0 <= good.score < bad.score
    assert (bad.decision, bad.category, bad.width, bad.height) == ("reject", "part", 80, 72)
    assert bad.verdict is not None and bad.threshold == bad.verdict.reject <= bad.score
    assert bad.verdict.thresholds_of == "part"
    assert bad.anomaly_map.dtype == np.float32 and bad.anomaly_map.shape == (64, 64)
    assert bad.regions and bad.regions[0].peak >= bad.regions[-1].peak
    assert detector.inspect(picture(41, defect=True)).verdict.thresholds_of is None  # type: ignore[union-attr]
    row, column = np.unravel_index(bad.anomaly_map.argmax(), (64, 64))
    bounds = bad.regions[0].bounds
    assert bounds.x <= column * 80 / 64 <= bounds.x + bounds.width and bounds.y <= row * 72 / 64 <= bounds.y + bounds.height


def test_methods_of_a_result(detector: dualad.Detector) -> None:
    image = picture(41, defect=True)
    found = detector.inspect(image)
    assert found.map_at_original().shape == (72, 80)
    assert found.map_at_original().dtype == np.float32
    [whole] = found.regions_above(0.0)
    assert (whole.bounds.width, whole.bounds.height, whole.area) == (80, 72, 80 * 72)
    assert found.regions_above(1e9) == ()
    drawn = found.heat_map(image)
    assert drawn.dtype == np.uint8 and drawn.shape == image.shape and (drawn != image).any()
    assert (found.heat_map(image, opacity=0.0) == image).all()
    for wrong in (float("nan"),):
        with pytest.raises(dualad.InvalidInputError, match="nan"):
            found.regions_above(wrong)
    with pytest.raises(dualad.InvalidInputError, match="opacity"):
        found.heat_map(image, opacity=2.0)
    again = pickle.loads(pickle.dumps(found))
    assert bits(again) == bits(found) and again.verdict == found.verdict and again.regions == found.regions


def test_scores_are_those_of_the_program(program: str, detector: dualad.Detector, model: Path, files: list[Path]) -> None:
    for category, flags in ((None, ()), ("part", ("--category", "part"))):
        expected = lines(program, model, files, *flags)
        for source in (detector, dualad.Detector.load(model)):
            found = source.inspect_batch(files, category)
            for line, result in zip(expected, found, strict=True):
                line.pop("image", None)
                assert json.loads(result.to_json()) == line
                assert np.float32(result.score).tobytes() == np.float32(line["image_score"]).tobytes()
    # One image at a time, as one command for each.
    for path in files[:3]:
        [line] = lines(program, model, [path])
        assert detector.inspect(path).score == line["image_score"]


def test_heat_maps_are_those_of_the_program(
    program: str, detector: dualad.Detector, model: Path, files: list[Path], tmp_path: Path
) -> None:
    pil = pytest.importorskip("PIL.Image")
    for used, flags in ((detector, []), (detector.with_calibration(dualad.Calibration('{"pooled": {"reject": 40}}')), ["a"])):
        if flags:
            path = tmp_path / "calibration.json"
            path.write_text('{"pooled": {"reject": 40}}')
            flags = ["--calibration", str(path)]
        lines(program, model, files[:2], "--heatmaps", str(tmp_path / "maps"), *flags)
        for path, drawn in zip(files, sorted((tmp_path / "maps").iterdir()), strict=False):
            assert (np.asarray(pil.open(drawn)) == used.inspect(path).heat_map(path)).all()


def test_the_classes_are_those_of_the_public_module() -> None:
    for name in dualad.__all__:
        found = getattr(dualad, name)
        if isinstance(found, type) and name not in ("Decision", "ImageLike", "OnProgress", "Rule", "WeightsLike"):
            assert found.__module__ == "dualad", name
        if isinstance(found, type) and issubclass(found, Exception) and found is not dualad.DualadWarning:
            assert issubclass(found, dualad.DualadError), name


def test_every_kind_of_image_has_the_score_of_its_file(detector: dualad.Detector, files: list[Path]) -> None:
    pil = pytest.importorskip("PIL.Image")
    for path in files[:6]:
        expected = bits(detector.inspect(path))
        image = pil.open(path)
        array = np.asarray(image)
        kinds: list[dualad.ImageLike] = [
            str(path),
            path.read_bytes(),
            bytearray(path.read_bytes()),
            memoryview(path.read_bytes()),
            image,
            array,
            np.asfortranarray(array),
        ]
        for kind in kinds:
            assert bits(detector.inspect(kind)) == expected, type(kind)


def test_pil_images_have_the_scores_of_their_files(detector: dualad.Detector, tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image")
    pixels = picture(3)
    deep = np.random.default_rng(0).integers(0, 1 << 16, (72, 80), np.uint16)
    color = pil.fromarray(pixels)
    alpha = color.copy()
    alpha.putalpha(pil.fromarray(pixels[:, :, 1]))
    images = {
        "gray": color.convert("L"),
        "bits": color.convert("1"),
        "palette": color.quantize(16),
        "alpha": alpha,
        "gray-alpha": alpha.convert("LA"),
        "deep": pil.fromarray(deep),
    }
    for name, image in images.items():
        path = tmp_path / f"{name}.png"
        image.save(path)
        assert bits(detector.inspect(path)) == bits(detector.inspect(pil.open(path))), name
    # The orientation of a camera that was held on its side.
    path = tmp_path / "turned.png"
    exif = pil.Exif()
    exif[0x0112] = 6
    color.save(path, exif=exif)
    turned = detector.inspect(pil.open(path))
    assert (turned.width, turned.height) == (72, 80)
    assert bits(turned) == bits(detector.inspect(path))
    for image in (pil.fromarray(pixels[:, :, 0].astype(np.float32)), pil.fromarray(pixels[:, :, 0].astype(np.int32) - 200)):
        with pytest.raises(dualad.ImageError, match="mode"):
            detector.inspect(image)


def test_arrays_of_any_strides(detector: dualad.Detector) -> None:
    image = picture(7, 90, 100, defect=True)
    big = np.zeros((180, 300, 3), np.uint8)
    big[::2, ::3] = image
    cases: dict[str, Array] = {
        "fortran": np.asfortranarray(image),
        "steps": big[::2, ::3],
        "part": np.pad(image, ((3, 4), (5, 6), (0, 0)))[3:-4, 5:-6],
        "upside down": np.ascontiguousarray(image[::-1])[::-1],
        "mirrored": np.ascontiguousarray(image[:, ::-1])[:, ::-1],
        "bgr": np.ascontiguousarray(image[:, :, ::-1])[:, :, ::-1],
        "transposed": np.ascontiguousarray(image.transpose(1, 0, 2)).transpose(1, 0, 2),
        "planes": np.ascontiguousarray(image.transpose(2, 0, 1)).transpose(1, 2, 0),
        "read only": np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape),
    }
    expected = bits(detector.inspect(image))
    for name, case in cases.items():
        assert (case == image).all()
        assert bits(detector.inspect(case)) == expected, name
    gray = image[:, :, 1]
    expected = bits(detector.inspect(np.ascontiguousarray(gray)))
    for case in (gray, gray[:, :, None], np.broadcast_to(gray[:, :, None], image.shape)):
        assert bits(detector.inspect(case)) == expected
    # All rows are the same memory.
    row = np.broadcast_to(image[:1], image.shape)
    assert bits(detector.inspect(row)) == bits(detector.inspect(row.copy()))
    assert detector.inspect(np.zeros((1, 1), np.uint8)).score >= 0


class Tensor:
    """A stand-in for a tensor of another library."""

    def __init__(self, array: Array) -> None:
        self.array = array
        self.ndim, self.shape = array.ndim, array.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.array

    def __iter__(self) -> Iterator[Array]:
        return iter(self.array)


def test_other_arrays_are_taken_and_their_rows_are_no_images(detector: dualad.Detector) -> None:
    image = picture(3)
    score = detector.inspect(image).score
    assert bits(detector.inspect(Tensor(image))) == bits(detector.inspect(image))
    many: Any = Tensor(image[None])
    assert [found.score for found in detector.inspect_batch(many)] == [score]
    wrong: Any
    for wrong in (Tensor(image), Tensor(image[..., 0])):
        with pytest.raises(TypeError, match="is one Tensor of shape"):
            detector.inspect_batch(wrong)


def test_batches(detector: dualad.Detector, files: list[Path]) -> None:
    assert detector.inspect_batch([]) == []
    images = [picture(seed, defect=seed % 2 == 0) for seed in range(19)]
    steps: list[dualad.Progress] = []
    found = detector.inspect_batch(images, progress=steps.append)
    assert [(step.phase, step.done, step.total) for step in steps] == [("inspecting", done, 19) for done in (8, 16, 19)]
    for image, result in zip(images, found, strict=True):
        assert np.isclose(result.score, detector.inspect(image).score, rtol=1e-5)
    assert [bits(result) for result in detector.inspect_batch(iter(images))] == [bits(result) for result in found]
    assert [bits(result) for result in detector.inspect_batch(np.stack(images))] == [bits(result) for result in found]
    named = detector.inspect_batch(images[:3], ["part", None, "part"])
    assert [result.category for result in named] == ["part", None, "part"]


def test_an_image_that_fails_leaves_the_others(detector: dualad.Detector, files: list[Path]) -> None:
    images: list[Any] = [files[0], "missing.png", np.zeros((4, 4)), b"no image", picture(1), files[1]]
    found = detector.inspect_batch(images, errors="return")
    kinds = [type(result) for result in found]
    assert kinds == [
        dualad.Inspection,
        dualad.FileMissingError,
        dualad.ImageError,
        dualad.ImageError,
        dualad.Inspection,
        dualad.Inspection,
    ]
    with pytest.raises(dualad.ImageError, match="float64"):
        detector.inspect_batch(images)
    del images[2]
    with pytest.raises(dualad.FileMissingError, match=r"missing\.png"):
        detector.inspect_batch(images)


@pytest.mark.parametrize(
    ("image", "kind", "text"),
    [
        ("missing.png", dualad.FileMissingError, "missing.png"),
        ("missing.png", FileNotFoundError, "missing.png"),
        ("missing.png", OSError, "missing.png"),
        (Path("."), dualad.DualadError, "."),
        (b"", dualad.ImageError, "<bytes>"),
        (b"\x89PNG\r\n\x1a\n1234", ValueError, "<bytes>"),
        (np.zeros((4, 4), np.float32), dualad.ImageError, "uint8"),
        (np.zeros((4, 4), bool), dualad.ImageError, "255"),
        (np.zeros((4, 4), np.uint16), dualad.ImageError, "uint16"),
        (np.zeros((3, 4, 5), np.uint8), dualad.ImageError, "transpose"),
        (np.zeros((4, 5, 4), np.uint8), dualad.ImageError, "fourth channel"),
        (np.zeros((2, 4, 5, 3), np.uint8), dualad.ImageError, "inspect_batch"),
        (np.zeros((4,), np.uint8), dualad.ImageError, "shape"),
        (np.zeros((0, 4), np.uint8), dualad.ImageError, "shape"),
        (np.zeros((4, 0, 3), np.uint8), dualad.ImageError, "shape"),
        (None, TypeError, "NoneType"),
        (7, TypeError, "int"),
        ([1, 2], TypeError, "list"),
    ],
)
def test_images_that_cannot_be_used(detector: dualad.Detector, image: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text.replace(".", r"\.")):
        detector.inspect(image)


def test_errors_have_the_file(detector: dualad.Detector, tmp_path: Path) -> None:
    path = tmp_path / "none.png"
    with pytest.raises(dualad.FileMissingError) as raised:
        detector.inspect(path)
    assert raised.value.errno == 2 and raised.value.filename == str(path)
    assert str(raised.value).startswith(f"cannot read {path}: ")
    with pytest.raises(dualad.FileMissingError):
        dualad.Detector.load(tmp_path / "no-model")
    path.write_bytes(b"no image")
    with pytest.raises(dualad.ImageError, match="none.png"):
        detector.inspect(path)


def test_wrong_arguments(detector: dualad.Detector) -> None:
    image = picture(1)
    with pytest.raises(dualad.InvalidInputError, match='"prt".*part'):
        detector.inspect(image, "prt")
    with pytest.raises(dualad.InvalidInputError, match="2 images and 3 categories"):
        detector.inspect_batch([image, image], ["part", None, None])
    single: list[Any] = ["a.png", b"x", Path("a.png"), image, image[:, :, 0]]
    for one in single:
        with pytest.raises(TypeError, match="list of images"):
            detector.inspect_batch(one)
    with pytest.raises(TypeError, match="function"):
        detector.inspect_batch([image], progress=3)  # type: ignore[call-overload]
    with pytest.raises(dualad.InvalidInputError, match="errors"):
        detector.inspect_batch([image], errors="ignore")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="category"):
        detector.inspect(image, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Detector\.load"):
        dualad.Detector()


def test_an_image_above_the_limit_is_refused(model: Path) -> None:
    small = dualad.Detector.load(model, max_pixels=1000)
    for image in (picture(1), picture(1)[::-1]):
        with pytest.raises(dualad.ImageError, match="1000"):
            small.inspect(image)
    assert small.inspect(picture(1, 20, 30)).width == 30


def test_an_exception_of_progress_is_raised(detector: dualad.Detector) -> None:
    def fail(progress: dualad.Progress) -> None:
        raise KeyError(progress.done)

    with pytest.raises(KeyError, match="8"):
        detector.inspect_batch([picture(1)] * 40, progress=fail)


def test_a_detector_is_pickled_with_everything(detector: dualad.Detector) -> None:
    image = picture(9, defect=True)
    expected = bits(detector.inspect(image, "part"))
    for protocol in (2, pickle.HIGHEST_PROTOCOL):
        again = pickle.loads(pickle.dumps(detector, protocol))
        assert bits(again.inspect(image, "part")) == expected
        assert again.calibration == detector.calibration and again.training == detector.training
    two = pickle.loads(pickle.dumps(detector.with_threads(2)))
    assert two.threads == 2 and bits(two.inspect(image, "part")) == expected
    # The record of its training images is kept.
    with pytest.raises(dualad.InvalidInputError, match="trained on"):
        again.calibrate([picture(seed) for seed in range(12)])
    assert copy.deepcopy(detector) is copy.copy(detector) is detector
    again = dualad.Detector.from_bytes(detector.to_bytes())
    assert bits(again.inspect(image, "part")) == expected


def test_bytes_that_are_no_model(detector: dualad.Detector) -> None:
    import zipfile

    whole = detector.to_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive, zipfile.ZipFile(io.BytesIO(whole)) as stored:
        for name in stored.namelist():
            archive.writestr(name, stored.read(name))
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("config.json", b"{}")
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for data in (b"", b"no zip", whole[:-30], whole[200:], bytes(damaged), packed.getvalue(), other.getvalue()):
        with pytest.raises(dualad.ModelError, match="bytes"):
            dualad.Detector.from_bytes(data)
    with pytest.raises(dualad.ModelError, match="is compressed"):
        dualad.Detector.from_bytes(packed.getvalue())


def test_a_backbone_with_weights_is_pickled(
    tmp_path: Path, pictures: list[Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    synthetic: Any = SyntheticWeights(7)
    made = fit({"part": pictures}, backbone="resnet18", weights=synthetic, epochs=1)
    image = picture(9, defect=True)
    again = pickle.loads(pickle.dumps(made))
    assert bits(again.inspect(image)) == bits(made.inspect(image))
    # A file of weights that is not there any more when the pickle is read.
    weights = tmp_path / "weights.safetensors"
    save_safetensors(weights, resnet18())
    made = fit({"part": pictures}, backbone="resnet18", weights=weights, epochs=1)
    packed = pickle.dumps(made)
    weights.unlink()
    again = pickle.loads(packed)
    assert bits(again.inspect(image)) == bits(made.inspect(image))
    assert bits(pickle.loads(pickle.dumps(again)).inspect(image)) == bits(made.inspect(image))
    again.save(tmp_path / "model", with_backbone=True)
    assert bits(dualad.Detector.load(tmp_path / "model").inspect(image)) == bits(made.inspect(image))
    # A relative path, and another folder afterwards.
    with monkeypatch.context() as moved:
        moved.chdir(tmp_path)
        near = dualad.Detector.load("model")
    assert bits(pickle.loads(pickle.dumps(near)).inspect(image)) == bits(made.inspect(image))
