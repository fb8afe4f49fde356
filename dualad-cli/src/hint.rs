//! The flags that avoid an error of the library, which knows no flags.

use std::error::Error;

use dualad::backbones;
use dualad::backbones::WeightsError;
use dualad::data::{self, Finding, FindingKind};

use crate::lines::{MAX_FAULTS, finding_lines, first_lines};

const WEIGHTS: &str = "--weights FILE names it";
const TRAINED: &str = "leave them out with --trained leave-out, or insist with --trained use";
/// The flag that leaves out images that cannot be read.
pub(crate) const SKIP_BROKEN: &str = "--skip-broken leaves out broken images";
/// The flag that raises the limits for images.
pub(crate) const PIXELS: &str = "--max-pixels N raises the limits for images";

/// The flag that says that folders are products.
const CATEGORIES: &str = "--categories NAME,NAME reads them as products";

/// Returns the flags that avoid an error, as they follow its message. Every subcommand that can fail so has them.
pub(crate) fn hint(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref() {
        return of_library(error);
    }
    if let Some(error) = error.downcast_ref() {
        return of_backbone(error);
    }
    error.downcast_ref().and_then(of_data)
}

fn of_library(error: &dualad::Error) -> Option<&'static str> {
    match error {
        dualad::Error::Cache { .. } => Some("name another folder with --cache, or keep no cache with --no-cache"),
        dualad::Error::Format(error) if error.format() == dualad::Format::Checkpoint => Some("leave out --resume"),
        dualad::Error::ModelWeights { .. } => Some(WEIGHTS),
        dualad::Error::TrainedOn { .. } => Some(TRAINED),
        dualad::Error::Backbone(error) => of_backbone(error),
        dualad::Error::Data(error) => of_data(error),
        dualad::Error::Images { errors } => errors.iter().find_map(of_library),
        _ => None,
    }
}

fn of_backbone(error: &backbones::Error) -> Option<&'static str> {
    match error {
        backbones::Error::Weights(WeightsError::NotGiven { .. }) => Some(WEIGHTS),
        // Every fault of the hub is avoided by a file, which may have come here another way.
        #[cfg(feature = "hub")]
        backbones::Error::Hub(_) => Some("--weights FILE names a local file of weights"),
        _ => None,
    }
}

fn of_data(error: &data::Error) -> Option<&'static str> {
    match error {
        data::Error::TooLarge { .. } => Some(PIXELS),
        data::Error::Dataset { findings } => of_findings(findings),
        _ => None,
    }
}

/// Returns the flags that avoid fatal findings.
pub(crate) fn of_findings(findings: &[Finding]) -> Option<&'static str> {
    let has = |kind| findings.iter().any(|finding| finding.kind == kind);
    match () {
        () if has(FindingKind::TooLarge) => Some(PIXELS),
        () if has(FindingKind::SameProduct) => Some(CATEGORIES),
        () => None,
    }
}

/// Returns the lines of the first faults of an error that has several, and the message without them.
pub(crate) fn faults(error: &(dyn Error + 'static)) -> Option<(Vec<String>, String)> {
    let data = match error.downcast_ref() {
        Some(dualad::Error::Images { errors }) => {
            let summary =
                format!("{} images cannot be read; repair or remove those that are listed above", errors.len());
            return Some((first_lines(errors, ToString::to_string, ""), summary));
        }
        Some(dualad::Error::Data(data)) => data,
        _ => error.downcast_ref()?,
    };
    match data {
        data::Error::Dataset { findings } if findings.len() > 1 => {
            let count: usize = findings.iter().map(|finding| finding.count).sum();
            let summary = format!("the dataset has {count} fatal faults, which are listed above");
            Some((finding_lines(findings, MAX_FAULTS, ""), summary))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(subcommand: &str, hint: &str) {
        let command = crate::command();
        let command = command.find_subcommand(subcommand).unwrap();
        for flag in hint.split_whitespace().filter_map(|word| word.trim_end_matches(',').strip_prefix("--")) {
            let is = |arg: &clap::Arg| arg.get_long() == Some(flag);
            assert!(command.get_arguments().any(is), "{subcommand} has no --{flag}");
        }
    }

    fn cache() -> dualad::Error {
        dualad::Error::Cache { folder: "cache".into(), error: std::io::ErrorKind::NotFound.into() }
    }

    #[test]
    fn the_flags_exist_in_every_subcommand_that_can_fail_so() {
        for subcommand in ["train", "evaluate", "inspect", "calibrate", "watch", "serve", "info"] {
            has(subcommand, WEIGHTS);
        }
        for subcommand in ["train", "evaluate", "check", "inspect", "calibrate", "watch", "serve"] {
            has(subcommand, PIXELS);
        }
        for subcommand in ["train", "evaluate"] {
            has(subcommand, hint(&cache()).unwrap());
        }
        has("train", "--resume");
        has("calibrate", TRAINED);
        has("calibrate", SKIP_BROKEN);
        has("train", SKIP_BROKEN);
        for subcommand in ["train", "evaluate", "check"] {
            has(subcommand, CATEGORIES);
        }
    }

    #[test]
    fn errors_of_every_crate_are_recognized() {
        let large = || data::Error::TooLarge { path: "a.png".into(), unit: "pixels", found: 2, limit: 1 };
        assert_eq!(hint(&large()), Some(PIXELS));
        assert_eq!(hint(&dualad::Error::Data(large())), Some(PIXELS));
        let missing = || WeightsError::NotGiven { backbone: backbones::Backbone::ResNet18, on_hub: true };
        assert_eq!(hint(&backbones::Error::from(missing())), Some(WEIGHTS));
        assert_eq!(hint(&dualad::Error::from(backbones::Error::from(missing()))), Some(WEIGHTS));
        assert_eq!(hint(&dualad::Error::TrainedOn { images: vec!["a.png".into()], of: 2 }), Some(TRAINED));
        assert_eq!(hint(&dualad::Error::Cancelled), None);
    }
}
