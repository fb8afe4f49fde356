#!/usr/bin/env bash
# The Python package, as a user installs it: built in a clean virtual environment, then its tests, its types, and the code of
# docs/python.md and docs/scale.md. The archive of its sources, too, without a build.
#
#     tools/python/check.sh
#
# PYTHON names the interpreter [python3]. DUALAD_PROGRAM names the program whose scores the package must have; otherwise it is that of
# the folder of artifacts, or the tests that compare with it are skipped. ENGINES names packages to install with it, such as
# "daft ray[data] pyspark": the code of docs/scale.md runs with the engines that are there.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() { echo "skipped: the Python package ($1)"; exit 0; }

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || skip "there is no Python 3.10 or newer; PYTHON names one"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv" 2>/dev/null || skip "this Python cannot make virtual environments"
inside="$folder/venv/bin"
"$inside/pip" install --quiet --disable-pip-version-check --only-binary :all: 'maturin>=1.9,<2' 'numpy>=1.23' 'pytest>=8' 'mypy>=1.11' 'pillow>=9.1' \
  2>"$folder/pip.log" || skip "the package registry cannot be reached: $(tail -n 1 "$folder/pip.log")"

if [ -n "${ENGINES:-}" ]; then
  read -ra engines <<<"$ENGINES"
  "$inside/pip" install --quiet --disable-pip-version-check pyarrow "${engines[@]}"
fi

cargo fmt --manifest-path dualad-python/Cargo.toml --check
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"

# The archive of the sources has every crate that it needs, their locked versions, and the licenses.
"$inside/maturin" sdist --manifest-path dualad-python/Cargo.toml --out "$folder/sdist"
tar -xzf "$folder"/sdist/dualad-*.tar.gz -C "$folder/sdist"
(
  cd "$folder"/sdist/dualad-*/
  cargo metadata --locked --format-version 1 --manifest-path dualad-python/Cargo.toml >"$folder/metadata.json"
  for file in README.md LICENSE-MIT LICENSE-APACHE pyproject.toml; do
    [ -f "$file" ] || { echo "error: the archive of the sources has no $file" >&2; exit 1; }
  done
)

"$inside/pip" install --quiet --disable-pip-version-check ./dualad-python
"$inside/python" -c 'import dualad; print("built: dualad", dualad.__version__)'

# In a folder of its own: the installed package is tested, not the sources.
mkdir -p "$folder/clone/dualad-python" "$folder/clone/docs"
cp -r dualad-python/pyproject.toml dualad-python/tests "$folder/clone/dualad-python/"
cp docs/python.md docs/onnx.md docs/scale.md "$folder/clone/docs/"
cd "$folder/clone/dualad-python"
"$inside/mypy" --strict tests
"$inside/python" -m mypy.stubtest --concise dualad._native
"$inside/pytest" -q
