#!/bin/sh
# The unsafe code under AddressSanitizer: every kernel on every instruction set that this processor has, and what is beside it.
#
#     tools/checks/sanitize.sh            # dualad-kernels: a minute
#     tools/checks/sanitize.sh dualad     # another crate's unit tests; builds candle once more
#
# The toolchain at hand does it, if it is told that it may: sanitizers are not in its promise of stability.
set -eu
cd "$(dirname "$0")/../.."

crate=${1:-dualad-kernels}
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/sanitize"
# What a pool of threads holds when the process ends is no leak.
export ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=1"
# With a target named, build scripts go without. Documentation's examples are tested elsewhere.
cargo test -p "$crate" --lib --locked --target "$host"
