#!/usr/bin/env bash
# Puts the demonstration page together: a folder for any file server.
#
#     dualad-web/demo.sh [MODEL [OUT]]
#
# MODEL [out/mvtec] is a model's folder, such as the README's first command writes. Pictures of its test images, if it has the folder
# `data`, become examples. OUT [out/web] gets the page. The package is built, unless DUALAD_WEB_PACKAGE names the folder of a built one.
set -euo pipefail
web=$(cd "$(dirname "$0")" && pwd)
model=${1:-$web/../out/mvtec}
out=${2:-$web/../out/web}
if [ ! -f "$model/config.json" ] || [ ! -f "$model/model.safetensors" ]; then
  echo "$model holds no model: train one first, for example with \`cargo run --release --example mvtec\`" >&2
  exit 1
fi
package=${DUALAD_WEB_PACKAGE:-}
if [ -n "$package" ] && [ ! -f "$package/dualad_web_bg.wasm" ]; then
  echo "$package (DUALAD_WEB_PACKAGE) holds no package: name a folder that dualad-web/build.sh wrote, or leave DUALAD_WEB_PACKAGE out" >&2
  exit 1
fi
if [ -e "$out" ] && [ ! -d "$out" ]; then
  echo "$out is no folder: name another one for the page" >&2
  exit 1
fi
mkdir -p "$out/dualad" "$out/model" "$out/examples"
if [ -n "$package" ]; then
  cp "$package"/* "$out/dualad/"
else
  "$web/build.sh" "$out/dualad"
fi
cp "$web"/demo/* "$out/"

# The names as strings of JSON.
json() { printf '"%s"' "$(printf '%s' "$1" | sed 's/[\\"]/\\&/g')"; }

files=()
rm -f "$out"/model/*
for name in config.json model.safetensors calibration.json backbone.safetensors; do
  if [ -f "$model/$name" ]; then
    cp "$model/$name" "$out/model/"
    files+=("$(json "$name")")
  fi
done
(IFS=,; printf '{"files": [%s]}\n' "${files[*]}") >"$out/model/index.json"

examples=()
rm -f "$out"/examples/*
for folder in "$model"/data/*/test; do
  [ -d "$folder" ] || continue
  category=$(basename "$(dirname "$folder")")
  # The first good picture and the first defective one.
  for kind in "$folder"/good "$(find "$folder" -mindepth 1 -maxdepth 1 -type d ! -name good | LC_ALL=C sort | head -n 1)"; do
    picture=$(find "$kind" -maxdepth 1 -type f \( -name '*.png' -o -name '*.jpg' -o -name '*.webp' \) 2>/dev/null | LC_ALL=C sort | head -n 1)
    [ -n "$picture" ] || continue
    name=$category-$(basename "$kind").${picture##*.}
    cp "$picture" "$out/examples/$name"
    label="$category, $(basename "$kind")"
    examples+=("{\"file\": $(json "$name"), \"label\": $(json "$label"), \"category\": $(json "$category")}")
  done
done
(IFS=,; printf '[%s]\n' "${examples[*]:-}") >"$out/examples/index.json"
printf '%s: serve it, for example with `python3 -m http.server --directory %q`, and open http://localhost:8000\n' "$out" "$out"
