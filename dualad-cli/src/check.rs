//! `dualad check`: find what is wrong with a dataset before anything is trained.

use std::path::PathBuf;

use dualad::data::{Cancel, Dataset, Finding, Label, Report, Sample, Severity, Split};
use serde::Serialize;

use crate::common::{JsonArgs, Result, print, printable};
use crate::data::{DataArgs, masks_hint};
use crate::guard::Guard;
use crate::hint::of_findings;
use crate::lines::{MAX_FAULTS, finding_lines};
use crate::progress::{Bar, ProgressArgs};
use crate::signals::cancel_on_signal;

/// Find what is wrong with a dataset before anything is trained
///
/// Reads every image and mask. Prints the first 20 findings, the worst first, and the number of images; --json lists the first 20 of each kind, and how
/// many more there are. The exit status is 1 if a finding is fatal: training or evaluation would stop at it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the dataset
    #[arg(long, value_name = "ROOT")]
    data: PathBuf,
    #[command(flatten)]
    selection: DataArgs,
    /// Read the headers of files only: many times as fast. Finds no damage after the header, no unsupported kinds of images, no duplicates, no frames of
    /// 12 bits, and nothing about the content of masks
    #[arg(long)]
    headers_only: bool,
    /// Findings to list: N in the text, N of each kind in --json; 0 lists all
    #[arg(long, value_name = "N", default_value_t = MAX_FAULTS)]
    list: usize,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// The JSON of a check.
#[derive(Debug, Serialize)]
struct Outcome {
    format: u32,
    data: String,
    /// The layout; `null` for a folder that is no dataset.
    layout: Option<String>,
    categories: Vec<CategoryCounts>,
    images: usize,
    headers_only: bool,
    fatal: usize,
    warnings: usize,
    notes: usize,
    findings: Vec<FindingLine>,
}

#[derive(Debug, Serialize)]
struct CategoryCounts {
    name: String,
    train: usize,
    test_normal: usize,
    test_anomalous: usize,
}

#[derive(Debug, Serialize)]
struct FindingLine {
    severity: String,
    kind: String,
    category: String,
    path: String,
    message: String,
    /// 1, or the number of the findings of this kind that are not listed.
    count: usize,
}

/// Runs `dualad check`.
pub(crate) fn run(args: &Args) -> Result<()> {
    args.progress.apply();
    let cancel = Cancel::default();
    cancel_on_signal(&cancel)?;
    args.json.check(&Guard::default())?;
    let dataset = match args.selection.open(&args.data) {
        Ok(dataset) => dataset,
        Err(error) => {
            args.json.write(&no_data_set(args, &error.to_string()))?;
            return Err(error);
        }
    };
    let bar = Bar::new("checking the dataset");
    let check = dataset
        .check()
        .limits(args.selection.limits())
        .cancel(&cancel)
        .headers_only(args.headers_only)
        .listed(args.list);
    let report = check.progress(|done, total| bar.set(done, total)).run().map_err(dualad::Error::from)?;
    drop(bar);
    let outcome = outcome(&dataset, args, &report);
    args.json.write(&outcome)?;
    if !args.json.to_stdout() {
        print(&text(&outcome, &report.findings, args.list))?;
    }
    match outcome.fatal {
        0 => Ok(()),
        count => {
            let noun = if count == 1 { "finding" } else { "findings" };
            let root = args.data.display();
            let hint = of_findings(&report.findings).map_or(String::new(), |hint| format!("; {hint}"));
            Err(format!("{root} has {count} fatal {noun}; do what each says before training{hint}").into())
        }
    }
}

fn outcome(dataset: &Dataset, args: &Args, report: &Report) -> Outcome {
    let categories: Vec<CategoryCounts> = dataset
        .categories
        .iter()
        .map(|category| {
            let count = |holds: fn(&Sample) -> bool| category.samples.iter().filter(|sample| holds(sample)).count();
            CategoryCounts {
                name: category.name.clone(),
                train: count(|sample| sample.split == Split::Train),
                test_normal: count(|sample| sample.split == Split::Test && sample.label == Label::Normal),
                test_anomalous: count(|sample| sample.split == Split::Test && sample.label != Label::Normal),
            }
        })
        .collect();
    let line = |finding: &Finding| FindingLine {
        severity: finding.severity().to_string(),
        kind: finding.kind.to_string().replace(' ', "_"),
        category: finding.category.clone(),
        path: finding.path.display().to_string(),
        message: finding.message.clone(),
        count: finding.count,
    };
    Outcome {
        format: 1,
        data: args.data.display().to_string(),
        layout: Some(dataset.layout.to_string()),
        images: dataset.categories.iter().map(|category| category.samples.len()).sum(),
        headers_only: args.headers_only,
        categories,
        fatal: report.count(Severity::Fatal),
        warnings: report.count(Severity::Warning),
        notes: report.count(Severity::Note),
        findings: report.findings.iter().map(line).collect(),
    }
}

/// Returns the outcome of a folder that cannot be opened as a dataset: its one finding says why.
fn no_data_set(args: &Args, message: &str) -> Outcome {
    let path = args.data.display().to_string();
    let finding = FindingLine {
        severity: Severity::Fatal.to_string(),
        kind: "no_data_set".into(),
        category: String::new(),
        path: path.clone(),
        message: message.into(),
        count: 1,
    };
    Outcome {
        format: 1,
        data: path,
        layout: None,
        categories: Vec::new(),
        images: 0,
        headers_only: args.headers_only,
        fatal: 1,
        warnings: 0,
        notes: 0,
        findings: vec![finding],
    }
}

/// The note on what a check of the headers does not look at.
const HEADERS_ONLY: &str = "note: --headers-only reads no pixels; without it, the check also finds damage after the header, kinds of images \
                            that are not read, images with the same pixels, frames of 12 bits, images that EXIF rotates, and masks that \
                            mark nothing, nearly all, or a defect in a normal image";

fn text(outcome: &Outcome, findings: &[Finding], most: usize) -> String {
    let mut text = String::new();
    for line in finding_lines(findings, most, "; --list 0 lists all") {
        text += &format!("{line}\n");
    }
    if let Some(hint) = masks_hint(findings) {
        text += &format!("{hint}\n");
    }
    if outcome.headers_only {
        text += &format!("{HEADERS_ONLY}\n");
    }
    if !findings.is_empty() || outcome.headers_only {
        text.push('\n');
    }
    text += &format!("{:<16} {:>8} {:>12} {:>15}\n", "category", "train", "test normal", "test anomalous");
    for CategoryCounts { name, train, test_normal, test_anomalous } in &outcome.categories {
        let name = printable(name);
        text += &format!("{name:<16} {train:>8} {test_normal:>12} {test_anomalous:>15}\n");
    }
    let Outcome { images, fatal, warnings, notes, .. } = outcome;
    let layout = outcome.layout.as_deref().unwrap_or_default();
    text + &format!("\nlayout {layout}, {images} images: {fatal} fatal, {warnings} warnings, {notes} notes\n")
}
