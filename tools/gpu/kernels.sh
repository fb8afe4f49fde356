#!/bin/sh
# Compiles every CUDA kernel for every supported compute capability, with warnings as errors, and prints the registers and the
# spilled bytes of each file.
#
#     CUDA_HOME=FOLDER tools/gpu/kernels.sh
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
nvcc=${CUDA_HOME:+$CUDA_HOME/bin/}nvcc
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
printf '| kernels | compute capability | kernels | most registers | spilled, bytes |\n|---|---|---|---|---|\n'
for source in "$root"/dualad-gpu/kernels/*.cu; do
    name=$(basename "$source" .cu)
    for capability in 75 80 90; do
        "$nvcc" -std=c++17 -O3 -Werror all-warnings -arch="sm_$capability" -cubin -Xptxas -v \
            -o "$out/$name.cubin" "$source" 2> "$out/log" || { cat "$out/log"; exit 1; }
        awk -v name="$name" -v capability="$capability" '
            /registers/ { kernels++; for (i = 1; i < NF; i++) if ($(i + 1) ~ /^registers/ && $i > most) most = $i }
            /spill stores/ { for (i = 1; i < NF; i++) if ($(i + 1) == "bytes" && $(i + 2) == "spill") spilled += $i }
            END { printf "| %s | %s | %d | %d | %d |\n", name, capability, kernels, most, spilled }' "$out/log"
    done
done
