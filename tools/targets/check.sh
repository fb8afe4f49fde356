#!/usr/bin/env bash
# Runs the Arm kernels and the network under qemu, and checks that everything compiles for Windows and macOS.
#
#   tools/targets/check.sh    uses the toolchain in $DUALAD_TOOLCHAIN (default: target/targets/toolchain), or unpacks it there
#
# Needs root and apt on Debian 12, or a toolchain that tools/targets/toolchain.sh unpacked before; without them it prints why
# and does nothing. Golden numbers in ../shared are used where they are there. DUALAD_PROGRAM names this machine's program, whose scores
# are compared; otherwise it is that of the folder of artifacts. Builds in target/targets.
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

target=${CARGO_TARGET_DIR:-target}
program=${DUALAD_PROGRAM:-}
for built in "$target/release/dualad" "$target/debug/dualad"; do
  [ -n "$program" ] || [ ! -x "$built" ] || program=$built
done
if [ -n "$program" ] && command -v python3 >/dev/null; then
  step "an inspection on aarch64, under qemu"
  folder=$(mktemp -d)
  trap 'rm -rf "$folder" ${goldens:+"$goldens"}' EXIT
  # A bank alone: it needs no epochs.
  "$program" train --epochs 0 --heatmaps 0 --progress none --out "$folder/model" >"$folder/log" 2>&1 || { cat "$folder/log"; exit 1; }
  pictures=("$folder"/model/data/plate/test/*/000.png)
  "$program" inspect --model "$folder/model" --json "$folder/here" "${pictures[@]}" >/dev/null
  cargo run --release "${build[@]}" "${arm[@]}" -p dualad-cli --no-default-features --bin dualad -- \
    inspect --model "$folder/model" --json "$folder/arm" "${pictures[@]}" >/dev/null
  python3 - "$folder/here" "$folder/arm" <<'PY'
import json, sys

here, arm = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
assert len(here) == len(arm) > 0, (len(here), len(arm))
largest = 0
for one, other in zip(here, arm):
    assert one["verdict"]["decision"] == other["verdict"]["decision"], (one, other)
    largest = max(largest, abs(one["image_score"] - other["image_score"]) / abs(one["image_score"]))
assert largest < 1e-4, largest
print(f"{len(here)} images: the same decisions, scores within {largest:.1e}")
PY
else
  skip "an inspection on aarch64 (no program \`dualad\` of this machine in $target, or no python3; DUALAD_PROGRAM names it)"
fi

# Only the types are checked, for all features but the hub's: that one compiles C, which needs the target's own headers.
step "types for Windows"
# The standard library for Windows names its imports with this program.
if ! command -v x86_64-w64-mingw32-dlltool >/dev/null && can_install; then
  apt-get install -y -qq --no-install-recommends binutils-mingw-w64-x86-64 >/dev/null || true
fi
command -v x86_64-w64-mingw32-dlltool >/dev/null ||
  { echo "x86_64-w64-mingw32-dlltool is missing: install the package binutils-mingw-w64-x86-64" >&2; exit 1; }
cargo check "${build[@]}" --target x86_64-pc-windows-gnu --workspace --all-targets --no-default-features
step "types for macOS"
cargo check "${build[@]}" --target aarch64-apple-darwin --workspace --all-targets --no-default-features
step "done"
