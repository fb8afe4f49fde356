//! The header is what cbindgen makes of the sources.
//!
//! After a change of the interface: `DUALAD_WRITE_HEADER=1 cargo test --workspace --test header`.

use std::path::{Path, PathBuf};

/// Returns the header that cbindgen makes of the sources.
fn made() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let files = [
        "status.rs",
        "image.rs",
        "thresholds.rs",
        "inspection.rs",
        "options.rs",
        "detector.rs",
        "api/library.rs",
        "api/options.rs",
        "api/detector.rs",
        "api/inspect.rs",
        "api/inspection.rs",
    ];
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in files {
        builder = builder.with_src(root.join("src").join(file));
    }
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    String::from_utf8(text).unwrap()
}

fn header() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include/dualad.h")
}

#[test]
fn the_header_is_that_of_the_sources() {
    let made = made();
    if std::env::var_os("DUALAD_WRITE_HEADER").is_some() {
        std::fs::write(header(), &made).unwrap();
    }
    let written = std::fs::read_to_string(header()).unwrap_or_default();
    let differs = written.lines().zip(made.lines()).find(|(written, made)| written != made);
    assert!(
        written == made,
        "include/dualad.h is not that of the sources ({differs:?}); run `DUALAD_WRITE_HEADER=1 cargo test --workspace --test header`"
    );
}
