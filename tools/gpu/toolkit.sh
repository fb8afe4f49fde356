#!/bin/sh
# Builds a CUDA toolkit in a folder from NVIDIA's Python wheels: enough to compile and link on a machine without a GPU.
#
#     tools/gpu/toolkit.sh FOLDER       # about 1 GB; then CUDA_HOME=FOLDER PATH=FOLDER/bin:$PATH
#
# The variable PYTHON names the interpreter (3.10 or newer, with pip).
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
folder=${1:?"a folder for the toolkit"}
mkdir -p "$folder/wheels"
folder=$(cd "$folder" && pwd)
${PYTHON:-python3} -m pip download --quiet --no-deps --dest "$folder/wheels" --requirement "$root/tools/gpu/requirements-toolkit.txt"
for wheel in "$folder"/wheels/*.whl; do
    ${PYTHON:-python3} -m zipfile -e "$wheel" "$folder/unpacked"
done
rm -rf "$folder/bin" "$folder/include" "$folder/nvvm" "$folder/lib64"
for part in bin include nvvm; do
    mv "$folder/unpacked/nvidia/cu13/$part" "$folder/$part"
done
mv "$folder/unpacked/nvidia/cu13/lib" "$folder/lib64"
rm -rf "$folder/unpacked" "$folder/wheels"
chmod +x "$folder"/bin/* "$folder"/nvvm/bin/*

# The linker needs file names without versions.
for library in "$folder"/lib64/lib*.so.*; do
    ln -sf "$(basename "$library")" "${library%%.so.*}.so"
done
# The driver library is installed with a GPU only. The linker gets a stub with the symbols that cudarc uses.
mkdir -p "$folder/lib64/stubs"
grep -ohE '\bcu[A-Z][A-Za-z0-9_]+ *\(' "$folder/include/cuda.h" | tr -d ' (' | sort -u |
    sed 's/.*/void &(void) {}/' > "$folder/lib64/stubs/cuda.c"
# Newer versions of a function have suffixes that macros hide.
grep -ohE '\bcu[A-Z][A-Za-z0-9]+_v[0-9]+(_ptsz|_ptds)?\b' "$folder/include/cuda.h" | sort -u |
    sed 's/.*/void &(void) {}/' >> "$folder/lib64/stubs/cuda.c"
sort -u "$folder/lib64/stubs/cuda.c" -o "$folder/lib64/stubs/cuda.c"
cc -shared -w -fPIC -o "$folder/lib64/stubs/libcuda.so" "$folder/lib64/stubs/cuda.c" -Wl,-soname,libcuda.so.1
echo "a toolkit in $folder: $("$folder/bin/nvcc" --version | tail -1)"
