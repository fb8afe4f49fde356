"""Measures this library and other engines that a user could choose, in one run, with the same weights and inputs.

    python3 -m venv .venv && .venv/bin/pip install -r tools/bench/requirements-engines.txt
    .venv/bin/python tools/bench/engines.py                     # everything: an hour or more
    .venv/bin/python tools/bench/engines.py --parts resnet34,heterogeneous --batches 1 --engines dualad,onnxruntime,openvino

Weights and inputs are synthetic (`dualad_backbones::weights::synthetic`); the other engines get them from PyTorch, or as an ONNX
file that PyTorch exports. First, the output of every engine is compared with PyTorch's; an engine that differs is reported and
left out. Engines in int8 (dualad-int8, onnxruntime-int8, openvino-int8) are compared, too, and only reported: they have the weights and
inputs of the others, and onnxruntime's and OpenVINO's ranges come from the input that is measured. Then the engines run in turn, round after round, so that changes in the machine's speed affect all of them. Prints a
Markdown table; `--json FILE` writes every single time.
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "reference"))
sys.path.insert(0, str(ROOT / "tools" / "bench"))
import backbones  # noqa: E402
import network as reference  # noqa: E402
import training_step  # noqa: E402

BACKBONES = {
    "wide-resnet50-2": lambda: backbones.resnet("wide_resnet50_2"),
    "resnet34": lambda: backbones.resnet("resnet34"),
    "resnet50": lambda: backbones.resnet("resnet50"),
    "resnet18": lambda: backbones.resnet("resnet18"),
    "efficientnet-b4": lambda: backbones.efficientnet("tf_efficientnet_b4"),
    "vit-small-dino": lambda: backbones.vit("vit_small_patch16_224"),
    "dinov2-small": lambda: backbones.dino("vit_small_patch14_dinov2", 224),
    "dinov2-reg-small": lambda: backbones.dino("vit_small_patch14_reg4_dinov2", 224),
    "dinov3-small": lambda: backbones.dino("vit_small_patch16_dinov3", 224),
}
STAGES = [256, 512, 1024]
PARTS = ["wide-resnet50-2", "resnet34", "efficientnet-b4", "vit-small-dino", "dinov2-small", "dinov2-reg-small", "dinov3-small",
         "heterogeneous", "homogeneous", "whole", "step"]
INT8 = ["dualad-int8", "onnxruntime-int8", "openvino-int8"]
ENGINES = ["dualad", "candle", "onnxruntime", "openvino", "torch", "torch-compiled", "rten", "tract"]
# The largest allowed difference from PyTorch, relative to the largest value. The exported networks differ less from each other.
TOLERANCE = 1e-3


class Backbone(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.model, self.run, _, self.used = BACKBONES[name]()
        if name.startswith(("resnet", "wide")):
            self.model.layer4 = torch.nn.Identity()
        elif name.startswith("efficientnet"):
            self.model.blocks = self.model.blocks[:5]
        elif name.startswith("vit"):
            self.model.set_input_size = None
        elif name.startswith("dino"):
            self.model.blocks = self.model.blocks[: len(self.model.blocks) * self.used // 4]
        self.strides = None

    def forward(self, x):
        return tuple(self.run(x)[: self.used])


class Reconstruction(torch.nn.Module):
    """The reference network at the paper's size: tokens to image scores and anomaly maps."""

    def __init__(self, variant, stages):
        super().__init__()
        self.stages = stages
        self.network = reference.Network(
            dict(variant=variant, stage_channels=stages, grid=[14, 14], window=[7, 7], levels=4, narrow_width=256,
                 head_width=256, heads=8, ffn_width=1024, encoder_layers=4, wide_layers=1 if variant == "heterogeneous" else 2,
                 memory_slots=196 if variant == "heterogeneous" else 0))
        with torch.no_grad():
            self.network(torch.zeros(1, 196, sum(stages)))
        mask = reference.Network.mask(self.network)
        self.network.mask = lambda: mask
        self.tensors = torch.nn.ParameterList(
            [torch.nn.Parameter(tensor.detach(), requires_grad=False) for tensor in self.network.parameters.values()])
        self.network.parameters = dict(zip(self.network.parameters, self.tensors))

    def forward(self, tokens):
        reconstruction = self.network(tokens)
        errors = ((reconstruction - tokens) ** 2).split(self.stages, -1)
        combined = errors[0].mean(-1).sqrt()
        for error in errors[1:]:
            combined = combined * error.mean(-1).sqrt()
        anomaly_map = F.interpolate(
            combined.reshape(-1, 1, 14, 14), size=(224, 224), mode="bilinear", align_corners=True)
        score = F.avg_pool2d(anomaly_map, 16, stride=1).flatten(1).amax(1)
        return score, anomaly_map


class Whole(torch.nn.Module):
    """Normalized pixels to image scores and anomaly maps: backbone, the aggregation of the published code, and the network."""

    def __init__(self):
        super().__init__()
        self.backbone = Backbone("wide-resnet50-2")
        self.reconstruction = Reconstruction("heterogeneous", STAGES)

    def forward(self, x):
        tokens = [F.avg_pool2d(m, side) if side > 1 else m for m, side in zip(self.backbone(x), (4, 2, 1))]
        return self.reconstruction(torch.cat(tokens, 1).flatten(2).transpose(1, 2))


class Worker:
    """A program that prepares and measures a computation; it reads one command from each line of its standard input."""

    def __init__(self, command, subject, environment=None):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})})
        self.ask(subject)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the worker ended at: {line}")
        return json.loads(answer)

    def times(self, count):
        return self.ask(f"run {count}")["ms"]

    def output(self):
        with tempfile.NamedTemporaryFile() as file:
            self.ask(f"output {file.name}")
            return np.fromfile(file.name, "<f4")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Local:
    """A computation in this process; `call` returns arrays."""

    def __init__(self, call, threads=None):
        self.call, self.threads = call, threads

    def prepare(self):
        if self.threads:
            torch.set_num_threads(self.threads)

    def times(self, count):
        self.prepare()
        times = []
        for _ in range(count):
            started = time.perf_counter()
            self.call()
            times.append((time.perf_counter() - started) * 1e3)
        return times

    def output(self):
        self.prepare()
        return np.concatenate([np.asarray(array, np.float32).ravel() for array in self.call()])

    def close(self):
        pass


def pictures(folder, size=900, count=8):
    """PNG images of a realistic size, the same in every run."""
    import cv2

    paths = []
    for index in range(count):
        random = np.random.default_rng(index)
        small = random.integers(0, 256, (30, 30, 3), dtype=np.uint8)
        picture = cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        picture = np.clip(picture + random.integers(-3, 4, picture.shape), 0, 255).astype(np.uint8)
        paths.append(os.path.join(folder, f"{index}.png"))
        cv2.imwrite(paths[-1], picture)
    return paths


def decoded(paths):
    import cv2

    cv2.setNumThreads(1)
    batch = []
    for path in paths:
        picture = cv2.resize(cv2.imread(path), (224, 224), interpolation=cv2.INTER_LINEAR)[:, :, ::-1]
        picture = (picture.astype(np.float32) / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
        batch.append(picture.transpose(2, 0, 1))
    return np.ascontiguousarray(np.stack(batch))


def make(engine, part, batch, threads, folder, options):
    """An engine that is ready to compute a part."""
    environment = {"RAYON_NUM_THREADS": str(threads)}
    binary = [options.worker, "--threads", str(threads)]
    if part == "step":
        channels = ",".join(map(str, STAGES))
        if engine in ("dualad", "candle"):
            return Worker(binary, f"step {channels} 16{' plain' if engine == 'candle' else ''}", environment)
        if engine == "torch":
            run = training_step.step(STAGES)
            return Local(lambda: [run()], threads)
        return None
    if engine in ("dualad", "dualad-int8", "candle"):
        form = {"dualad": "f32", "dualad-int8": "int8", "candle": "plain"}[engine]
        if part == "whole":
            paths = " ".join(options.pictures)
            return None if form == "plain" else Worker(binary, f"whole {folder}/{form} {batch} {form} {paths}", environment)
        if part in BACKBONES:
            return Worker(binary, f"backbone {part} {batch} {form}", environment)
        return Worker(binary, f"network {part} {','.join(map(str, STAGES))} {batch} {form}", environment)
    module, inputs = options.modules[part]
    x = inputs(batch)
    if engine in ("torch", "torch-compiled"):
        # The settings of an expert: the fast memory format and no gradients.
        if part in BACKBONES or part == "whole":
            module = module.to(memory_format=torch.channels_last)
            x = x.contiguous(memory_format=torch.channels_last)
        call = module
        if engine == "torch-compiled":
            torch.set_num_threads(threads)
            torch._dynamo.reset()
            call = torch.compile(module)

        def run():
            with torch.inference_mode():
                fed = torch.from_numpy(decoded(options.pictures[:batch])) if part == "whole" else x
                result = call(fed)
                return result[:1] if part == "whole" else result

        return Local(run, threads)
    path = os.path.join(folder, f"{part}-{batch}.onnx")
    if not os.path.exists(path):
        with torch.no_grad():
            torch.onnx.export(module, (x,), path, dynamo=False, opset_version=17, input_names=["x"])
    numbers = x.numpy()
    fed = (lambda: decoded(options.pictures[:batch])) if part == "whole" else (lambda: numbers)
    first = (lambda result: result[:1]) if part == "whole" else (lambda result: result)
    if engine.startswith("onnxruntime"):
        import onnxruntime

        if engine.endswith("int8"):
            path = quantized_onnx(path, fed())
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        # Threads that spin after a run would slow down the next engine.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0" if threads == 1 else "1")
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        return Local(lambda: first(session.run(None, {"x": fed()})))
    if engine.startswith("openvino"):
        import openvino

        model = openvino.Core().read_model(path)
        if engine.endswith("int8"):
            import nncf

            model = nncf.quantize(model, nncf.Dataset([fed()]), subset_size=1)
        compiled = openvino.Core().compile_model(
            model, "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32",
                          "EXECUTION_MODE_HINT": "ACCURACY"})
        return Local(lambda: first([np.array(value) for value in compiled(fed()).values()]))
    if engine in ("rten", "tract"):
        if part == "whole" or not options.peers:
            return None
        source = os.path.join(folder, f"{part}-{batch}.f32")
        numbers.tofile(source)
        shape = ",".join(map(str, numbers.shape))
        return Worker([options.peers, "--threads", str(threads)], f"{engine} {path} {source} {shape}", environment)
    return None


def quantized_onnx(path, x):
    """A graph whose weights have one scale for each output and whose activations have one for each tensor, from their values on x."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quantized = path.replace(".onnx", "-int8.onnx")
    if not os.path.exists(quantized):
        class Reader(quantization.CalibrationDataReader):
            rows = iter([{"x": x}])

            def get_next(self):
                return next(self.rows, None)

        prepared = path.replace(".onnx", "-prepared.onnx")
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared, quantized, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8)
    return quantized


def compare(part, batch, threads, folder, options):
    engines = {}
    for name in options.engines:
        try:
            engine = make(name, part, batch, threads, folder, options)
        except Exception as error:  # an engine that cannot run the part is reported
            print(f"{part}, batch {batch}, {threads} threads: {name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
            continue
        if engine is not None:
            engines[name] = engine
    if part != "step":
        reference_name = "torch" if "torch" in engines else next(iter(engines))
        expected = engines[reference_name].output()
        for name in list(engines):
            found = engines[name].output()
            # For the part "whole", our worker returns only image scores; for other parts, the same outputs as PyTorch.
            error = np.abs(found - expected).max() / np.abs(expected).max() if found.shape == expected.shape else np.inf
            print(f"{part}, batch {batch}: {name} differs by {error:.1e}", file=sys.stderr)
            if not error <= TOLERANCE and name not in INT8:
                print(f"  LEFT OUT: its results differ, so its times are not comparable", file=sys.stderr)
                engines.pop(name).close()
    times = {name: [] for name in engines}
    counts = {}
    for name, engine in engines.items():
        warm = engine.times(2)
        counts[name] = max(1, min(20, int(options.turn * 1e3 / max(min(warm), 1e-3))))
    for _ in range(options.rounds):
        for name, engine in engines.items():
            time.sleep(0.05)
            times[name] += engine.times(counts[name])
    for engine in engines.values():
        engine.close()
    return times


def row(part, batch, threads, times, engines):
    median = {name: statistics.median(values) for name, values in times.items() if values}
    rivals = [median[name] for name in ("torch",) if name in median] if part == "step" else [
        median[name] for name in ("onnxruntime", "openvino") if name in median]
    per = 1 if part == "step" else batch
    cells = []
    for name in engines:
        cells.append(f"{median[name] / per:.1f} ({min(times[name]) / per:.1f})" if name in median else "-")
    ratio = f"{median['dualad'] / min(rivals):.2f}" if rivals and "dualad" in median else "-"
    return f"| {part} | {batch} | {threads} | " + " | ".join(cells) + f" | {ratio} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed = lambda text: text.split(",")
    parser.add_argument("--parts", type=listed, default=PARTS)
    parser.add_argument("--engines", type=listed, default=ENGINES)
    parser.add_argument("--batches", type=listed, default=["1", "8"])
    parser.add_argument("--threads", type=listed, default=["1", "2"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turn", type=float, default=0.4, help="seconds that an engine has at a time")
    parser.add_argument("--json")
    parser.add_argument("--worker", help="this library's side; built where it is not given")
    parser.add_argument("--peers", help="rten's and tract's side; built where it is not given and one of them is wanted")
    options = parser.parse_args()
    options.worker = options.worker or build(["bench", "--package", "dualad", "--bench", "engines", "--no-run"], ROOT)
    if not options.peers and {"rten", "tract"} & set(options.engines):
        options.peers = build(["build", "--release"], ROOT / "tools" / "bench" / "peers")
    torch.manual_seed(0)
    image = lambda batch: backbones.synthetic("input", (batch, 3, 224, 224), backbones.SEED)
    tokens = lambda batch: reference.synthetic("input", (batch, 196, sum(STAGES)), reference.SEED)
    made = {}

    class Modules(dict):
        def __missing__(self, part):
            module = Whole() if part == "whole" else Backbone(part) if part in BACKBONES else Reconstruction(part, STAGES)
            self[part] = (module.eval(), image if part == "whole" or part in BACKBONES else tokens)
            return self[part]

    options.modules = Modules(made)
    print("| | batch | threads | " + " | ".join(options.engines) + " | dualad / fastest rival |")
    print("|---|---|---|" + "---|" * (len(options.engines) + 1), flush=True)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        options.pictures = pictures(folder) if "whole" in options.parts else []
        for part, batch, threads in itertools.product(options.parts, map(int, options.batches), map(int, options.threads)):
            if part == "step" and batch != 1:
                continue  # a training step always has a batch of 16
            times = compare(part, batch, threads, folder, options)
            print(row(part, batch, threads, times, options.engines), flush=True)
            results.append({"part": part, "batch": batch, "threads": threads, "ms": times})
            if options.json:
                pathlib.Path(options.json).write_text(json.dumps(results))


def build(arguments, folder):
    """Builds a program and returns its path."""
    command = ["cargo", *arguments, "--message-format", "json"]
    output = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [message["executable"] for message in messages if message.get("executable")][-1]


if __name__ == "__main__":
    main()
