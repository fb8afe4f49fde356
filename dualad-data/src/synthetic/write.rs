//! A dataset's folder, in the layout of MVTec AD.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::{Category, Defect, SIZES, SyntheticError, render, size_error};
use crate::error::{Error, Result};
use crate::render::save_png;

/// The most pictures in one folder: their names have three digits or a few more.
const MOST: usize = 100_000;

/// The file that tells a folder of ours, as MVTec AD has one of this name. Its first line is always [`FIRST_LINE`], and
/// each line that starts with [`LISTED`] names a file.
const README: &str = "readme.txt";
const FIRST_LINE: &str = "Synthetic inspection pictures, written by dualad.";
const LISTED: &str = "file: ";

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

    fn readme(&self, jobs: &[Job]) -> String {
        let names: Vec<_> = self.categories.iter().map(|category| category.name()).collect();
        let mut text = format!(
            "{FIRST_LINE}\n\nNo photographs: drawn from the seed {}, {} x {} pixels, {} train, {} test good and {} of each \
             defect for each of {}.\nMasks are white where a defect changed the picture.\n\n",
            self.seed,
            self.size,
            self.size,
            self.train,
            self.test_good,
            self.test_per_defect,
            names.join(", ")
        );
        for file in jobs.iter().flat_map(Job::files) {
            text.push_str(LISTED);
            text.push_str(file);
            text.push('\n');
        }
        text
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
/// The folder appears once everything is in it: it is written beside its place as `.<name>.incomplete` and renamed. A
/// folder that holds only what an earlier call wrote is replaced. What an interrupted call left is removed. Two calls at
/// once must not share a folder.
///
/// # Errors
/// [`SyntheticError`] for options out of range and for a folder that holds anything else; [`Error::Io`] where the disk
/// refuses. In all of them `folder` is as it was.
pub fn write(folder: &Path, options: &Options, progress: impl FnMut(usize, usize) + Send) -> Result<Summary> {
    options.check()?;
    let Some(name) = folder.file_name() else {
        let advice = "end it with the name of the folder to make";
        return Err(SyntheticError::NotAFolder { path: folder.to_owned(), advice }.into());
    };
    let beside = |suffix: &str| {
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(suffix);
        folder.with_file_name(hidden)
    };
    let (partial, old) = (beside(".incomplete"), beside(".old"));
    check_replaceable(folder)?;
    // What an interrupted call left.
    clear(&partial)?;
    clear(&old)?;

    let jobs = options.plan();
    let written = fill(&partial, options, &jobs, progress).and_then(|()| put(&partial, folder, &old));
    if let Err(error) = written {
        // The first error says more than one about cleaning up.
        let _ = fs::remove_dir_all(&partial);
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

/// Draws everything into a folder that does not exist yet.
fn fill(partial: &Path, options: &Options, jobs: &[Job], progress: impl FnMut(usize, usize) + Send) -> Result<()> {
    create(partial)?;
    // First, so that a folder left behind can be told as ours.
    let readme = partial.join(README);
    fs::write(&readme, options.readme(jobs)).map_err(io("write", &readme))?;
    let folders: HashSet<_> = jobs.iter().flat_map(Job::files).filter_map(|file| Path::new(file).parent()).collect();
    for folder in folders {
        create(&partial.join(folder))?;
    }
    let progress = Mutex::new((progress, 0));
    jobs.par_iter().try_for_each(|job| {
        let (image, mask) = render(job.category, options.seed, job.index, job.defect, options.size)?;
        save_png(&partial.join(&job.image), &image)?;
        if let Some(file) = &job.mask {
            save_png(&partial.join(file), &mask)?;
        }
        let (progress, done) = &mut *progress.lock().unwrap_or_else(PoisonError::into_inner);
        *done += 1;
        progress(*done, jobs.len());
        Ok(())
    })
}

/// Moves the finished folder to its place, and one that was there out of the way until that is done.
fn put(partial: &Path, folder: &Path, old: &Path) -> Result<()> {
    let replaces = folder.exists();
    if replaces {
        fs::rename(folder, old).map_err(io("replace", folder))?;
    }
    if let Err(error) = fs::rename(partial, folder) {
        if replaces {
            let _ = fs::rename(old, folder);
        }
        return Err(io("write", folder)(error));
    }
    if replaces {
        fs::remove_dir_all(old).map_err(io("remove", old))?;
    }
    Ok(())
}

/// Fails unless the folder does not exist, is empty, or holds nothing but what this generator wrote.
fn check_replaceable(folder: &Path) -> Result<()> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io("read", folder)(error)),
        Ok(found) if !found.is_dir() => {
            let advice = "there is a file or a link of that name; name another folder";
            return Err(SyntheticError::NotAFolder { path: folder.to_owned(), advice }.into());
        }
        Ok(_) => {}
    }
    let listed = listed(folder)?;
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).map_err(io("read", &next))? {
            let path = entry.map_err(io("read", &next))?.path();
            let kind = fs::symlink_metadata(&path).map_err(io("read", &path))?;
            if kind.is_dir() {
                open.push(path);
            } else if !listed.contains(&path) {
                let found = path.strip_prefix(folder).unwrap_or(&path).to_owned();
                return Err(SyntheticError::FolderInUse { folder: folder.to_owned(), found }.into());
            }
        }
    }
    Ok(())
}

/// The files that the folder's own list names; none where there is no list of ours.
fn listed(folder: &Path) -> Result<HashSet<PathBuf>> {
    let readme = folder.join(README);
    let text = match fs::read(&readme) {
        Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(io("read", &readme)(error)),
    };
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Ok(HashSet::new());
    }
    let files = lines.filter_map(|line| line.strip_prefix(LISTED)).map(|file| folder.join(file));
    Ok(files.chain([readme.clone()]).collect())
}

/// Removes what an interrupted call left; anything else of that name is somebody's.
fn clear(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let readme = fs::read(path.join(README)).unwrap_or_default();
    let empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    if !empty && !readme.starts_with(FIRST_LINE.as_bytes()) {
        let advice = "it is not from this generator, and a dataset is written there first; move it away";
        return Err(SyntheticError::NotAFolder { path: path.to_owned(), advice }.into());
    }
    fs::remove_dir_all(path).map_err(io("remove", path))
}

fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(io("create", folder))
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Io { action, path, error }
}
