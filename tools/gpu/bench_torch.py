"""PyTorch's side of `device_check.sh`: the same networks and shapes as `dualad bench`, on the same device.

    python3 tools/gpu/bench_torch.py --device cuda --parts step,heterogeneous,wide-resnet50-2 --batches 1,8,16,64
    python3 tools/gpu/bench_torch.py --compare OUT/results.jsonl

The networks are those of tools/bench/engines.py, the training step that of tools/bench/training_step.py. Eager backbones have
channels last; `torch.compile` compiles the largest batch and the training step. The part `card` measures the device: the bandwidth of
a copy, bytes read and written, and the rate of a square matrix product. Prints one JSON object a line, each when it is measured.
With --compare, prints a Markdown table of a check's results: this library's times beside PyTorch's.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools" / "bench"))

# The images of a training step, as in the paper.
STEP_BATCH = 16


def report(**values):
    print(json.dumps(values), flush=True)


def median_ms(call, options):
    """The median of as many runs as fit the seconds, at least three, after three that warm up: as `dualad bench` measures."""
    import torch

    device, seconds, least = options.device, options.seconds, 1 if options.quick else 3

    def once():
        started = time.perf_counter()
        call()
        if device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started) * 1e3

    for _ in range(least):
        once()
    times, started = [], time.perf_counter()
    while len(times) < least or time.perf_counter() - started < seconds:
        times.append(once())
    return statistics.median(times)


def card(options):
    import torch

    size = 1 << (28 if options.device == "cuda" else 22)
    x = torch.randn(size, device=options.device)
    y = torch.empty_like(x)
    ms = median_ms(lambda: y.copy_(x), options)
    side = 8192 if options.device == "cuda" else 512
    found = {"copy_tb_per_s": 2 * 4 * size / ms / 1e9}
    for precision in options.precisions:
        dtype = use(precision)
        a, b = (torch.randn(side, side, device=options.device, dtype=dtype) for _ in range(2))
        ms = median_ms(lambda: a @ b, options)
        found[f"{precision}_tflop_per_s"] = 2 * side**3 / ms / 1e9
    report(part="card", **found)


def use(precision):
    """Sets whether f32 products may be tf32, and returns the dtype of a precision."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    return {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[precision]


def compiles(precision, options):
    """Compiling takes most of the time: not in the rehearsal on a CPU, and not for f32, which the product's rate limits either way."""
    return options.device == "cuda" and precision != "f32"


def peak_mib(device):
    import torch

    return torch.cuda.max_memory_allocated() >> 20 if device == "cuda" else None


def inference(part, options):
    import torch

    import engines

    is_backbone = part in engines.BACKBONES
    for precision in options.precisions:
        dtype = use(precision)
        if is_backbone:
            module = engines.Backbone(part).eval().to(options.device, dtype, memory_format=torch.channels_last)
        else:
            # Made on the CPU, where its parameters are drawn; the dictionary must have the moved ones.
            module = engines.Reconstruction(part, engines.STAGES).eval().to(options.device, dtype)
            mask = module.network.mask().to(options.device, dtype)
            module.network.mask = lambda mask=mask: mask
            module.network.parameters = dict(zip(module.network.parameters, module.tensors))
        with torch.inference_mode():
            for batch in options.batches:
                if is_backbone:
                    x = torch.randn(batch, 3, 224, 224, device=options.device, dtype=dtype).to(memory_format=torch.channels_last)
                else:
                    x = torch.randn(batch, 196, sum(engines.STAGES), device=options.device, dtype=dtype)
                for engine in ("eager", "compiled"):
                    if engine == "compiled" and (batch != max(options.batches) or not compiles(precision, options)):
                        continue
                    call = module if engine == "eager" else torch.compile(module, dynamic=False)
                    if options.device == "cuda":
                        torch.cuda.reset_peak_memory_stats()
                    ms = median_ms(lambda: call(x), options) / batch
                    report(part=part, batch=batch, precision=precision, engine=engine, ms_per_image=ms, peak_mib=peak_mib(options.device))


def step(options):
    import torch

    import engines
    import training_step

    for precision in options.precisions:
        use(precision)
        for engine in ("eager", "compiled"):
            if engine == "compiled" and not compiles(precision, options):
                continue
            if options.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            autocast = torch.bfloat16 if precision == "bf16" else None
            run = training_step.step(
                engines.STAGES, batch=STEP_BATCH, device=options.device, autocast=autocast, compiled=engine == "compiled")
            ms = median_ms(run, options)
            report(part="step", batch=STEP_BATCH, precision=precision, engine=engine, ms=ms, peak_mib=peak_mib(options.device))


def compare(path):
    """Prints a table of the results of a check."""
    own, other, card_figures = {}, {}, {}
    for line in pathlib.Path(path).read_text().splitlines():
        result = json.loads(line)
        figures, words = result.get("figures"), result["step"].split()
        if not figures:
            continue
        if words[0] == "card":
            card_figures = figures
        elif words[0] == "bench":
            backbone, variant, precision = words[1:]
            for run in figures["runs"]:
                part = run["ms_per_image"]
                own[backbone, run["batch_size"], precision] = part["backbone"]
                own[variant, run["batch_size"], precision] = part["reconstruction"] + part["scoring"]
                own[f"{backbone}, {variant}, from png to score", run["batch_size"], precision] = part["whole"]
            for measured in figures["training_steps"]:
                if variant == "heterogeneous" and backbone == "wide-resnet50-2":
                    # PyTorch's step has its tokens on the device.
                    part = "step" if measured.get("tokens_on_device") else "step, tokens from the CPU"
                    own[part, measured["batch_size"], precision] = measured["ms"]
        elif words[0] == "torch":
            for found in figures:
                key = found["part"], found["batch"], found["precision"]
                other.setdefault(key, {})[found["engine"]] = found.get("ms_per_image", found.get("ms"))
    if card_figures:
        print("the card: " + ", ".join(f"{name} {value:.3g}" for name, value in card_figures.items() if name != "part") + "\n")
    print("| part | batch | precision | this library, ms an image (step: ms) | PyTorch | compiled | this library's speed / the faster one's |")
    print("|---|---|---|---|---|---|---|")
    shown = lambda value: "-" if value is None else f"{value:.3f}"
    for key in sorted(own.keys() | other.keys(), key=str):
        mine, found = own.get(key), other.get(key, {})
        ratio = min(found.values()) / mine if mine and found else None
        part, batch, precision = key
        print(f"| {part} | {batch} | {precision} | {shown(mine)} | {shown(found.get('eager'))} | {shown(found.get('compiled'))} | "
              f"{'-' if ratio is None else f'{ratio:.2f}'} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    listed = lambda text: text.split(",")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--parts", type=listed, default=["card", "step", "heterogeneous", "homogeneous", "wide-resnet50-2"])
    parser.add_argument("--batches", type=lambda text: [int(batch) for batch in text.split(",")], default=[1, 8, 16, 64])
    parser.add_argument("--precisions", type=listed, default=["tf32", "bf16", "f32"])
    parser.add_argument("--seconds", type=float, default=0.3, help="seconds to measure each part for")
    parser.add_argument("--quick", action="store_true", help="measure one run, after one that warms up")
    parser.add_argument("--compare", metavar="RESULTS", help="print the table of a check's results, and measure nothing")
    options = parser.parse_args()
    if options.compare:
        return compare(options.compare)
    failed = False
    for part in options.parts:
        try:
            card(options) if part == "card" else step(options) if part == "step" else inference(part, options)
        except Exception as error:  # the other parts are measured all the same
            print(f"error: {part}: {type(error).__name__}: {str(error)[:500]}", file=sys.stderr, flush=True)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
