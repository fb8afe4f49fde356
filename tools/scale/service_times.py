#!/usr/bin/env python3
"""Measures the processor time from the bytes of an image to its score, in seconds, one line per image, for `simulate.py`.

    python tools/scale/service_times.py MODEL IMAGE... > seconds.txt

Needs the Python package (`pip install ./dualad-python`).
"""

import sys
import time

import dualad


def main():
    model, *images = sys.argv[1:]
    detector = dualad.Detector.load(model, threads=1)
    for path in images:
        with open(path, "rb") as file:
            content = file.read()
        start = time.process_time()
        detector.inspect(content)
        print(f"{time.process_time() - start:.6f}")


if __name__ == "__main__":
    main()
