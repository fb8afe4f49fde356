//! Workers that end, hang and have another model.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use datafusion_distributed::{Worker as Engine, WorkerQueryContext};
use dualad_datafusion::Inspector;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::set::{Outcome, Set, Worker, signal};

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

/// Starts a worker that has the model, as it says, and fails at every part: it has no functions.
async fn worker_that_fails(set: &Set) -> Result<String, Box<dyn std::error::Error>> {
    let digest = Inspector::new(set.detector.clone())?.digest().to_owned();
    let version = format!("dualad-score {} model {digest}", env!("CARGO_PKG_VERSION"));
    let session = |context: WorkerQueryContext| async move { Ok(context.builder.build()) };
    let engine = Engine::from_session_builder(session).with_version(version);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let served = Server::builder().add_service(engine.into_worker_server());
    tokio::spawn(served.serve_with_incoming(TcpIncoming::from(listener)));
    Ok(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_fails_at_every_part_is_done_without() -> Outcome {
    if cfg!(windows) {
        return Ok(());
    }
    let set = Set::new(400)?;
    let worker = Worker::start(&set.path("model"))?;
    let failing = worker_that_fails(&set).await?;
    let addresses = format!("{},{failing}", worker.address);
    let mut child = set.command(&["--workers", &addresses, "--threads", "1"]).stderr(Stdio::piped()).spawn()?;
    set.wait_for_part(&mut child, 2)?;
    // Longer than the other one takes to fail at a part as often as it may be tried.
    worker.signal("STOP")?;
    tokio::time::sleep(Duration::from_secs(20)).await;
    worker.signal("CONT")?;
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("it is tried again"), "{text}");
    set.check()?;
    // By itself it ends the run.
    let (done, text) = set.run(&["--workers", &failing, "--threads", "1", "--overwrite"])?;
    assert!(!done && text.contains("a worker has another model"), "{text}");
    Ok(())
}

#[test]
fn a_worker_that_is_interrupted_says_so() -> Outcome {
    if cfg!(windows) {
        return Ok(());
    }
    let set = Set::new(1)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_dualad-score"));
    let mut child = command
        .args(["worker", "--listen", "127.0.0.1:0", "--model"])
        .arg(set.path("model"))
        .stderr(Stdio::piped())
        .spawn()?;
    let mut messages = BufReader::new(child.stderr.take().ok_or("no messages")?);
    let mut text = String::new();
    messages.read_line(&mut text)?;
    signal(&child, "TERM")?;
    messages.read_to_string(&mut text)?;
    assert!(!child.wait()?.success() && text.contains("interrupted") && !text.contains("--resume"), "{text}");
    Ok(())
}
