"""Writes dualad/tests/fixtures/network.json: results of the coupled dual-branch network in plain PyTorch.

    .venv/bin/python tools/reference/network.py > dualad/tests/fixtures/network.json

The network follows docs/method.md, without feature jittering and dropout. `dualad_backbones::weights::synthetic` computes the
parameters and tokens from their names; therefore the fixture holds results only: the reconstruction, anomaly map and image
score, the loss, and the norm and one element of every gradient. `window` and `head_width` are the former names of the fields
`neighbor_mask` and `chunk_width`; the fixture keeps them to test that they are still read.
"""

import json

import torch
import torch.nn.functional as F

from backbones import synthetic

SEED = 5
CASES = [
    dict(variant="heterogeneous", stage_channels=[5, 3, 4], grid=[5, 6], window=[3, 3], levels=3, narrow_width=8,
         head_width=6, heads=2, ffn_width=12, encoder_layers=2, wide_layers=1, memory_slots=7),
    dict(variant="heterogeneous", stage_channels=[6, 6], grid=[4, 4], window=None, levels=2, narrow_width=6,
         head_width=6, heads=3, ffn_width=10, encoder_layers=1, wide_layers=2, memory_slots=0),
    dict(variant="homogeneous", stage_channels=[5, 3, 4], grid=[5, 6], window=[5, 3], levels=2, narrow_width=8,
         head_width=6, heads=2, ffn_width=12, encoder_layers=1, wide_layers=2, memory_slots=0),
]


class Network:
    def __init__(self, config):
        self.c, self.parameters = config, {}

    def p(self, name, *shape):
        if name not in self.parameters:
            self.parameters[name] = synthetic(name, shape, SEED).requires_grad_()
        return self.parameters[name]

    def linear(self, x, name, to):
        return F.linear(x, self.p(f"{name}.weight", to, x.shape[-1]), self.p(f"{name}.bias", to))

    def norm(self, x, name):
        width = x.shape[-1]
        return F.layer_norm(x, (width,), self.p(f"{name}.weight", width), self.p(f"{name}.bias", width), 1e-5)

    def mask(self):
        if self.c["window"] is None:
            return 0.0
        (rows, columns), (high, wide) = self.c["grid"], self.c["window"]
        r = torch.arange(rows * columns) // columns
        c = torch.arange(rows * columns) % columns
        near = ((r[:, None] - r).abs() <= high // 2) & ((c[:, None] - c).abs() <= wide // 2)
        return torch.zeros(rows * columns, rows * columns).masked_fill(near, float("-inf"))

    def attend(self, q, k, v, name):
        b, n, width = q.shape
        heads = self.c["heads"]
        split = lambda x: x.reshape(b, n, heads, width // heads).transpose(1, 2)
        q, k, v = (split(self.linear(x, f"{name}.{part}_proj", width)) for x, part in ((q, "q"), (k, "k"), (v, "v")))
        weights = torch.softmax(q @ k.transpose(2, 3) * (width // heads) ** -0.5 + self.mask(), -1)
        return self.linear((weights @ v).transpose(1, 2).reshape(b, n, width), f"{name}.out_proj", width)

    def feed_forward(self, x, name, hidden):
        return self.linear(torch.relu(self.linear(x, f"{name}.fc1", hidden)), f"{name}.fc2", x.shape[-1])

    def encoder_layer(self, x, position, name, hidden):
        x = self.norm(x + self.attend(x + position, x + position, x, f"{name}.attn"), f"{name}.norm1")
        return self.norm(x + self.feed_forward(x, f"{name}.ffn", hidden), f"{name}.norm2")

    def decoder_layer(self, x, previous, z, position, name, hidden):
        x = self.norm(x + self.attend(x + position, z + position, z, f"{name}.attn1"), f"{name}.norm1")
        read = self.attend(x + position, previous + position, previous, f"{name}.attn2")
        x = self.norm(x + read, f"{name}.norm2")
        return self.norm(x + self.feed_forward(x, f"{name}.ffn", hidden), f"{name}.norm3")

    def memory(self, x, name):
        slots = self.c["memory_slots"]
        memory = self.p(name, slots, x.shape[-1])
        w = torch.softmax(F.normalize(x, dim=-1) @ F.normalize(memory, dim=-1).T, -1)
        w = F.normalize(torch.where(w > 1 / slots, w, 0.0), p=1, dim=-1)
        return w @ memory

    def mlp(self, x, name, hidden, to):
        for i in range(self.c["wide_layers"]):
            x = torch.relu(self.linear(x, f"{name}.{2 * i}", hidden))
        return self.linear(x, f"{name}.{2 * self.c['wide_layers']}", to)

    def __call__(self, x):
        c = self.c
        (rows, columns), d, levels = c["grid"], c["narrow_width"], c["levels"]
        wide, channels = levels * c["head_width"], x.shape[-1]
        row = self.p("encoder.layers.0.abs_pos_embed.row_embed", rows, d // 2)
        column = self.p("encoder.layers.0.abs_pos_embed.col_embed", columns, d // 2)
        position = torch.cat([column.expand(rows, -1, -1), row[:, None].expand(-1, columns, -1)], -1).flatten(0, 1)
        if c["variant"] == "heterogeneous":
            x = self.mlp(x, "in_proj", 4 * wide, wide)
        else:
            wide_position = self.linear(position, "proj_encoder.layers.0.abs_pos_embed.1", wide)
            x = self.linear(x, "in_proj", wide)
            for i in range(c["wide_layers"]):
                x = self.encoder_layer(x, wide_position, f"proj_encoder.layers.{i}", 4 * wide)
        joined = c["head_width"] != d
        if joined:
            x = self.linear(x, "head_proj1", levels * d)
        m = list(x.split(d, -1))
        if c["memory_slots"]:
            m = [self.memory(chunk, f"memory_modules.{i}.weight") for i, chunk in enumerate(m)]
        z = sum(m)
        for i in range(c["encoder_layers"]):
            z = self.encoder_layer(z, position, f"encoder.layers.{i}", c["ffn_width"])
        previous, outputs = z, []
        for i, chunk in enumerate(m):
            previous = self.decoder_layer(chunk, previous, z, position, f"decoder.layers.{i}", c["ffn_width"])
            outputs.append(previous)
        x = torch.cat(outputs, -1)
        if joined:
            x = self.linear(x, "head_proj2", wide)
        if c["variant"] == "heterogeneous":
            return self.mlp(x, "out_proj", 4 * wide, channels)
        z = previous = x
        for i in range(c["wide_layers"]):
            query = self.p(f"proj_decoder.learned_queries.{i}.weight", rows * columns, wide).expand_as(z)
            previous = self.decoder_layer(query, previous, z, wide_position, f"proj_decoder.layers.{i}", 4 * wide)
        return self.linear(previous, "out_proj", channels)


def numbers(tensor):
    return [float(f"{v:.8g}") for v in tensor.detach().double().flatten().tolist()]


def case(config):
    torch.manual_seed(0)
    rows, columns = config["grid"]
    channels = config["stage_channels"]
    tokens = synthetic("input", (2, rows * columns, sum(channels)), SEED)
    network = Network(config)
    reconstruction = network(tokens)
    errors = ((reconstruction - tokens) ** 2).split(channels, -1)
    tokens_map = torch.stack([e.mean(-1).sqrt() for e in errors]).prod(0).reshape(2, 1, rows, columns)
    anomaly_map = F.interpolate(tokens_map, scale_factor=16, mode="bilinear", align_corners=True)
    score = F.avg_pool2d(anomaly_map, 16, stride=1).flatten(1).max(1).values
    loss = sum(e.mean() for e in errors)
    loss.backward()
    gradients = {}
    for name, parameter in network.parameters.items():
        largest = parameter.grad.abs().argmax().item()
        norm, value = numbers(torch.stack([parameter.grad.norm(), parameter.grad.flatten()[largest]]))
        gradients[name] = {"norm": norm, "index": largest, "value": value}
    return {
        "config": {**config, "wide_ffn_ratio": 4, "dropout": 0.0, "jitter": None},
        "reconstruction": numbers(reconstruction),
        "anomaly_map": numbers(anomaly_map[:, 0, ::7, ::7]),
        "image_score": numbers(score),
        "loss": loss.item(),
        "gradients": gradients,
    }


if __name__ == "__main__":
    print(json.dumps({"seed": SEED, "cases": [case(config) for config in CASES]}))
