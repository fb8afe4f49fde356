#!/usr/bin/env bash
# The C interface as C programs use it: the exported functions are those of the header; the examples in C and C++ give the
# scores of `dualad inspect` bit for bit, also under AddressSanitizer and UndefinedBehaviorSanitizer, without a leak; the code of
# docs/c.md compiles and runs.
#
#     tools/checks/capi.sh
#
# Needs a C compiler. C++, C#, CMake and sanitizers are skipped where they are absent.
set -euo pipefail
cd "$(dirname "$0")/../.."

# With the examples, as the tests are built: the libraries alone would select other features, and build candle again.
cargo build --workspace --lib --bins --examples --locked --quiet
built=${CARGO_TARGET_DIR:-target}/debug
case "$built" in /*) ;; *) built=$PWD/$built ;; esac
root=$PWD
header=$root/dualad-capi/include
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "error: $*" >&2
  exit 1
}

if [ "$(uname)" = Linux ]; then
  nm -D --defined-only "$built/libdualad_capi.so" | awk '$2 == "T" { print $3 }' | sort >"$work/exported"
  grep -oE '\bdualad_[a-z_]+\(' "$header/dualad.h" | tr -d '(' | sort -u >"$work/declared"
  diff "$work/exported" "$work/declared" || fail "the exported functions (<) are not those of the header (>)"
  echo "$(wc -l <"$work/exported") functions are exported, and declared"
  libraries=(shared static)
else
  libraries=(shared)
fi

# A model and its test images, one of a name with spaces and quotes, and the scores of the program.
mapfile -t images < <("$built/examples/small_model" "$work")
cp "${images[0]}" "$work/a \"part\" 模型.png"
images+=("$work/a \"part\" 模型.png")
cp "${images[0]}" "$work/part.png"
"$built/dualad" inspect --model "$work/model" --json - "${images[@]}" |
  sed -E 's/.*"image_score":([^,}]*).*"decision":"([a-z]*)".*/\1 \2/' >"$work/expected"

# Compares two lists of scores as floats, bit for bit, and what follows the scores.
cat >"$work/same.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    FILE *files[2] = {fopen(argv[1], "r"), fopen(argv[argc - 1], "r")};
    char lines[2][256];
    int count = 0;
    for (;; count++) {
        int more[2];
        float scores[2];
        char *rests[2];
        for (int file = 0; file < 2; file++) {
            more[file] = files[file] != NULL && fgets(lines[file], sizeof lines[file], files[file]) != NULL;
            scores[file] = more[file] ? strtof(lines[file], &rests[file]) : 0;
        }
        if (!more[0] && !more[1]) break;
        if (!more[0] || !more[1] || memcmp(&scores[0], &scores[1], sizeof(float)) != 0 || strcmp(rests[0], rests[1]) != 0) {
            fprintf(stderr, "line %d: %s%s", count + 1, more[0] ? lines[0] : "none\n", more[1] ? lines[1] : "none\n");
            return 1;
        }
    }
    printf("%d equal scores\n", count);
    return count == 0;
}
C
cc -std=c11 -O1 -o "$work/same" "$work/same.c"

# Compiles a program: compile LIBRARY SOURCE PROGRAM FLAG...
compile() {
  local library=$1 source=$2 program=$3
  shift 3
  local flags=(-g -Wall -Wextra -Werror -pedantic -I "$header" "$@") compiler=cc link
  case "$source" in
    *.cpp) compiler=c++ flags+=(-std=c++14) ;;
    *) flags+=(-std=c11 -D_POSIX_C_SOURCE=200809L) ;;
  esac
  case "$library" in
    shared) link=(-L "$built" -ldualad_capi -Wl,-rpath,"$built" -lpthread -lm) ;;
    static) link=("$built/libdualad_capi.a" -lpthread -lm -ldl -lgcc_s -lrt -lutil) ;;
  esac
  "$compiler" "${flags[@]}" "$source" -o "$program" "${link[@]}"
}

languages=(c)
if command -v c++ >/dev/null; then languages+=(cpp); else echo "skipped: C++ (there is no c++ compiler)"; fi
sanitizers=""
echo 'int main(void) { return 0; }' >"$work/empty.c"
if cc -fsanitize=address,undefined "$work/empty.c" -o "$work/empty" 2>/dev/null && "$work/empty"; then
  sanitizers="-fsanitize=address,undefined -fno-sanitize-recover=all"
else
  echo "skipped: sanitizers (cc has no -fsanitize=address,undefined)"
fi
export ASAN_OPTIONS="detect_stack_use_after_return=1"

echo "no image" >"$work/broken.png"
for language in "${languages[@]}"; do
  for library in "${libraries[@]}"; do
    for flags in "-O2" ${sanitizers:+"-O1 $sanitizers"}; do
      # shellcheck disable=SC2086 # several flags
      compile "$library" "dualad-capi/examples/inspect.$language" "$work/inspect" $flags
      "$work/inspect" "$work/model" "${images[@]}" >"$work/lines"
      sed -E 's/.*: ([^:]*)$/\1/; s/,.*//' "$work/lines" >"$work/found"
      equal=$("$work/same" "$work/expected" "$work/found") || fail "inspect.$language, $library library, $flags: other scores"
      echo "inspect.$language, $library library, $flags: $equal"
      # One bad image is a line with the error, and the others are inspected.
      status=0
      "$work/inspect" "$work/model" "$work/broken.png" "$work/absent.png" "${images[0]}" >"$work/lines" || status=$?
      [ "$status $(wc -l <"$work/lines") $(grep -c ': error: ' "$work/lines")" = "1 3 2" ] ||
        fail "inspect.$language with bad images: status $status, $(cat "$work/lines")"
      # A model that is a file, and none.
      for model in "$work/part.png" "$work/absent"; do
        status=0
        "$work/inspect" "$model" "${images[0]}" 2>"$work/message" || status=$?
        [ "$status" = 1 ] && grep -q "$model" "$work/message" || fail "inspect.$language with $model: status $status, $(cat "$work/message")"
      done
    done
  done
done

# The code of docs/c.md. Whole programs have a main; other code goes into one, with a detector.
awk -v folder="$work" '
  /^```(c|cpp|csharp|cmake)$/ { language = substr($0, 4); file = sprintf("%s/snippet%02d.%s", folder, ++count, language); printf "" >file; next }
  /^```/ { language = ""; next }
  language { print >file }
' docs/c.md
(
  cd "$work"
  count=0
  for snippet in snippet*.c snippet*.cpp; do
    [ -e "$snippet" ] || continue
    case "$snippet" in *.cpp) [ "${#languages[@]}" = 2 ] || continue ;; esac
    if ! grep -q 'int main(' "$snippet"; then
      {
        printf '#include <math.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include "dualad.h"\n'
        printf 'int main(void) {\nDualadDetector *detector = NULL;\n'
        printf 'if (dualad_detector_load("model", NULL, &detector) != DUALAD_STATUS_OK) return 1;\n'
        cat "$snippet"
        printf 'dualad_detector_free(detector);\nreturn 0;\n}\n'
      } >"whole.c"
      mv whole.c "$snippet"
    fi
    # shellcheck disable=SC2086
    compile shared "$snippet" program $sanitizers
    ./program >output 2>errors || fail "docs/c.md, code number ${snippet//[^0-9]/}: $(cat errors)"
    # An error that the code prints is one of the code.
    [ -s output ] || [ ! -s errors ] || fail "docs/c.md, code number ${snippet//[^0-9]/}: $(cat errors)"
    count=$((count + 1))
  done
  echo "$count programs of docs/c.md run"
  [ "$count" -ge 6 ] || fail "docs/c.md has too little code"
)

if command -v mcs >/dev/null && command -v mono >/dev/null; then
  (
    cd "$work"
    # Declarations, and a program that uses them.
    declarations=$(grep -l 'class Native' snippet*.csharp) guide=$(grep -L 'class Native' snippet*.csharp)
    {
      cat "$declarations"
      echo 'static class Guide { public static void Run() {'
      cat "$guide"
      cat <<'CSHARP'
} }

static class Program
{
    static readonly string[] Verdicts = { "none", "accept", "review", "reject" };

    static void Main(string[] arguments)
    {
        Guide.Run();
        try { new Detector("模型"); } catch (InvalidOperationException error) { Console.WriteLine(error.Message); }
        using (var detector = new Detector("model"))
        {
            // The frame of first.c.
            var frame = new byte[480 * 672];
            for (int index = 0; index < frame.Length; index++) frame[index] = 128;
            using (var found = detector.Inspect(frame, 640, 480, 672))
                Console.WriteLine($"score {found.Score:G6}, verdict {found.Verdict}");
            // The lines of inspect.c.
            foreach (string file in arguments)
                using (var found = detector.Inspect(file))
                {
                    var regions = found.Regions();
                    string worst = regions.Length == 0 ? "" :
                        $", {regions[0].Width}x{regions[0].Height} at {regions[0].X},{regions[0].Y}";
                    Console.WriteLine($"{found.Score:R} {Verdicts[found.Verdict]}{worst}");
                }
        }
    }
}
CSHARP
    } >program.cs
    mcs -out:program.exe program.cs
    compile shared "$(grep -l 'static uint8_t frame' snippet*.c)" first
    ./first >first.txt
    compile shared "$root/dualad-capi/examples/inspect.c" inspect -pthread
    ./inspect model "${images[@]}" | sed -E 's/.*: ([^:]*)$/\1/' >lines
    LD_LIBRARY_PATH="$built" mono program.exe "${images[@]}" >output
    sed -n 1p output | grep -qE '^[0-9.E-]+, verdict [123], [0-9]+ regions$' || fail "the C# of docs/c.md printed: $(sed -n 1p output)"
    sed -n 2p output | grep -q '模型' || fail "the error in C#: $(sed -n 2p output)"
    [ "$(sed -n 3p output)" = "$(head -n 1 first.txt)" ] || fail "a buffer in C#: $(sed -n 3p output), not $(head -n 1 first.txt)"
    tail -n +4 output >found
    equal=$(./same lines found) || fail "C#: other scores, verdicts or regions than in C"
    echo "C#: $equal"
  )
else
  echo "skipped: the C# of docs/c.md (there is no mono); a test compares it with the header"
fi

if command -v cmake >/dev/null; then
  (
    cd "$work"
    mkdir project
    sed "s|/target/release/|/lib/|" snippet*.cmake >project/CMakeLists.txt
    cp "$(grep -l 'static uint8_t frame' snippet*.c)" project/first.c
    mkdir checkout
    ln -s "$built" checkout/lib
    ln -s "$root/dualad-capi" checkout/dualad-capi
    cmake -S project -B project/build "-DDUALAD=$work/checkout" >/dev/null && cmake --build project/build >/dev/null
    ./project/build/first >/dev/null
    echo "the CMake lines of docs/c.md build the first program"
  )
else
  echo "skipped: the CMake lines of docs/c.md (there is no cmake)"
fi
