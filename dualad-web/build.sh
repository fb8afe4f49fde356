#!/usr/bin/env bash
# Builds the package for npm, bundlers and plain pages.
#
#     dualad-web/build.sh [OUT]     OUT [dualad-web/pkg]: package.json, JavaScript, TypeScript types, the module
#
# It needs a compiler for wasm32-unknown-unknown: `rustup target add wasm32-unknown-unknown`, or `tools/targets/toolchain.sh DIR` and
# `. DIR/env`. The generator wasm-bindgen is installed into the folder of artifacts.
set -euo pipefail
web=$(cd "$(dirname "$0")" && pwd)
out=${1:-$web/pkg}
if [ -e "$out" ] && [ ! -d "$out" ]; then
  echo "$out is no folder: name another one for the package" >&2
  exit 1
fi
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$web"

build=(build --release --locked)
library=$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib
if [ ! -d "$library/wasm32-unknown-unknown/lib" ]; then
  # A compiler with the sources of the library builds it.
  if [ ! -d "$library/src/rust/library" ]; then
    echo "there is no library for wasm32-unknown-unknown: run \`rustup target add wasm32-unknown-unknown\`," \
      "or \`tools/targets/toolchain.sh DIR\` and \`. DIR/env\`" >&2
    exit 1
  fi
  build+=(-Z build-std=std,panic_abort)
fi

target=${CARGO_TARGET_DIR:-$web/target}
mkdir -p "$target"
target=$(cd "$target" && pwd)
version=$(sed -n 's/^wasm-bindgen = "=\(.*\)"$/\1/p' Cargo.toml)
generator=$target/tools/bin/wasm-bindgen
if [ "$("$generator" --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
  # With the compiler of the machine: the one for wasm32 may have no library for it. Little optimization: it runs for a second.
  # From another folder, because the configuration of this one names the target.
  (cd / && env -u RUSTC -u RUSTC_BOOTSTRAP CARGO_TARGET_DIR="$target/tools-build" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    cargo install --quiet --root "$target/tools" --version "$version" wasm-bindgen-cli)
  rm -rf "$target/tools-build"
fi

cargo "${build[@]}" --target-dir "$target"

rm -f "$out"/*.js "$out"/*.d.ts "$out"/*.wasm
"$generator" --target web --out-dir "$out" --remove-producers-section --remove-name-section "$target/wasm32-unknown-unknown/release/dualad_web.wasm"
cp package/*.js package/*.d.ts package/package.json "$out/"
cp ../LICENSE-MIT ../LICENSE-APACHE "$out/"
cp README.md "$out/"
echo "$out: $(wc -c <"$out/dualad_web_bg.wasm") bytes of WebAssembly, $(gzip -9 -c "$out/dualad_web_bg.wasm" | wc -c) compressed"
