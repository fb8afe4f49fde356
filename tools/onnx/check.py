"""Compares exported models with `dualad inspect`: onnx's checker, onnxruntime and OpenVINO.

    python tools/onnx/check.py PROGRAM MODELS      # MODELS is the folder that the example onnx_models wrote

Exports each model in MODELS, which itself compares scores and maps with onnxruntime. Then, for each file: the checker of the
package onnx with shape inference; the scores of onnxruntime and OpenVINO for batches of 1 and 3 images, against those of `dualad inspect`
for the same pixels. Prints a line for each model. Ends with status 1 after a difference.
"""

import glob
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import PIL.Image

try:
    import openvino
except ImportError:
    openvino = None
    print("skipped: the runs in OpenVINO (the package openvino is not there)")

TOLERANCE = 1e-4


def library():
    """Returns the library of onnxruntime in its Python package."""
    folder = pathlib.Path(onnxruntime.__file__).parent / "capi"
    names = ["libonnxruntime.so.*", "libonnxruntime.*dylib", "onnxruntime.dll"]
    found = [path for name in names for path in sorted(glob.glob(str(folder / name)))]
    return found[0]


def pixels(path, size):
    """Returns the input of the graph for an image of its size: [1, 3, height, width], from 0 to 255."""
    with PIL.Image.open(path) as image:
        assert image.size == size, (image.size, size)
        return np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)[None]


def resized(images, folder, size):
    """Writes the images at the size of the input. `dualad inspect` does not resize them again."""
    paths = []
    for index, path in enumerate(images):
        with PIL.Image.open(path) as image:
            paths.append(os.path.join(folder, f"{index}.png"))
            image.convert("RGB").resize(size, PIL.Image.Resampling.BILINEAR).save(paths[-1])
    return paths


def difference(wanted, found):
    wanted, found = np.asarray(wanted), np.asarray(found)
    return float(np.max(np.abs(wanted - found) / np.abs(wanted)))


def check(program, model, images, folder):
    file = os.path.join(folder, "model.onnx")
    command = [program, "export", model, "--out", file, "--onnxruntime", library(), "--json", "-"]
    exported = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    assert exported["check"]["score_difference"] <= TOLERANCE, exported
    loaded = onnx.load(file)
    onnx.checker.check_model(loaded, full_check=True)
    metadata = {entry.key: entry.value for entry in loaded.metadata_props}
    assert json.loads(metadata["dualad.check"]) == exported["check"], metadata
    described = json.loads(metadata["dualad.input"])
    size = (described["resize"]["width"], described["resize"]["height"])
    paths = resized(images, folder, size)
    command = [program, "inspect", "--model", model, "--json", "-", *paths]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode().splitlines()
    wanted = [json.loads(line)["image_score"] for line in lines]
    batch = np.concatenate([pixels(path, size) for path in paths])
    runtimes = {"onnxruntime": onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])}
    runs = {"onnxruntime": lambda x: runtimes["onnxruntime"].run(["score"], {"image": x})[0]}
    if openvino is not None:
        compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        runs["openvino"] = lambda x: compiled({"image": x})["score"]
    found = {}
    for name, run in runs.items():
        alone = [run(batch[index : index + 1])[0] for index in range(len(paths))]
        found[name] = max(difference(wanted, alone), difference(wanted[:3], run(batch[:3])))
    return exported, found


def main():
    program, models = sys.argv[1:]
    images = sorted(glob.glob(os.path.join(models, "images", "*", "test", "*", "*.png")))[::3][:6]
    wrong = 0
    folders = sorted(path.parent for path in pathlib.Path(models).glob("*/config.json"))
    assert folders and len(images) >= 3
    for model in folders:
        with tempfile.TemporaryDirectory() as folder:
            exported, found = check(program, str(model), images, folder)
        ok = all(value <= TOLERANCE for value in found.values())
        wrong += not ok
        own = exported["check"]
        print(
            f"{model.name}: {exported['nodes']} nodes, {exported['bytes']} bytes; "
            f"export: scores {own['score_difference']:.1e}, maps {own['map_difference']:.1e}; "
            + ", ".join(f"{name} {value:.1e}" for name, value in found.items())
            + ("" if ok else f"  more than {TOLERANCE:.0e}")
        )
    if wrong:
        sys.exit(f"error: {wrong} models give other scores")


if __name__ == "__main__":
    main()
