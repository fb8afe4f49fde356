"""Compares exported models with `dualad inspect`: onnx's checker, onnxruntime, OpenVINO and TensorRT's parser.

    python tools/onnx/check.py PROGRAM MODELS      # MODELS is the folder that the example onnx_models wrote

Exports each model in MODELS, which itself compares scores and maps with onnxruntime. Then, for each file: the checker of the
package onnx with shape inference; the scores of onnxruntime and OpenVINO for batches of 1 and 3 images, against those of `dualad inspect`.
TensorRT for RTX parses the file and builds its engine, which needs no GPU; running it would. The function of docs/onnx.md resizes the images; with its pixels, `dualad inspect` must give the very scores of the images. Prints a line for each model. Ends with status 1 after a difference.
"""

import glob
import json
import os
import pathlib
import re
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
try:
    import tensorrt_rtx_bindings as tensorrt
except ImportError:
    tensorrt = None
    print("skipped: the engines of TensorRT for RTX (its package, of Linux and Windows on x86-64, is not there)")

TOLERANCE = 1e-4
GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "onnx.md"


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


def guide():
    """Returns the function `resized` of docs/onnx.md."""
    [code] = re.findall(r"^```python\n(import numpy as np\n\n\ndef resized.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    names = {}
    exec(compile(code, str(GUIDE), "exec"), names)
    return names["resized"]


def written(images, folder, size):
    """Writes the images at other sizes than that of the input, and as docs/onnx.md resizes these: the paths of both."""
    width, height = size
    originals, paths = [], []
    for index, path in enumerate(images):
        originals.append(os.path.join(folder, f"original-{index}.png"))
        paths.append(os.path.join(folder, f"{index}.png"))
        with PIL.Image.open(path) as image:
            other = (width * 2 + 37 * index, max(height - 50 * index, 16))
            image.convert("RGB").resize(other, PIL.Image.Resampling.BILINEAR).save(originals[-1])
        with PIL.Image.open(originals[-1]) as image:
            PIL.Image.fromarray(guide()(np.asarray(image), height, width)).save(paths[-1])
    return originals, paths


def inspected(program, model, paths):
    """Returns the scores of `dualad inspect`."""
    command = [program, "inspect", "--model", model, "--json", "-", *paths]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode().splitlines()
    return [json.loads(line)["image_score"] for line in lines]


def difference(wanted, found):
    wanted, found = np.asarray(wanted), np.asarray(found)
    return float(np.max(np.abs(wanted - found) / np.abs(wanted)))


def engine(file, size):
    """Returns the bytes of TensorRT's engine for a file, for batches of 1 to 3 images."""
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(logger)
    network = builder.create_network()
    parser = tensorrt.OnnxParser(network, logger)
    parsed = parser.parse_from_file(file)
    assert parsed, [parser.get_error(index).desc() for index in range(parser.num_errors)]
    width, height = size
    profile = builder.create_optimization_profile()
    profile.set_shape("image", *((batch, 3, height, width) for batch in (1, 1, 3)))
    config = builder.create_builder_config()
    config.add_optimization_profile(profile)
    built = builder.build_serialized_network(network, config)
    assert built is not None, "TensorRT builds no engine"
    return built.nbytes


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
    originals, paths = written(images, folder, size)
    wanted = inspected(program, model, originals)
    again = inspected(program, model, paths)
    assert wanted == again, f"docs/onnx.md resizes to other pixels: {wanted} and {again}"
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
    return exported, found, None if tensorrt is None else engine(file, size)


def main():
    program, models = sys.argv[1:]
    images = sorted(glob.glob(os.path.join(models, "images", "*", "test", "*", "*.png")))[::3][:6]
    wrong = 0
    folders = sorted(path.parent for path in pathlib.Path(models).glob("*/config.json"))
    assert folders and len(images) >= 3
    for model in folders:
        with tempfile.TemporaryDirectory() as folder:
            exported, found, built = check(program, str(model), images, folder)
        ok = all(value <= TOLERANCE for value in found.values())
        wrong += not ok
        own = exported["check"]
        print(
            f"{model.name}: {exported['nodes']} nodes, {exported['bytes']} bytes; "
            f"export: scores {own['score_difference']:.1e}, maps {own['map_difference']:.1e}; "
            + ", ".join(f"{name} {value:.1e}" for name, value in found.items())
            + ("" if built is None else f"; TensorRT's engine {built} bytes")
            + ("" if ok else f"  more than {TOLERANCE:.0e}")
        )
    if wrong:
        sys.exit(f"error: {wrong} models give other scores")


if __name__ == "__main__":
    main()
