"""Writes dualad-backbones/tests/fixtures/filter_bank.json: results of the filter bank, computed from its definition in f64 with numpy.

    .venv/bin/python tools/reference/filter_bank.py > dualad-backbones/tests/fixtures/filter_bank.json

The kernels are two-dimensional and are not factored. Inputs: x[c, i, j] = sin(0.1 (c + 1) i + 0.05 j^2 / (c + 1))
+ 0.5 cos(0.37 j - 0.21 i (c + 1)).
"""

import json

import numpy as np

ORIENTATIONS, RADIUS, WAVELENGTH, SIGMA = 4, 3, 4.0, 1.6
KNEE, GAIN, SECOND_ORDER_GAIN = 0.05, 2.0, 2.0
FIRST_ORDER = ((0, 1), (2, 3), (3, 4))
SECOND_ORDER = ((0, 1), (2,), (3,))


def kernels():
    y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1].astype(float)
    w = np.exp(-(x * x + y * y) / (2 * SIGMA * SIGMA))
    w /= w.sum()
    for k in range(ORIENTATIONS):
        theta = np.pi * k / ORIENTATIONS
        phase = 2 * np.pi / WAVELENGTH * (x * np.cos(theta) + y * np.sin(theta))
        c = (w * np.cos(phase)).sum()
        yield w * (np.cos(phase) - c), w * np.sin(phase)


KERNELS = list(kernels())


def correlate(x, kernel):
    rows, columns = x.shape
    padded = np.pad(x, RADIUS, mode="edge")
    side = range(2 * RADIUS + 1)
    return sum(kernel[a, b] * padded[a : a + rows, b : b + columns] for a in side for b in side)


def moduli(x):
    return [np.hypot(correlate(x, even), correlate(x, odd)) for even, odd in KERNELS]


def halve(x):
    rows, columns = x.shape
    p = np.pad(x, 1, mode="edge")
    r = (p[0:rows:2] + 3 * p[1 : rows + 1 : 2] + 3 * p[2 : rows + 2 : 2] + p[3 : rows + 3 : 2]) / 8
    return (r[:, 0:columns:2] + 3 * r[:, 1 : columns + 1 : 2] + 3 * r[:, 2 : columns + 2 : 2] + r[:, 3 : columns + 3 : 2]) / 8


def pool(x, n):
    rows, columns = x.shape
    return x.reshape(rows // n, n, columns // n, n).mean((1, 3))


def compress(m):
    return GAIN * np.log1p(m / KNEE)


def features(image):
    r, g, b = image
    planes = [(r + g + b) / 3, 4 * (r - g), r + g - 2 * b]
    pyramids = []
    for plane in planes:
        pyramid = [plane]
        for _ in range(4):
            pyramid.append(halve(pyramid[-1]))
        pyramids.append(pyramid)
    first = [[moduli(level) for level in pyramid] for pyramid in pyramids]
    second = [[moduli(halve(modulus)) for modulus in first[0][level]] for level in range(4)]
    stages = []
    for s in range(3):
        n = 4 << s
        stage = [compress(pool(modulus, n >> level)) for level in FIRST_ORDER[s] for modulus in first[0][level]]
        stage += [
            compress(pool(sum(first[c][level]) / ORIENTATIONS, n >> level)) for level in FIRST_ORDER[s] for c in (1, 2)
        ]
        stage += [pyramid[s + 2] for pyramid in pyramids]
        for plane in planes:
            difference = plane - np.kron(pool(plane, n), np.ones((n, n)))
            stage.append(compress(np.sqrt(pool(difference**2, n))))
        for level in SECOND_ORDER[s]:
            for orientation in second[level]:
                stage += [SECOND_ORDER_GAIN * compress(pool(modulus, n >> (level + 1))) for modulus in orientation]
        stages.append(np.array(stage))
    return stages


def image(rows, columns):
    c, i, j = np.meshgrid(np.arange(3), np.arange(rows), np.arange(columns), indexing="ij")
    return np.sin(0.1 * (c + 1) * i + 0.05 * j * j / (c + 1)) + 0.5 * np.cos(0.37 * j - 0.21 * i * (c + 1))


def main():
    cases = []
    for size in [(64, 96), (16, 16), (80, 48)]:
        stages = []
        for stage in features(image(*size)):
            flat = stage.ravel()
            # Some of every channel.
            index = np.sort(np.random.default_rng(len(flat)).choice(len(flat), min(len(flat), 200), replace=False))
            value = [float(f"{v:.9g}") for v in flat[index]]
            stages.append(
                {"shape": list(stage.shape), "sums": [float(f"{v:.9g}") for v in stage.sum((1, 2))], "index": index.tolist(), "value": value}
            )
        cases.append({"size": size, "stages": stages})
    print(json.dumps({"cases": cases}))


if __name__ == "__main__":
    main()
