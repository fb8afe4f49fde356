//! `dualad inspect`: inspect images with a trained model.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::common::{CommonArgs, Result, check_replaceable, print};
use crate::model::{BATCH, Line, ModelArgs, check_category, save_heat_map};
use dualad::calibration::ThresholdSource;
use dualad::detector::Request;
use dualad::store::AtomicFile;

/// Inspect images with a trained model
///
/// Prints a line for each image, in order; with --json the line is JSON. The line of an image that cannot be inspected has the
/// error, the other images are inspected, and the exit status is 1.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Images to inspect
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Product in the images; its thresholds are used [default: the pooled thresholds are used]
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Folder for heat maps, one for each image
    #[arg(long, value_name = "DIR")]
    heatmaps: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Runs `dualad inspect`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let detector = args.model.detector(&args.common)?;
    check_category(&detector, args.category.as_deref())?;
    if let Some(folder) = &args.heatmaps {
        std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let model = args.model.files();
    args.common.check_json(args.images.iter().chain(&model).map(PathBuf::as_path))?;
    let inputs: HashSet<PathBuf> = args.images.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let mut json = match &args.common.json {
        Some(_) if args.common.json_to_stdout() => Some(Output::Stdout),
        Some(path) => Some(Output::file(path)?),
        None => None,
    };
    let mut names = HashSet::new();
    let mut failed = 0;
    for images in args.images.chunks(BATCH) {
        let requests = images.iter().map(|path| request(path, args.category.as_deref()));
        let found = detector.inspect_batch(requests);
        for (path, found) in images.iter().zip(found) {
            let image = path.display().to_string();
            let drawn = match (&found, &args.heatmaps) {
                (Ok(inspection), Some(folder)) => {
                    let file = folder.join(heat_map_name(path, &mut names));
                    if file.canonicalize().is_ok_and(|file| inputs.contains(&file)) {
                        let name = file.display();
                        return Err(format!("the heat map {name} would replace an image; name another folder").into());
                    }
                    save_heat_map(&detector, path, inspection, &file).map(|()| Some(file.display().to_string()))
                }
                _ => Ok(None),
            };
            let line = match (&found, drawn) {
                (Ok(inspection), Ok(heatmap)) => Line::Found { image: &image, inspection, heatmap },
                (Err(error), _) => Line::failed(&image, error),
                (_, Err(error)) => Line::failed(&image, &*error),
            };
            failed += usize::from(matches!(line, Line::Failed { .. }));
            match &mut json {
                Some(output) => output.write(&line.json()?)?,
                None => print(&text(&line))?,
            }
        }
    }
    if let Some(output) = json {
        output.finish()?;
    }
    match failed {
        0 => Ok(()),
        failed => {
            let of = args.images.len();
            Err(format!("{failed} of {of} images could not be inspected; their lines say why").into())
        }
    }
}

fn request<'a>(path: &'a PathBuf, category: Option<&'a str>) -> Request<'a> {
    let request = Request::from(path);
    match category {
        Some(category) => request.category(category),
        None => request,
    }
}

/// Returns a line of text for an image.
fn text(line: &Line<'_>) -> String {
    match line {
        Line::Failed { image, error } => format!("{image}: error: {error}\n"),
        Line::Found { image, inspection, heatmap } => {
            let decision = inspection.verdict.as_ref().map_or_else(
                || "no thresholds".to_owned(),
                |verdict| {
                    let whose = match &verdict.source {
                        ThresholdSource::Pooled { .. } => "pooled thresholds: ",
                        _ => "",
                    };
                    format!("{} ({whose}rejects from {:.4})", verdict.decision, verdict.reject)
                },
            );
            let mut text = format!("{image}: {:.4} {decision}", inspection.image_score);
            for region in inspection.regions.iter().take(3) {
                let at = region.bounds;
                text += &format!(", {}x{} at {},{}", at.width, at.height, at.x, at.y);
            }
            if let Some(heatmap) = heatmap {
                text += &format!(", {heatmap}");
            }
            text + "\n"
        }
    }
}

/// Returns the name of an image's heat map. A second image of the same name gets a number.
fn heat_map_name(path: &Path, taken: &mut HashSet<String>) -> String {
    let stem = path.file_stem().map_or_else(|| "image".into(), |stem| stem.to_string_lossy().into_owned());
    let mut name = format!("{stem}.png");
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{stem}-{number}.png");
        number += 1;
    }
    name
}

/// The destination of JSON lines: standard output, one by one, or a file that appears when it is complete.
enum Output {
    Stdout,
    File { path: PathBuf, file: AtomicFile },
}

impl Output {
    fn file(path: &Path) -> Result<Self> {
        check_replaceable(path)?;
        let file = AtomicFile::create(path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self::File { path: path.into(), file })
    }

    fn write(&mut self, line: &str) -> Result<()> {
        match self {
            Self::Stdout => print(line),
            Self::File { path, file } => {
                let written = file.write_all(line.as_bytes());
                written.map_err(|error| format!("cannot write {}: {error}", path.display()).into())
            }
        }
    }

    fn finish(self) -> Result<()> {
        let Self::File { path, file } = self else { return Ok(()) };
        file.commit().map_err(|error| format!("cannot write {}: {error}", path.display()).into())
    }
}
