"""Writes pictures to dualad-data/tests/fixtures that the Rust encoders in use cannot write: CMYK and animations.

    .venv/bin/python tools/reference/pictures.py dualad-data/tests/fixtures
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image


def main():
    folder = Path(sys.argv[1])
    # Ink: cyan on the left half, none on the right.
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[:, :4, 0] = 255
    Image.fromarray(ink, "CMYK").save(folder / "cmyk.jpg", quality=90)
    first, second = Image.new("RGB", (8, 8), (200, 30, 30)), Image.new("RGB", (8, 8), (30, 30, 200))
    first.save(folder / "animated.webp", save_all=True, append_images=[second], lossless=True, duration=100)
    first.save(folder / "animated.gif", save_all=True, append_images=[second], duration=100)


if __name__ == "__main__":
    main()
