//! Writing a dataset in the layout of MVTec AD.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::category::{Category, Defect};
use super::folder::{DatasetFolder, create, io};
use super::picture::{SIZES, render, size_error};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, SyntheticError};
use crate::render::png::encode_png;

/// The largest number of pictures in a folder.
const MAX_PICTURES: usize = 100_000;

/// The description for people. MVTec AD has a file of the same name.
const README: &str = "readme.txt";

/// The options of [`write()`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The seed of all pictures.
    pub seed: u64,
    /// The side of the pictures in pixels, within [`SIZES`].
    pub size: u32,
    /// The number of training pictures for each category, at least 1.
    pub train: usize,
    /// The number of normal test pictures for each category.
    pub test_good: usize,
    /// The number of test pictures for each defect of a category.
    pub test_per_defect: usize,
    /// The categories: at least one, without repetition.
    pub categories: Vec<Category>,
}

impl Default for Options {
    /// Returns all categories at 224 pixels: 40 training pictures, 10 normal test pictures, 6 pictures of each defect.
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
            if !(least..=MAX_PICTURES).contains(&count) {
                let advice = format!("choose {least} to {MAX_PICTURES}");
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

    /// Lists all pictures in the order of the folder.
    fn plan(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        for &category in &self.categories {
            // The index is unique within the category, so no two pictures share a scene.
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

/// A picture to draw, with its files.
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

/// The result of [`write()`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// The folder of the dataset.
    pub folder: PathBuf,
    /// The categories.
    pub categories: Vec<Category>,
    /// The number of training pictures in all categories.
    pub train: usize,
    /// The number of normal test pictures in all categories.
    pub test_good: usize,
    /// The number of test pictures with a defect and a mask.
    pub test_defective: usize,
}

/// Writes a dataset: `<category>/train/good/000.png`, `<category>/test/good/000.png`, `<category>/test/<defect>/000.png`
/// and `<category>/ground_truth/<defect>/000_mask.png`, and a `readme.txt` with the options.
///
/// Equal options give equal bytes on any number of threads. `progress` is called after each picture with the number of
/// finished pictures and of all pictures, from the threads that draw them.
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
/// The dataset is written to a folder `.dualad-unfinished-<name>` beside its place, which is renamed when it is complete. A
/// folder that contains only the unchanged files of an earlier call (by SHA-256) is replaced. During the replacement it has
/// the name `.<name>.old`. The next call removes what an interrupted call left, or restores the replaced folder. Concurrent
/// calls for one folder are not supported and not detected.
///
/// # Errors
/// [`SyntheticError`] for options out of range, and for a folder with other or changed files; [`Error::Io`] if a file cannot
/// be written. `folder` is then unchanged. If even that fails, its content is in `.<name>.old`, and the next call restores
/// it.
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

/// Draws all pictures into a folder.
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
        // Atomic writes are not needed: the folder is renamed at the end, and lost pictures can be drawn again.
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
