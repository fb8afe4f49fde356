"""Arguments of a wrong type, out of range, without effect, or of another model: the error names the argument and the reason."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, Array, fit, picture, resnet18, save_safetensors

import dualad

Call = Callable[[], object]


def refuse(call: Call, kind: type[Exception], *texts: str) -> None:
    with pytest.raises(kind) as raised:
        call()
    message = str(raised.value)
    for text in (*texts,):
        assert text in message, message
    for internal in ("extract", "u64", "usize", "enum", "column", "serde", "the options"):
        assert internal not in message, message


@pytest.mark.parametrize("weights", [3, 0, 4, -1, True, 1.5, np.int64(3), bytearray(b"x"), ["a"]])
def test_weights_are_no_number(pictures: list[Array], model: Path, weights: Any) -> None:
    made = [
        lambda: dualad.Detector.fit({"part": pictures}, backbone="resnet18", weights=weights, epochs=0),
        lambda: dualad.Detector.load(model, weights=weights),
        lambda: dualad.Detector.from_pretrained("owner/name", weights=weights),
    ]
    for call in made:
        refuse(call, TypeError, f"weights is {type(weights).__name__}", '"hub"')


def test_settings_without_effect_are_refused(detector: dualad.Detector, pictures: list[Array], model: Path, tmp_path: Path) -> None:
    image = picture(600)
    weights = tmp_path / "weights.safetensors"
    save_safetensors(weights, resnet18())
    runs: list[tuple[dict[str, Any], str]] = [
        ({"weights": "/nope.pth"}, "weights"),
        ({"weights": "hub"}, "weights"),
        ({"weights": weights, "backbone": "filter-bank"}, "weights"),
        ({"weights": weights.read_bytes()}, "weights"),
        ({"tile_overlap": 0.1}, "tile_overlap"),
        ({"hold_out": 0, "reject": dualad.Quantile(0.5)}, "hold_out"),
        ({"reject": dualad.F1Max()}, "images of defects"),
        ({"review": dualad.Recall(0.9)}, "images of defects"),
        ({"hold_out": 0.0, "review": dualad.Quantile(0.5)}, "hold_out"),
    ]
    for options, text in runs:
        refuse(lambda options=options: fit({"part": pictures}, **options), dualad.InvalidInputError, text)  # type: ignore[misc]
    refuse(lambda: dualad.Detector.load(model, weights=weights), dualad.InvalidInputError, "weights", "filter-bank")
    refuse(lambda: detector.calibrate({"part": [image]}, category="part"), dualad.InvalidInputError, "category")


def test_what_would_have_no_effect_is_refused(detector: dualad.Detector, pictures: list[Array]) -> None:
    pil = pytest.importorskip("PIL.Image")
    masked = np.ma.masked_greater(picture(1), 100)
    refuse(lambda: detector.inspect(masked), dualad.ImageError, "masked")
    view: Any = memoryview(picture(1))  # type: ignore[arg-type]
    refuse(lambda: detector.inspect(view), dualad.ImageError, "give the array itself")
    refuse(lambda: detector.inspect(pil.fromarray(picture(1)[..., 0].astype(np.int32))), dualad.ImageError, "no value above 255")
    scores = np.ma.masked_greater(np.arange(4.0), 2)
    refuse(lambda: dualad.metrics.auroc(scores, [0, 0, 1, 1]), dualad.InvalidInputError, "masked")
    refuse(lambda: dualad.Detector.fit({"part": pictures, "plate": []}), dualad.InvalidInputError, "no images of 'plate'")
    wrong: Any = None
    refuse(lambda: dualad.Detector.from_bytes(wrong), TypeError, "data is NoneType")
    two = fit({"part": pictures[:6], "plate": pictures[6:]})
    good, bad = {"part": [picture(600)]}, [picture(601, defect=True)]
    refuse(lambda: two.calibrate(good, bad), dualad.InvalidInputError, "listed by product")


def test_thresholds_of_another_model_are_refused(detector: dualad.Detector, model: Path, tmp_path: Path) -> None:
    other = fit({"part": [picture(seed) for seed in range(40, 52)]}, seed=9)
    other.save(tmp_path / "other")
    thresholds = dualad.Calibration.load(tmp_path / "other" / "calibration.json")
    with pytest.raises(dualad.ModelError) as loading:
        dualad.Detector.load(model, calibration=thresholds)
    with pytest.raises(dualad.ModelError, match="another model") as setting:
        detector.with_calibration(thresholds)
    assert str(setting.value).split("its thresholds")[1] == str(loading.value).split("its thresholds")[1]
    unknown = dualad.Calibration('{"categories": {"gear": {"reject": 1}}}')
    refuse(lambda: detector.with_calibration(unknown), dualad.ModelError, "gear")
    # Thresholds that name no model are of any.
    assert detector.with_calibration(dualad.Calibration('{"pooled": {"reject": 2}}')).inspect(picture(1)).threshold == 2


def test_thresholds_and_scores_have_one_precision(detector: dualad.Detector, model: Path) -> None:
    assert detector.precision == "f32" and detector.calibration is not None and detector.calibration.precision == "f32"
    refuse(lambda: dualad.Detector.load(model, precision="int8"), dualad.ModelError, "int8")
    refuse(lambda: dualad.Detector.load(model, precision="bf16"), dualad.InvalidInputError, "bf16", "f32, int8")  # type: ignore[arg-type]
    fast = dualad.Detector.load(model, precision="int8", calibration=False)
    assert fast.precision == "int8" and fast.calibration is None
    image = picture(1)
    score = fast.inspect(image).score
    assert 0 < abs(score / detector.inspect(image).score - 1) < 0.05
    again = pickle.loads(pickle.dumps(fast))
    assert again.precision == "int8" and again.inspect(image).score == score
    refuse(lambda: fast.with_calibration(detector.calibration), dualad.ModelError, "int8")
    chosen = fast.calibrate({"part": [picture(seed) for seed in range(60, 72)]})
    assert chosen.precision == "int8"
    fast.with_calibration(chosen).save(model.parent / "fast")
    saved = dualad.Detector.load(model.parent / "fast")
    assert saved.precision == "int8" and saved.inspect(image).score == score


def test_the_default_rules_are_those_of_the_library(detector: dualad.Detector, pictures: list[Array]) -> None:
    good = [picture(seed) for seed in range(200, 240)]
    scores = sorted(found.score for found in detector.inspect_batch(good))
    first = detector.calibration
    assert first is not None and first.categories["part"].review < first.categories["part"].reject
    found = detector.calibrate({"part": good}).categories["part"]
    assert found.review == pytest.approx(scores[38], rel=1e-6) and found.review < found.reject
    reviewed = detector.calibrate({"part": good}, review=dualad.Quantile(0.5)).categories["part"]
    assert reviewed.review == pytest.approx(scores[20], rel=1e-6) and reviewed.reject == found.reject
    # With a rule of one's own for rejection, a review is asked for by name.
    own = detector.calibrate({"part": good}, reject=dualad.Quantile(0.9)).categories["part"]
    assert own.review == own.reject
    for method in (dualad.Detector.fit, dualad.Detector.calibrate):
        assert method.__doc__ is not None and "by default there is no review band" not in method.__doc__


def test_arrays_of_any_shape_are_refused_before_they_are_copied(detector: dualad.Detector, tmp_path: Path) -> None:
    """Copies of these would take terabytes."""
    level = np.uint8(7)
    wide = [np.broadcast_to(level, (10**6, 10**6)), np.broadcast_to(level, (10**6, 10**6, 3)), np.broadcast_to(level, (10**6, 10**6, 1))]
    for image in wide:
        refuse(lambda: detector.inspect(image), dualad.ImageError, "1000000000000", "100000000")  # noqa: B023
        refuse(lambda: detector.inspect_batch([picture(1), image]), dualad.ImageError, "100000000")  # noqa: B023
        [good, bad] = detector.inspect_batch([picture(1), image], errors="return")
        assert isinstance(good, dualad.Inspection) and isinstance(bad, dualad.ImageError)
        refuse(lambda: detector.calibrate([image]), dualad.ImageError, "100000000")  # noqa: B023
        refuse(lambda: dualad.Detector.fit({"part": [image]}), dualad.ImageError, "100000000")  # noqa: B023
        refuse(lambda: detector.inspect(picture(1)).heat_map(image), dualad.ImageError, "100000000")  # noqa: B023
    maps, masks = np.broadcast_to(np.float64(0.5), (2, 10**6, 10**6)), np.broadcast_to(np.uint8(1), (2, 10**6, 10**6))
    for call in (
        lambda: dualad.metrics.auroc(maps, masks),
        lambda: dualad.metrics.aupro(maps, masks),
        lambda: dualad.metrics.aupro([maps[0]], [masks[0]]),
        lambda: dualad.metrics.evaluate([0.1, 0.2], [0, 1], maps, masks),
        lambda: dualad.metrics.evaluate(np.broadcast_to(0.5, 10**13), np.broadcast_to(np.uint8(1), 10**13), [], []),
        lambda: dualad.metrics.evaluate([0.1], [1], [np.zeros((4, 4))], [masks[0]]),
    ):
        refuse(call, dualad.InvalidInputError, "shape")


def test_wrong_types_have_a_reason(detector: dualad.Detector, pictures: list[Array], model: Path, tmp_path: Path) -> None:
    thresholds = detector.calibration
    assert thresholds is not None
    found = detector.inspect(picture(1))
    wrong: Any
    calls: list[tuple[Call, str]] = []

    def add(name: str, call: Callable[[Any], object], *values: object) -> None:
        for value in values:
            calls.append((lambda: call(value), name))

    load = dualad.Detector.load
    add("calibration", lambda wrong: load(model, calibration=wrong), "x", 3, b"x", {})
    add("calibration", lambda wrong: detector.with_calibration(wrong), "x", 3, {})
    add("earlier", lambda wrong: thresholds.merged_into(wrong), "x", 3, {})
    add("replace_pooled", lambda wrong: thresholds.merged_into(thresholds, replace_pooled=wrong), "x", None)
    add("JSON", lambda wrong: dualad.Calibration(wrong), b"{}", None, {})
    add("path", lambda wrong: dualad.Calibration.load(wrong), b"x", 3, None)
    add("path", lambda wrong: thresholds.save(wrong), b"x", 3, None)
    add("threads", lambda wrong: load(model, threads=wrong), 2.0, "2", True, np.float64(2))
    add("threads", lambda wrong: detector.with_threads(wrong), 2.0, "2", None, True)
    add("max_pixels", lambda wrong: load(model, max_pixels=wrong), 2.0, "2", True)
    add("folder", lambda wrong: load(wrong), b"M", 3, None)
    add("folder", lambda wrong: detector.save(wrong), b"M", 3, None)
    add("folder", lambda wrong: detector.evaluate(wrong), b"M", 3, None)
    add("repository", lambda wrong: dualad.Detector.from_pretrained(wrong), b"a/b", 3)
    add("revision", lambda wrong: dualad.Detector.from_pretrained("a/b", revision=wrong), b"x", 3)
    add("with_backbone", lambda wrong: detector.save(tmp_path / "m", with_backbone=wrong), "no", 1)
    add("training_images", lambda wrong: detector.calibrate([picture(9)], training_images=wrong), "no", 1)
    add("good", lambda wrong: detector.calibrate(wrong), None, 3)
    add("images", lambda wrong: detector.inspect_batch(wrong), None, 3)
    add("category", lambda wrong: detector.inspect_batch([picture(1)], wrong), 3, b"part")
    add("opacity", lambda wrong: found.heat_map(picture(1), opacity=wrong), "x", None)
    add("value", lambda wrong: found.regions_above(wrong), "x", None)
    add("min_area", lambda wrong: found.regions_above(1.0, min_area=wrong), "x", 1.5)
    for name, values in {
        "epochs": (1.0, "1", True),
        "seed": (1.0, "1", True),
        "hold_out": ("x", True),
        "tile": (64.0, "64"),
        "max_pixels": (1.5, "x"),
        "checkpoint": (b"x", 3),
        "log": (b"x", 3),
        "resume": ("no", 1, None),
        "skip_broken": ("no", 1),
        "backbone": (3, b"resnet18"),
        "preset": (3, None),
        "recipe": ("x", 3, [1]),
    }.items():
        add(name, lambda wrong, name=name: dualad.Detector.fit({"part": pictures}, **{name: wrong}), *values)  # type: ignore[misc]
        if name in ("epochs", "seed", "hold_out", "checkpoint", "log", "resume", "skip_broken"):
            add(name, lambda wrong, name=name: detector.extend({"part": pictures}, **{name: wrong}), *values)  # type: ignore[misc]
    add("recipe['train']['batch_size']", lambda wrong: dualad.Detector.fit({"part": pictures}, recipe={"train": {"batch_size": wrong}}), {1}, b"4")
    add("rate", lambda wrong: dualad.FalseAlarmRate(wrong), "x", None, True)
    add("confidence", lambda wrong: dualad.FalseAlarmRate(0.01, wrong), "x", None)
    add("quantile", lambda wrong: dualad.Quantile(wrong), "x", None)
    add("share", lambda wrong: dualad.Recall(wrong), "x", None)
    for call, name in calls:
        refuse(call, TypeError, name)


def test_values_out_of_range_name_the_argument_and_the_range(detector: dualad.Detector, pictures: list[Array], model: Path) -> None:
    nan, infinite = float("nan"), float("inf")
    found = detector.inspect(picture(1))
    load: Any = dualad.Detector.load
    rules: list[tuple[Any, tuple[Any, ...], str]] = [
        (dualad.FalseAlarmRate, (nan, 0, 1, -0.5, infinite), "rate"),
        (lambda wrong: dualad.FalseAlarmRate(0.01, wrong), (nan, 0, 1, 2), "confidence"),
        (dualad.Quantile, (2, -0.1, nan, infinite), "quantile"),
        (dualad.Recall, (-1, 0, 1.1, nan), "share"),
        (lambda wrong: load(model, threads=wrong), (-1, 0, 1025, 1 << 70), "threads"),
        (lambda wrong: load(model, max_pixels=wrong), (-1, 0, 1 << 64), "max_pixels"),
        (detector.with_threads, (-1, 0, 1025), "threads"),
        (lambda wrong: found.heat_map(picture(1), opacity=wrong), (nan, -0.1, 1.1), "opacity"),
        (lambda wrong: found.heat_map(picture(1), max_pixels=wrong), (0, -1), "max_pixels"),
        (found.regions_above, (nan, infinite), "value"),
        (lambda wrong: found.regions_above(1.0, min_area=wrong), (-1, 1 << 64), "min_area"),
        (lambda wrong: found.regions_above(1.0, max_regions=wrong), (-1, 1 << 64), "max_regions"),
    ]
    for name, values in {
        "epochs": (-1, 1 << 64),
        "seed": (-1, 1 << 64),
        "hold_out": (nan, -0.1, 1, 1.5, infinite),
        "tile": (-1, 0, 1 << 32),
        "max_pixels": (-1, 0),
    }.items():
        rules.append((lambda wrong, name=name: dualad.Detector.fit({"part": pictures}, **{name: wrong}), values, name))
    for overlap in (nan, -0.1, 0.95):
        rules.append((lambda wrong: dualad.Detector.fit({"part": pictures}, tile=64, tile_overlap=wrong), (overlap,), "tile_overlap"))
    for make, values, name in rules:
        for value in values:
            refuse(lambda: make(value), dualad.InvalidInputError, name)  # noqa: B023
            refuse(lambda: make(value), ValueError, "give")  # noqa: B023


def test_texts_that_no_file_or_name_can_have(detector: dualad.Detector, pictures: list[Array], model: Path) -> None:
    wrong: list[tuple[Call, str]] = [
        (lambda: dualad.Detector.load(""), "folder"),
        (lambda: dualad.Detector.load("a\0b"), "folder"),
        (lambda: detector.save("a\0b"), "folder"),
        (lambda: dualad.Calibration.load(""), "path"),
        (lambda: dualad.Detector.load(model, weights="a\0"), "weights"),
        (lambda: fit({"part": pictures}, checkpoint="a\udc80"), "checkpoint"),
        (lambda: fit({"part": pictures}, log="a\udc80"), "log"),
        (lambda: fit({"part": pictures}, backbone="a\udc80"), "backbone"),
        (lambda: fit({"a\udc80": pictures}), "a category of images"),
        (lambda: dualad.Detector.fit({"part": pictures}, recipe={"train": {"a": "\udc80"}}), "recipe"),
        (lambda: detector.inspect(picture(1)).regions_above(10**400), "value"),
        (lambda: detector.with_threads(10**5000), "threads"),
    ]
    for call, name in wrong:
        refuse(call, dualad.InvalidInputError, name)


def test_wrong_lists_of_metrics_have_a_reason() -> None:
    evaluate: Any = dualad.metrics.evaluate
    maps = np.zeros((2, 4, 4))
    wrong: list[tuple[Call, str]] = [
        (lambda: evaluate([0.1, 0.2], [0, 1], maps, maps, "ab"), "categories"),
        (lambda: evaluate([0.1, 0.2], [0, 1], maps, maps, [1, None]), "category"),
        (lambda: evaluate([0.1, 0.2], [0, 1], maps, None), "masks"),
        (lambda: evaluate([0.1, 0.2], [0, 1], None, maps), "maps"),
        (lambda: dualad.metrics.aupro(3, 3), "maps"),
        (lambda: dualad.metrics.aupro(np.float32(3), maps), "maps"),
    ]
    for call, name in wrong:
        refuse(call, TypeError, name)
    refuse(lambda: dualad.metrics.auroc([0.1, 0.2], [2.0, 0]), dualad.InvalidInputError, "0, 1 and 255")


def test_a_wrong_recipe_is_an_argument(pictures: list[Array]) -> None:
    for recipe, text in (
        ({"trian": {}}, "trian"),
        ({"train": {"batch": 4}}, "batch"),
        ({"train": {"epochs": "x"}}, "epochs"),
        ({"train": {"epochs": float("nan")}}, "recipe"),
    ):
        with pytest.raises(dualad.InvalidInputError, match=text):
            dualad.Detector.fit({"part": pictures}, recipe=recipe)


def test_numbers_of_numpy_are_numbers(pictures: list[Array], model: Path) -> None:
    numpy: dict[str, Any] = copy.deepcopy(TINY)
    numpy["train"] = {"epochs": np.uint8(2), "batch_size": np.int64(4)}
    numpy["network"]["grid"] = np.array([4, 4])
    made = dualad.Detector.fit({"part": pictures}, recipe=numpy, seed=np.int64(3), hold_out=np.float32(0.25), epochs=np.int32(1))  # type: ignore[arg-type]
    assert made.categories == ("part",)
    threads: Any = np.int64(2)
    loaded = dualad.Detector.load(model, threads=threads)
    assert loaded.threads == 2
    quantile: Any = np.float32(0.5)
    loaded.calibrate([picture(700)], reject=dualad.Quantile(quantile))


def test_errors_keep_their_file_in_a_pickle(detector: dualad.Detector, tmp_path: Path) -> None:
    path = tmp_path / "none.png"
    with pytest.raises(dualad.FileMissingError) as reading:
        detector.inspect(path)
    with pytest.raises(dualad.FileMissingError) as loading:
        dualad.Detector.load(path)
    for error in (reading.value, loading.value):
        error.__notes__ = ["a note"]
        for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(again) is dualad.FileMissingError and str(again) == str(error)
            assert (again.errno, again.filename, again.strerror) == (2, str(path), error.strerror)
            assert again.strerror and again.__notes__ == ["a note"]


def test_the_map_of_a_result_does_not_change(detector: dualad.Detector) -> None:
    found = detector.inspect(picture(41, defect=True))
    [batched] = detector.inspect_batch([picture(41, defect=True)])
    for result in (found, batched, pickle.loads(pickle.dumps(found)), copy.deepcopy(found)):
        with pytest.raises(ValueError, match="read-only"):
            result.anomaly_map[:] = 0
        assert result.regions_above(0.0) and result.map_at_original().shape == (72, 80)
        assert result.regions == found.regions and result.verdict == found.verdict
