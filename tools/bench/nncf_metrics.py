"""Measures the metrics that NNCF's quantization of a model costs, beside those of f32, on a dataset in MVTec AD's layout.

    python3 -m venv .venv && .venv/bin/pip install -r tools/bench/requirements-engines.txt scikit-learn
    dualad export MODEL --out model.onnx --unchecked
    .venv/bin/python tools/bench/nncf_metrics.py model.onnx MVTEC --categories bottle,screw

OpenVINO runs the exported file in f32 and after NNCF's quantization. The operations of the bank stay in f32: NNCF 3.4 fails with them. It
gets its ranges from 50 training images of each category. Prints image AUROC, pixel AUROC and pixel AP, in percent, of
each category and their means: to compare with `dualad evaluate --precision f32` and `--precision int8` of the same model.
"""

import argparse
import pathlib

import nncf
import numpy as np
import openvino
from mvtec import metrics
from PIL import Image


def pixels(path, size):
    picture = Image.open(path).convert("RGB").resize((size, size), Image.BILINEAR)
    return np.array(picture, np.float32).transpose(2, 0, 1)[None]


def inspector(model, size):
    def inspect(path):
        found = model(pixels(path, size))
        return found["score"][0], found["anomaly_map"]

    return inspect


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("--categories", required=True, help="names, separated by commas")
    parser.add_argument("--images", type=int, default=50, help="the training images of each category that NNCF gets")
    args = parser.parse_args()
    core, names = openvino.Core(), args.categories.split(",")
    exact = core.read_model(args.model)
    size = exact.input(0).partial_shape[2].get_length()
    exact.reshape([1, 3, size, size])
    training = [path for name in names for path in sorted((args.root / name / "train/good").iterdir())[: args.images]]
    dataset = nncf.Dataset(training, lambda path: pixels(path, size))
    others = nncf.IgnoredScope(patterns=["bank.*", "category.*", "score.*"])
    models = {"f32": exact, "int8": nncf.quantize(exact.clone(), dataset, subset_size=len(training), ignored_scope=others)}
    for label, model in models.items():
        compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        table = []
        for name in names:
            table.append(metrics(args.root, name, size, inspector(compiled, size)))
            print(label, name, " / ".join(f"{100 * value:.2f}" for value in table[-1]), flush=True)
        print(label, "mean", " / ".join(f"{100 * value:.2f}" for value in np.mean(table, 0)), flush=True)


if __name__ == "__main__":
    main()
