#!/bin/sh
# Checks the Metal side without a Mac. Needs clang and python3.
#
#     tools/gpu/metal.sh            # the kernels
#     tools/gpu/metal.sh --rust     # and the types of the launching code: some minutes, in target/metal
#
# Kernels: C++ for OpenCL has the address spaces of Metal, so clang finds a pointer into the wrong one. A script checks that every
# pointer and reference names its address space, which Metal requires. Launching code: candle's Metal code and the Objective-C crates
# compile on Linux for GNUstep, after copies of them lose the names of Apple's frameworks. This runs no kernel: `emulate.sh` does.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
for source in "$root"/dualad-gpu/kernels/*.cu; do
    clang -x cl -cl-std=clc++2021 -Xclang -finclude-default-header --target=spir64 -fsyntax-only -Wall -Wextra -Werror \
        -Wno-unused-function -Wno-unused-parameter "$source"
done
python3 - "$root"/dualad-gpu/kernels/*.cu <<'PY'
import re, sys

wrong = []
for path in sys.argv[1:]:
    for number, line in enumerate(open(path), 1):
        code = line.split("//")[0]
        for part in re.split(r"[(,;{](?!&)", code):
            declared = re.search(r"(?:^|\s)(?:const\s+)?(?:float|f16|bf16|u32|T|[A-Z][a-z]\w*(?:<\w+>)?)\s*(?:\*|&|\(&)\s*\w+", part)
            if declared and not re.search(r"GLOBAL|SHARED|LOCAL|CONSTANT", part):
                # Expressions contain products, not pointers.
                if not re.search(r"[=+<>]|return|\breach\b", part):
                    wrong.append(f"{path}:{number}: {part.strip()}: no address space")
print("\n".join(wrong) or "the kernels' address spaces are consistent")
sys.exit(bool(wrong))
PY

[ "${1:-}" = --rust ] || exit 0
folder="$root/target/metal"
mkdir -p "$folder/src"
: > "$folder/src/lib.rs"
cargo fetch --manifest-path "$root/Cargo.toml" --quiet
version() { sed -n "/^name = \"$1\"$/{n;s/version = \"\(.*\)\"/\1/p}" "$root/Cargo.lock"; }
for crate in candle-core objc2-metal; do
    rm -rf "${folder:?}/$crate"
    cp -r "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"$crate-$(version "$crate")" "$folder/$crate"
    chmod -R u+w "$folder/$crate"
done
sed -i 's/^#\[link(name = "Metal", kind = "framework")\]//' "$folder/objc2-metal/src/generated/mod.rs"
sed -i 's/let url = NSURL::from_file_path(path);/let url: Option<Box<NSURL>> = None;/' "$folder/candle-core/src/metal_backend/device.rs"
cat > "$folder/Cargo.toml" <<TOML
[package]
name = "metal-types"
version = "0.0.0"
edition = "2024"

[dependencies]
block2 = { version = "$(version block2)", features = ["gnustep-2-1"] }
dualad-gpu = { path = "$root/dualad-gpu", features = ["metal"] }
objc2 = { version = "$(version objc2)", features = ["gnustep-2-1"] }
objc2-foundation = { version = "$(version objc2-foundation)", features = ["gnustep-2-1"] }

[patch.crates-io]
candle-core = { path = "candle-core" }
objc2-metal = { path = "objc2-metal" }

[workspace]
TOML
CARGO_TARGET_DIR="$folder/target" cargo check --manifest-path "$folder/Cargo.toml"
