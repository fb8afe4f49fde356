#!/usr/bin/env bash
# Unpacks a Rust toolchain that builds for wasm32-unknown-unknown and aarch64-unknown-linux-gnu, from Debian's packages.
#
#   tools/targets/toolchain.sh DIR    unpacks rustc, the sources of its library, lld and qemu into DIR (1.3 GB) and writes
#                                     DIR/env; done before: does nothing
#   . DIR/env                         sets the compiler, the linkers, and qemu to run what is built for aarch64
#   cargo build -Z build-std=std,panic_abort --target wasm32-unknown-unknown --target-dir target/wasm ...
#   cargo test  -Z build-std --target aarch64-unknown-linux-gnu --target-dir target/aarch64 ...
#
# For machines on which rustup cannot fetch another target. The toolchain of rustup stays as it is. The standard library is
# built with the project, in half a minute. Needs root and apt, on Debian 12.
set -euo pipefail
dir=${1:-}
if [ -z "$dir" ]; then
  echo "name the folder to unpack into: tools/targets/toolchain.sh DIR" >&2
  exit 1
fi
if [ -e "$dir" ] && [ ! -d "$dir" ]; then
  echo "$dir is no folder: name another one" >&2
  exit 1
fi
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
[ -e "$dir/env" ] && exec "$dir/rustc" --version

version=1.96.0+dfsg1-1~deb12u2
mkdir -p "$dir/debs" "$dir/root"
cd "$dir/debs"
apt-get update -qq
apt-get download -qq "rustc-web=$version" "rust-web-src=$version" "libstd-rust-web-dev=$version" libstd-rust-web-1.96 \
  libllvm22 lld-19 liblld-19 libllvm19 qemu-user-static 2>/dev/null
for package in ./*.deb; do dpkg -x "$package" "$dir/root"; done
rm -f ./*.deb
# The package links to the sources by an absolute path.
mkdir -p "$dir/root/usr/lib/rustlib/src"
ln -sfn "$dir/root/usr/src/rustc-1.96.0" "$dir/root/usr/lib/rustlib/src/rust"
# This compiler links programs for aarch64 and brings the C library that they run with.
command -v aarch64-linux-gnu-gcc >/dev/null ||
  apt-get install -y -qq --no-install-recommends gcc-aarch64-linux-gnu libc6-dev-arm64-cross >/dev/null

lib=$dir/root/usr/lib
# In wrappers, so that nothing else takes the libraries of the unpacked compiler.
wrap() { # wrap NAME PROGRAM LIBRARIES
  printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$3" "$2" >"$dir/$1"
  chmod +x "$dir/$1"
}
wrap rustc "$dir/root/usr/bin/rustc" "$lib/x86_64-linux-gnu"
wrap wasm-ld "$lib/llvm-19/bin/wasm-ld" "$lib/x86_64-linux-gnu:$lib/llvm-19/lib"
"$dir/rustc" --version
cat >"$dir/env.new" <<ENV
export RUSTC=$dir/rustc RUSTC_BOOTSTRAP=1
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$dir/wasm-ld
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="$dir/root/usr/bin/qemu-aarch64-static -L /usr/aarch64-linux-gnu"
ENV
mv "$dir/env.new" "$dir/env"
