//! The log of a run: one JSON object per line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A line of the log, for the steps since the line before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogLine {
    /// The number of steps taken, over all epochs.
    pub step: u64,
    /// The epoch of the last step, from 1.
    pub epoch: u64,
    /// The mean loss of the line's steps.
    pub loss: f64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// The largest norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// The number of images per second.
    pub images_per_second: f64,
    /// The training time since the start of the run in seconds, without the pauses before resumptions.
    pub seconds: f64,
}

/// The part of a first line that is looked at, in bytes.
const LONGEST: u64 = 1 << 12;

/// An open log.
#[derive(Debug)]
pub(crate) struct TrainLog {
    path: PathBuf,
    file: File,
}

/// Checks that a path is free or names an earlier log, whose lines may be replaced.
///
/// # Errors
/// [`Error::Io`] for a file of something else.
pub(crate) fn check_log(path: &Path) -> Result<()> {
    let refused = |reason: &str| Error::Io { action: "write", path: path.into(), error: std::io::Error::other(reason) };
    match std::fs::metadata(path) {
        // Opening a pipe may block forever.
        Ok(metadata) if !metadata.is_file() => return Err(refused("it is not a regular file")),
        Ok(_) => {}
        Err(_) => return Ok(()),
    }
    let mut line = Vec::new();
    let read = File::open(path).and_then(|file| BufReader::new(file.take(LONGEST)).read_until(b'\n', &mut line));
    read.map_err(|error| Error::Io { action: "read", path: path.into(), error })?;
    // The only line of an interrupted run may be incomplete.
    let begins = |mark: &[u8]| line.iter().zip(mark).all(|(found, wanted)| found == wanted);
    let is_log = match line.ends_with(b"\n") {
        true => serde_json::from_slice::<LogLine>(&line).is_ok(),
        false => (line.len() as u64) < LONGEST && begins(b"{\"step\":"),
    };
    if is_log { Ok(()) } else { Err(refused("it is a file of something else; name a new file for the log")) }
}

impl TrainLog {
    /// Opens the log of a run that has taken `steps` steps. Removes the lines of later steps and an incomplete line.
    pub(crate) fn open(path: &Path, steps: u64) -> Result<Self> {
        let io = |action| move |error| Error::Io { action, path: path.into(), error };
        check_log(path)?;
        let options = File::options().create(true).truncate(false).read(true).write(true).open(path);
        let mut file = options.map_err(io("write"))?;
        let kept = kept(&file, steps).map_err(io("read"))?;
        file.set_len(kept).and_then(|()| file.seek(SeekFrom::End(0))).map_err(io("write"))?;
        Ok(Self { path: path.into(), file })
    }

    /// Adds a line.
    pub(crate) fn write(&mut self, line: &LogLine) -> Result<()> {
        let io = |error| Error::Io { action: "write", path: self.path.clone(), error };
        let mut text = serde_json::to_string(line).map_err(|error| io(error.into()))?;
        text.push('\n');
        // One write for each line. If it is interrupted, the next `open` removes the incomplete line.
        self.file.write_all(text.as_bytes()).map_err(io)
    }
}

/// Returns the length in bytes of the lines of the first `steps` steps.
fn kept(file: &File, steps: u64) -> std::io::Result<u64> {
    let (mut reader, mut line, mut kept) = (BufReader::new(file), Vec::new(), 0);
    loop {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        let is_ours = line.ends_with(b"\n")
            && serde_json::from_slice::<LogLine>(&line).is_ok_and(|line| line.step <= steps && steps > 0);
        if !is_ours {
            return Ok(kept);
        }
        kept += length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(step: u64) -> LogLine {
        LogLine {
            step,
            epoch: 1,
            loss: 0.5,
            learning_rate: 1e-3,
            gradient_norm: 0.1,
            images_per_second: 3.0,
            seconds: 1.5,
        }
    }

    fn steps(path: &Path) -> Vec<u64> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str::<LogLine>(line).unwrap().step).collect()
    }

    #[test]
    fn a_resumed_log_continues_after_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.jsonl");
        let mut log = TrainLog::open(&path, 0).unwrap();
        for step in [10, 20, 30] {
            log.write(&line(step)).unwrap();
        }
        // A killed process left half a line.
        File::options().append(true).open(&path).unwrap().write_all(b"{\"step\": 40, \"ep").unwrap();
        let mut log = TrainLog::open(&path, 20).unwrap();
        log.write(&line(25)).unwrap();
        assert_eq!(steps(&path), [10, 20, 25]);
        // A checkpoint between two lines.
        TrainLog::open(&path, 22).unwrap().write(&line(30)).unwrap();
        assert_eq!(steps(&path), [10, 20, 30]);
        // A new run.
        TrainLog::open(&path, 0).unwrap().write(&line(1)).unwrap();
        assert_eq!(steps(&path), [1]);
    }

    #[test]
    fn a_file_of_something_else_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        let is_refused = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let refused = TrainLog::open(&path, 0).is_err_and(|error| error.to_string().contains("something else"));
            refused && std::fs::read_to_string(&path).unwrap() == text
        };
        for text in ["my notes", "my notes\n", "{\"step\": 3}\n", "\n", "{\"epoch\":"] {
            assert!(is_refused(text), "{text:?}");
        }
        // An empty file, and those that an interrupted run leaves.
        let whole = serde_json::to_string(&line(10)).unwrap() + "\n";
        for text in ["", "{\"st", "{\"step\":10,\"epoch", &whole, &format!("{whole}{{\"st")] {
            assert!(!is_refused(text), "{text:?}");
        }
    }

    #[test]
    fn a_folder_of_that_name_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = TrainLog::open(folder.path(), 0).unwrap_err().to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
    }
}
