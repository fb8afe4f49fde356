#!/usr/bin/env bash
# The rule of prose that a program can check (CONTRIBUTING.md, "Plain words"): a doc comment does not begin with
# What, How or Whether.
set -euo pipefail
cd "$(dirname "$0")/../.."

found=$(git ls-files -co --exclude-standard '*.rs' | while read -r file; do
  [ -f "$file" ] || continue
  # The first line of each block of `///` or `//!` lines.
  awk -v file="$file" '
    match($0, /^[ \t]*\/\/[\/!]( |$)/) {
      if (!inside && $0 ~ /^[ \t]*\/\/[\/!] *(What|How|Whether)[^a-z]/) print file ":" FNR ": " $0
      inside = 1; next
    }
    { inside = 0 }
  ' "$file"
done)

if [ -n "$found" ]; then
  printf '%s\n' "$found"
  echo "error: begin a doc comment with a noun phrase or a verb: \"The batch size.\", \"Returns the anomaly map.\"" >&2
  exit 1
fi
