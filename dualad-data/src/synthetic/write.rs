//! A dataset's folder, in the layout of MVTec AD.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::category::{Category, Defect};
use super::error::SyntheticError;
use super::folder::{DatasetFolder, create, io};
use super::picture::{SIZES, render, size_error};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::render::png::encode_png;

/// The most pictures in one folder: their names have three digits or a few more.
const MOST: usize = 100_000;

/// For people, as MVTec AD has one of this name.
const README: &str = "readme.txt";

/// What to generate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Another seed gives other pictures throughout.
    pub seed: u64,
    /// Sides of the pictures in pixels, within [`SIZES`].
    pub size: u32,
    /// Normal pictures to train on, for each category; at least 1.
    pub train: usize,
    /// Normal pictures to test on, for each category.
    pub test_good: usize,
    /// Pictures of each of a category's defects.
    pub test_per_defect: usize,
    /// What is pictured: at least one category, each once.
    pub categories: Vec<Category>,
}

impl Default for Options {
    /// Every category at 224 pixels: 40 normal pictures to train on, 10 to test on, 6 of each defect.
    fn default() -> Self {
        let categories = Category::ALL.to_vec();
        Self { seed: 0, size: 224, train: 40, test_good: 10, test_per_defect: 6, categories }
    }
}

impl Options {
    fn check(&self) -> Result<(), SyntheticError> {
        if !SIZES.contains(&self.size) {
            return Err(size_error(self.size));
        }
        let counts =
            [("train", self.train, 1), ("test_good", self.test_good, 0), ("test_per_defect", self.test_per_defect, 0)];
        for (option, count, least) in counts {
            if !(least..=MOST).contains(&count) {
                let advice = format!("choose {least} to {MOST}");
                return Err(SyntheticError::Option { option, value: count.to_string(), advice });
            }
        }
        let distinct: HashSet<_> = self.categories.iter().collect();
        if self.categories.is_empty() || distinct.len() < self.categories.len() {
            let value = format!("{:?}", self.categories.iter().map(|category| category.name()).collect::<Vec<_>>());
            let advice = "name at least one category, each once".to_owned();
            return Err(SyntheticError::Option { option: "categories", value, advice });
        }
        Ok(())
    }

    /// Every picture, in the order of the folder.
    fn plan(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for &category in &self.categories {
            // One run of numbers for a category: no two of its pictures share their scene.
            let mut index = 0;
            let mut add = |folder: String, defect: Option<Defect>, count: usize| {
                for number in 0..count {
                    let image = format!("{category}/{folder}/{number:03}.png");
                    let mask = defect.map(|defect| format!("{category}/ground_truth/{defect}/{number:03}_mask.png"));
                    jobs.push(Job { category, index, defect, image, mask });
                    index += 1;
                }
            };
            add("train/good".to_owned(), None, self.train);
            add("test/good".to_owned(), None, self.test_good);
            for &defect in category.defects() {
                add(format!("test/{defect}"), Some(defect), self.test_per_defect);
            }
        }
        jobs
    }

    fn readme(&self) -> String {
        let names: Vec<_> = self.categories.iter().map(|category| category.name()).collect();
        format!(
            "Synthetic inspection pictures, written by dualad.\n\nNo photographs: drawn from the seed {}, {} x {} pixels, \
             {} train, {} test good and {} of each defect for each of {}.\nMasks are white where a defect changed the \
             picture.\n",
            self.seed,
            self.size,
            self.size,
            self.train,
            self.test_good,
            self.test_per_defect,
            names.join(", ")
        )
    }
}

/// One picture to draw, and where it goes in the folder.
struct Job {
    category: Category,
    index: usize,
    defect: Option<Defect>,
    image: String,
    mask: Option<String>,
}

impl Job {
    fn files(&self) -> impl Iterator<Item = &str> {
        [Some(&self.image), self.mask.as_ref()].into_iter().flatten().map(String::as_str)
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The dataset's folder.
    pub folder: PathBuf,
    /// The categories in it.
    pub categories: Vec<Category>,
    /// Normal pictures to train on, of all categories together.
    pub train: usize,
    /// Normal pictures to test on.
    pub test_good: usize,
    /// Pictures with a defect, each with its mask.
    pub test_defective: usize,
}

/// Writes a dataset: `<category>/train/good/000.png`, `<category>/test/good/000.png`, `<category>/test/<defect>/000.png`
/// and `<category>/ground_truth/<defect>/000_mask.png`, and a `readme.txt` that says what was asked for.
///
/// The same options give the same bytes on any number of threads. `progress` hears how many pictures of how many are
/// there, in order, from the threads that draw them.
///
/// ```
/// use dualad_data::synthetic::{self, Category, Options};
///
/// let folder = std::env::temp_dir().join(format!("dualad-doc-write-{}", std::process::id()));
/// let categories = vec![Category::Plate];
/// let options = Options { size: 32, train: 3, test_good: 1, test_per_defect: 1, categories, ..Options::default() };
/// let summary = synthetic::write(&folder, &options, |done, total| eprintln!("{done} of {total}"))?;
/// assert_eq!((summary.train, summary.test_good, summary.test_defective), (3, 1, 3));
/// assert!(folder.join("plate/ground_truth/stain/000_mask.png").is_file());
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), dualad_data::Error>(())
/// ```
///
/// The folder appears once everything is in it: it is written beside its place as `.dualad-unfinished-<name>` and renamed. A
/// folder that holds only what an earlier call wrote, unchanged by its SHA-256, is replaced, and waits as `.<name>.old` for the moment that takes. What
/// an interrupted call left is removed, or, if it was interrupted in that moment, put back. Two calls at once must not share
/// a folder: that is not supported, and not noticed.
///
/// # Errors
/// [`SyntheticError`] for options out of range and for a folder that holds anything else or what was changed since; [`Error::Io`] where the disk
/// refuses. In all of them `folder` is as it was, unless the disk refuses to have it back: then it is `.<name>.old`, which
/// the next call puts back.
pub fn write(folder: &Path, options: &Options, progress: impl FnMut(usize, usize) + Send) -> Result<Summary> {
    options.check()?;
    let place = DatasetFolder::new(folder)?;
    place.prepare()?;
    let jobs = options.plan();
    let written = place
        .begin(jobs.iter().flat_map(Job::files).chain([README]))
        .and_then(|()| fill(&place.partial, options, &jobs, progress))
        .and_then(|()| place.seal(&jobs.iter().flat_map(Job::files).chain([README]).collect::<Vec<_>>()))
        .and_then(|()| place.finish());
    if let Err(error) = written {
        place.abandon();
        return Err(error);
    }
    let categories = options.categories.len();
    Ok(Summary {
        folder: folder.to_owned(),
        categories: options.categories.clone(),
        train: options.train * categories,
        test_good: options.test_good * categories,
        test_defective: jobs.iter().filter(|job| job.defect.is_some()).count(),
    })
}

/// Draws everything into a folder.
fn fill(partial: &Path, options: &Options, jobs: &[Job], progress: impl FnMut(usize, usize) + Send) -> Result<()> {
    let readme = partial.join(README);
    fs::write(&readme, options.readme()).map_err(io("write", &readme))?;
    let folders: HashSet<_> = jobs.iter().flat_map(Job::files).filter_map(|file| Path::new(file).parent()).collect();
    for folder in folders {
        create(&partial.join(folder))?;
    }
    let progress = Mutex::new((progress, 0));
    jobs.par_iter().try_for_each(|job| {
        let (image, mask) = render(job.category, options.seed, job.index, job.defect, options.size)?;
        // Without a temporary name and without waiting for the disk: the whole folder gets its name at the end, and what a
        // power cut takes can be drawn again.
        let save = |file: &str, bytes: Vec<u8>| {
            let path = partial.join(file);
            fs::write(&path, bytes).map_err(io("write", &path))
        };
        save(&job.image, encode_png(Path::new(&job.image), &image)?)?;
        if let Some(file) = &job.mask {
            save(file, encode_png(Path::new(file), &mask)?)?;
        }
        let (progress, done) = &mut *progress.lock().unwrap_or_else(PoisonError::into_inner);
        *done += 1;
        progress(*done, jobs.len());
        Ok(())
    })
}
