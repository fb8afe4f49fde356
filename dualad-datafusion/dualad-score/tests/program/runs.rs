//! Runs that end, go on, and meet.

use std::process::Stdio;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;

use crate::set::{Outcome, Set, read};

#[test]
fn every_row_gets_the_score_of_the_detector_and_nothing_is_replaced_unasked() -> Outcome {
    let set = Set::new(45)?;
    let (done, text) = set.run(&[])?;
    assert!(done && text.contains("45 of 45 images"), "{text}");
    set.check()?;
    let (done, text) = set.run(&[])?;
    assert!(!done && text.contains("--overwrite"), "{text}");
    let (done, text) = set.run(&["--overwrite", "--keep-images", "--prefix", "x_", "--threads", "1"])?;
    assert!(done, "{text}");
    let found = read(&set.path("scores.parquet"))?;
    let names: Vec<_> = found.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["id", "line", "image", "x_score", "x_decision", "x_threshold", "x_regions", "x_error"]);
    // In one thread the rows keep their order, and so they do in every number of threads.
    let ids = found.column(0).as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(ids, (0..45).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_run_is_alone_and_its_input_may_not_change() -> Outcome {
    let set = Set::new(400)?;
    let mut child = set.command(&["--threads", "1"]).stderr(Stdio::piped()).spawn()?;
    set.wait_for_part(&mut child, 1)?;
    for flag in ["--resume", "--overwrite"] {
        let (done, text) = set.run(&[flag])?;
        assert!(!done && text.contains("another run"), "{text}");
    }
    std::fs::copy(set.path("images.parquet"), set.path("new.parquet"))?;
    std::fs::rename(set.path("new.parquet"), set.path("images.parquet"))?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("has changed"), "{text}");
    assert!(!set.path("scores.parquet").exists());
    Ok(())
}

#[test]
fn a_record_that_cannot_be_read_is_replaced_on_request() -> Outcome {
    let set = Set::new(20)?;
    std::fs::create_dir(set.path("scores.parquet.parts"))?;
    std::fs::write(set.path("scores.parquet.parts/run.json"), b"{")?;
    for more in [&[][..], &["--resume"]] {
        let (done, text) = set.run(more)?;
        assert!(!done && text.contains("use --overwrite"), "{text}");
    }
    let (done, text) = set.run(&["--overwrite"])?;
    assert!(done, "{text}");
    set.check()
}

#[test]
fn a_killed_run_goes_on_and_another_one_is_not_mixed_with_it() -> Outcome {
    let set = Set::new(400)?;
    let mut child = set.command(&["--threads", "1"]).stderr(Stdio::null()).spawn()?;
    let parts = set.path("scores.parquet.parts");
    set.wait_for_part(&mut child, 3)?;
    child.kill()?;
    child.wait()?;
    assert!(!set.path("scores.parquet").exists());
    let (done, text) = set.run(&[])?;
    assert!(!done && text.contains("--resume"), "{text}");
    let (done, text) = set.run(&["--resume", "--prefix", "y"])?;
    assert!(!done && text.contains("other columns"), "{text}");
    // A part that a full disk has cut is scored again.
    std::fs::write(parts.join("00000001.parquet"), b"PAR1")?;
    let (done, text) = set.run(&["--resume"])?;
    assert!(done && text.contains("images are done"), "{text}");
    set.check()
}

#[test]
fn a_killed_run_that_replaces_an_output_goes_on() -> Outcome {
    let set = Set::new(200)?;
    std::fs::write(set.path("scores.parquet"), b"old")?;
    let mut child = set.command(&["--threads", "1", "--overwrite"]).stderr(Stdio::null()).spawn()?;
    set.wait_for_part(&mut child, 3)?;
    child.kill()?;
    child.wait()?;
    // Two files that a kill may leave: of a part, and of the output.
    let parts = set.path("scores.parquet.parts");
    std::fs::write(parts.join(".dualad-unfinished-x"), b"x")?;
    assert_eq!(std::fs::read(set.path("scores.parquet"))?, b"old");
    let (done, text) = set.run(&["--resume"])?;
    assert!(!done && text.contains("--overwrite replaces it"), "{text}");
    let (done, text) = set.run(&["--resume", "--overwrite"])?;
    assert!(done && text.contains("images are done"), "{text}");
    set.check()
}
