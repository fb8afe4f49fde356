#!/usr/bin/env bash
# Decoding and resizing of PNG files by this library and by OpenCV, in turn, so that other load affects both.
#
#   tools/bench/decode.sh FOLDER [ROUNDS]
#
# PYTHON names an interpreter with opencv-python-headless (tools/reference/requirements.txt). Prints the median images per
# second of both at 1 and 2 threads, and their ratio; above 1, this library is faster.
set -euo pipefail
folder=$(realpath "${1:?name a folder of png files}")
rounds=${2:-5}
cd "$(dirname "$0")/../.."
python=${PYTHON:-.venv/bin/python}

cargo bench -p dualad-data --bench decode --no-run
results=$(mktemp)
trap 'rm -f "$results"' EXIT
for _ in $(seq "$rounds"); do
  cargo bench -q -p dualad-data --bench decode -- "$folder" 3 >>"$results"
  "$python" tools/bench/decode.py "$folder" 3 >>"$results"
done

"$python" - "$results" <<'PYTHON'
import statistics
import sys

rates = {}
for line in open(sys.argv[1]):
    side, threads, rate = line.split()
    rates.setdefault((side, threads), []).append(float(rate))
for threads in ("1", "2"):
    ours, theirs = (statistics.median(rates[side, threads]) for side in ("dualad", "opencv"))
    print(f"{threads} thread(s): dualad {ours:.1f} images/s, OpenCV {theirs:.1f} images/s, ratio {ours / theirs:.2f}")
PYTHON
