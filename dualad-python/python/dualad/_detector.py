"""The class that an application uses: a trained model."""

from __future__ import annotations

import errno
import io
import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Literal, TypeAlias, Union, overload

from dualad import _check, _native
from dualad._calibration import Calibration, Rule, calibration_json, rule_value
from dualad._errors import DualadError, DualadWarning, FileError, FileMissingError, InvalidInputError, ModelError
from dualad._images import ImageLike, Images, by_category, listed, prepare
from dualad._results import Evaluation, Inspection, Progress, Training, evaluation, inspection, training
from dualad._types import Image as Prepared
from dualad._types import OnStep, Rules, Settings, Source, SyntheticWeights, TrainingImages

#: The weights of a backbone: a file, its bytes, or ``"hub"`` for the backbone's own file on the Hugging Face hub.
WeightsLike: TypeAlias = Union[str, "os.PathLike[str]", bytes]

#: A function that is called as work progresses, on the thread that called. An exception of it cancels the work and is raised.
OnProgress: TypeAlias = Callable[[Progress], object]

#: The largest number of threads of a detector.
_THREADS = 1024

#: The files of a model that :meth:`Detector.to_bytes` packs, and whether each must be there.
_FILES = {
    "config.json": True,
    "model.safetensors": True,
    "calibration.json": False,
    "training-images.json": False,
    "backbone.safetensors": False,
}


class Detector:
    """A trained model, ready to inspect images.

    It does not change, and can be used by any number of threads at the same time. It can be pickled: the pickle has the model and
    the backbone's weights.
    """

    __slots__ = ("__weakref__", "_inner", "_max_pixels", "_training")

    def __init__(self) -> None:
        raise TypeError("use Detector.load, Detector.from_pretrained, Detector.from_bytes or Detector.fit")

    _inner: _native.Detector
    _max_pixels: int | None
    _training: Training | None

    @classmethod
    def _of(cls, native: _native.Detector, max_pixels: int | None, report: Training | None = None) -> Detector:
        self = object.__new__(cls)
        self._inner, self._max_pixels, self._training = native, max_pixels, report
        return self

    # Making a detector

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        *,
        weights: WeightsLike | None = None,
        calibration: Calibration | Literal[False] | None = None,
        precision: Literal["f32", "int8"] | None = None,
        threads: int | None = None,
        max_pixels: int | None = None,
    ) -> Detector:
        """Load a model's folder.

        :param weights: the backbone's weights; by default those in the folder, or those that the model's configuration names.
        :param calibration: thresholds instead of the model's own, or False for none.
        :param precision: ``f32``, or ``int8`` for less time and memory; by default that of the thresholds. Thresholds of another precision are
            refused: load with ``calibration=False``, and choose new ones by :meth:`calibrate`.
        :param threads: a number of threads of its own, from 1 to 1024; by default all detectors share one thread for each core.
        :param max_pixels: the largest image, width times height; by default 100 million.
        :raises FileMissingError: without such a folder or file.
        :raises ModelError: for a damaged model, other weights than it was trained with, or thresholds of another model.
        :raises InvalidInputError: for weights of a model whose backbone, the filter bank, has none.
        """
        place = _check.path(folder, "folder")
        settings = _settings(weights, calibration, precision, threads, max_pixels)
        if not os.path.exists(place):
            missing = FileMissingError(f"there is no folder {place}; name the folder of a trained model")
            missing.errno, missing.filename = errno.ENOENT, place
            missing.strerror = os.strerror(errno.ENOENT)
            raise missing
        return cls._of(_native.Detector.load(place, settings), settings["max_pixels"])

    @classmethod
    def from_pretrained(
        cls,
        repository: str,
        *,
        revision: str | None = None,
        weights: WeightsLike | None = None,
        calibration: Calibration | Literal[False] | None = None,
        precision: Literal["f32", "int8"] | None = None,
        threads: int | None = None,
        max_pixels: int | None = None,
    ) -> Detector:
        """Load a model from the Hugging Face hub, ``owner/name``. It is downloaded once; later calls use the cache.

        :param revision: a branch, tag or commit; by default ``main``.
        """
        settings = _settings(weights, calibration, precision, threads, max_pixels, revision)
        name = _check.text(repository, "repository")
        return cls._of(_native.Detector.from_pretrained(name, settings), settings["max_pixels"])

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        *,
        precision: Literal["f32", "int8"] | None = None,
        threads: int | None = None,
        max_pixels: int | None = None,
    ) -> Detector:
        """Load a model from bytes that :meth:`to_bytes` returned."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data is {type(data).__name__}; give the bytes that to_bytes returned")
        files = _unpack(bytes(data))
        backbone = files.pop("backbone.safetensors", None)
        with tempfile.TemporaryDirectory(prefix="dualad-") as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            try:
                return cls.load(folder, weights=backbone, precision=precision, threads=threads, max_pixels=max_pixels)
            except (ModelError, FileError) as error:
                raise ModelError(str(error).replace(folder, "<bytes>")) from None

    @classmethod
    def fit(
        cls,
        images: str | os.PathLike[str] | Mapping[str, Sequence[ImageLike]],
        *,
        backbone: str | None = None,
        weights: WeightsLike | None = None,
        preset: Literal["fast", "accurate", "paper"] = "fast",
        recipe: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        seed: int | None = None,
        hold_out: float | None = None,
        reject: Rule | None = None,
        review: Rule | None = None,
        tile: int | None = None,
        tile_overlap: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = True,
        log: str | os.PathLike[str] | None = None,
        skip_broken: bool = False,
        max_pixels: int | None = None,
        progress: OnProgress | None = None,
    ) -> Detector:
        """Train a model on images of good parts.

        :param images: a folder (of one product, with a folder for each product, or a dataset), or lists of images by product.
        :param backbone: the backbone's name, such as ``resnet18``; by default ``filter-bank``, which needs no weights.
            **For images of real parts name a pretrained one**: it detects far more.
        :param weights: the backbone's weights: a file, its bytes, or ``"hub"``. The filter bank takes none.
        :param preset: ``fast`` trains in minutes on a CPU, ``accurate`` uses larger images, ``paper`` is the paper's recipe.
        :param recipe: fields that differ from the preset, such as ``{"train": {"batch_size": 4}}``.
        :param epochs: the number of epochs, 0 or more; with 0, and a preset with a bank, nothing is trained and the bank scores alone.
        :param hold_out: the share of each product's images that set the thresholds, from 0 to below 1; by default 0.2.
        :param reject: the rule for rejection, ``FalseAlarmRate`` or ``Quantile``; by default ``FalseAlarmRate(0.01, 0.95)``. The others need
            images of defects: :meth:`calibrate` takes them.
        :param review: the rule for review, one of the same; by default ``Quantile(0.95)``, or no review band if ``reject`` is given.
        :param tile: the side of the tiles in pixels, for small defects in large images; by default images are not cut.
        :param tile_overlap: with ``tile``, the least share of a tile that overlaps the next one, from 0 to 0.9; by default 0.25.
        :param checkpoint: a file that an interrupted run continues from.
        :param resume: with False, an existing checkpoint is put aside and the run begins anew.
        :param log: a file of JSON lines.
        :param skip_broken: with True, images that cannot be read are left out, and a warning names them.
        :param progress: a function that is called as the run progresses.

        Notices are given as :class:`DualadWarning`; :attr:`training` has them too. Where warnings are errors, the first one is raised when
        the training is done, and its ``detector`` is the result.

        :raises InvalidInputError: for a value out of its range, an unknown field of the recipe, and a setting without effect: weights of
            the filter bank, ``tile_overlap`` without ``tile``, or a rule with ``hold_out=0``.
        """
        if tile_overlap is not None and tile is None:
            raise InvalidInputError(f"tile_overlap is {tile_overlap}, and images are not cut into tiles; give tile too, or neither")
        if isinstance(images, (str, os.PathLike)):
            source: TrainingImages = _check.path(images, "the folder of training images")
        elif isinstance(images, Mapping):
            source = _named(images)
        else:
            raise TypeError(
                f"the training images are {type(images).__name__}; give a folder, or a dict of lists such as "
                "{'gear': ['a.png', 'b.png']}"
            )
        options = {
            "backbone": _check.text_or_none(backbone, "backbone"),
            "preset": _check.text(preset, "preset"),
            "recipe": _check.mapping(recipe, "recipe"),
            "tile": _check.whole_or_none(tile, "tile", 1, _check.U32),
            "tile_overlap": _check.number_or_none(tile_overlap, "tile_overlap", 0, 0.9),
            "max_pixels": _check.whole_or_none(max_pixels, "max_pixels", 1, _check.U64),
            **_run(epochs, seed, hold_out, reject, review, checkpoint, resume, log, skip_broken),
        }
        found, report = _native.Detector.fit(source, _weights(weights), _json(options), _on(progress))
        return cls._fitted(found, report, max_pixels)

    def extend(
        self,
        images: str | os.PathLike[str] | Mapping[str, Sequence[ImageLike]],
        *,
        epochs: int | None = None,
        seed: int | None = None,
        hold_out: float | None = None,
        reject: Rule | None = None,
        review: Rule | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = True,
        log: str | os.PathLike[str] | None = None,
        skip_broken: bool = False,
        progress: OnProgress | None = None,
    ) -> Detector:
        """Continue the training on images of the old products and of new ones, and return the new detector.

        ``training.changes`` of the result compares the scores of the old products before and after. The arguments are those of
        :meth:`fit`.
        """
        if isinstance(images, (str, os.PathLike)):
            source: TrainingImages = _check.path(images, "the folder of training images")
        else:
            source = _named(images)
        options = _run(epochs, seed, hold_out, reject, review, checkpoint, resume, log, skip_broken)
        found, report = self._inner.extend(source, _json(options), _on(progress))
        return self._fitted(found, report, self._max_pixels)

    @classmethod
    def _fitted(cls, found: _native.Detector, report: str, max_pixels: int | None) -> Detector:
        told = training(report)
        fitted = cls._of(found, max_pixels, told)
        for notice in told.notices:
            try:
                warnings.warn(notice, DualadWarning, stacklevel=3)
            except DualadWarning as raised:
                # Warnings are errors here, and the training is done.
                raised.detector = fitted
                raise
        return fitted

    # Keeping a detector

    def save(self, folder: str | os.PathLike[str], *, with_backbone: bool = False) -> None:
        """Write the model's folder, which is created if it is missing. All its files change together.

        :param with_backbone: with True, the backbone's weights are copied into the folder, which is then all that another machine
            needs.
        """
        self._inner.save(_check.path(folder, "folder"), _check.flag(with_backbone, "with_backbone"))

    def to_bytes(self) -> bytes:
        """Return the model with its backbone's weights and its thresholds, for :meth:`from_bytes`: an uncompressed zip archive."""
        packed = io.BytesIO()
        included = self.config["weights"]["source"] not in ("none", "synthetic")
        with tempfile.TemporaryDirectory(prefix="dualad-") as folder:
            self.save(folder, with_backbone=included)
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
                for name in _FILES:
                    if Path(folder, name).exists():
                        archive.write(Path(folder, name), name)
        return packed.getvalue()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (self.to_bytes(), self.threads, self._max_pixels, self._training, self.precision))

    def __copy__(self) -> Detector:
        return self

    def __deepcopy__(self, memo: object) -> Detector:
        return self

    # Inspecting images

    def inspect(self, image: ImageLike, category: str | None = None) -> Inspection:
        """Inspect one image, without the interpreter's lock.

        :param image: the path of a file (png, jpg, bmp, tiff, webp, gif, pnm), the content of a file as bytes, bytearray or
            memoryview, a PIL image, or an array of uint8 of shape ``(height, width)``, ``(height, width, 1)`` or
            ``(height, width, 3)``, red first, with any strides. A contiguous array is not copied, and must not change meanwhile.
        :param category: the product, whose thresholds decide; by default the pooled thresholds decide.
        :raises ImageError: for an image that cannot be used.
        :raises FileMissingError: for a missing file.
        """
        self._check(category)
        [answer] = self._inner.inspect([prepare(image)], [category], True, None)
        if isinstance(answer, DualadError):
            raise answer
        return inspection(*answer)

    @overload
    def inspect_batch(
        self,
        images: Iterable[ImageLike],
        category: str | Sequence[str | None] | None = None,
        *,
        errors: Literal["raise"] = "raise",
        progress: OnProgress | None = None,
    ) -> list[Inspection]: ...

    @overload
    def inspect_batch(
        self,
        images: Iterable[ImageLike],
        category: str | Sequence[str | None] | None = None,
        *,
        errors: Literal["return"],
        progress: OnProgress | None = None,
    ) -> list[Inspection | DualadError]: ...

    def inspect_batch(
        self,
        images: Iterable[ImageLike],
        category: str | Sequence[str | None] | None = None,
        *,
        errors: Literal["raise", "return"] = "raise",
        progress: OnProgress | None = None,
    ) -> list[Inspection] | list[Inspection | DualadError]:
        """Inspect images, in batches of 8 on all threads, without the interpreter's lock. There is one result for each, in order.

        :param images: images as :meth:`inspect` takes them; an array of shape ``(images, height, width, 3)`` too.
        :param category: the product of all images, or a list with the product of each.
        :param errors: ``"raise"`` raises the exception of the first image that cannot be inspected, ``"return"`` puts the
            exception in its place in the list, and the other images are inspected. A value that is no image, such as None, is a
            TypeError for the whole list in both cases.
        :param progress: a function that is called after each batch.
        """
        if errors not in ("raise", "return"):
            raise InvalidInputError(f'errors is {errors!r}; give "raise" or "return"')
        prepared: list[Prepared | DualadError] = []
        places: list[int] = []
        given = listed(images, "images")
        for place, image in enumerate(given):
            try:
                prepared.append(prepare(image))
                places.append(place)
            except DualadError as error:
                if errors == "raise":
                    raise
                prepared.append(error)
        categories = self._categories(category, len(given))
        good = [image for image in prepared if not isinstance(image, DualadError)]
        found = self._inner.inspect(good, [categories[place] for place in places], errors == "raise", _on(progress))
        results: list[Inspection | DualadError] = [
            image if isinstance(image, DualadError) else DualadError() for image in prepared
        ]
        for place, answer in zip(places, found, strict=True):
            results[place] = inspection(*answer) if isinstance(answer, tuple) else answer
        return results

    def _categories(self, category: str | Sequence[str | None] | None, count: int) -> list[str | None]:
        if category is None or isinstance(category, str):
            self._check(category)
            return [category] * count
        if isinstance(category, (bytes, bytearray)) or not isinstance(category, Iterable):
            raise TypeError(f"the category is {type(category).__name__}; give a str, or a list with the product of each image")
        named = list(category)
        if len(named) != count:
            raise InvalidInputError(f"there are {count} images and {len(named)} categories; give one for each")
        for name in dict.fromkeys(named):
            self._check(name)
        return named

    def _check(self, category: str | None) -> None:
        """Refuse a category that the model was not trained on: the pooled thresholds would decide on a misspelt one."""
        if category is None:
            return
        if not isinstance(category, str):
            raise TypeError(f"the category is {type(category).__name__}; give a str")
        known = self.categories
        if known and category not in known:
            raise InvalidInputError(f'the model was not trained on "{category}", but on {", ".join(known)}')

    # Thresholds and metrics

    def calibrate(
        self,
        good: Images,
        defective: Images | None = None,
        *,
        category: str | None = None,
        reject: Rule | None = None,
        review: Rule | None = None,
        training_images: bool = False,
        progress: OnProgress | None = None,
    ) -> Calibration:
        """Choose thresholds by the scores of images that the model was not trained on. Use them by :meth:`with_calibration`.

        Images with the same pixels count once. Thresholds of products without images stay as they are.

        :param good: images of good parts: a list, or lists by product.
        :param defective: images of defective parts, in the same form.
        :param category: the product of images in plain lists. Without it, they count in the pooled thresholds alone, and a model of several
            products that has such thresholds refuses them. To replace those alone:
            ``detector.with_calibration(None).calibrate(good).merged_into(detector.calibration, replace_pooled=True)``.
        :param reject: the rule for rejection; by default ``FalseAlarmRate(0.01, 0.95)``.
        :param review: the rule for review; by default ``Quantile(0.95)``, or no review band if ``reject`` is given.
        :param training_images: with True, images that the model was trained on are taken, although their scores are too low.
        :raises InvalidInputError: for images that the model was trained on, and if there are not the images that a rule needs.
        """
        if category is not None and all(isinstance(images, Mapping) for images in (good, defective) if images is not None):
            raise InvalidInputError(f"category is {category!r}, and the images are listed by product; leave category out")
        by_product = isinstance(good, Mapping)
        if defective is not None and category is None and len(self.categories) > 1 and isinstance(defective, Mapping) != by_product:
            raise InvalidInputError("one of good and defective is listed by product, and the other is not; list both by product")
        known = [(pair, False) for pair in by_category(good, "good", category)]
        known += [(pair, True) for pair in by_category([] if defective is None else defective, "defective", category)]
        for name in dict.fromkeys(name for (name, _), _ in known):
            self._check(name)
        rules: Rules = {
            "reject": None if reject is None else json.dumps(rule_value(reject)),
            "review": None if review is None else json.dumps(rule_value(review)),
            "training_images": _check.flag(training_images, "training_images"),
        }
        images = [image for (_, image), _ in known]
        names = [name for (name, _), _ in known]
        labels = [label for _, label in known]
        return Calibration(self._inner.calibrate(images, names, labels, rules, _on(progress)))

    def with_calibration(self, calibration: Calibration | None) -> Detector:
        """Return the detector with other thresholds, or none. Nothing is loaded.

        :raises ModelError: for thresholds of another model, or of a product that this one was not trained on.
        """
        text = None if calibration is None else calibration_json(calibration, "calibration")
        return self._of(self._inner.with_calibration(text), self._max_pixels, self._training)

    def with_threads(self, threads: int) -> Detector:
        """Return the detector with threads of its own, from 1 to 1024. The detectors share their weights."""
        return self._of(self._inner.with_threads(_check.whole(threads, "threads", 1, _THREADS)), self._max_pixels, self._training)

    def evaluate(self, folder: str | os.PathLike[str], *, progress: OnProgress | None = None) -> Evaluation:
        """Measure the model on the test images of a dataset, such as one in the layout of MVTec AD.

        A :class:`DualadWarning` names products that the model was not trained on.
        """
        found = evaluation(self._inner.evaluate(_check.path(folder, "folder"), _on(progress)))
        unknown = [name for name in found.categories if self.categories and name not in self.categories]
        if unknown:
            warnings.warn(f"the model was not trained on {', '.join(unknown)}", DualadWarning, stacklevel=2)
        return found

    # What it is

    @property
    def categories(self) -> tuple[str, ...]:
        """The products that the model was trained on."""
        return tuple(self._inner.categories())

    @property
    def calibration(self) -> Calibration | None:
        """The thresholds; None if there are none."""
        text = self._inner.calibration()
        return None if text is None else Calibration(text)

    @property
    def config(self) -> dict[str, Any]:
        """The content of the model's ``config.json``."""
        found: dict[str, Any] = json.loads(self._inner.config())
        return found

    @property
    def threads(self) -> int | None:
        """The number of threads of its own; None if it shares those of all detectors."""
        return self._inner.threads()

    @property
    def precision(self) -> Literal["f32", "int8"]:
        """The precision that scores are computed in."""
        found: Literal["f32", "int8"] = "int8" if self._inner.precision() == "int8" else "f32"
        return found

    @property
    def training(self) -> Training | None:
        """The report of the training run that made this detector; None for a detector that was loaded."""
        return self._training

    def __repr__(self) -> str:
        return f"Detector(backbone={self.config['backbone']!r}, categories={list(self.categories)!r})"


def _restore(
    data: bytes,
    threads: int | None,
    max_pixels: int | None,
    report: Training | None,
    precision: Literal["f32", "int8"] | None = None,
) -> Detector:
    """Return a pickled detector."""
    found = Detector.from_bytes(data, precision=precision, threads=threads, max_pixels=max_pixels)
    return Detector._of(found._inner, max_pixels, report)


def _unpack(data: bytes) -> dict[str, bytes]:
    """Return the files of a packed model."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {entry.filename: entry for entry in archive.infolist() if entry.filename in _FILES}
            for name, entry in entries.items():
                # Compressed files could need far more memory than the bytes have.
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(data):
                    raise ModelError(f"the bytes are not a model: {name} is compressed; use Detector.to_bytes, or zip -0")
            missing = [name for name, needed in _FILES.items() if needed and name not in entries]
            if missing:
                raise ModelError(f"the bytes are not a model: they have no {missing[0]}; use Detector.to_bytes")
            return {name: archive.read(entry) for name, entry in entries.items()}
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"the bytes are not a model: {error}; use Detector.to_bytes") from error


def _named(images: Mapping[str, Sequence[ImageLike]]) -> list[tuple[str, Prepared]]:
    if not isinstance(images, Mapping):
        raise TypeError(f"the training images are {type(images).__name__}; give a folder, or a dict of lists")
    for name, some in images.items():
        if isinstance(some, Sized) and len(some) == 0:
            raise InvalidInputError(f"there are no images of {name!r}; give some, or leave it out")
    return [(name, image) for name, image in by_category(images, "images") if name is not None]


def _settings(
    weights: WeightsLike | None,
    calibration: Calibration | Literal[False] | None,
    precision: str | None,
    threads: int | None,
    max_pixels: int | None,
    revision: str | None = None,
) -> Settings:
    thresholds = None
    if calibration is not None:
        thresholds = "" if calibration is False else calibration_json(calibration, "calibration")
    return {
        "weights": _weights(weights),
        "threads": _check.whole_or_none(threads, "threads", 1, _THREADS),
        "max_pixels": _check.whole_or_none(max_pixels, "max_pixels", 1, _check.U64),
        "precision": _check.text_or_none(precision, "precision"),
        "calibration": thresholds,
        "revision": _check.text_or_none(revision, "revision"),
    }


def _weights(weights: Any) -> Source | None:
    """Return the weights for the native half."""
    if weights is None or isinstance(weights, bytes):
        return weights
    if isinstance(weights, SyntheticWeights):
        return weights.seed
    if not isinstance(weights, (str, os.PathLike)):
        raise TypeError(f'weights is {type(weights).__name__}; give the path of a file, its bytes, or "hub"')
    # A file of this name can be given as a Path.
    return "hub" if isinstance(weights, str) and weights == "hub" else os.path.abspath(_check.path(weights, "weights"))


def _rules(reject: Rule | None, review: Rule | None) -> dict[str, Any]:
    named = {"reject": reject, "review": review}
    return {name: None if rule is None else rule_value(rule) for name, rule in named.items()}


def _run(
    epochs: int | None,
    seed: int | None,
    hold_out: float | None,
    reject: Rule | None,
    review: Rule | None,
    checkpoint: str | os.PathLike[str] | None,
    resume: bool,
    log: str | os.PathLike[str] | None,
    skip_broken: bool,
) -> dict[str, Any]:
    """Return the options that new and continued training share."""
    share = _check.number_or_none(hold_out, "hold_out", 0, 1, below=True)
    rules = _rules(reject, review)
    if share == 0 and (reject is not None or review is not None):
        raise InvalidInputError("hold_out is 0, so no images set thresholds; leave out reject and review, or hold images out")
    return {
        "epochs": _check.whole_or_none(epochs, "epochs", 0, _check.U64),
        "seed": _check.whole_or_none(seed, "seed", 0, _check.U64),
        "hold_out": share,
        "checkpoint": _check.unicode_path_or_none(checkpoint, "checkpoint"),
        "resume": _check.flag(resume, "resume"),
        "log": _check.unicode_path_or_none(log, "log"),
        "skip_broken": _check.flag(skip_broken, "skip_broken"),
        **rules,
    }


def _json(options: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in options.items() if value is not None})


def _on(progress: OnProgress | None) -> OnStep | None:
    """Return the function that the native half calls."""
    if progress is None:
        return None
    if not callable(progress):
        raise TypeError(f"progress is {type(progress).__name__}; give a function")
    called = progress
    return lambda *step: called(Progress(*step))
