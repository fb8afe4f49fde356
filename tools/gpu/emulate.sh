#!/bin/sh
# Runs every GPU kernel on the CPU and compares it with its definition; see emulate.cpp. Needs a C++17 compiler with _Float16
# (GCC 12 or Clang 15 on x86-64 or aarch64).
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
${CXX:-g++} -std=c++17 -O1 -g -Wall -Wextra -Werror -Wno-unused-function -Wno-unused-parameter ${SANITIZE:+-fsanitize=$SANITIZE} \
    -DDUALAD_EMULATED -I "$root/tools/gpu" "$root/tools/gpu/emulate.cpp" -o "$out/emulate"
"$out/emulate"
