"""Measures a nearest-neighbor detector, the simplest method without training, on a dataset in MVTec AD's layout.

    python3 -m venv .venv && .venv/bin/pip install -r tools/bench/requirements-neighbor.txt
    .venv/bin/python tools/bench/nearest_neighbor.py MVTEC WEIGHTS.safetensors resnet18 --categories bottle,screw

One bank of patches for all categories (PatchCore without its coreset: Roth et al., CVPR 2022): the maps of stages 2 and 3, each
averaged over 3 x 3 cells, at the grid of stage 2; 8,000 random patches of each category's normal images. The score of a patch is
its distance to the nearest one in the bank; the map is smoothed by a Gaussian with a standard deviation of 4/224 of the side, and
the image score is its maximum. Prints image AUROC, pixel AUROC and pixel AP, in percent, of each category and their means: to
compare with `dualad train` on the same images, weights and input size.
"""

import argparse
import pathlib

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F
import torchvision
from mvtec import metrics
from PIL import Image
from safetensors.torch import load_file

MEAN, STD = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]


def backbone(name, weights):
    """Returns a ResNet up to stage 3. `resnet50-v1` has the stride in the first convolution of a block."""
    net = getattr(torchvision.models, name.removesuffix("-v1"))()
    if name.endswith("-v1"):
        for layer in (net.layer2, net.layer3, net.layer4):
            layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    net.load_state_dict({key: value.float() for key, value in load_file(weights).items()}, strict=False)
    return net.eval()


def patches(net, paths, size, batch=8):
    """Returns `[images, rows, columns, channels]` in float16."""
    found = []
    for start in range(0, len(paths), batch):
        pictures = [Image.open(path).convert("RGB").resize((size, size), Image.BILINEAR) for path in paths[start : start + batch]]
        x = torch.stack([(torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255 - MEAN) / STD for picture in pictures])
        stage2 = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))
        fine, coarse = (F.avg_pool2d(maps, 3, 1, 1) for maps in (stage2, net.layer3(stage2)))
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear")
        found.append(torch.cat([fine, coarse], 1).permute(0, 2, 3, 1).half())
    return torch.cat(found)


def distances(queries, bank, block=4096):
    squares, found = (bank * bank).sum(1), []
    for rows in queries.split(block):
        nearest = torch.addmm(squares, rows, bank.T, alpha=-2).min(1).values
        found.append((nearest + (rows * rows).sum(1)).clamp(0).sqrt())
    return torch.cat(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=pathlib.Path)
    parser.add_argument("weights")
    parser.add_argument("backbone", choices=["resnet18", "resnet34", "resnet50", "resnet50-v1", "wide_resnet50_2"])
    parser.add_argument("--categories", help="names, separated by commas; all folders with train/good by default")
    parser.add_argument("--size", type=int, default=224, help="the side of the input, in pixels")
    parser.add_argument("--patches", type=int, default=8000, help="the patches of each category in the bank")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_grad_enabled(False)
    net, size = backbone(args.backbone, args.weights), args.size
    names = sorted(path.parent.parent.name for path in args.root.glob("*/train/good"))
    names = args.categories.split(",") if args.categories else names
    bank = []
    for name in names:
        rows = patches(net, sorted((args.root / name / "train/good").iterdir()), size).flatten(0, 2)
        bank.append(rows[torch.randperm(len(rows))[: args.patches]].float())
    bank, table = torch.cat(bank), []

    def inspect(path):
        grid = patches(net, [path], size)
        found = distances(grid.flatten(0, 2).float(), bank).view(1, 1, *grid.shape[1:3])
        found = F.interpolate(found, size=(size, size), mode="bilinear")[0, 0].numpy()
        found = scipy.ndimage.gaussian_filter(found, size * 4 / 224)
        return found.max(), found

    for name in names:
        table.append(metrics(args.root, name, size, inspect))
        print(name, " / ".join(f"{100 * value:.1f}" for value in table[-1]), flush=True)
    print("mean", " / ".join(f"{100 * value:.1f}" for value in np.mean(table, 0)))


if __name__ == "__main__":
    main()
