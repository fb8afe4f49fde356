"""Images per second of inspect_batch, and of the program `dualad inspect`, on the same images in turns.

    python tools/python/throughput.py [--program dualad] [--images 48] [--rounds 5] [--threads N] [--backbone NAME]

The model is trained here on generated images, with random weights of the backbone. The program is run with all images and with the
first 8, and the difference of the two times counts, so that its start does not. `--threads` sets RAYON_NUM_THREADS for both. Prints the
median of each side and their ratio; exits with status 1 if the ratio is below 0.97.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("--program", default="target/release/dualad")
arguments.add_argument("--images", type=int, default=48)
arguments.add_argument("--rounds", type=int, default=5)
arguments.add_argument("--threads", type=int)
arguments.add_argument("--backbone", default="resnet18")
options = arguments.parse_args()
if options.threads:
    # Before the package starts its threads.
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

import dualad  # noqa: E402
from dualad._types import SyntheticWeights  # noqa: E402

FIRST = 8


def main() -> int:
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = []
        for index in range(options.images + FIRST):
            pixels = random.integers(90, 160, (256, 256, 3), np.uint8)
            paths.append(folder / f"{index:04}.png")
            Image.fromarray(pixels).save(paths[-1])
        weights = None if options.backbone == "filter-bank" else SyntheticWeights(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = dualad.Detector.fit({"part": paths[:10]}, backbone=options.backbone, weights=weights, epochs=1)  # type: ignore[arg-type]
        made.save(folder / "model")
        detector = dualad.Detector.load(folder / "model")

        def program(count: int) -> float:
            command = [options.program, "inspect", "--model", str(folder / "model"), "--json", "-", *map(str, paths[:count])]
            begun = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - begun

        def package(count: int) -> float:
            begun = time.perf_counter()
            detector.inspect_batch(paths[:count])
            return time.perf_counter() - begun

        package(FIRST)
        rates: dict[str, list[float]] = {"program": [], "package": []}
        for _ in range(options.rounds):
            for side, run in (("program", program), ("package", package)):
                rates[side].append(options.images / (run(options.images + FIRST) - run(FIRST)))
    medians = {side: statistics.median(found) for side, found in rates.items()}
    ratio = statistics.median(ours / theirs for ours, theirs in zip(rates["package"], rates["program"], strict=True))
    threads = options.threads or os.cpu_count() or 1
    print(f"{options.backbone}, {threads} threads: ", end="")
    print(", ".join(f"{side} {rate:.2f} images/s ({rate / threads:.2f} per thread)" for side, rate in medians.items()), end="")
    print(f", ratio {ratio:.3f}")
    return int(ratio < 0.97)


sys.exit(main())
