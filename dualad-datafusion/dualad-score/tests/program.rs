//! The program as a user runs it: files in, files out, workers that end.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray};
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{Float32Type, Int64Type};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use dualad::backbones::Backbone;
use dualad::data::synthetic::{self, Category, Options};
use dualad::detector::Request;
use dualad::recipe::Recipe;
use dualad::{Detector, Variant};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A model, and a Parquet file of `rows` rows with 10 rows a group. Every 13th image is broken, every 17th is NULL.
struct Set {
    folder: tempfile::TempDir,
    detector: Detector,
    images: Vec<Option<Vec<u8>>>,
}

impl Set {
    fn new(rows: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let options = Options {
            size: 64,
            train: 10,
            test_good: 3,
            test_per_defect: 1,
            categories: vec![Category::Gear],
            ..Options::default()
        };
        let parts = folder.path().join("parts");
        synthetic::write(&parts, &options, |_, _| {})?;
        let mut recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
        recipe.train.epochs = 0;
        let detector = Detector::fit(parts.as_path()).recipe(recipe).run()?.detector;
        detector.save(folder.path().join("model"))?;
        let mut files = Vec::new();
        for kind in std::fs::read_dir(parts.join("gear/test"))? {
            for file in std::fs::read_dir(kind?.path())? {
                files.push(std::fs::read(file?.path())?);
            }
        }
        let images = (0..rows).map(|row| match row {
            row if row % 17 == 16 => None,
            row if row % 13 == 12 => Some(b"broken".to_vec()),
            row => Some(files[row % files.len()].clone()),
        });
        let set = Self { images: images.collect(), folder, detector };
        set.write("images.parquet", 10)?;
        Ok(set)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, group: usize) -> Outcome {
        let rows = self.images.len();
        let images = BinaryArray::from(self.images.iter().map(Option::as_deref).collect::<Vec<_>>());
        let lines = StringArray::from((0..rows).map(|row| if row % 2 == 0 { "A" } else { "B" }).collect::<Vec<_>>());
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(Int64Array::from_iter_values(0..rows as i64)) as _, false),
            ("line", Arc::new(lines) as _, false),
            ("image", Arc::new(images) as _, true),
        ])?;
        let properties = datafusion::parquet::file::properties::WriterProperties::builder()
            .set_max_row_group_row_count(Some(group))
            .build();
        let mut writer = ArrowWriter::try_new(File::create(self.path(name))?, batch.schema(), Some(properties))?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(())
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dualad-score"));
        command.current_dir(self.folder.path()).args([
            "--model",
            "model",
            "--input",
            "images.parquet",
            "--output",
            "scores.parquet",
        ]);
        command.args(more);
        command
    }

    /// Runs the program and returns its messages.
    fn run(&self, more: &[&str]) -> Result<(bool, String), Box<dyn std::error::Error>> {
        let output = self.command(more).output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Checks that the output has every row once, with the score of the detector.
    fn check(&self) -> Outcome {
        let found = read(&self.path("scores.parquet"))?;
        assert_eq!(found.num_rows(), self.images.len());
        assert!(found.column_by_name("image").is_none());
        let ids = found.column_by_name("id").unwrap().as_primitive::<Int64Type>();
        let scores = found.column_by_name("score").unwrap().as_primitive::<Float32Type>();
        let errors = found.column_by_name("error").unwrap();
        let mut seen = vec![false; self.images.len()];
        for row in 0..found.num_rows() {
            let id = ids.value(row) as usize;
            assert!(!std::mem::replace(&mut seen[id], true), "{id} twice");
            let alone = self.images[id].as_ref().map(|image| self.detector.inspect(Request::encoded(image, "x")));
            match alone {
                None => assert!(scores.is_null(row) && errors.is_null(row), "{id}"),
                Some(Err(_)) => assert!(scores.is_null(row) && !errors.is_null(row), "{id}"),
                Some(Ok(alone)) => {
                    let (found, expected) = (scores.value(row), alone.image_score);
                    assert!((found - expected).abs() <= 1e-5 * expected, "{id}: {found} {expected}");
                }
            }
        }
        assert!(!self.path("scores.parquet.parts").exists(), "the parts are removed");
        Ok(())
    }
}

fn read(path: &Path) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let schema = reader.schema().clone();
    let batches = reader.build()?.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// A worker that ends with the test.
struct Worker {
    child: Child,
    address: String,
}

impl Worker {
    fn start(model: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dualad-score"));
        command.args(["worker", "--threads", "1", "--listen", &address, "--model"]).arg(model);
        let child = command.stderr(Stdio::null()).spawn()?;
        let worker = Self { child, address };
        let start = Instant::now();
        while std::net::TcpStream::connect(&worker.address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "the worker does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(worker)
    }

    /// Returns the processor time of the worker, on Linux.
    fn seconds(&self) -> Result<Option<f64>, Box<dyn std::error::Error>> {
        let path = format!("/proc/{}/stat", self.child.id());
        if !cfg!(target_os = "linux") {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path)?;
        // After the name in parentheses: the state, ten numbers, and the ticks in the program and in the kernel, 100 to a second.
        let ticks = text.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(11)).ok_or("no times")?;
        Ok(Some(ticks.parse::<f64>()? / 100.0))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
fn wrong_arguments_are_told_before_anything_is_scored() -> Outcome {
    let set = Set::new(5)?;
    for (more, part) in [
        (&["--image", "picture"][..], "there are id, line, image"),
        (&["--image", "id"], "type Int64, and must have the content"),
        (&["--category", "nothing"], "no such column"),
        (&["--workers", "127.0.0.1:1"], "does not answer"),
        (&["--sql", "SELECT nothing FROM images"], "nothing"),
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

#[test]
fn a_run_is_alone_and_its_input_may_not_change() -> Outcome {
    let set = Set::new(400)?;
    let mut child = set.command(&["--threads", "1"]).stderr(Stdio::piped()).spawn()?;
    let start = Instant::now();
    while !set.path("scores.parquet.parts/00000001.parquet").exists() {
        assert!(start.elapsed() < Duration::from_secs(60) && child.try_wait()?.is_none(), "it ended too early");
        std::thread::sleep(Duration::from_millis(5));
    }
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
    let start = Instant::now();
    while !parts.join("00000003.parquet").exists() {
        assert!(
            start.elapsed() < Duration::from_secs(60) && child.try_wait()?.is_none(),
            "it ended before it was killed"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
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
    let parts = set.path("scores.parquet.parts");
    let start = Instant::now();
    while !parts.join("00000002.parquet").exists() {
        assert!(start.elapsed() < Duration::from_secs(120) && child.try_wait()?.is_none(), "it ended too early");
        std::thread::sleep(Duration::from_millis(5));
    }
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
