"""Training, thresholds, evaluation, saving."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, Array, fit, picture

import dualad


def write(folder: Path, pictures: dict[str, list[Array]]) -> Path:
    """Write images as png files, in a folder for each key."""
    pil = pytest.importorskip("PIL.Image")
    for name, images in pictures.items():
        (folder / name).mkdir(parents=True)
        for index, image in enumerate(images):
            pil.fromarray(image).save(folder / name / f"{index:03}.png")
    return folder


def test_all_sources_of_images_give_the_same_model(tmp_path: Path, pictures: list[Array], detector: dualad.Detector) -> None:
    folder = write(tmp_path / "parts", {"part": pictures})
    paths = sorted((folder / "part").iterdir())
    digest = detector.config["sha256"]
    sources: list[Any] = [
        folder / "part",
        {"part": paths},
        {"part": [path.read_bytes() for path in paths]},
        {"part": [*paths[:3], *pictures[3:]]},
    ]
    for source in sources:
        made = fit(source)
        assert made.config["sha256"] == digest, source
        assert made.categories == ("part",)


def test_broken_images_in_memory_are_left_out(pictures: list[Array], tmp_path: Path) -> None:
    images: list[Any] = [*pictures[:6], b"no image", tmp_path / "absent.png"]
    with pytest.raises(dualad.ImageError):
        fit({"part": images})
    with pytest.warns(dualad.DualadWarning, match="2 images are left out, such as picture 6 .part."):
        made = dualad.Detector.fit({"part": images}, recipe=TINY, skip_broken=True)
    assert made.config["sha256"] == fit({"part": images[:6]}).config["sha256"]


def test_thresholds_of_two_models_are_not_joined(pictures: list[Array], detector: dualad.Detector) -> None:
    other = fit({"part": pictures[:8]}, seed=5)
    assert detector.calibration is not None and other.calibration is not None
    with pytest.raises(dualad.InvalidInputError, match="model of the earlier thresholds"):
        other.calibration.merged_into(detector.calibration)


def test_a_notice_that_is_an_error_keeps_the_training(pictures: list[Array]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", dualad.DualadWarning)
        with pytest.raises(dualad.DualadWarning) as raised:
            dualad.Detector.fit({"part": pictures, "lid": pictures[:3]}, recipe=TINY, epochs=1)
    made = raised.value.detector
    assert made is not None and made.training is not None and made.categories == ("lid", "part")
    assert str(raised.value) == made.training.notices[0]


def test_products_have_names_and_models_have_folders_of_their_own(pictures: list[Array], tmp_path: Path) -> None:
    for name in ["", " ", "part\n"]:
        with pytest.raises(dualad.InvalidInputError, match="the name of a category"):
            fit({name: pictures})
    card = tmp_path / "README.md"
    card.write_text("# My notes\n")
    with pytest.raises(dualad.FileError, match="name another folder, or move it away"):
        fit({"part": pictures}).save(tmp_path)
    assert card.read_text() == "# My notes\n" and list(tmp_path.iterdir()) == [card]


def test_a_training_run_reports(pictures: list[Array]) -> None:
    steps: list[dualad.Progress] = []
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        made = dualad.Detector.fit({"part": pictures, "lid": pictures[:3]}, recipe=TINY, epochs=3, progress=steps.append)
    assert made.training is not None and len(made.training.losses) == 3
    assert [str(warning.message) for warning in warned] == list(made.training.notices)
    assert all(issubclass(warning.category, dualad.DualadWarning) for warning in warned)
    assert any("lid" in notice for notice in made.training.notices)
    assert {name for name, _ in made.training.held_out} == {"part"}
    phases = list(dict.fromkeys(step.phase for step in steps))
    assert phases == ["reading", "features", "training", "scoring"]
    last = [step for step in steps if step.phase == "training"][-1]
    assert last.done == last.total and last.epoch == last.epochs == 3 and last.loss is not None and last.remaining == 0
    assert made.categories == ("lid", "part")
    assert fit({"part": pictures}, hold_out=0.0).calibration is None


def test_saving_and_loading(tmp_path: Path, detector: dualad.Detector) -> None:
    image = picture(77, defect=True)
    expected = detector.inspect(image).to_json()
    for count in (None, 1, 3):
        detector.save(tmp_path / "model")
        loaded = dualad.Detector.load(tmp_path / "model", threads=count)
        assert loaded.inspect(image).to_json() == expected
        assert loaded.calibration == detector.calibration and loaded.training is None
    for threads in (0, 1025):
        with pytest.raises(dualad.InvalidInputError, match="from 1 to 1024"):
            dualad.Detector.load(tmp_path / "model", threads=threads)
    (tmp_path / "model" / "config.json").write_text("{")
    with pytest.raises(dualad.ModelError, match="config"):
        dualad.Detector.load(tmp_path / "model")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        detector.save(tmp_path / "file" / "model")
    with pytest.raises(dualad.InvalidInputError):
        dualad.Detector.from_pretrained("no name of a model")


def test_wrong_options_of_a_run(pictures: list[Array], tmp_path: Path) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"preset": "best"}, "paper, fast, accurate"),
        ({"backbone": "resnet19"}, "resnet19"),
        ({"recipe": {"trian": {}}}, "trian"),
        ({"recipe": {"network": {"heads": 7}}}, "heads"),
        ({"epochs": 10_000_000}, "epochs"),
        ({"hold_out": 1.5}, "1.5"),
        ({"tile": 3}, "16 pixels"),
    ]
    for options, text in wrong:
        with pytest.raises(dualad.DualadError, match=text):
            dualad.Detector.fit({"part": pictures}, **options)
    with pytest.raises(dualad.InvalidInputError, match="no images"):
        dualad.Detector.fit({"part": []})
    with pytest.raises(TypeError, match="dict of lists"):
        dualad.Detector.fit(pictures)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="list of images"):
        dualad.Detector.fit({"part": "a.png"})
    with pytest.raises(dualad.DualadError):
        dualad.Detector.fit(tmp_path / "missing")
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(dualad.ImageError, match=r"bad\.png"):
        dualad.Detector.fit({"part": [tmp_path / "bad.png"]})


def test_training_is_continued(detector: dualad.Detector, pictures: list[Array]) -> None:
    new = [picture(seed)[::-1].copy() for seed in range(30, 42)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dualad.DualadWarning)
        extended = detector.extend({"part": pictures, "upside": new}, epochs=1)
    assert extended.categories == ("part", "upside") and detector.categories == ("part",)
    assert extended.training is not None
    assert [change.category for change in extended.training.changes] == ["part"]


def test_a_checkpoint_is_continued(pictures: list[Array], tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.safetensors"

    def stop(progress: dualad.Progress) -> None:
        if progress.phase == "training" and progress.epoch == 3:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        fit({"part": pictures}, epochs=400, checkpoint=checkpoint, progress=stop)
    assert dualad._native.wait(30.0) and checkpoint.exists()
    steps: list[dualad.Progress] = []

    def see(progress: dualad.Progress) -> None:
        steps.append(progress)

    made = fit({"part": pictures}, epochs=400, checkpoint=checkpoint, progress=see)
    first = next(step for step in steps if step.phase == "training")
    assert first.done > 1
    assert made.config["sha256"] == fit({"part": pictures}, epochs=400).config["sha256"]


def test_thresholds_are_chosen_and_kept(detector: dualad.Detector, tmp_path: Path) -> None:
    good = [picture(seed) for seed in range(200, 220)]
    bad = [picture(seed, defect=True) for seed in range(300, 306)]
    scores = sorted(found.score for found in detector.inspect_batch(good))
    steps: list[dualad.Progress] = []
    chosen = detector.calibrate({"part": good}, reject=dualad.Quantile(0.5), progress=steps.append)
    assert chosen.categories["part"].reject == pytest.approx(scores[10], rel=1e-6)
    assert chosen.categories["part"].normal_images == 20 and steps[-1].phase == "calibrating" and steps[-1].done == 20
    strict = detector.with_calibration(chosen)
    assert strict.inspect(good[0], "part").threshold == chosen.categories["part"].reject
    assert strict.calibration == chosen != detector.calibration
    assert detector.with_calibration(None).inspect(good[0]).verdict is None

    both = detector.calibrate(good, bad, reject=dualad.F1Max(), review=dualad.Quantile(0.9))
    before = detector.calibration
    assert before is not None and both.categories == before.categories  # kept
    assert both.pooled is not None and both.pooled.anomalous_images == 6
    named = detector.calibrate(good, bad, category="part", reject=dualad.Recall(1.0))
    assert named.categories["part"].reject == pytest.approx(min(f.score for f in detector.inspect_batch(bad)), rel=1e-6)
    assert detector.calibrate(good).warnings, "20 images are too few for one in a hundred"

    path = tmp_path / "thresholds.json"
    chosen.save(path)
    assert dualad.Calibration.load(path) == chosen == dualad.Calibration(chosen.to_json())
    assert hash(dualad.Calibration.load(path)) == hash(chosen)
    hand = dualad.Calibration('{"pooled": {"reject": 2.5}}')
    assert hand.pooled is not None and (hand.pooled.review, hand.pooled.reject) == (2.5, 2.5)
    merged = hand.merged_into(chosen, replace_pooled=True)
    assert merged.pooled == hand.pooled and merged.categories == chosen.categories
    assert "2.5" in repr(hand)


def test_what_cannot_be_calibrated(detector: dualad.Detector, pictures: list[Array], tmp_path: Path) -> None:
    with pytest.raises(dualad.InvalidInputError, match="trained on"):
        detector.calibrate({"part": pictures})
    assert detector.calibrate({"part": pictures}, training_images=True).pooled is not None
    with pytest.raises(dualad.InvalidInputError, match="no images"):
        detector.calibrate([])
    with pytest.raises(dualad.InvalidInputError, match="anomalous"):
        detector.calibrate([picture(500)], reject=dualad.F1Max())
    with pytest.raises(dualad.InvalidInputError, match='"prt"'):
        detector.calibrate({"prt": [picture(500)]})
    with pytest.raises(dualad.InvalidInputError, match="rate"):
        detector.calibrate([picture(500)], reject=dualad.FalseAlarmRate(2.0))
    with pytest.raises(TypeError, match="rule"):
        detector.calibrate([picture(500)], reject="f1")  # type: ignore[arg-type]
    for text in ("", "[]", '{"pooled": {"reject": "x"}}', '{"poled": {}}'):
        with pytest.raises(dualad.ModelError):
            dualad.Calibration(text)
    with pytest.raises(dualad.ModelError, match="gear"):
        detector.save(tmp_path / "model")
        dualad.Detector.load(tmp_path / "model", calibration=dualad.Calibration('{"categories": {"gear": {"reject": 1}}}'))
    with pytest.raises(FileNotFoundError):
        dualad.Calibration.load(tmp_path / "none.json")


def test_a_model_is_measured(detector: dualad.Detector, tmp_path: Path) -> None:
    good = [picture(seed) for seed in range(400, 405)]
    bad = [picture(seed, defect=True) for seed in range(405, 408)]
    mask = np.zeros((72, 80), np.uint8)
    mask[20:34, 30:46] = 255
    write(tmp_path / "part", {"train/good": good, "test/good": good, "test/spot": bad})
    pil = pytest.importorskip("PIL.Image")
    (tmp_path / "part" / "ground_truth" / "spot").mkdir(parents=True)
    for index in range(len(bad)):
        pil.fromarray(mask).save(tmp_path / "part" / "ground_truth" / "spot" / f"{index:03}_mask.png")
    steps: list[dualad.Progress] = []
    measured = detector.evaluate(tmp_path, progress=steps.append)
    assert measured.pooled.images == 8 and measured.pooled.anomalous == 3
    assert measured.mean.image_auroc == measured.categories["part"].image_auroc == 1.0
    assert {step.phase for step in steps} == {"features", "scoring"}
    # The same metrics of the results of inspections.
    found = detector.inspect_batch([*good, *bad])
    scores = [result.score for result in found]
    assert dualad.metrics.auroc(scores, [0] * 5 + [1] * 3) == measured.pooled.image_auroc
    with pytest.raises(dualad.DualadError):
        detector.evaluate(tmp_path / "missing")
    (tmp_path / "part").rename(tmp_path / "other")
    with pytest.warns(dualad.DualadWarning, match="not trained on other"):
        detector.evaluate(tmp_path)


def test_large_images_are_cut_into_tiles() -> None:
    made = fit({"part": [picture(seed, 100, 120) for seed in range(6)]}, tile=64, tile_overlap=0.1, epochs=1)
    found = made.inspect(picture(9, 100, 120, defect=True))
    assert found.anomaly_map.shape == (100, 120)
    assert made.config["input"]["tiling"]["tile"] == 64


def test_json_of_the_configuration(detector: dualad.Detector) -> None:
    assert detector.config["backbone"] == "filter-bank"
    assert json.loads(json.dumps(detector.config)) == detector.config
    assert repr(detector) == "Detector(backbone='filter-bank', categories=['part'])"
