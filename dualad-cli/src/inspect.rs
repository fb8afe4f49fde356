//! `dualad inspect`: inspect images with a trained model.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::common::{CommonArgs, Result, print_to_reader, printable};
use crate::guard::{Guard, check_heat_map};
use crate::model::{Line, ModelArgs, at_a_time, check_category, save_heat_map};
use crate::names::{self, shortened};
use dualad::calibration::ThresholdSource;
use dualad::detector::Request;
use dualad::store::AtomicFile;

/// Inspect images with a trained model
///
/// Prints a line for each image, in order; with --json the line is JSON. The line of an image that cannot be inspected has the
/// error, the other images are inspected, and the exit status is 1. The program ends when nobody reads its lines any more.
#[derive(Debug, clap::Args)]
#[command(mut_arg("json", |arg| arg.help("Write the lines as JSON to FILE; `-` prints them as JSON instead of text")))]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Images to inspect
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Product in the images; its thresholds are used [default: the pooled thresholds are used]
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Folder for heat maps, one for each image. They replace earlier heat maps, and no other file
    #[arg(long, value_name = "DIR")]
    heatmaps: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
}

/// The length of a heat map's name in bytes, without its number and extension.
const MAX_STEM: usize = 200;

/// Runs `dualad inspect`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let guard = Guard::default().reads(&args.images).reads(args.model.files());
    args.common.check_json(&guard)?;
    let heat_maps = heat_maps(args, &guard)?;
    let replicas = args.model.replicas(&args.common)?;
    let detector = replicas.detector();
    check_category(detector, args.category.as_deref())?;
    if let Some(folder) = &args.heatmaps {
        std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let mut json = match &args.common.json {
        Some(_) if args.common.json_to_stdout() => Some(Output::Stdout),
        Some(path) => Some(Output::file(path)?),
        None => None,
    };
    let mut heat_maps = heat_maps.into_iter();
    let mut failed = 0;
    for images in args.images.chunks(at_a_time(&replicas)) {
        let requests = images.iter().map(|path| request(path, args.category.as_deref()));
        let found = replicas.inspect_batch(requests);
        for (path, found) in images.iter().zip(found) {
            let image = names::text(path);
            let drawn = match (&found, heat_maps.next()) {
                (Ok(inspection), Some(file)) => {
                    save_heat_map(detector, path, inspection, &file).map(|()| Some(file.display().to_string()))
                }
                _ => Ok(None),
            };
            let line = match (&found, drawn) {
                (Ok(inspection), Ok(heatmap)) => Line::Found { image: &image, inspection, heatmap },
                (Err(error), _) => Line::failed(&image, error),
                (_, Err(error)) => Line::failed(&image, &*error),
            };
            failed += usize::from(matches!(line, Line::Failed { .. }));
            let has_reader = match &mut json {
                Some(output) => output.write(&line.json()?)?,
                None => print_to_reader(&text(&line))?,
            };
            if !has_reader {
                return Ok(());
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

/// Returns the file of each image's heat map, if they are to be written. Refuses files that a heat map must not replace.
fn heat_maps(args: &Args, guard: &Guard) -> Result<Vec<PathBuf>> {
    let Some(folder) = &args.heatmaps else { return Ok(Vec::new()) };
    let mut names = HashSet::new();
    let files: Vec<PathBuf> = args.images.iter().map(|path| folder.join(heat_map_name(path, &mut names))).collect();
    for file in &files {
        if guard.is_read(file) {
            let name = file.display();
            return Err(format!("the heat map {name} would replace an image; name another folder").into());
        }
        check_heat_map(file)?;
    }
    Ok(files)
}

/// Returns a score and its threshold with as many digits as tell them apart, four at least.
fn told_apart(score: f32, threshold: f32) -> [String; 2] {
    let shown = |digits: usize| [score, threshold].map(|value| format!("{value:.digits$}"));
    // No two values of this type agree in so many digits.
    let differs = |digits: &usize| matches!(shown(*digits), [score, threshold] if score != threshold);
    shown((4..150).find(differs).unwrap_or(4))
}

/// Returns a line of text for an image.
fn text(line: &Line<'_>) -> String {
    printable(&line_of(line)) + "\n"
}

fn line_of(line: &Line<'_>) -> String {
    match line {
        Line::Failed { image, error } => format!("{image}: error: {error}"),
        Line::Found { image, inspection, heatmap } => {
            let score = inspection.image_score;
            let decision = inspection.verdict.as_ref().map_or_else(
                || format!("{score:.4} no thresholds"),
                |verdict| {
                    let whose = match &verdict.source {
                        ThresholdSource::Pooled { .. } => "pooled thresholds: ",
                        _ => "",
                    };
                    let [score, reject] = told_apart(score, verdict.reject);
                    format!("{score} {} ({whose}rejects from {reject})", verdict.decision)
                },
            );
            let mut text = format!("{image}: {decision}");
            if let Some(other) = inspection.other_category() {
                text += &format!(", looks like {other}");
            }
            for region in inspection.regions.iter().take(3) {
                let at = region.bounds;
                text += &format!(", {}x{} at {},{}", at.width, at.height, at.x, at.y);
            }
            if let Some(heatmap) = heatmap {
                text += &format!(", {heatmap}");
            }
            text
        }
    }
}

/// Returns the name of an image's heat map. A second image of the same name gets a number.
fn heat_map_name(path: &Path, taken: &mut HashSet<String>) -> String {
    let stem = path.file_stem().map_or_else(|| "image".into(), |stem| stem.to_string_lossy().into_owned());
    let stem = shortened(&stem, MAX_STEM);
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
        let file = AtomicFile::create(path).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self::File { path: path.into(), file })
    }

    /// Writes a line. Returns false if nobody reads the lines any more.
    fn write(&mut self, line: &str) -> Result<bool> {
        match self {
            Self::Stdout => print_to_reader(line),
            Self::File { path, file } => {
                let written = file.write_all(line.as_bytes()).map(|()| true);
                written.map_err(|error| format!("cannot write {}: {error}", path.display()).into())
            }
        }
    }

    fn finish(self) -> Result<()> {
        let Self::File { path, file } = self else { return Ok(()) };
        file.commit().map_err(|error| format!("cannot write {}: {error}", path.display()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::told_apart;

    #[test]
    fn a_score_below_its_threshold_is_shown_below_it() {
        assert_eq!(told_apart(3.7, 3.8), ["3.7000", "3.8000"]);
        assert_eq!(told_apart(2.0, 2.0), ["2.0000", "2.0000"]);
        let below = 3.7792_f32.next_down();
        let [score, threshold] = told_apart(below, 3.7792);
        assert!(score != threshold && threshold.starts_with("3.779200"), "{score} {threshold}");
        let [score, threshold] = told_apart(0.0, f32::MIN_POSITIVE);
        assert_ne!(score, threshold);
    }
}
