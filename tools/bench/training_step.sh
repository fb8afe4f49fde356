#!/usr/bin/env bash
# One training step of this library and of PyTorch, in turn, at the paper's widths: 448 and 1792 channels, 1 and 2 threads.
#
#   python3 -m venv .venv && .venv/bin/pip install -r tools/reference/requirements.txt
#   PYTHON=.venv/bin/python tools/bench/training_step.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
python=${PYTHON:-python3}

bench() { # options
  RAYON_NUM_THREADS=$threads "$binary" "$@"
}

results=$(mktemp)
trap 'rm -f "$results"' EXIT
binary=$(cargo bench --workspace --bench training_step --no-run 2>&1 | sed -n 's/.*training_step.*(\(.*\))$/\1/p')
for stages in 64,128,256 256,512,1024; do
  for threads in 1 2; do
    for _ in $(seq "$rounds"); do
      common=(--stages "$stages" --steps 3)
      for who in ours candle torch torch-fused; do
        case $who in
          ours) result=$(bench "${common[@]}") ;;
          candle) result=$(bench "${common[@]}" --plain) ;;
          torch) result=$("$python" tools/bench/training_step.py "${common[@]}" --threads "$threads") ;;
          torch-fused) result=$("$python" tools/bench/training_step.py "${common[@]}" --threads "$threads" --fused) ;;
        esac
        echo "$stages $threads $who $result" | tee -a "$results" >&2
      done
    done
  done
done

"$python" - "$results" <<'PYTHON'
import collections
import json
import statistics
import sys

runs = collections.defaultdict(list)
for line in open(sys.argv[1]):
    stages, threads, who, result = line.split(" ", 3)
    runs[stages, threads, who].append(json.loads(result))


def median(key, name):
    return statistics.median(result[name] for result in runs[key])


print("| channels | threads | | step, ms | peak, MiB | time / faster PyTorch | memory / the same |")
print("|---|---|---|---|---|---|---|")
for stages, threads, who in runs:
    base = min(((stages, threads, torch) for torch in ("torch", "torch-fused")), key=lambda key: median(key, "step_ms"))
    step, peak = (median((stages, threads, who), name) for name in ("step_ms", "peak_mib"))
    times, memory = step / median(base, "step_ms"), peak / median(base, "peak_mib")
    channels = sum(map(int, stages.split(",")))
    print(f"| {channels} | {threads} | {who} | {step:.0f} | {peak:.0f} | {times:.2f} | {memory:.2f} |")
PYTHON
