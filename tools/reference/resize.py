"""Writes dualad-data/tests/fixtures/resize.json: small pictures and masks that OpenCV resized.

    .venv/bin/python tools/reference/resize.py > dualad-data/tests/fixtures/resize.json

The inputs are computed; therefore the file holds results only. Channel c of the picture at row i, column j is
(i * i * (c + 3) + 7 * j * (c + 1) + 5 * i * j) mod 256, and the mask is (3 * i + 5 * j) mod 7 + 249.
Sizes are width x height; results are hexadecimal, row by row.
"""

import json

import cv2
import numpy as np

CASES = (((31, 23), (16, 12)), ((31, 23), (32, 48)), ((17, 40), (9, 7)), ((1, 5), (3, 4)), ((64, 2), (7, 5)), ((49, 98), (16, 16)))


def inputs(width, height):
    i, j = np.mgrid[0:height, 0:width]
    picture = np.stack([(i * i * (c + 3) + 7 * j * (c + 1) + 5 * i * j) % 256 for c in range(3)], axis=-1)
    return picture.astype(np.uint8), ((3 * i + 5 * j) % 7 + 249).astype(np.uint8)


def main():
    cases = []
    for source, target in CASES:
        picture, mask = inputs(*source)
        cases.append(
            {
                "source": source,
                "target": target,
                "linear": cv2.resize(picture, target, interpolation=cv2.INTER_LINEAR).tobytes().hex(),
                "nearest": cv2.resize(mask, target, interpolation=cv2.INTER_NEAREST).tobytes().hex(),
            }
        )
    print(json.dumps({"opencv": cv2.__version__, "cases": cases}, indent=1))


if __name__ == "__main__":
    main()
