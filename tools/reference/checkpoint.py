"""Writes dualad/tests/fixtures/*.pth.tar: small checkpoints in the form that the published code saves.

    .venv/bin/python tools/reference/checkpoint.py dualad/tests/fixtures

`dualad_backbones::weights::synthetic` computes the parameters from their names; the tests compute them in the same way. The
checkpoints have all particulars of the published ones: a prefix of the keys, one position embedding that occurs under the name of
every layer, the backbone's parameters, and `epoch` and other values beside the parameters.
"""

import sys
from pathlib import Path

import torch
from torch import nn

from backbones import synthetic

CHANNELS, GRID, LEVELS, WIDTH, FFN, ENCODER, SLOTS = 6, (2, 3), 2, 4, 6, 1, 3
WIDE = LEVELS * WIDTH
SEED = 3


class Leaf(nn.Module):
    def __init__(self, **shapes):
        super().__init__()
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape)))


def linear(i, o):
    return Leaf(weight=(o, i), bias=(o,))


def norm(width):
    return Leaf(weight=(width,), bias=(width,))


class Tree(nn.Module):
    def __init__(self, **children):
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


def attention(width):
    return Tree(**{f"{name}_proj": linear(width, width) for name in ("q", "k", "v", "out")})


def layer(width, hidden, attentions, norms, position):
    children = {name: attention(width) for name in attentions}
    children["ffn"] = Tree(fc1=linear(width, hidden), fc2=linear(hidden, width))
    children |= {f"norm{i + 1}": norm(width) for i in range(norms)}
    return Tree(**children, abs_pos_embed=position)


def network(homogeneous):
    position = Leaf(row_embed=(GRID[0], WIDTH // 2), col_embed=(GRID[1], WIDTH // 2))
    net = nn.Module()
    if homogeneous:
        wide_position = nn.Sequential(position, linear(WIDTH, WIDE))
        net.in_proj, net.out_proj = linear(CHANNELS, WIDE), linear(WIDE, CHANNELS)
        net.proj_encoder = Tree(layers=nn.ModuleList([layer(WIDE, 4 * WIDE, ["attn"], 2, wide_position)]))
        queries = nn.ModuleList([Leaf(weight=(GRID[0] * GRID[1], WIDE))])
        layers = nn.ModuleList([layer(WIDE, 4 * WIDE, ["attn1", "attn2"], 3, wide_position)])
        net.proj_decoder = Tree(learned_queries=queries, layers=layers)
    else:
        net.in_proj = nn.Sequential(linear(CHANNELS, 4 * WIDE), nn.ReLU(), linear(4 * WIDE, WIDE))
        net.out_proj = nn.Sequential(linear(WIDE, 4 * WIDE), nn.ReLU(), linear(4 * WIDE, CHANNELS))
        net.memory_modules = nn.ModuleList([Leaf(weight=(SLOTS, WIDTH)) for _ in range(LEVELS)])
    net.encoder = Tree(layers=nn.ModuleList([layer(WIDTH, FFN, ["attn"], 2, position) for _ in range(ENCODER)]))
    net.decoder = Tree(layers=nn.ModuleList([layer(WIDTH, FFN, ["attn1", "attn2"], 3, position) for _ in range(LEVELS)]))
    return net


def own_name(key):
    """The first of the names that share a parameter is the one the rule is given."""
    if ".abs_pos_embed." not in key:
        return key
    last = key.rsplit(".", 1)[1]
    if last in ("row_embed", "col_embed"):
        return f"encoder.layers.0.abs_pos_embed.{last}"
    return f"proj_encoder.layers.0.abs_pos_embed.1.{last}"


def main(folder):
    for name, homogeneous in [("heterogeneous", False), ("homogeneous", True)]:
        net = network(homogeneous)
        with torch.no_grad():
            for key, parameter in net.named_parameters(remove_duplicate=False):
                parameter.copy_(synthetic(own_name(key), tuple(parameter.shape), SEED))
        state = {f"reconstruction.{key}": value for key, value in net.state_dict().items()}
        state["backbone.conv1.weight"] = torch.zeros(2, 3, 1, 1)
        state["backbone.bn1.num_batches_tracked"] = torch.tensor(0)
        checkpoint = {"epoch": 1200, "arch": None, "state_dict": state, "best_metric": 0.99, "optimizer": {"state": {}}}
        torch.save(checkpoint, Path(folder) / f"{name}.pth.tar")
        torch.save(net.state_dict(), Path(folder) / f"{name}_bare.pth")


if __name__ == "__main__":
    main(sys.argv[1])
