#!/usr/bin/env bash
# The functions for DataFusion and the program `dualad-score`: format, lints, tests, and the simulation of docs/scale.md.
#
#     tools/scale/check.sh
#
# Builds DataFusion, which takes a quarter of an hour on two cores.
set -euo pipefail
cd "$(dirname "$0")/../.."

cargo fmt --manifest-path dualad-datafusion/Cargo.toml --all --check
# A folder of its own: the features of the shared crates differ from those of the main workspace.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/scale"
# Clippy compiles the crates of the workspace for the tests: `cargo clippy` would check all of DataFusion beside building it. The
# arguments are in the form in which `cargo clippy` passes them on.
RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__ \
  cargo test --manifest-path dualad-datafusion/Cargo.toml --workspace --locked

if command -v python3 >/dev/null; then
  printf '0.02\n0.03\n0.04\n' >"$CARGO_TARGET_DIR/seconds.txt"
  python3 tools/scale/simulate.py "$CARGO_TARGET_DIR/seconds.txt" --images 1e6 --workers 20
else
  echo "skipped: the simulation (there is no python3)"
fi
