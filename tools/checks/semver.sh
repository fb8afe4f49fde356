#!/bin/sh
# Whether the public interface keeps the promise of its version number, compared with the last release.
#
#     tools/checks/semver.sh [REVISION]     # compared with the newest tag v*, or with REVISION
set -eu
cd "$(dirname "$0")/../.."

baseline=${1:-$(git tag --list 'v*' --sort=-version:refname | head -n 1)}
if [ -z "$baseline" ]; then
    echo "skipped: semver (there is no release to compare with)"
    exit 0
fi
version=0.51.0
if ! cargo semver-checks --version 2>/dev/null | grep -q "$version"; then
    CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_DEBUG=false cargo install cargo-semver-checks --version "$version" --locked --quiet
fi
# The features that a build for the CPU has.
cargo semver-checks --workspace --baseline-rev "$baseline" --default-features
