//! The normal images of a run: those it trains on, and those held out for the thresholds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use dualad_data::image::{Limits, Picture};
use dualad_data::{Dataset, Finding, Label, Sample, Severity, Split};

use crate::Random;
use crate::detector::Request;
use crate::error::{Error, Result};
use crate::model::{PixelDigest, Tiling};

/// The smallest number of images of a category from which some are held out.
const MIN_IMAGES: usize = 5;

/// Normal images to train on, each with its category.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrainingImages {
    /// A folder: the images of one product, a folder of images for each product, or a dataset in the layout of MVTec AD or
    /// VisA. Its normal training images are used.
    Folder(PathBuf),
    /// A dataset, of which the normal training images are used.
    Dataset(Box<Dataset>),
    /// Image files, each with its category.
    Files(Vec<(String, PathBuf)>),
    /// Pictures in memory, each with its category.
    Pictures(Vec<(String, Picture)>),
}

impl TrainingImages {
    /// Returns training images of files, each with its category. Every file is taken for a normal image, wherever it is.
    pub fn files<S: Into<String>, P: Into<PathBuf>>(files: impl IntoIterator<Item = (S, P)>) -> Self {
        Self::Files(files.into_iter().map(|(category, path)| (category.into(), path.into())).collect())
    }

    /// Returns training images of pictures in memory, each with its category.
    pub fn pictures<S: Into<String>>(pictures: impl IntoIterator<Item = (S, Picture)>) -> Self {
        Self::Pictures(pictures.into_iter().map(|(category, picture)| (category.into(), picture)).collect())
    }
}

impl From<&Path> for TrainingImages {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.into())
    }
}

impl From<PathBuf> for TrainingImages {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

impl From<&PathBuf> for TrainingImages {
    fn from(folder: &PathBuf) -> Self {
        Self::Folder(folder.clone())
    }
}

/// The text is a folder's path.
impl From<&str> for TrainingImages {
    fn from(folder: &str) -> Self {
        Self::Folder(folder.into())
    }
}

impl From<Dataset> for TrainingImages {
    fn from(dataset: Dataset) -> Self {
        Self::Dataset(Box::new(dataset))
    }
}

impl From<Vec<(String, Picture)>> for TrainingImages {
    fn from(pictures: Vec<(String, Picture)>) -> Self {
        Self::Pictures(pictures)
    }
}

/// One normal image.
#[derive(Debug, Clone)]
pub(super) struct Image {
    source: Source,
    pub(super) content: Content,
}

#[derive(Debug, Clone)]
enum Source {
    File(Sample),
    Picture { category: String, name: String, picture: Picture },
}

/// The digests of an image; empty until it is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// The first half of the SHA-256 of the file, or of the pixels of a picture in memory, in hexadecimal.
    pub(super) digest: String,
    /// The digest of the pixels.
    pub(super) pixels: PixelDigest,
    /// With a tiling, the first half of the SHA-256 of each tile's pixels, in hexadecimal.
    pub(super) tiles: Option<Vec<String>>,
}

impl Image {
    pub(super) fn category(&self) -> &str {
        match &self.source {
            Source::File(sample) => &sample.category,
            Source::Picture { category, .. } => category,
        }
    }

    pub(super) fn file(&self) -> Option<&Sample> {
        match &self.source {
            Source::File(sample) => Some(sample),
            Source::Picture { .. } => None,
        }
    }

    pub(super) fn name(&self) -> String {
        match &self.source {
            Source::File(sample) => sample.path.display().to_string(),
            Source::Picture { name, .. } => name.clone(),
        }
    }

    pub(super) fn request(&self) -> Request<'_> {
        match &self.source {
            Source::File(sample) => Request::from(&sample.path),
            Source::Picture { picture, .. } => Request::from(picture),
        }
    }

    pub(super) fn picture(&self, limits: &Limits) -> Result<Picture> {
        Ok(match &self.source {
            Source::File(sample) => Picture::read(&sample.path, limits)?,
            Source::Picture { picture, .. } => picture.clone(),
        })
    }
}

/// Returns the tiles of a picture, or `None` without a tiling.
pub(super) fn cut(tiling: Option<Tiling>, picture: &Picture) -> Result<Option<Vec<Picture>>> {
    let Some(tiling) = tiling else { return Ok(None) };
    let tiles = tiling.tiles(picture.width(), picture.height())?;
    tiles.into_iter().map(|tile| tile.cut(picture)).collect::<Result<_>>().map(Some)
}

/// The images that a continued model has used, from its configuration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) categories: &'a [String],
    /// The [`Content::digest`] of every image that was held out.
    pub(super) held_out: &'a [String],
}

/// The images of a run.
#[derive(Debug, Default)]
pub(super) struct Images {
    pub(super) train: Vec<Image>,
    pub(super) held_out: Vec<Image>,
    /// The categories, in the order of their images.
    pub(super) categories: Vec<String>,
    /// The categories with too few images to hold any out.
    pub(super) small: Vec<String>,
    /// The categories in which pictures occur more than once, with the number of the copies.
    pub(super) copies: Vec<(String, usize)>,
    /// The categories of which a continued model may have been trained on every image.
    pub(super) seen: Vec<String>,
}

impl Images {
    /// Holds out `share` of each category's different images, chosen by `random`. In a category that a continued model knows, the images
    /// that it held out before are held out again: it may have been trained on any other. The images have been read.
    pub(super) fn new(by_category: ByCategory, share: f64, random: &Random, known: Option<Known<'_>>) -> Result<Self> {
        if by_category.iter().all(|(_, images)| images.is_empty()) {
            return Err(Error::NoImages { purpose: "train on" });
        }
        let mut found = Self::default();
        for (category, images) in by_category {
            if let Some(known) = known.filter(|known| known.categories.contains(&category)) {
                let before = found.held_out.len();
                for image in images {
                    if share > 0.0 && known.held_out.contains(&image.content.digest) {
                        found.held_out.push(image);
                    } else {
                        found.train.push(image);
                    }
                }
                if share > 0.0 && found.held_out.len() == before {
                    found.seen.push(category.clone());
                }
                found.categories.push(category);
                continue;
            }
            // Copies of a picture are one image: a copy of a training image would pass for a new one.
            let mut places = HashMap::new();
            let pictures: Vec<usize> = images
                .iter()
                .map(|image| {
                    let next = places.len();
                    *places.entry(image.content.pixels).or_insert(next)
                })
                .collect();
            let different = places.len();
            let count = if share == 0.0 || different < MIN_IMAGES {
                if share > 0.0 {
                    found.small.push(category.clone());
                }
                0
            } else {
                ((different as f64 * share).round() as usize).clamp(1, different - 1)
            };
            if different < images.len() {
                found.copies.push((category.clone(), images.len() - different));
            }
            let order = random.named(&format!("held out of {category}")).permutation(different);
            let mut held_out = vec![false; different];
            order.iter().take(count).for_each(|&index| held_out[index] = true);
            let mut kept = HashSet::new();
            for (image, picture) in images.into_iter().zip(pictures) {
                match held_out.get(picture) {
                    // Copies would count as more images than there are.
                    Some(true) if kept.insert(picture) => found.held_out.push(image),
                    Some(true) => {}
                    _ => found.train.push(image),
                }
            }
            found.categories.push(category);
        }
        Ok(found)
    }
}

impl Images {
    /// Returns the digests of the model's held-out images, each once: those of the run, and of a continued model's, `before`, those
    /// that this run does not train on.
    pub(super) fn held_out_digests(&self, before: &[String]) -> Vec<String> {
        let own = self.held_out.iter().map(|image| &image.content.digest);
        let trained: HashSet<&String> = self.train.iter().map(|image| &image.content.digest).collect();
        let before = before.iter().filter(|digest| !trained.contains(digest));
        let mut seen = HashSet::new();
        own.chain(before).filter(|digest| seen.insert(*digest)).cloned().collect()
    }
}

/// The numbers by which a bank knows the images of its tokens: from 1 on the held-out images of the model, then the training images of
/// the run. Copies have one number.
#[derive(Debug)]
pub(super) struct Numbers {
    held_out: HashMap<String, u32>,
    train: HashMap<PixelDigest, u32>,
}

impl Numbers {
    pub(super) fn new(held_out: &[String], train: &[Image]) -> Self {
        let mut numbers = Self::of_held_out(held_out);
        for image in train {
            let next = (numbers.held_out.len() + numbers.train.len() + 1) as u32;
            numbers.train.entry(image.content.pixels).or_insert(next);
        }
        numbers
    }

    /// Returns the numbers of the held-out images alone.
    pub(super) fn of_held_out(digests: &[String]) -> Self {
        Self { held_out: digests.iter().cloned().zip(1..).collect(), train: HashMap::new() }
    }

    /// Returns the number of an image, 0 if it has none.
    pub(super) fn of(&self, image: &Image) -> u32 {
        let Content { digest, pixels, .. } = &image.content;
        self.held_out.get(digest).or_else(|| self.train.get(pixels)).copied().unwrap_or(0)
    }

    /// Returns the number of a held-out image, 0 for any other.
    pub(super) fn of_digest(&self, digest: &str) -> u32 {
        self.held_out.get(digest).copied().unwrap_or(0)
    }
}

/// The images of each category.
pub(super) type ByCategory = Vec<(String, Vec<Image>)>;

/// Returns the normal training images of each category. No image is read.
pub(super) fn list(source: TrainingImages, limits: &Limits) -> Result<ByCategory> {
    match source {
        TrainingImages::Folder(folder) => of_dataset(Dataset::open_products(folder)?, limits),
        TrainingImages::Dataset(dataset) => of_dataset(*dataset, limits),
        TrainingImages::Files(files) => named(of_files(files)),
        TrainingImages::Pictures(pictures) => named(of_pictures(pictures)),
    }
}

/// Returns the images if a reader of a report could tell the names of their categories.
fn named(images: ByCategory) -> Result<ByCategory> {
    let unreadable = |name: &&String| name.trim().is_empty() || name.contains(char::is_control);
    match images.iter().map(|(name, _)| name).find(unreadable) {
        Some(name) => {
            let reason = "give each category a name that can be read: not empty, and without control characters";
            Err(Error::invalid_argument("the name of a category", name.escape_debug(), reason))
        }
        None => Ok(images),
    }
}

/// Returns the normal training images of each category, in the dataset's order. An image whose mask marks a defect is an error, and so
/// are the fatal findings of opening the dataset.
fn of_dataset(dataset: Dataset, limits: &Limits) -> Result<ByCategory> {
    let is_fatal = |finding: &&Finding| finding.severity() == Severity::Fatal;
    let mut findings: Vec<Finding> = dataset.findings.iter().filter(is_fatal).cloned().collect();
    findings.extend(dataset.marked_normal_images(limits));
    if !findings.is_empty() {
        return Err(dualad_data::Error::Dataset { findings }.into());
    }
    let normal = |sample: &Sample| sample.split == Split::Train && !sample.label.is_anomalous();
    let categories = dataset.categories.into_iter().map(|category| {
        let image = |sample| Image { source: Source::File(sample), content: Content::default() };
        (category.name, category.samples.into_iter().filter(normal).map(image).collect::<Vec<Image>>())
    });
    Ok(categories.filter(|(_, images)| !images.is_empty()).collect())
}

/// Returns the files of each category, in the order of the categories' names.
fn of_files(files: Vec<(String, PathBuf)>) -> ByCategory {
    let mut by_category = BTreeMap::<String, Vec<Image>>::new();
    for (category, path) in files {
        let sample = Sample::new(path, &category, Split::Train, Label::Normal);
        by_category
            .entry(category)
            .or_default()
            .push(Image { source: Source::File(sample), content: Content::default() });
    }
    by_category.into_iter().collect()
}

/// Returns the pictures of each category, in the order of the categories' names.
fn of_pictures(pictures: Vec<(String, Picture)>) -> ByCategory {
    let mut by_category = BTreeMap::<String, Vec<Image>>::new();
    for (index, (category, picture)) in pictures.into_iter().enumerate() {
        let name = format!("picture {index} ({category})");
        let source = Source::Picture { category: category.clone(), name, picture };
        by_category.entry(category).or_default().push(Image { source, content: Content::default() });
    }
    by_category.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pictures(counts: &[(&str, usize)]) -> TrainingImages {
        let picture = |value: usize| Picture::new(1, 1, vec![value as u8; 3]).unwrap();
        let named = counts.iter().flat_map(|&(name, count)| (0..count).map(move |value| (name, value)));
        TrainingImages::pictures(named.map(|(name, value)| (name, picture(value))))
    }

    fn images(source: TrainingImages, share: f64) -> Result<Images> {
        let mut read = list(source, &Limits::default())?;
        for image in read.iter_mut().flat_map(|(_, images)| images) {
            image.content.pixels = crate::model::pixel_digest(&image.picture(&Limits::default())?);
        }
        Images::new(read, share, &Random::new(0), None)
    }

    #[test]
    fn copies_of_a_picture_are_held_out_together_and_count_once() {
        let named = |value: usize| ("a".to_owned(), Picture::new(1, 1, vec![(value % 5) as u8; 3]).unwrap());
        let found = images(TrainingImages::pictures((0..20).map(named)), 0.4).unwrap();
        assert_eq!(found.copies, [("a".to_owned(), 15)]);
        assert_eq!((found.held_out.len(), found.train.len()), (2, 12));
        let held_out: HashSet<PixelDigest> = found.held_out.iter().map(|image| image.content.pixels).collect();
        assert!(held_out.len() == 2 && found.train.iter().all(|image| !held_out.contains(&image.content.pixels)));
        // Four copies of one picture are too few to hold any out.
        let same = TrainingImages::pictures((0..20).map(|_| named(0)));
        assert_eq!(images(same, 0.4).unwrap().small, ["a"]);
    }

    #[test]
    fn a_share_of_every_category_is_held_out_and_none_twice() {
        let found = images(pictures(&[("b", 10), ("a", 5), ("c", 4)]), 0.2).unwrap();
        assert_eq!(found.categories, ["a", "b", "c"]);
        assert_eq!(found.small, ["c"]);
        let count = |images: &[Image], name: &str| images.iter().filter(|image| image.category() == name).count();
        assert_eq!(["a", "b", "c"].map(|name| count(&found.held_out, name)), [1, 2, 0]);
        assert_eq!(["a", "b", "c"].map(|name| count(&found.train, name)), [4, 8, 4]);
        let mut names: Vec<String> = found.train.iter().chain(&found.held_out).map(Image::name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 19);
        // The same seed, the same images.
        let again = images(pictures(&[("b", 10), ("a", 5), ("c", 4)]), 0.2).unwrap();
        let names = |images: &Images| images.held_out.iter().map(Image::name).collect::<Vec<_>>();
        assert_eq!(names(&found), names(&again));
    }

    #[test]
    fn files_keep_the_categories_that_they_are_given() {
        let files = [("lid", "cup/1.png"), ("cup", "2.png"), ("lid", "bad/3.png")];
        let read = list(TrainingImages::files(files), &Limits::default()).unwrap();
        let names = read.iter().map(|(name, images)| (&**name, images.iter().map(Image::name).collect::<Vec<_>>()));
        let expected = [("cup", vec!["2.png".into()]), ("lid", vec!["cup/1.png".into(), "bad/3.png".into()])];
        assert_eq!(names.collect::<Vec<_>>(), expected);
        assert!(read.iter().flat_map(|(_, images)| images).all(|image| image.file().is_some()));
    }

    #[test]
    fn categories_have_names_that_can_be_read() {
        for name in ["", " ", "lid\n", "\u{1b}[2J"] {
            for source in [TrainingImages::files([(name, "1.png")]), pictures(&[("cup", 1), (name, 1)])] {
                let error = list(source, &Limits::default()).unwrap_err().to_string();
                assert!(
                    error.contains(&name.escape_debug().to_string()) && !error.contains(['\n', '\u{1b}']),
                    "{error}"
                );
            }
        }
        for name in ["Flansch, groß", "部品/左", ".."] {
            assert_eq!(list(pictures(&[(name, 1)]), &Limits::default()).unwrap()[0].0, name);
        }
    }

    #[test]
    fn a_folder_of_folders_is_a_product_each() {
        let folder = tempfile::tempdir().unwrap();
        let write = |product: &str, level: u8, count: usize| {
            std::fs::create_dir(folder.path().join(product)).unwrap();
            for number in 0..count {
                let picture = dualad_data::image::RgbImage::from_pixel(8, 8, [level; 3].into());
                picture.save(folder.path().join(product).join(format!("{number}.png"))).unwrap();
            }
        };
        write("cup", 0, 3);
        write("lid", 200, 2);
        let images = images(folder.path().into(), 0.0).unwrap();
        assert_eq!(images.categories, ["cup", "lid"]);
        assert_eq!(images.train.iter().filter(|image| image.category() == "cup").count(), 3);
        // Folders that look alike may be labels of one product, unless they are named as categories.
        write("Retoure", 200, 2);
        let error = list(folder.path().into(), &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("Retoure, lid") && error.contains("name the categories"), "{error}");
        let dataset = Dataset::open_products(folder.path()).unwrap().select(&["lid", "Retoure"]).unwrap();
        assert_eq!(list(dataset.into(), &Limits::default()).unwrap().len(), 2);
    }

    #[test]
    fn nothing_is_held_out_unless_asked_and_nothing_is_an_error() {
        let found = images(pictures(&[("a", 9)]), 0.0).unwrap();
        assert!(found.held_out.is_empty() && found.small.is_empty() && found.train.len() == 9);
        assert!(images(pictures(&[]), 0.2).is_err());
    }
}
