#!/usr/bin/env bash
# Runs the Arm kernels and the network under qemu, and checks that everything compiles for Windows and macOS.
#
#   tools/targets/check.sh    uses the toolchain in $DUALAD_TOOLCHAIN (default: target/targets/toolchain), or unpacks it there
#
# Needs root and apt on Debian 12, or a toolchain that tools/targets/toolchain.sh unpacked before; without them it prints why
# and does nothing. Golden numbers in ../shared are used where they are there. Builds in target/targets.
set -euo pipefail
cd "$(dirname "$0")/../.."

step() { printf '\n-- %s (%s s)\n' "$*" "$SECONDS"; }
skip() { printf 'skipped: %s\n' "$*"; }
can_install() { command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; }

toolchain=${DUALAD_TOOLCHAIN:-target/targets/toolchain}
if [ ! -e "$toolchain/env" ]; then
  can_install || { skip "other targets (no toolchain in $toolchain, and no root or apt to unpack one)"; exit 0; }
  tools/targets/toolchain.sh "$toolchain" || { skip "other targets (the toolchain cannot be unpacked)"; exit 0; }
fi
# Only here: the workspace's own target folder belongs to the usual compiler.
. "$toolchain/env"
export CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
# Slow tests leave out the portable form, which is tested on every processor.
export DUALAD_EMULATED=1
# Optimized without checks: under qemu, overflow checks take most of the time.
build=(--locked -Z build-std --target-dir target/targets/build)
arm=(--target aarch64-unknown-linux-gnu)

step "kernels on aarch64, under qemu"
cargo test --release "${build[@]}" "${arm[@]}" -p dualad-kernels --lib
step "the search and int8 on a processor without dot products of bytes"
# Of the search, the tests that reach all of its code: each takes half a minute and more under qemu.
QEMU_CPU=cortex-a72 cargo test --release "${build[@]}" "${arm[@]}" -p dualad-kernels --lib -- int8 odd_sizes of_any_size like_real_features

if [ -d ../shared/goldens ]; then
  step "parity on aarch64, under qemu"
  # Of the backbones, only the smallest: under qemu, all of them take a quarter of an hour.
  goldens=$(mktemp -d)
  trap 'rm -rf "$goldens"' EXIT
  cp ../shared/goldens/*.safetensors "$goldens"
  if command -v python3 >/dev/null; then
    python3 - ../shared/goldens/backbones.json "$goldens/backbones.json" <<'PY'
import json, sys

goldens = json.load(open(sys.argv[1]))
goldens["models"] = {"resnet18": goldens["models"]["resnet18"]}
json.dump(goldens, open(sys.argv[2], "w"))
PY
  else
    skip "the golden numbers of a backbone (no python3)"
  fi
  cargo run --release "${build[@]}" "${arm[@]}" -p dualad-cli --no-default-features --example parity -- --goldens "$goldens"
else
  skip "parity on aarch64 (../shared/goldens is not there)"
fi

# Only the types are checked, for all features but the hub's: that one compiles C, which needs the target's own headers.
step "types for Windows"
cargo check "${build[@]}" --target x86_64-pc-windows-gnu --workspace --all-targets --no-default-features
step "types for macOS"
cargo check "${build[@]}" --target aarch64-apple-darwin --workspace --all-targets --no-default-features
step "done"
