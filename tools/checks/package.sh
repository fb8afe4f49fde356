#!/bin/sh
# Every crate as it would be published: it packs, holds neither data nor weights, and builds from what was packed.
#
#     tools/checks/package.sh [--no-verify]
set -eu
cd "$(dirname "$0")/../.."

for crate in dualad-store dualad-kernels dualad-gpu dualad-data dualad-backbones dualad dualad-serve dualad-capi dualad-onnx dualad-cli; do
    list=$(cargo package -p "$crate" --locked --allow-dirty --list)
    wrong=$(printf '%s\n' "$list" | grep -E '\.(safetensors|pth|tar|onnx|npy|npz|jpe?g|png|tiff?|bmp|webp|gif)$' | grep -v '^tests/fixtures/' || true)
    if [ -n "$wrong" ]; then
        printf '%s would hold data:\n%s\n' "$crate" "$wrong" >&2
        exit 1
    fi
    for file in Cargo.toml README.md LICENSE-MIT LICENSE-APACHE; do
        printf '%s\n' "$list" | grep -qx "$file" || { echo "$crate would have no $file" >&2; exit 1; }
    done
    echo "$crate: $(printf '%s\n' "$list" | wc -l) files"
done
# Cargo takes a version for unchangeable. What it unpacked and built of an earlier packing of the same version must go.
rm -rf "${CARGO_HOME:-$HOME/.cargo}"/registry/src/-*/dualad-* "${CARGO_TARGET_DIR:-target}"/debug/.fingerprint/dualad-*
# Those that depend on one another are packed together: none of them is on crates.io yet. Nobody debugs what is built here.
export CARGO_PROFILE_DEV_DEBUG=false
cargo package --workspace --exclude dualad-fuzz --locked --allow-dirty --quiet "$@"
ls -l target/package/*.crate | awk '{ print $NF ": " $5 " bytes" }'
