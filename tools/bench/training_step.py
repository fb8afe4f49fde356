"""One training step in PyTorch at the paper's widths: noise, forward pass, loss, backward pass, clipping and AdamW.

training_step.sh runs it in turn with this library's step. Prints one JSON object.
"""

import argparse
import json
import pathlib
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "reference"))
from network import Network  # noqa: E402


class Training(Network):
    """The reference network with dropout and, if requested, PyTorch's fused attention."""

    def __init__(self, config, fused):
        super().__init__(config)
        self.fused, self.masked = fused, None

    def mask(self):
        if self.masked is None:
            self.masked = super().mask()
        return self.masked

    def attend(self, q, k, v, name):
        b, n, width = q.shape
        heads = self.c["heads"]
        split = lambda x: x.reshape(b, n, heads, width // heads).transpose(1, 2)
        q, k, v = (split(self.linear(x, f"{name}.{part}_proj", width)) for x, part in ((q, "q"), (k, "k"), (v, "v")))
        if self.fused:
            read = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask())
        else:
            read = torch.softmax(q @ k.transpose(2, 3) * (width // heads) ** -0.5 + self.mask(), -1) @ v
        read = self.linear(read.transpose(1, 2).reshape(b, n, width), f"{name}.out_proj", width)
        return F.dropout(read, self.c["dropout"])

    def feed_forward(self, x, name, hidden):
        x = F.dropout(torch.relu(self.linear(x, f"{name}.fc1", hidden)), self.c["dropout"])
        return F.dropout(self.linear(x, f"{name}.fc2", self.c["narrow_width"]), self.c["dropout"])


def step(stages, narrow=256, heads=8, batch=16, fused=True, device="cpu", autocast=None, compiled=False):
    """Returns a function that runs one training step and returns its loss. `autocast` is the dtype of products, or None for f32."""
    torch.manual_seed(0)
    network = Training(
        dict(variant="heterogeneous", stage_channels=stages, grid=[14, 14], window=[7, 7], levels=4,
             narrow_width=narrow, head_width=narrow, heads=heads, ffn_width=4 * narrow,
             encoder_layers=4, wide_layers=1, memory_slots=196, dropout=0.1), fused)
    tokens = torch.randn(batch, 196, sum(stages))
    with torch.no_grad():
        network(tokens[:1])  # creates the parameters
    tokens, network.masked = tokens.to(device), network.mask().to(device)
    network.parameters = {name: value.detach().to(device).requires_grad_() for name, value in network.parameters.items()}
    parameters = list(network.parameters.values())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=1e-4, fused=device != "cpu")

    def loss_of(tokens):
        with torch.autocast(device, autocast or torch.bfloat16, enabled=autocast is not None):
            noisy = tokens + 3.2 * tokens.std(1, keepdim=True) * torch.randn_like(tokens)
            reconstruction = network(noisy)
        return sum(e.mean() for e in ((reconstruction.float() - tokens) ** 2).split(stages, -1))

    if compiled:
        loss_of = torch.compile(loss_of, dynamic=False)

    def run():
        loss = loss_of(tokens)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.1)
        optimizer.step()
        return loss.item()

    return run


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--stages", default="64,128,256")
    parser.add_argument("--narrow", type=int, default=256)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--fused", action="store_true", help="scaled_dot_product_attention")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    run = step([int(channels) for channels in args.stages.split(",")], args.narrow, args.heads, args.batch, args.fused)
    times = []
    for index in range(args.steps + 1):
        started = time.perf_counter()
        value = run()
        if index:
            times.append((time.perf_counter() - started) * 1e3)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"step_ms": statistics.median(times), "fastest_ms": min(times), "peak_mib": peak, "loss": value}))


if __name__ == "__main__":
    main()
