//! Workers that end, hang and have another model.

use std::process::{Command, Stdio};

use crate::set::{Outcome, Set, Worker};

#[test]
fn two_workers_give_the_same_scores_and_one_that_ends_is_done_without() -> Outcome {
    let set = Set::new(600)?;
    let mut workers = vec![Worker::start(&set.path("model"))?, Worker::start(&set.path("model"))?];
    let addresses = workers.iter().map(|worker| worker.address.as_str()).collect::<Vec<_>>().join(",");
    let (done, text) = set.run(&["--workers", &addresses, "--threads", "1"])?;
    assert!(done, "{text}");
    set.check()?;
    // The workers did the work.
    for worker in &workers {
        assert!(worker.seconds()?.is_none_or(|seconds| seconds >= 0.3), "{:?}", worker.seconds());
    }
    let mut child =
        set.command(&["--workers", &addresses, "--threads", "1", "--overwrite"]).stderr(Stdio::null()).spawn()?;
    set.wait_for_part(&mut child, 2)?;
    // Parts are left: the worker ends in the middle.
    drop(workers.pop());
    assert!(child.wait()?.success());
    set.check()?;
    // Both gone: an error, and the next run completes.
    let (done, text) = set.run(&["--workers", &addresses, "--overwrite"])?;
    assert!(!done && text.contains("does not answer"), "{text}");
    Ok(())
}

#[test]
fn a_worker_with_another_model_is_refused() -> Outcome {
    let set = Set::new(20)?;
    let other = set.path("other");
    set.detector.clone().with_calibration(None).save(&other)?;
    let worker = Worker::start(&other)?;
    let (done, text) = set.run(&["--workers", &worker.address])?;
    assert!(!done && text.contains("same program and model"), "{text}");
    // Nothing says that a worker is ready whose port another program has.
    let mut second = Command::new(env!("CARGO_BIN_EXE_dualad-score"));
    let output = second.args(["worker", "--listen", &worker.address, "--model"]).arg(&other).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.starts_with("error: cannot listen on 127.0.0.1"), "{text}");
    Ok(())
}

#[test]
fn a_worker_that_hangs_is_done_without_and_a_run_without_workers_ends() -> Outcome {
    if cfg!(windows) {
        return Ok(());
    }
    let set = Set::new(400)?;
    let workers = [Worker::start(&set.path("model"))?, Worker::start(&set.path("model"))?];
    let addresses = workers.iter().map(|worker| worker.address.as_str()).collect::<Vec<_>>().join(",");
    let arguments = ["--workers", &addresses, "--threads", "1", "--batch", "8", "--patience", "20"];
    let mut child = set.command(&arguments).stderr(Stdio::piped()).spawn()?;
    set.wait_for_part(&mut child, 2)?;
    workers[1].signal("STOP")?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("its part is given to another"), "{text}");
    set.check()?;
    workers[0].signal("STOP")?;
    let (done, text) = set.run(&[&arguments[..], &["--overwrite"]].concat())?;
    assert!(!done && text.contains("does not answer (nothing came"), "{text}");
    Ok(())
}

#[test]
fn workers_have_names() -> Outcome {
    let set = Set::new(20)?;
    let worker = Worker::start_at(&set.path("model"), "localhost")?;
    let (done, text) = set.run(&["--workers", &worker.address])?;
    assert!(done, "{text}");
    set.check()?;
    let (done, text) = set.run(&["--workers", "no.such.machine.invalid:50051", "--overwrite"])?;
    assert!(!done && text.contains("no.such.machine.invalid:50051 does not answer ("), "{text}");
    Ok(())
}
