"""Writes dualad-backbones/tests/fixtures/pytorch: files of every kind that PyTorch writes, each of some kilobytes.

    .venv/bin/python tools/reference/pytorch_files.py dualad-backbones/tests/fixtures/pytorch

Value i of a tensor is i / 8. So the tests know every value, and every value is exact in every dtype.
"""

import sys
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn


def values(*shape, dtype=torch.float32):
    return (torch.arange(torch.Size(shape).numel(), dtype=torch.float64) / 8).to(dtype).reshape(shape)


def network():
    """A convolution and a batch norm, within two modules."""
    net = nn.Sequential(OrderedDict(
        stem=nn.Sequential(OrderedDict(conv=nn.Conv2d(2, 4, 3, bias=False), bn=nn.BatchNorm2d(4))),
        fc=nn.Linear(4, 3),
    ))
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(values(*tensor.shape))
    return net.eval()


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    net = network()
    state = net.state_dict()
    optimizer = torch.optim.Adam(net.parameters())
    checkpoint = {"epoch": 3, "state_dict": {f"module.backbone.{key}": value for key, value in state.items()},
                  "optimizer": optimizer.state_dict(), "metrics": [0.5, {"auroc": 0.75}]}
    torch.save(state, folder / "state_dict.pth")
    torch.save(checkpoint, folder / "checkpoint.pth")
    torch.save(checkpoint, folder / "before_1.6.pth", _use_new_zipfile_serialization=False)
    torch.save(checkpoint, folder / "protocol_4.pth", pickle_protocol=4)
    torch.save(net, folder / "module.pth")
    torch.jit.script(net).save(folder / "script.pt")
    plain = values(4, 3, 2, 2)
    torch.save({
        "half": values(2, 3, dtype=torch.float16), "bfloat16": values(2, 3, dtype=torch.bfloat16),
        "double": values(2, 3, dtype=torch.float64), "long": torch.arange(6),
        "channels_last": plain.to(memory_format=torch.channels_last), "transposed": values(3, 2).t().contiguous().t(),
        "part": torch.cat([torch.full((2, 3), 99.0), values(2, 3)])[2:], "every_second": values(2, 3).repeat_interleave(2, 1)[:, ::2],
        "expanded": torch.zeros(1, 1).expand(2, 3), "scalar": values(1).reshape(()), "none": values(0, 3),
        "parameter": nn.Parameter(values(2, 3)), "sparse": values(2, 3).to_sparse(), "not_finite": torch.tensor([1.0, float("nan")]),
    }, folder / "tensors.pth")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
