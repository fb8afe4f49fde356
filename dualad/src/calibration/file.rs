//! The file of a calibration: JSON that can be edited by hand.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::{Calibration, FIRST_FORMAT, FORMAT, PRECISION_FORMAT, Thresholds};
use crate::error::{Error, Result};
use crate::file::write_atomically;

/// The maximum size of a file, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The version of the format, which is read first: other versions may have other fields. Files written by hand may leave it out.
#[derive(Deserialize)]
struct Version {
    format: Option<serde_json::Value>,
    model: Option<IgnoredAny>,
    precision: Option<IgnoredAny>,
}

impl Version {
    /// Returns the contradiction of the format and the other fields, if there is one: thresholds of one precision would be used in another.
    fn contradiction(&self, format: u64) -> Option<String> {
        match self.precision {
            Some(_) if format < PRECISION_FORMAT => Some(format!(
                "format is {format}, and \"precision\" needs {PRECISION_FORMAT}; write {PRECISION_FORMAT}"
            )),
            None if format == PRECISION_FORMAT && self.model.is_some() => Some(format!(
                "precision is missing, and a file of format {format} for one model has it; write the one of its scores, or delete the line \"model\" too to use the thresholds in any"
            )),
            _ => None,
        }
    }
}

impl Calibration {
    /// Reads a file.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use dualad::calibration::{Calibration, Thresholds};
    ///
    /// let path = std::env::temp_dir().join(format!("dualad-doc-calibration-{}.json", std::process::id()));
    /// let calibration = Calibration::new(BTreeMap::new(), Some(Thresholds::new(0.4, 0.7)?));
    /// calibration.save(&path)?;
    /// assert_eq!(Calibration::load(&path)?, calibration);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), dualad::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Self::from_json`]; [`Error::Format`] for a path that is not a file of at most 16 MiB; [`Error::Io`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let io = |error| Error::Io { action: "read", path: path.into(), error };
        // Opening a pipe may block forever, and reading a device may never end.
        let metadata = std::fs::metadata(path).map_err(io)?;
        if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
            return Err(wrong(&name, &format!("it is not a file of at most {} MiB", MAX_FILE_BYTES >> 20)));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path).map_err(io)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
        let text = std::str::from_utf8(&bytes);
        Self::from_json(&name, text.map_err(|error| wrong(&name, &format!("it is not UTF-8: {error}")))?)
    }

    /// Reads JSON. `source_name` is its name in errors.
    ///
    /// # Errors
    /// [`Error::Format`] for text that is not a valid calibration; the message names the field or the position. Unknown fields,
    /// categories listed twice, values out of range, newer formats, a format that contradicts `precision` and texts of more than 16 MiB
    /// are refused.
    pub fn from_json(source_name: &str, text: &str) -> Result<Self> {
        let wrong = |reason: String| wrong(source_name, &reason);
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(wrong(format!(
                "it has {} bytes, and at most {} MiB are read",
                text.len(),
                MAX_FILE_BYTES >> 20
            )));
        }
        // Some editors on Windows write a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // serde would read a list as the fields in their order.
        if text.trim_start().starts_with('[') {
            return Err(wrong(r#"it is a list and not a JSON object, such as {"pooled": {"reject": 0.7}}"#.into()));
        }
        let version: Version = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if let Some(format) = &version.format {
            match format.as_u64() {
                Some(format @ FIRST_FORMAT..=FORMAT) => {
                    version.contradiction(format).map_or(Ok(()), |text| Err(wrong(text)))?
                }
                Some(format) if format > FORMAT => {
                    return Err(wrong(format!(
                        "it has format {format}, and this version knows up to {FORMAT}; update dualad"
                    )));
                }
                _ => return Err(wrong(format!("its format is {format}; write {FIRST_FORMAT}"))),
            }
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let mut calibration: Self =
            serde_path_to_error::deserialize(&mut json).map_err(|error: serde_path_to_error::Error<_>| {
                // An error at the top level has the path `.`.
                match error.path().to_string() {
                    path if path == "." => wrong(error.inner().to_string()),
                    path => wrong(format!("{path}: {}", error.inner())),
                }
            })?;
        json.end().map_err(|error| wrong(error.to_string()))?;
        calibration.set_precision(calibration.precision);
        Ok(calibration)
    }

    /// Returns the JSON that [`Self::from_json`] reads, indented.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for values out of range, such as a threshold below 0 or a `review` above `reject`.
    pub fn to_json(&self) -> Result<String> {
        self.categories.values().chain(&self.pooled).try_for_each(Thresholds::check)?;
        let mut written = self.clone();
        // The fields are public, and the format follows from them.
        written.set_precision(self.precision);
        let text = serde_json::to_string_pretty(&written);
        let unsaid = |error: serde_json::Error| Error::calibration("the calibration", error.to_string());
        text.map(|text| text + "\n").map_err(unsaid)
    }

    /// Writes the file atomically: an earlier file stays until the new one is complete.
    ///
    /// # Errors
    /// As [`Self::to_json`], and [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        write_atomically(path.as_ref(), self.to_json()?.as_bytes())
    }
}

fn wrong(source_name: &str, reason: &str) -> Error {
    // Quoted text may be long, and may hold control characters for a terminal.
    let mut plain = String::new();
    for character in reason.chars().take(1000) {
        if character.is_control() { plain.extend(character.escape_default()) } else { plain.push(character) }
    }
    Error::calibration(source_name, plain)
}

/// Reads a map and refuses a key that occurs twice, of which one would be ignored silently.
pub(super) fn distinct<'de, D: Deserializer<'de>>(json: D) -> Result<BTreeMap<String, Thresholds>, D::Error> {
    struct Distinct;

    impl<'de> Visitor<'de> for Distinct {
        type Value = BTreeMap<String, Thresholds>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object of categories and their thresholds")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut categories = BTreeMap::new();
            while let Some((name, thresholds)) = entries.next_entry::<String, Thresholds>()? {
                if categories.contains_key(&name) {
                    return Err(A::Error::custom(format!("category \"{name}\" is listed twice; keep one")));
                }
                categories.insert(name, thresholds);
            }
            Ok(categories)
        }
    }

    json.deserialize_map(Distinct)
}
