#!/usr/bin/env bash
# Rehearses tools/gpu/device_check.sh on the CPU: packs the programs of the tests' build, and runs every step as briefly as it can.
#
#     tools/gpu/rehearse.sh
#
# It finds faults of the script before the day on which there is a GPU. A step that fails is an error. One that takes longer than a GPU
# may is told.
set -euo pipefail
cd "$(dirname "$0")/../.."

for tool in xz strip; do
  command -v "$tool" >/dev/null || { echo "skipped: the rehearsal (there is no $tool)" && exit 0; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/programs"
export CARGO_TERM_COLOR=never

# `cargo test --workspace` has built all of them.
cargo build --workspace --locked --quiet --bin dualad --example parity
target=${CARGO_TARGET_DIR:-target}/debug
cp "$target/dualad" "$target/examples/parity" "$work/programs/"
cargo test --workspace --locked --no-run --lib --test aggregate --message-format=json 2>/dev/null |
  grep '"profile":{[^}]*"test":true' | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' |
  while read -r program; do
    cp "$program" "$work/programs/test-$(basename "${program%-*}")"
  done
strip "$work"/programs/*

PROGRAMS=$work/programs tools/gpu/device_check.sh pack "$work/package"
"$work/package/device_check.sh" run "$work/package" --device cpu --quick --out "$work/out" || true
grep -q '"step": "inspect", "status": "ok"' "$work/out/results.jsonl" || { echo "error: no step ran to its end" >&2 && exit 1; }
! grep '"status": "failed"' "$work/out/results.jsonl" >&2
