//! Arguments that cannot be used.

use std::process::Command;

use crate::set::{Outcome, Set, read};

#[test]
fn wrong_arguments_are_told_before_anything_is_scored() -> Outcome {
    let set = Set::new(5)?;
    for (more, part) in [
        (&["--image", "picture"][..], "there are id, line, image"),
        (&["--image", "id"], "type Int64, and must have the content"),
        (&["--image", "line"], "if these are paths, query their folder"),
        (&["--category", "nothing"], "no such column"),
        (&["--workers", "127.0.0.1:1"], "127.0.0.1:1 does not answer (Connection refused"),
        (&["--workers", "127.0.0.1"], "name a machine and a port"),
        (&["--workers", "http://127.0.0.1:1"], "name a machine and a port"),
        (&["--sql", "SELECT nothing FROM images"], "error: No field named nothing"),
        (&["--sql", "SELECT id FROM image"], "not found; the input is the table images"),
        (
            &["--sql", "SELECT inspect(line) FROM images"],
            "error: inspect takes the bytes of an image file, and this column is text",
        ),
        (&["--sql", "SELEC"], "error: sql parser error: Expected"),
        (&["--sql", "COPY (SELECT * FROM images) TO 'copy.parquet'"], "COPY"),
        (&["--sql", "EXPLAIN ANALYZE COPY (SELECT * FROM images) TO 'copy.parquet'"], "COPY"),
        (&["--sql", "CREATE TABLE x AS SELECT 1"], "DDL"),
        (&["--output", "images.parquet", "--overwrite"], "belongs to the input"),
        (&["--output", "images.parquet", "--overwrite", "--sql", "SELECT 1"], "belongs to the input"),
        (&["--output", "model"], "is a folder"),
        (&["--input", "images.parquet", "./images.parquet"], "twice"),
        (&["--input", "nowhere.parquet"], "nowhere.parquet"),
        (&["--input", "model/config.json"], "cannot be read as Parquet"),
        (&["--model", "nowhere"], "nowhere"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dualad-score"));
        command.current_dir(set.folder.path());
        for (flag, value) in [("--model", "model"), ("--input", "images.parquet"), ("--output", "scores.parquet")] {
            if !more.contains(&flag) {
                command.args([flag, value]);
            }
        }
        let output = command.args(more).output()?;
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(part), "{more:?}: {text}");
        assert!(!set.path("scores.parquet").exists() && !set.path("copy.parquet").exists());
    }
    assert_eq!(read(&set.path("images.parquet"))?.num_rows(), 5);
    Ok(())
}
