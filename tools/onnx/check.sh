#!/usr/bin/env bash
# Exported ONNX files against `dualad inspect`: both variants of three backbones, with a bank and without, in onnxruntime and OpenVINO.
# TensorRT for RTX builds engines of them, without a GPU.
#
#     tools/onnx/check.sh [BACKBONE...]
#
# PYTHON names a Python with the packages of tools/onnx/requirements.txt.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-python3}
if ! command -v "$python" >/dev/null; then
    echo "skipped: exported ONNX files (there is no $python)"
    exit 0
fi
if ! missing=$("$python" -c 'import numpy, onnx, onnxruntime, PIL' 2>&1); then
    echo "skipped: exported ONNX files (${missing##*$'\n'}; tools/onnx/requirements.txt lists the packages)"
    exit 0
fi
if [ $# -eq 0 ]; then
    set -- resnet18 resnet50-v1 efficientnet-b4
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo build --workspace --locked --quiet --bin dualad --example onnx_models
target=${CARGO_TARGET_DIR:-target}/debug
"$target/examples/onnx_models" "$folder" "$@" >/dev/null
"$python" tools/onnx/check.py "$target/dualad" "$folder"
