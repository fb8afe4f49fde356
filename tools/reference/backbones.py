"""Writes dualad-backbones/tests/fixtures/backbones.json: results of torchvision and timm for synthetic weights and inputs.

    python -m venv .venv && .venv/bin/pip install -r tools/reference/requirements.txt
    .venv/bin/python tools/reference/backbones.py > dualad-backbones/tests/fixtures/backbones.json

`dualad_backbones::weights::synthetic` defines the weights and inputs. Each case has the size of the input, and for every stage
and for the aggregated tokens the shape, the mean, the standard deviation and 24 values (at `index` of the flattened map).
"""

import json
import sys

import numpy as np
import timm
import torch
import torch.nn.functional as F
import torchvision

SEED = 1
BATCH = 2
MASK = (1 << 64) - 1


def synthetic(key, shape, seed=SEED):
    h = 0xCBF29CE484222325
    for byte in key.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    count = int(np.prod(shape))
    x = np.uint64((h + seed) & MASK) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    u = (x >> np.uint64(11)).astype(np.float64) * 2.0**-53
    v = 2 * u - 1
    if key.endswith("running_var"):
        value = 0.8 + 0.4 * u
    elif key.endswith(("running_mean", ".bias")):
        value = 0.1 * v
    elif key == "input":
        value = 2 * v
    elif key in ("pos_embed", "cls_token"):
        value = 0.2 * v
    elif len(shape) == 1:
        value = 0.8 + 0.4 * u
    else:
        value = v * np.sqrt(3.0 / np.prod(shape[1:]))
    return torch.from_numpy(value.astype(np.float32).reshape(shape))


def load(model):
    state = {k: v if k.endswith("num_batches_tracked") else synthetic(k, tuple(v.shape)) for k, v in model.state_dict().items()}
    model.load_state_dict(state)
    return model.eval()


def resnet(name, v1=False):
    model = load(getattr(torchvision.models, name)(weights=None))
    if v1:
        for layer in (model.layer2, model.layer3, model.layer4):
            layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)

    def forward(x):
        x = model.maxpool(model.relu(model.bn1(model.conv1(x))))
        maps = []
        for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
            x = layer(x)
            maps.append(x)
        return maps

    return model, forward, [4, 8, 16, 32], 3


def efficientnet(name):
    model = load(timm.create_model(name, pretrained=False))

    def forward(x):
        x = model.bn1(model.conv_stem(x))
        maps = []
        for index, stage in enumerate(model.blocks):
            x = stage(x)
            if index in (0, 1, 2, 4, 6):
                maps.append(x)
        return maps

    return model, forward, [2, 4, 8, 16, 32], 4


def vit(name):
    model = load(timm.create_model(name, pretrained=False))

    def position(rows, columns):
        """DINO's interpolate_pos_encoding (facebookresearch/dino, vision_transformer.py)."""
        side = int((model.pos_embed.shape[1] - 1) ** 0.5)
        if rows == side and columns == side:
            return model.pos_embed
        cells = model.pos_embed[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        scale = ((rows + 0.1) / side, (columns + 0.1) / side)
        cells = F.interpolate(cells, scale_factor=scale, mode="bicubic")
        assert cells.shape[-2:] == (rows, columns)
        return torch.cat([model.pos_embed[:, :1], cells.permute(0, 2, 3, 1).flatten(1, 2)], 1)

    def forward(x):
        x = model.patch_embed.proj(x)
        rows, columns = x.shape[-2:]
        x = torch.cat([model.cls_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
        x = x + position(rows, columns)
        maps = []
        for index, block in enumerate(model.blocks):
            x = block(x)
            if index % 3 == 2:
                maps.append(x[:, 1:].transpose(1, 2).unflatten(2, (rows, columns)))
        return maps

    return model, forward, [16] * 4, 4


def dino(name, side=None):
    """DINOv2 and DINOv3 as timm runs them for images of any size, or of one size with the positions interpolated in advance."""
    model = load(timm.create_model(name, pretrained=False, dynamic_img_size=True))
    if side:
        model.set_input_size((side, side))
        state = model.state_dict()
        model = timm.create_model(name, pretrained=False, img_size=side, dynamic_img_size=False)
        model.load_state_dict(state)
        model.eval()
    patch = model.patch_embed.patch_size[0]
    depth = len(model.blocks)
    last = [depth * stage // 4 - 1 for stage in (1, 2, 3, 4)]

    def forward(x):
        indices = [index for index in last if index < len(model.blocks)]
        return model.forward_intermediates(x, indices=indices, intermediates_only=True)

    return model, forward, [patch] * 4, 3


def aggregate(maps, strides):
    """Aggregates stages as in the paper: resizes all to the finest stride, concatenates them, and pools to stride 16.

    A vision transformer's maps all have the stride of its patch, which is then the tokens'.
    """
    if len(set(strides)) == 1:
        return torch.cat(maps, 1).flatten(2).transpose(1, 2)
    finest = min(strides[0], 16)
    size = maps[0].shape[-2] * strides[0] // finest, maps[0].shape[-1] * strides[0] // finest
    joined = torch.cat([F.interpolate(m, size=size, mode="nearest") for m in maps], 1)
    return F.avg_pool2d(joined, 16 // finest).flatten(2).transpose(1, 2)


def summary(tensor):
    flat = tensor.double().flatten()
    index = np.sort(np.random.default_rng(len(flat)).choice(len(flat), 24, replace=False))
    return {
        "shape": list(tensor.shape),
        "mean": flat.mean().item(),
        "std": flat.std(unbiased=False).item(),
        "index": index.tolist(),
        "value": [float(f"{v:.8g}") for v in flat[index].tolist()],
    }


MODELS = {
    "resnet18": lambda: resnet("resnet18"),
    "resnet34": lambda: resnet("resnet34"),
    "resnet50": lambda: resnet("resnet50"),
    "resnet50-v1": lambda: resnet("resnet50", v1=True),
    "wide-resnet50-2": lambda: resnet("wide_resnet50_2"),
    "efficientnet-b4": lambda: efficientnet("tf_efficientnet_b4"),
    "efficientnet-b4-timm": lambda: efficientnet("efficientnet_b4"),
    "vit-small-dino": lambda: vit("vit_small_patch16_224.dino"),
    **{
        f"{name}-{size}": lambda size=size, network=network: dino(f"vit_{size}_{network}")
        for name, network in [
            ("dinov2", "patch14_dinov2"), ("dinov2-reg", "patch14_reg4_dinov2"), ("dinov3", "patch16_dinov3")]
        for size in ("small", "base", "large")
    },
}
SIZES = [(64, 96), (80, 48)]
# The last size of patch 14 shrinks the grid of the learned positions in one direction and enlarges it in the other.
DINO_SIZES = {14: [(224, 224), (70, 98), (28, 546)], 16: [(224, 224), (80, 112)]}


def main():
    torch.manual_seed(0)
    models = {}
    for name, make in MODELS.items():
        model, forward, strides, used = make()
        cases = []
        for height, width in DINO_SIZES[strides[0]] if name.startswith("dino") else SIZES:
            with torch.no_grad():
                maps = forward(synthetic("input", (BATCH, 3, height, width)))
            tokens = aggregate(maps[:used], strides[:used])
            cases.append({"size": [height, width], "stages": [summary(m) for m in maps], "aggregated": summary(tokens)})
        models[name] = {"parameters": sum(p.numel() for p in model.parameters()), "cases": cases}
        print(name, "done", file=sys.stderr)
    print(json.dumps({"seed": SEED, "batch": BATCH, "models": models}))


if __name__ == "__main__":
    main()
