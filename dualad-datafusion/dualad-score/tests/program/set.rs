//! A model, files of images, and the program that scores them.

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

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A model, and a Parquet file of `rows` rows with 10 rows a group. Every 13th image is broken, every 17th is NULL.
pub(crate) struct Set {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) detector: Detector,
    pub(crate) images: Vec<Option<Vec<u8>>>,
}

impl Set {
    pub(crate) fn new(rows: usize) -> Result<Self, Box<dyn std::error::Error>> {
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

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, group: usize) -> Outcome {
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

    pub(crate) fn command(&self, more: &[&str]) -> Command {
        self.command_for("images.parquet", more)
    }

    /// Returns the command for another input.
    pub(crate) fn command_for(&self, input: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dualad-score"));
        command.current_dir(self.folder.path()).args([
            "--model",
            "model",
            "--input",
            input,
            "--output",
            "scores.parquet",
        ]);
        command.args(more);
        command
    }

    /// Waits until a run has written a part.
    pub(crate) fn wait_for_part(&self, run: &mut Child, part: usize) -> Outcome {
        let path = self.path(&format!("scores.parquet.parts/{part:08}.parquet"));
        let start = Instant::now();
        while !path.exists() {
            assert!(start.elapsed() < Duration::from_secs(120) && run.try_wait()?.is_none(), "it ended too early");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Runs the program and returns its messages.
    pub(crate) fn run(&self, more: &[&str]) -> Result<(bool, String), Box<dyn std::error::Error>> {
        let output = self.command(more).output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Checks that the output has every row once, with the score of the detector.
    pub(crate) fn check(&self) -> Outcome {
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

/// Sends a signal such as TERM, on Unix.
pub(crate) fn signal(child: &Child, name: &str) -> Outcome {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status()?;
    assert!(sent.success());
    Ok(())
}

pub(crate) fn read(path: &Path) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let schema = reader.schema().clone();
    let batches = reader.build()?.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// A worker that ends with the test.
pub(crate) struct Worker {
    child: Child,
    pub(crate) address: String,
}

impl Worker {
    pub(crate) fn start(model: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        Self::start_at(model, "127.0.0.1")
    }

    /// Starts a worker that listens at a name of this machine.
    pub(crate) fn start_at(model: &Path, name: &str) -> Result<Self, Box<dyn std::error::Error>> {
        // A port that was free a moment ago.
        let port = TcpListener::bind((name, 0))?.local_addr()?.port();
        let address = format!("{name}:{port}");
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

    pub(crate) fn signal(&self, name: &str) -> Outcome {
        signal(&self.child, name)
    }

    /// Returns the processor time of the worker, on Linux.
    pub(crate) fn seconds(&self) -> Result<Option<f64>, Box<dyn std::error::Error>> {
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
