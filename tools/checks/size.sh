#!/bin/sh
# The size of the smallest program with a detector and its number of crates, for three sets of cargo features: none, the
# common image formats, and the default.
#
#     tools/checks/size.sh
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

mkdir "$folder/src"
cat > "$folder/src/main.rs" <<'RUST'
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (model, image) = (arguments.next().ok_or("a model")?, arguments.next().ok_or("an image")?);
    let found = dualad::Detector::load(model)?.inspect(dualad::detector::Request::from(std::path::Path::new(&image)))?;
    println!("{}", found.image_score);
    Ok(())
}
RUST
cp "$root/Cargo.lock" "$folder/"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
for features in none "png jpeg" default; do
    case "$features" in
        none) options='default-features = false' ;;
        default) options='default-features = true' ;;
        *) options="default-features = false, features = [$(printf '"%s", ' $features)]" ;;
    esac
    cat > "$folder/Cargo.toml" <<TOML
[package]
name = "smallest"
version = "0.0.0"
edition = "2024"

[dependencies]
dualad = { path = "$root/dualad", $options }

[profile.release]
strip = true

[workspace]
TOML
    cargo build --release --quiet --manifest-path "$folder/Cargo.toml"
    crates=$(cargo tree --manifest-path "$folder/Cargo.toml" --edges normal --prefix none --no-dedupe | sort -u | grep -vc '^smallest ')
    bytes=$(wc -c < "$CARGO_TARGET_DIR/release/smallest")
    echo "features: $features; $crates crates, $bytes bytes"
done
