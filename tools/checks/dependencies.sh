#!/bin/sh
# Licences, sources and advisories of everything that is depended on: deny.toml.
#
#     tools/checks/dependencies.sh
set -eu
cd "$(dirname "$0")/../.."

version=0.20.2
if ! cargo deny --version 2>/dev/null | grep -q "$version"; then
    # It runs once: optimizing it takes longer than it saves.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_DEBUG=false cargo install cargo-deny --version "$version" --locked --quiet
fi
cargo deny --locked check licenses bans sources
# The Python package is a workspace of its own.
cargo deny --manifest-path dualad-python/Cargo.toml --config deny.toml --locked check licenses bans sources
if cargo deny --locked fetch db 2>/dev/null; then
    cargo deny --locked check advisories
    cargo deny --manifest-path dualad-python/Cargo.toml --config deny.toml --locked check advisories
else
    echo "skipped: advisories (their database, github.com/rustsec/advisory-db, cannot be reached)"
fi
