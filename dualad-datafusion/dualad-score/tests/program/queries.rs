//! Queries of the user's own.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::Int64Type;

use crate::set::{Outcome, Set, Worker, read, signal};

#[test]
fn a_query_joins_and_counts() -> Outcome {
    let set = Set::new(60)?;
    let worker = Worker::start(&set.path("model"))?;
    let query = "SELECT line, count(*) AS images, sum(CASE WHEN found.decision = 'reject' THEN 1 ELSE 0 END) AS rejected \
                 FROM (SELECT line, inspect(image) AS found FROM images) \
                 JOIN (VALUES ('A', 'north'), ('B', 'south')) AS halls(name, hall) ON line = name GROUP BY line ORDER BY line";
    for more in [&["--overwrite"][..], &["--overwrite", "--workers", &worker.address]] {
        let (done, text) = set.run(&[more, &["--sql", query]].concat())?;
        assert!(done, "{text}");
        let found = read(&set.path("scores.parquet"))?;
        assert_eq!(found.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["A", "B"]);
        assert_eq!(found.column(1).as_primitive::<Int64Type>().values().to_vec(), [30, 30]);
    }
    assert!(worker.seconds()?.is_none_or(|seconds| seconds >= 0.1), "{:?}", worker.seconds());
    Ok(())
}

#[test]
fn a_query_that_is_terminated_leaves_nothing() -> Outcome {
    if cfg!(windows) {
        return Ok(());
    }
    let set = Set::new(600)?;
    let unfinished = || -> std::io::Result<usize> {
        let names = std::fs::read_dir(set.folder.path())?.flatten().map(|entry| entry.file_name());
        Ok(names.filter(|name| name.to_string_lossy().starts_with('.')).count())
    };
    let query = ["--threads", "1", "--sql", "SELECT id, inspect(image)['score'] FROM images"];
    let mut child = set.command(&query).stderr(Stdio::piped()).spawn()?;
    let start = Instant::now();
    while unfinished()? == 0 {
        assert!(start.elapsed() < Duration::from_secs(60) && child.try_wait()?.is_none(), "it ended too early");
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&child, "TERM")?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(130) && text.contains("nothing was written"), "{text}");
    assert!(unfinished()? == 0 && !set.path("scores.parquet").exists());
    Ok(())
}

#[test]
fn a_query_of_a_folder_needs_no_other_input() -> Outcome {
    let set = Set::new(1)?;
    let query = "SELECT path, inspect(image)['score'] AS score FROM images('parts/gear/test')";
    let arguments = ["--model", "model", "--output", "scores.parquet", "--sql", query];
    let output =
        Command::new(env!("CARGO_BIN_EXE_dualad-score")).current_dir(set.folder.path()).args(arguments).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = read(&set.path("scores.parquet"))?;
    assert!(found.num_rows() > 0 && found.column(1).null_count() == 0);
    Ok(())
}
