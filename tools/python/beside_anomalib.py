"""Trains anomalib and this library on the same folder, and prints both tables.

    pip install anomalib ./dualad-python
    python tools/python/beside_anomalib.py --data mvtec --weights resnet18.safetensors

The folder has the layout of MVTec AD, with the categories in folders. anomalib trains one model for each category; this library trains
one for all. Both use the same backbone. The scores and maps of both are measured by `dualad.metrics`, each at the size of its
network's input, and anomalib's before its post-processing, which cuts scores off. anomalib downloads its weights; `--random` gives random
weights to both, to try the script without a network.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import dualad
from dualad import Evaluation, metrics

COLUMNS = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_aupro")


def anomalib(options: argparse.Namespace, categories: list[str]) -> tuple[Evaluation, float]:
    """Return the metrics of anomalib's models, and the seconds of their training."""
    from anomalib import models
    from anomalib.data import MVTecAD
    from anomalib.engine import Engine

    scores: list[float] = []
    labels: list[bool] = []
    maps: list[Any] = []
    masks: list[Any] = []
    names: list[str] = []
    seconds = 0.0
    for category in categories:
        kind = getattr(models, options.model)
        backbone = options.backbone.replace("wide-resnet50-2", "wide_resnet50_2")
        model = kind(backbone=backbone, pre_trained=not options.random, post_processor=False, evaluator=False, visualizer=False)
        data = MVTecAD(root=options.data, category=category, train_batch_size=8, eval_batch_size=8, num_workers=0)
        with tempfile.TemporaryDirectory() as folder:
            engine = Engine(default_root_dir=folder, accelerator="cpu", logger=False, enable_progress_bar=False)
            begun = time.perf_counter()
            engine.fit(model=model, datamodule=data)
            seconds += time.perf_counter() - begun
            batches = engine.predict(model=model, dataloaders=data.test_dataloader()) or []
        for batch in batches:
            count = len(batch.image)
            scores += batch.pred_score.reshape(count).tolist()
            labels += batch.gt_label.reshape(count).bool().tolist()
            maps += list(batch.anomaly_map.reshape(count, *batch.anomaly_map.shape[-2:]).numpy())
            masks += list(batch.gt_mask.reshape(count, *batch.gt_mask.shape[-2:]).bool().numpy())
            names += [category] * count
    return metrics.evaluate(scores, labels, maps, masks, names), seconds


def ours(options: argparse.Namespace) -> tuple[Evaluation, float]:
    """Return the metrics of this library's model, and the seconds of its training."""
    weights: Any = 1 if options.random else options.weights
    begun = time.perf_counter()
    detector = dualad.Detector.fit(options.data, backbone=options.backbone, weights=weights, preset=options.preset, epochs=options.epochs)
    seconds = time.perf_counter() - begun
    return detector.evaluate(options.data), seconds


def table(title: str, found: Evaluation, seconds: float) -> None:
    print(f"\n{title}: trained in {seconds:.1f} s")
    print(f"{'category':<16}" + "".join(f"{column:>14}" for column in COLUMNS))
    for name, row in [*found.categories.items(), ("mean", found.mean)]:
        values = (getattr(row, column) for column in COLUMNS)
        print(f"{name:<16}" + "".join(f"{'-' if value is None else format(100 * value, '.2f'):>14}" for value in values))


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--weights", help="weights for this library: a file, or hub", default="hub")
    arguments.add_argument("--backbone", default="resnet18")
    arguments.add_argument("--preset", default="fast", choices=("fast", "accurate", "paper"))
    arguments.add_argument("--epochs", type=int, help="epochs of this library [default: the preset's]")
    arguments.add_argument("--model", default="Patchcore", help="anomalib's model")
    arguments.add_argument("--random", action="store_true", help="random weights for both")
    options = arguments.parse_args()
    categories = sorted(path.name for path in options.data.iterdir() if (path / "train").is_dir())
    if not categories:
        print(f"error: {options.data} has no folders with train and test, as MVTec AD has", file=sys.stderr)
        return 1
    warnings.simplefilter("ignore")
    table("dualad, one model", *ours(options))
    try:
        found = anomalib(options, categories)
    except ImportError as error:
        print(f"\nskipped: anomalib ({error}); pip install anomalib")
        return 0
    table(f"anomalib, {options.model}, a model for each category", *found)
    return 0


sys.exit(main())
