#!/usr/bin/env bash
# Packs the programs for a machine with a GPU, and runs every check and measurement there.
#
#     CUDA_HOME=TOOLKIT tools/gpu/device_check.sh pack FOLDER
#     FOLDER/device_check.sh run FOLDER [--device cuda|cpu] [--out OUT] [--logs LOGS] [--seconds 480] [--only REGEX] [--quick]
#
# pack  Builds, on a machine without a GPU, the program `dualad`, the example `parity` and the test programs with tests named
#       `devices_agree`, with the toolkit of tools/gpu/toolkit.sh, for the compute capability in CUDA_COMPUTE_CAP (default 90). Adds
#       generated pictures, a model that the program trains on them on the CPU, and, if they are there, the golden numbers and ResNet-18
#       weights of ../shared (or of the folder in SHARED). FOLDER gets this script and one archive, at most 60 MiB together. Prints their size and the build time.
#
#       CARGO_TARGET_DIR names the folder of the build. PROGRAMS=DIR packs the programs in DIR (dualad, parity and test-*) and
#       builds nothing.
#
# run   Runs the steps below, the most valuable first. Needs bash, the usual small tools (coreutils, grep, sed, awk, tar), and xz or
#       python3 to unpack. Comparisons with PyTorch need python3 with torch, and torchvision and timm for backbones. For CUDA's
#       libraries, it looks at LD_LIBRARY_PATH, at /usr/local/cuda and at the ones that came with PyTorch.
#
#       Each step has a time limit, and all have --seconds together. A step that fails does not stop the others. OUT gets
#         results.jsonl   a line for each step: step, status (ok, failed, timed out, skipped), reason, seconds, figures, peak device
#                         memory; written when the step ends
#         log.txt         the output of all steps, written as it comes
#         summary.md      the comparison with PyTorch
#       and LOGS (default OUT/logs) a file for each step. The exit status is 1 if a step failed or timed out.
#
#       --only runs the steps whose names match. With --device cpu, the same steps run on the CPU: a rehearsal. --quick makes every
#       measurement as short as it can be.
#
# Steps of run:
#   machine     the card, its driver, the libraries of the program
#   suite       each test named `devices_agree`: its output names the operation, dtype and gradient that differs, and by how much
#   parity      the golden numbers
#   inspect     the packed model's scores beside the CPU's; the time of the first and of a second start
#   several     a training that two cards share; the packed model on two cards beside one; skipped where there is one
#   train       `dualad train`: metrics beside those of the same training on the CPU, which `pack` measured
#   resume      the same training, killed and resumed: whether the model has the same bits
#   resnet18    `dualad train` with ResNet-18's weights
#   card        the card's memory bandwidth and matrix rate, by PyTorch
#   bench       `dualad bench` in f32, tf32 and bf16, and PyTorch (eager with channels last, and compiled) on the same shapes
#   sanitizer   compute-sanitizer (memcheck, then racecheck) on the suite, if it is on the PATH
set -uo pipefail

LIMIT_MIB=60
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    echo "error: $*" >&2
    exit 1
}

# ---------------------------------------------------------------------------------------------------------------------- pack

# The executables in cargo's messages. $1: a pattern of the lines to take.
executables() {
    grep -E "$1" | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}

build() {
    local into=$1 started=$SECONDS exe
    local messages=$into/messages
    [ -x "${CUDA_HOME:-}/bin/nvcc" ] || fail "CUDA_HOME has no bin/nvcc; build a toolkit: tools/gpu/toolkit.sh FOLDER, then CUDA_HOME=FOLDER"
    # The bindings ask `nvcc` on the path for its version.
    export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90} PATH=$CUDA_HOME/bin:$PATH
    # Another choice of packages would build candle once more.
    local packages=(--workspace --features dualad-cli/cuda)
    echo "building for compute capability $CUDA_COMPUTE_CAP: half an hour or more on two cores" >&2
    (cd "$root" && cargo build --release --locked "${packages[@]}" --bin dualad --example parity --message-format=json) > "$messages" ||
        fail "cargo build failed"
    for exe in $(executables '"kind":\["(bin|example)"\]' < "$messages"); do
        cp "$exe" "$into/$(basename "$exe")"
    done
    (cd "$root" && cargo test --no-run --release --locked "${packages[@]}" --lib --test aggregate --message-format=json) > "$messages" ||
        fail "cargo test --no-run failed"
    for exe in $(executables '"profile":\{[^}]*"test":true' < "$messages"); do
        # The hash at the end is cargo's.
        cp "$exe" "$into/test-$(basename "${exe%-*}")"
    done
    rm "$messages"
    strip "$into"/*
    echo "built in $((SECONDS - started)) s" | tee "$into/build.txt"
}

pack() {
    local folder=${1:?"a folder for the package"} work programs shared
    root=$(cd "$here/../.." && pwd)
    mkdir -p "$folder" && folder=$(cd "$folder" && pwd) || exit 1
    work=$(mktemp -d) || exit 1
    # shellcheck disable=SC2064 # The folder as it is now.
    trap "rm -rf '$work'" EXIT
    mkdir -p "$work/programs" "$work/tools" "$work/libraries"
    if [ -n "${PROGRAMS:-}" ]; then
        cp "$PROGRAMS"/* "$work/programs/" || exit 1
    else
        build "$work/programs"
    fi
    programs=$work/programs
    [ -x "$programs/dualad" ] || fail "no program dualad was built"
    # The driver's library is on machines with a GPU only: here, the toolkit's stub takes its place.
    if [ -n "${CUDA_HOME:-}" ] && [ -e "$CUDA_HOME/lib64/stubs/libcuda.so" ]; then
        ln -s "$CUDA_HOME/lib64/stubs/libcuda.so" "$work/libraries/libcuda.so.1"
        export LD_LIBRARY_PATH=$work/libraries:$CUDA_HOME/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    fi
    local test
    for test in "$programs"/test-*; do
        [ -e "$test" ] || continue
        "$test" --list 2> /dev/null | grep -q devices_agree || rm "$test"
    done

    echo "generating pictures, and a model of them on the CPU" >&2
    # Without --data, the program generates a dataset first, and writes readme.txt last. Two of its categories are packed.
    "$programs/dualad" train --out "$work/all" --no-cache --progress none > "$work/all.txt" 2>&1 &
    local pid=$!
    while [ ! -e "$work/all/data/readme.txt" ]; do
        kill -0 "$pid" 2> /dev/null || { cat "$work/all.txt" >&2 && fail "the program cannot generate its dataset"; }
        sleep 0.2
    done
    kill -9 "$pid"
    wait "$pid" 2> /dev/null
    mkdir -p "$work/pictures"
    cp -r "$work"/all/data/{gear,fabric} "$work/pictures/"
    rm -rf "$work/all" "$work/all.txt"
    set_training "$programs/dualad" "$work/pictures" "$work/model" cpu
    "${training[@]}" > "$work/model.txt" 2>&1 || {
        cat "$work/model.txt" >&2
        fail "the program cannot train on its pictures"
    }
    rm -f "$work/model/"{report.html,README.md,checkpoint.safetensors} "$work/model.txt"

    shared=${SHARED:-$root/../shared}
    [ -d "$shared/goldens" ] && cp -r "$shared/goldens" "$work/goldens"
    [ -e "$shared/weights/resnet18_to_layer3.safetensors" ] &&
        install -D -m 644 "$shared/weights/resnet18_to_layer3.safetensors" "$work/weights/resnet18.safetensors"
    chmod -R u+w "$work"
    mkdir -p "$work/tools/"{gpu,reference,bench}
    cp "$here/bench_torch.py" "$work/tools/gpu/"
    cp "$root"/tools/reference/{backbones,network}.py "$work/tools/reference/"
    cp "$root"/tools/bench/{engines,training_step}.py "$work/tools/bench/"
    {
        echo "commit $(git -C "$root" rev-parse HEAD 2> /dev/null || echo unknown)"
        echo "compute capability ${CUDA_COMPUTE_CAP:-none}"
        [ -n "${CUDA_HOME:-}" ] && "$CUDA_HOME/bin/nvcc" --version 2> /dev/null | tail -1
        cat "$programs/build.txt" 2> /dev/null
    } > "$work/about.txt"
    rm -rf "$work/libraries" "$programs/build.txt"

    # The programs have most of their code in common: a dictionary that reaches across all of them.
    (cd "$work" && tar -c -- *) | xz --lzma2=preset=6,dict=192MiB > "$folder/package.tar.xz" || fail "the package cannot be written"
    cp "$here/device_check.sh" "$folder/device_check.sh"
    local kib
    kib=$(du -skc "$folder/package.tar.xz" "$folder/device_check.sh" | tail -1 | cut -f1)
    ls -l "$work/programs"
    cat "$work/about.txt"
    [ "$kib" -le $((LIMIT_MIB * 1024)) ] || fail "the package has $((kib / 1024)) MiB, and may have $LIMIT_MIB"
    echo "the package: $folder, $((kib / 1024)) MiB ($kib KiB)"
}

# Sets `training` to the command that is compared: on the CPU by `pack`, and on the device by `run`. $1: program, $2: pictures, $3:
# output folder, $4: device.
set_training() {
    training=("$1" train --data "$2" --backbone filter-bank --preset fast --epochs 4 --out "$3" --device "$4" --no-check --no-cache
        --heatmaps 0 --progress none)
}

# ----------------------------------------------------------------------------------------------------------------------- run

# A string for JSON, in quotation marks.
json_string() {
    local text=${1//\\/\\\\}
    text=${text//\"/\\\"}
    text=$(printf '%s' "$text" | tr '\n\t' '  ' | tr -d '\000-\037')
    printf '"%s"' "$text"
}

# Writes a step's result. $1: step, $2: status, $3: reason, $4: seconds, $5: figures as JSON, $6: peak device memory in MiB.
result() {
    local line
    line="{\"step\": $(json_string "$1"), \"status\": \"$2\""
    [ -n "$3" ] && line+=", \"reason\": $(json_string "$3")"
    line+=", \"seconds\": $4"
    [ -n "${6:-}" ] && line+=", \"peak_device_mib\": $6"
    [ -n "${5:-}" ] && line+=", \"figures\": $5"
    printf '%s}\n' "$line" >> "$out/results.jsonl"
    printf '%-9s %6s s  %s%s\n' "$2" "$4" "$1" "${3:+: $3}" | tee -a "$out/log.txt"
    case $2 in failed | 'timed out') failures=$((failures + 1)) ;; esac
}

# Runs a step. $1: its name, $2: its time limit in seconds, $3: a function that prints its figures as JSON, or `-`; then the command.
# The figures' function reads the step's log, whose path is its argument.
step() {
    local name=$1 limit=$2 figures=$3 left started status reason='' peak='' watcher='' code log
    shift 3
    [[ $name =~ $only ]] || return 1
    left=$((total - SECONDS))
    log=$logs/${name//[^A-Za-z0-9._-]/_}.txt
    if [ "$left" -lt 3 ]; then
        result "$name" skipped "no time is left of $total s" 0
        return 1
    fi
    [ "$limit" -gt "$left" ] && limit=$left
    echo "== $name: $*" >> "$out/log.txt"
    : > "$log"
    if [ "$device" = cuda ] && command -v nvidia-smi > /dev/null; then
        nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -i 0 --loop-ms=500 > "$logs/memory" 2> /dev/null &
        watcher=$!
    fi
    started=$SECONDS
    timeout --kill-after=5 "$limit" "$@" 2>&1 | tee "$log" >> "$out/log.txt"
    code=${PIPESTATUS[0]}
    if [ -n "$watcher" ]; then
        kill "$watcher" 2> /dev/null
        wait "$watcher" 2> /dev/null
        peak=$(sort -n "$logs/memory" | tail -1 | tr -dc '0-9')
    fi
    case $code in
        0) status=ok ;;
        124 | 137) status='timed out' reason="after $limit s" ;;
        *) status=failed reason=$(grep -aE 'panicked|differ|rror' "$log" | tail -1 | cut -c 1-400) ;;
    esac
    [ "$status" = failed ] && [ -z "$reason" ] && reason="exit status $code: $(tail -1 "$log" | cut -c 1-300)"
    local found=''
    [ "$figures" = - ] || found=$("$figures" "$log" 2> /dev/null)
    result "$name" "$status" "$reason" $((SECONDS - started)) "$found" "$peak"
    [ "$status" = ok ]
}

# Skips a step. $1: its name, $2: the reason.
skip() {
    [[ $1 =~ $only ]] || return 0
    result "$1" skipped "$2" 0
}

# The one JSON object that a step wrote to a file, on one line.
object_of() {
    [ -s "$1" ] && tr -d '\n' < "$1" | tr -s ' '
}

unpack() {
    local into=$1
    if command -v xz > /dev/null; then
        xz -dc "$folder/package.tar.xz" | tar -x -C "$into"
    else
        python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1], "r:xz").extractall(sys.argv[2])' "$folder/package.tar.xz" "$into"
    fi
}

missing_libraries() {
    ldd "$package/programs/dualad" 2> /dev/null | sed -n 's/^[ \t]*\([^ ]*\) => not found.*/\1/p'
}

# Finds the folders of CUDA's libraries, if the loader does not.
find_libraries() {
    local places=() place
    "$package/programs/dualad" --version > /dev/null 2>&1 && return
    places=(/usr/local/nvidia/lib64 /usr/local/cuda/lib64 /usr/local/cuda*/lib64)
    while read -r place; do
        places+=("$place")
    done < <(python3 -c '
import importlib.util, pathlib
found = importlib.util.find_spec("nvidia")
for folder in found.submodule_search_locations if found else []:
    for library in sorted(pathlib.Path(folder).glob("*/lib")):
        print(library)' 2> /dev/null)
    for place in "${places[@]}"; do
        [ -d "$place" ] && LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$place
    done
    export LD_LIBRARY_PATH
}

machine() {
    uname -srm
    echo "processors: $(nproc)"
    cat "$package/about.txt"
    if [ "$device" = cuda ]; then
        nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv,noheader || true
    fi
    python3 -c 'import torch; print("torch", torch.__version__, torch.version.cuda)' 2> /dev/null || echo "no python3 with torch"
    local missing
    missing=$(missing_libraries)
    if [ -n "$missing" ]; then
        echo "error: the program needs $(tr '\n' ' ' <<< "$missing"); name their folders in LD_LIBRARY_PATH"
        return 1
    fi
    "$package/programs/dualad" --version
}

machine_figures() {
    printf '{"machine": %s}' "$(json_string "$(cat "$1")")"
}

# One test of a test program. $1: program, $2: test. A test skips devices that are not there: that is a failure here.
suite_test() {
    "$1" --exact "$2" --nocapture --test-threads=1 2>&1 | tee "$scratch/test.txt"
    local code=${PIPESTATUS[0]}
    if [ "$device" = cuda ] && grep -q 'skipped: no CUDA device' "$scratch/test.txt"; then
        echo "error: the test did not find the device"
        return 1
    fi
    return "$code"
}

# For each device and dtype, the comparison that comes nearest to its tolerance, or is farthest over it.
suite_figures() {
    awk '
        / largest error / {
            device = $1; sub(/\(.*/, "", device); key = device " " $2
            of = $NF; error = $(NF - 2); share = tolower(error) == "nan" ? 1e9 : error / of
            if (!(key in most) || share > most[key]) { most[key] = share; line[key] = $0 }
        }
        END {
            printf "{"
            for (key in line) { gsub(/["\\]/, "", line[key]); printf "%s\"%s\": \"%s\"", between, key, line[key]; between = ", " }
            printf "}"
        }' "$1"
}

parity_figures() {
    [ -s "$scratch/parity.json" ] || return
    # The largest error of each file.
    awk -F'"' '
        /^  "/ { file = $2 }
        /^    "/ { split($3, part, /[:, ]+/); value = part[2] + 0; if (value > largest[file]) { largest[file] = value; name[file] = $2 } }
        END { printf "{"; for (file in largest) { printf "%s\"%s\": {\"largest\": %g, \"tensor\": \"%s\"}", between, file, largest[file], name[file]; between = ", " } printf "}" }
    ' "$scratch/parity.json"
}

# The packed model on both devices: scores differ by rounding only.
inspect() {
    local pictures started ended first second
    mapfile -t pictures < <(find "$package/pictures" -path '*/test/*' -name '*.png' | sort | head -24)
    started=$(date +%s%N)
    "$package/programs/dualad" inspect --model "$package/model" --device "$device" --json "$scratch/first.json" "${pictures[@]}" || return
    ended=$(date +%s%N)
    first=$(((ended - started) / 1000000))
    "$package/programs/dualad" inspect --model "$package/model" --device "$device" --json "$scratch/device.json" "${pictures[@]}" || return
    second=$((($(date +%s%N) - ended) / 1000000))
    "$package/programs/dualad" inspect --model "$package/model" --device cpu --json "$scratch/cpu.json" "${pictures[@]}" || return
    compare_scores device cpu 1e-3 first_ms "$first" second_ms "$second"
}

# The packed model on two cards and on one: the same scores in the same order.
several() {
    local pictures started ended one two
    train_on cuda:0,1 "$scratch/train-several" || return
    mapfile -t pictures < <(find "$package/pictures" -path '*/test/*' -name '*.png' | sort | head -43)
    started=$(date +%s%N)
    "$package/programs/dualad" inspect --model "$package/model" --device cuda:0 --json "$scratch/one.json" "${pictures[@]}" || return
    ended=$(date +%s%N)
    one=$(((ended - started) / 1000000))
    "$package/programs/dualad" inspect --model "$package/model" --device cuda:0,1 --json "$scratch/two.json" "${pictures[@]}" || return
    two=$((($(date +%s%N) - ended) / 1000000))
    compare_scores two one 1e-5 one_ms "$one" two_ms "$two"
}

# Compares the scores of two files of `inspect` in $scratch, within a share of the largest. The rest are names and numbers to print.
compare_scores() {
    local first=$1 second=$2 share=$3 which more=''
    shift 3
    while [ $# -gt 0 ]; do
        more+=", \"$1\": $2"
        shift 2
    done
    for which in "$first" "$second"; do
        grep -o '"image_score":[^,}]*' "$scratch/$which.json" | cut -d: -f2 > "$scratch/$which.scores"
    done
    paste "$scratch/$first.scores" "$scratch/$second.scores" | awk -v share="$share" -v more="$more" '
        { count++; largest = $2 > largest ? $2 : largest; difference = $1 > $2 ? $1 - $2 : $2 - $1; if (difference > worst || difference != difference) worst = difference }
        END {
            printf "{\"pictures\": %d, \"largest_difference\": %g, \"of\": %g%s}\n", count, worst, largest, more
            if (count == 0 || worst != worst || worst > share * largest) { print "error: the scores differ"; exit 1 }
        }'
}

last_object() {
    grep -a '^{' "$1" | tail -1
}

mean_of() {
    grep -o '"mean":{[^}]*}' "$1" | head -1 | cut -d: -f2-
}

train() {
    train_on "$device" "$scratch/train"
}

# Trains on a device, or on several, into a folder, and compares the metrics with the packed model's.
train_on() {
    set_training "$package/programs/dualad" "$package/pictures" "$2" "$1"
    "${training[@]}" || return
    # Other sums give other bits; over 4 epochs the metrics stay near.
    printf '%s\n%s\n' "$(mean_of "$2/report.json")" "$(mean_of "$package/model/report.json")" |
        sed 's/.*"image_auroc":\([^,}]*\).*"pixel_auroc":\([^,}]*\).*/\1 \2/' |
        awk 'NR == 1 { a = $1; b = $2 } NR == 2 { if ((a - $1) ^ 2 > 0.0009 || (b - $2) ^ 2 > 0.0009) { print "error: metrics differ from the CPU by more than 0.03"; exit 1 } }'
}

train_figures() {
    local name
    [ -s "$scratch/train/report.json" ] || return
    printf '{"device": %s, "cpu": %s' "$(mean_of "$scratch/train/report.json")" "$(mean_of "$package/model/report.json")"
    for name in train:"$scratch/train" cpu:"$package/model"; do
        printf ', "%s_loss": %s' "${name%%:*}" "$(grep -o '"loss":\[[^]]*\]' "${name#*:}/report.json" | head -1 | cut -d: -f2-)"
        printf ', "%s_seconds": %s' "${name%%:*}" "$(grep -o '"seconds":{[^}]*}' "${name#*:}/report.json" | head -1 | cut -d: -f2-)"
    done
    printf '}'
}

resume() {
    local folder=$scratch/resumed pid waited=0
    set_training "$package/programs/dualad" "$package/pictures" "$folder" "$device"
    "${training[@]}" --checkpoint-every 0 &
    pid=$!
    # Until a checkpoint is there, and at most as long as the step may take.
    while [ ! -e "$folder/checkpoint.safetensors" ] && kill -0 "$pid" 2> /dev/null && [ $waited -lt 1200 ]; do
        sleep 0.1
        waited=$((waited + 1))
    done
    kill -9 "$pid" 2> /dev/null && echo "killed after its first checkpoint" || echo "the run ended before it was killed"
    wait "$pid" 2> /dev/null
    "${training[@]}" --resume || return
    [ -s "$folder/model.safetensors" ]
}

resume_figures() {
    local same=false
    [ -s "$scratch/resumed/report.json" ] || return
    cmp -s "$scratch/train/model.safetensors" "$scratch/resumed/model.safetensors" && same=true
    printf '{"killed": %s, "same_bits": %s, "loss": %s}' "$(grep -q '^killed' "$1" && echo true || echo false)" "$same" \
        "$(grep -o '"loss":\[[^]]*\]' "$scratch/resumed/report.json" | head -1 | cut -d: -f2-)"
}

resnet18() {
    "$package/programs/dualad" train --data "$package/pictures" --backbone resnet18 --weights "$package/weights/resnet18.safetensors" \
        --preset fast --epochs "$([ -n "$quick" ] && echo 1 || echo 12)" --out "$scratch/resnet18" --device "$device" --no-check --no-cache \
        --heatmaps 0 --progress none
}

resnet18_figures() {
    [ -s "$scratch/resnet18/report.json" ] || return
    printf '{"mean": %s, "seconds": %s}' "$(mean_of "$scratch/resnet18/report.json")" \
        "$(grep -o '"seconds":{[^}]*}' "$scratch/resnet18/report.json" | head -1 | cut -d: -f2-)"
}

# `dualad bench`. $1: backbone, $2: variant, $3: precision, $4: batches.
bench() {
    local flags=()
    rm -f "$scratch/bench.json"
    case $3 in
        f32) ;;
        tf32) flags=(--tf32) ;;
        *) flags=(--dtype "$3") ;;
    esac
    "$package/programs/dualad" bench --backbone "$1" --variant "$2" --batch-size "$4" --threads "$threads" --seconds "$seconds" \
        --device "$device" --progress none --json "$scratch/bench.json" "${flags[@]}"
}

bench_figures() {
    object_of "$scratch/bench.json"
}

torch_figures() {
    printf '['
    grep -a '^{' "$1" | paste -sd, | tr -d '\n'
    printf ']'
}

torch() {
    python3 "$package/tools/gpu/bench_torch.py" --device "$device" --seconds "$seconds" ${quick:+--quick} "$@"
}

sanitizer() {
    local tool=$1 test name code=0
    for test in "$package"/programs/test-*; do
        for name in $(tests_of "$test"); do
            echo "-- $tool: $name"
            compute-sanitizer --tool "$tool" --error-exitcode 9 "$test" --exact "$name" --nocapture --test-threads=1 || code=1
        done
    done
    return $code
}

tests_of() {
    "$1" --list 2> /dev/null | sed -n 's/^\(.*devices_agree[^:]*\): test$/\1/p'
}

run() {
    folder=${1:?"the folder of the package"}
    device=cuda out=out/device logs='' total=480 quick='' only=''
    shift
    while [ $# -gt 0 ]; do
        case $1 in
            --device) device=${2:?} && shift 2 ;;
            --out) out=${2:?} && shift 2 ;;
            --logs) logs=${2:?} && shift 2 ;;
            --seconds) total=${2:?} && shift 2 ;;
            --only) only=${2:?} && shift 2 ;;
            --quick) quick=1 && shift ;;
            *) fail "unknown flag $1" ;;
        esac
    done
    case $device in cuda | cpu) ;; *) fail "--device must be cuda or cpu" ;; esac
    [ -e "$folder/package.tar.xz" ] || fail "$folder has no package.tar.xz; \`pack\` makes it"
    SECONDS=0 failures=0
    folder=$(cd "$folder" && pwd)
    mkdir -p "$out" "${logs:=$out/logs}" || exit 1
    out=$(cd "$out" && pwd) logs=$(cd "$logs" && pwd)
    scratch=$(mktemp -d) || exit 1
    # shellcheck disable=SC2064 # The folder as it is now.
    trap "rm -rf '$scratch'" EXIT
    package=$scratch/package
    mkdir "$package"
    : > "$out/results.jsonl"
    : > "$out/log.txt"
    unpack "$package" || fail "$folder/package.tar.xz cannot be unpacked; it takes xz or python3"
    [ "$device" = cuda ] && find_libraries
    # The kernels are compiled for the card at their first use, and kept for the next program.
    export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-$scratch/cuda} CUDA_CACHE_MAXSIZE=${CUDA_CACHE_MAXSIZE:-4294967296} PYTHONUNBUFFERED=1
    # Steps are functions of this script, and `timeout` runs programs: each is this script again, with the values of this run.
    export device package scratch quick threads seconds
    threads=$(nproc) seconds=0.3
    [ -n "$quick" ] && seconds=0.01
    local self=("$BASH" "$folder/device_check.sh" step) program name

    step machine 60 machine_figures "${self[@]}" machine
    local found=''
    for program in "$package"/programs/test-*; do
        [ -e "$program" ] || continue
        for name in $(tests_of "$program"); do
            found=1
            step "suite $(basename "$program" | cut -d- -f2-) $name" 120 suite_figures "${self[@]}" suite_test "$program" "$name"
        done
    done
    [ -n "$found" ] || skip suite "the package has no test programs"
    if [ ! -x "$package/programs/parity" ]; then
        skip parity "the package has no program parity"
    elif [ ! -d "$package/goldens" ]; then
        skip parity "the package has no golden numbers"
    else
        step parity 90 parity_figures "$package/programs/parity" --goldens "$package/goldens" --device "$device" --json "$scratch/parity.json"
    fi
    step inspect 60 last_object "${self[@]}" inspect
    if [ "$device" = cuda ] && [ "$(nvidia-smi -L 2> /dev/null | grep -c '^GPU')" -gt 1 ]; then
        step several 120 last_object "${self[@]}" several
    else
        skip several "it takes two cards, and nvidia-smi lists fewer"
    fi
    step train 120 train_figures "${self[@]}" train
    step resume 120 resume_figures "${self[@]}" resume
    if [ -d "$package/weights" ]; then
        step resnet18 60 resnet18_figures "${self[@]}" resnet18
    else
        skip resnet18 "the package has no weights of ResNet-18"
    fi
    benches "${self[@]}"
    if command -v compute-sanitizer > /dev/null; then
        step 'sanitizer memcheck' 120 - "${self[@]}" sanitizer memcheck
        step 'sanitizer racecheck' 120 - "${self[@]}" sanitizer racecheck
    else
        skip sanitizer "compute-sanitizer is not on the PATH"
    fi
    if command -v python3 > /dev/null; then
        python3 "$package/tools/gpu/bench_torch.py" --compare "$out/results.jsonl" > "$out/summary.md" 2>> "$out/log.txt" && cat "$out/summary.md"
    fi
    echo "$failures steps failed, in $SECONDS s: $out/results.jsonl"
    [ "$failures" = 0 ]
}

# The measurements. Arguments: the command that runs a function of this script.
benches() {
    local backbone precision batches=1,8,16,64 precisions=(tf32 bf16 f32) has_torch=''
    [ -n "$quick" ] && batches=1
    # A CPU has no tf32, and is slow in half precision.
    [ "$device" = cpu ] && precisions=(f32)
    python3 -c 'import torch' 2> /dev/null && has_torch=1
    if [ -n "$has_torch" ]; then
        step card 30 last_object "$@" torch --parts card
    else
        skip 'card and torch' "python3 has no torch"
    fi
    pair() { # variant, backbone, limit of a program, limit of PyTorch, parts of PyTorch; then the command
        local variant=$1 backbone=$2 own=$3 other=$4 parts=$5 precision
        shift 5
        for precision in "${precisions[@]}"; do
            step "bench $backbone $variant $precision" "$own" bench_figures "$@" bench "$backbone" "$variant" "$precision" "$batches"
        done
        [ -n "$has_torch" ] &&
            step "torch $backbone $variant" "$other" torch_figures "$@" torch --parts "$parts" --batches "$batches" --precisions "$(IFS=, && echo "${precisions[*]}")"
    }
    if [ -n "$quick" ]; then
        pair heterogeneous resnet18 180 180 step,heterogeneous,resnet18 "$@"
        return
    fi
    pair heterogeneous wide-resnet50-2 60 120 step,heterogeneous,wide-resnet50-2 "$@"
    pair homogeneous wide-resnet50-2 60 60 homogeneous "$@"
    pair heterogeneous vit-small-dino 40 40 vit-small-dino "$@"
    pair heterogeneous resnet34 40 40 resnet34 "$@"
}

case ${1:-} in
    pack) shift && pack "$@" ;;
    run) shift && run "$@" ;;
    step) shift && "$@" ;;
    *)
        sed -n '2,/^set /p' "$0" | sed '$d; s/^# \{0,1\}//'
        exit 2
        ;;
esac
