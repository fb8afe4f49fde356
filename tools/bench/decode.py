"""Images per second from PNG files to resized pixels with OpenCV, at 1 and 2 threads. Compare dualad-data/benches/decode.rs.

    .venv/bin/python tools/bench/decode.py FOLDER [REPEATS]

OpenCV releases Python's lock while it decodes and resizes, so threads run side by side.
"""

import sys
import threading
import time
from pathlib import Path

import cv2


def run(files):
    for file in files:
        picture = cv2.cvtColor(cv2.imread(str(file), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        cv2.resize(picture, (224, 224), interpolation=cv2.INTER_LINEAR)


def main():
    folder, repeats = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    cv2.setNumThreads(1)
    files = sorted(Path(folder).rglob("*.png"))
    run(files)
    for threads in (1, 2):
        for _ in range(repeats):
            started = time.perf_counter()
            workers = [threading.Thread(target=run, args=(files[first::threads],)) for first in range(threads)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            print(f"opencv {threads} {len(files) / (time.perf_counter() - started):.2f}")


if __name__ == "__main__":
    main()
