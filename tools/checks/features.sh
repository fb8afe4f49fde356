#!/usr/bin/env bash
# No Cargo feature, and each feature alone: the libraries build without a warning, and an image format that is left out is an error.
#
#     tools/checks/features.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

lint() {
    cargo clippy -p "$1" --lib --no-default-features --features "$2" --locked --quiet -- -D warnings || {
        echo "error: $1 has warnings with the features \"$2\" alone" >&2
        exit 1
    }
}
for feature in "" bmp gif jpeg png pnm render synthetic tiff webp; do
    lint dualad-data "$feature"
done
for feature in "" hub; do
    lint dualad-backbones "$feature"
done
# The image formats select nothing in dualad itself.
for feature in "" hub render report synthetic train; do
    lint dualad "$feature"
done
cargo test -p dualad-data --lib --no-default-features --features png --locked --quiet a_format_that_is_left_out
