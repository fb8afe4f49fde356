#!/usr/bin/env bash
# The package for browsers and Node: the kernels' tests as WebAssembly, the package, the code of docs/web.md in Node, and the
# demonstration page in Chromium, with the scores of `dualad inspect`.
#
#     tools/web/check.sh [FOLDER]     FOLDER gets screenshots of the page
#
# DUALAD_TARGETS names the folder of a toolchain that tools/targets/toolchain.sh unpacked, where rustup has no wasm32-unknown-unknown.
# CHROMIUM names the browser [chromium]. DUALAD_PROGRAM names the program `dualad`; otherwise it is that of the folder of artifacts, or
# it is built. What is built for WebAssembly goes to DUALAD_WEB_TARGET [target/web].
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD

skip() { echo "skipped: the package for browsers ($1)"; exit 0; }

[ -z "${DUALAD_TARGETS:-}" ] || [ -f "$DUALAD_TARGETS/env" ] || skip "$DUALAD_TARGETS/env is not there"
# Runs a command with the compiler for WebAssembly. Others keep the machine's.
for_web() (
  # shellcheck disable=SC1091
  [ -z "${DUALAD_TARGETS:-}" ] || . "$DUALAD_TARGETS/env"
  export CARGO_TARGET_DIR="${DUALAD_WEB_TARGET:-$root/target/web}"
  "$@"
)
# shellcheck disable=SC2016
has_target='[ -d "$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib/wasm32-unknown-unknown/lib" ]'
# shellcheck disable=SC2016
has_sources='[ -n "${RUSTC_BOOTSTRAP:-}" ] && [ -d "$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib/src/rust/library" ]'
std=()
if ! for_web bash -c "$has_target"; then
  for_web bash -c "$has_sources" ||
    skip "no library for wasm32-unknown-unknown: rustup target add wasm32-unknown-unknown, or tools/targets/toolchain.sh DIR and DUALAD_TARGETS=DIR"
  std=(-Z build-std=std,panic_abort)
fi
command -v node >/dev/null || skip "there is no node"
browser=$(command -v "${CHROMIUM:-chromium}") || skip "there is no ${CHROMIUM:-chromium}; CHROMIUM names the browser"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/node"
(cd "$folder/node" && npm init --yes >/dev/null && npm install --silent --no-audit --no-fund playwright-core@1 typescript@5) >"$folder/npm.log" 2>&1 ||
  skip "the package registry cannot be reached: $(tail -n 1 "$folder/npm.log")"

cargo fmt --manifest-path dualad-web/Cargo.toml --check

# The kernels with SIMD128 against their definitions. Their tests draw no random values where there is no source of them.
for_web env CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="node --stack-trace-limit=40 $root/tools/web/run_tests.mjs" \
  CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS='-C target-feature=+simd128 --cfg getrandom_backend="unsupported"' \
  cargo test --quiet --release --locked ${std[@]+"${std[@]}"} --target wasm32-unknown-unknown -p dualad-kernels --lib

for_web dualad-web/build.sh "$folder/package"

target=${CARGO_TARGET_DIR:-target}
program=${DUALAD_PROGRAM:-}
for built in "$target/release/dualad" "$target/debug/dualad"; do
  [ -n "$program" ] || [ ! -x "$built" ] || program=$built
done
if [ -z "$program" ]; then
  cargo build --workspace --locked --quiet --bin dualad
  program=$target/debug/dualad
fi
# A bank alone: it needs no epochs.
"$program" train --epochs 0 --heatmaps 0 --progress none --out "$folder/model" >"$folder/train.log" 2>&1 ||
  { cat "$folder/train.log"; exit 1; }
# A network in int8, for one product.
{
  "$program" train --data "$folder/model/data" --categories plate --backbone filter-bank --preset fast --epochs 1 --heatmaps 0 \
    --progress none --out "$folder/int8" &&
    "$program" calibrate --model "$folder/int8" --data "$folder/model/data" --precision int8
} >"$folder/train.log" 2>&1 || { cat "$folder/train.log"; exit 1; }
# Wrong folders are named, and nothing is written.
refuses() { # refuses WORDS COMMAND...
  local words=$1
  shift
  if "$@" >"$folder/answer" 2>&1 || ! grep -qF "$words" "$folder/answer"; then
    echo "$*: must say \"$words\", and says: $(cat "$folder/answer")" >&2
    exit 1
  fi
}
touch "$folder/file"
refuses "name the folder to unpack into" tools/targets/toolchain.sh
refuses "$folder/file is no folder" tools/targets/toolchain.sh "$folder/file"
refuses "$folder/file is no folder" dualad-web/build.sh "$folder/file"
refuses "$folder/file is no folder" dualad-web/demo.sh "$folder/model" "$folder/file"
refuses "$folder/none (DUALAD_WEB_PACKAGE) holds no package" env DUALAD_WEB_PACKAGE="$folder/none" dualad-web/demo.sh "$folder/model" "$folder/site"
[ ! -e "$folder/site" ]
DUALAD_WEB_PACKAGE="$folder/package" dualad-web/demo.sh "$folder/model" "$folder/site" >/dev/null
program=$(realpath "$program")
cd "$folder/site/examples"
"$program" inspect --model "$folder/model" --json "$folder/expected.jsonl" ./*.png >/dev/null
"$program" inspect --model "$folder/int8" --json "$folder/expected-int8.jsonl" ./plate-*.png >/dev/null
cd "$root"
echo "built: $(wc -c <"$folder/package/dualad_web_bg.wasm") bytes of WebAssembly"

ln -s "$folder/node/node_modules" "$folder/node_modules"
cp tools/web/*.mjs "$folder/"
cp docs/web.md "$folder/guide.md"
# For the pages of the guide.
cp "$folder/site/examples/gear-good.png" "$folder/site/part.png"
node "$folder/in_node.mjs" "$folder" "$folder/guide.md"
node "$folder/misuse.mjs" "$folder"
"$folder/node_modules/.bin/tsc" --noEmit --strict --target es2022 --module nodenext --moduleResolution nodenext --lib es2022,esnext.disposable,dom \
  "$folder"/package/*.d.ts
node "$folder/in_browser.mjs" "$folder" "$browser" "${1:-}"
