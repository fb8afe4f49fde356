#!/bin/sh
# Every crate as it would be published: it packs, holds neither data nor weights, and compiles from what was packed.
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
# Those that depend on one another are packed together: none of them is on crates.io yet.
target=${CARGO_TARGET_DIR:-target}
rm -rf "$target/package"
cargo package --workspace --exclude dualad-fuzz --locked --allow-dirty --quiet --no-verify
ls -l "$target"/package/*.crate | awk '{ print $NF ": " $5 " bytes" }'

# The packages as one workspace, with the profiles of this one: what the lints left of the dependencies is used. Cargo's own
# verification would build all of them again.
unpacked=$target/package/unpacked
mkdir "$unpacked"
{
    printf '[workspace]\nresolver = "3"\nmembers = ["*"]\n[patch.crates-io]\n'
    for archive in "$target"/package/*.crate; do
        tar -xzf "$archive" -C "$unpacked"
        folder=$(basename "$archive" .crate)
        echo "${folder%-*} = { path = \"$folder\" }"
    done
    sed -n '/^\[profile/,$p' Cargo.toml
} >"$unpacked/Cargo.toml"
cp Cargo.lock "$unpacked"
target=$(cd "$target" && pwd)
CARGO_TARGET_DIR=$target cargo check --manifest-path "$unpacked/Cargo.toml" --workspace --quiet
echo "the packages compile"
