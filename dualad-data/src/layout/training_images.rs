//! The normal images of a dataset by the names that files around them use.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::image_index::{Index, own_name};
use super::listing::{file_name, stem};
use super::mask_name::{Key, composed, key, possible_images};
use super::named::stem_of;
use super::names::{Part, holds_images, is_defect_type, is_defective, is_normal};
use super::words::letters;
use crate::image_name::has_ending;
use crate::sample::{Category, Split};
use crate::text::shown;

/// A normal image: the positions of its category and in it.
pub(super) type Place = (usize, usize);

/// The images of a dataset by their names.
pub(super) struct Images<'a> {
    root: &'a Path,
    index: Index<'a>,
    by_stem: HashMap<Key, Vec<&'a PathBuf>>,
    /// The folders that have images in them, or below.
    around: HashSet<&'a Path>,
    /// The normal images.
    normal: HashMap<&'a Path, Place>,
    /// Those to train on.
    trained: HashSet<Place>,
    /// `true` if a name with folders is that of an image in a folder of that name alone.
    is_strict: bool,
    /// `true` if a name without folders is that of no image.
    needs_folder: bool,
    /// The letters of the names of the products.
    products: HashSet<String>,
}

impl<'a> Images<'a> {
    pub(super) fn of(root: &'a Path, paths: &'a [PathBuf], categories: &[Category]) -> Self {
        let mut by_stem = HashMap::<Key, Vec<&PathBuf>>::new();
        for path in paths {
            by_stem.entry(key(path)).or_default().push(path);
        }
        let around = paths.iter().flat_map(|path| path.ancestors().skip(1)).collect();
        let positions = categories.iter().enumerate().flat_map(|(index, category)| {
            let samples = category.samples.iter().enumerate();
            samples.map(move |(sample_index, sample)| ((index, sample_index), sample))
        });
        let (mut normal, mut trained) = (HashMap::new(), HashSet::new());
        for (path, (place, sample)) in paths.iter().zip(positions).filter(|(_, (_, s))| !s.label.is_anomalous()) {
            normal.insert(path.as_path(), place);
            if sample.split == Split::Train {
                trained.insert(place);
            }
        }
        let products = products(categories.iter().map(|category| category.name.as_ref())).collect();
        let index = Index::new(paths);
        Self { root, index, by_stem, around, normal, trained, is_strict: false, needs_folder: false, products }
    }

    /// Adds names of folders of products.
    pub(super) fn with_products<'n>(mut self, names: impl Iterator<Item = &'n OsStr>) -> Self {
        self.products.extend(products(names));
        self
    }

    /// Lets names without folders count for nothing.
    pub(super) fn with_folders_alone(self, needs_folder: bool) -> Self {
        Self { needs_folder, ..self }
    }

    /// Lets a name with folders (`screws/003.png`) count only for an image in a folder of the last one's name: files around a product may name
    /// images of another one, which are not there.
    pub(super) fn strict(self, is_strict: bool) -> Self {
        Self { is_strict, ..self }
    }

    /// Returns the part of the dataset that an image is used for.
    pub(super) fn split(&self, place: Place) -> Split {
        if self.trained.contains(&place) { Split::Train } else { Split::Test }
    }

    /// Returns the number of images to train on.
    pub(super) fn trained(&self) -> usize {
        self.trained.len()
    }

    /// Returns the number of images to train on of these categories.
    pub(super) fn trained_of(&self, categories: &HashSet<usize>) -> usize {
        self.trained.iter().filter(|(category, _)| categories.contains(category)).count()
    }

    /// Returns the nearest folder around a file that has images.
    fn folder_of<'f>(&self, file: &'f Path) -> &'f Path {
        let mut above = file.ancestors().skip(1).take_while(|folder| folder.starts_with(self.root));
        above.find(|folder| self.around.contains(folder)).or(file.parent()).unwrap_or(file)
    }

    /// Returns the normal image that alone has a name in a file.
    pub(super) fn named(&self, name: &str, file: &Path) -> Option<Place> {
        let found = self.index.find(name, self.folder_of(file)).ok()?;
        found.base.as_ref()?;
        let is_there = !self.is_strict || is_in_folder_of(name, &found.path);
        self.normal.get(found.path.as_path()).copied().filter(|_| is_there && self.may_count(name))
    }

    /// Returns whether a name has the folders that it needs to count.
    fn may_count(&self, name: &str) -> bool {
        !self.needs_folder || name.contains(['/', '\\'])
    }

    /// Returns the normal image that a file of shapes belongs to: that of the file's stem beside it, or else that of its name in the file,
    /// unless it lies in another folder, or else that of the file's stem.
    pub(super) fn of_shapes(&self, file: &Path, name: Option<&str>) -> Option<Place> {
        let beside = self.by_stem.get(&key(file)).into_iter().flatten().filter(|path| path.parent() == file.parent());
        if let [image] = beside.collect::<Vec<_>>()[..] {
            return self.normal.get(image.as_path()).copied();
        }
        let name = name.map(|name| name.replace('\\', "/"));
        let found = name.as_ref().and_then(|name| Some((name, self.index.find(name, self.folder_of(file)).ok()?)));
        match found.filter(|(_, found)| found.base.is_some()) {
            Some((name, found)) => {
                let is_there = is_in_folder_of(name, &found.path) && self.may_count(name);
                self.normal.get(found.path.as_path()).copied().filter(|_| is_there)
            }
            None => self.of_stem(file),
        }
    }

    /// Returns the normal image that alone has the stem of a file as its whole name (`000.jpg.txt`), or as its stem.
    pub(super) fn of_stem(&self, file: &Path) -> Option<Place> {
        let of_whole = || self.named(stem(file).to_str()?, file);
        if self.by_stem.contains_key(&key(file)) { self.of_name(stem(file), file) } else { of_whole() }
    }

    fn of_name(&self, stem: &OsStr, file: &Path) -> Option<Place> {
        if self.needs_folder {
            return None;
        }
        let folder = self.folder_of(file);
        let same = self.by_stem.get(composed(stem).as_bytes())?;
        let mut near = same.iter().filter(|path| path.starts_with(folder));
        let (Some(one), None) = (near.next(), near.next()) else { return None };
        self.normal.get(one.as_path()).copied()
    }

    /// Returns the path of an image in the dataset, for messages.
    pub(super) fn short(&self, image: &Path) -> String {
        shown(image.strip_prefix(self.root).unwrap_or(image))
    }

    /// Returns whether a value in a file is the name of an image, with or without its folder and its ending.
    pub(super) fn have(&self, value: &str) -> bool {
        stem_of(value).is_some_and(|stem| self.by_stem.contains_key(composed(stem.as_ref()).as_bytes()))
    }

    /// Returns the normal image that a value in a file names, or whose stem it is.
    pub(super) fn mentioned(&self, value: &str, file: &Path) -> Option<Place> {
        // A whole name in another folder is another image.
        let is_stem = |stem: &&str| *stem == value;
        self.named(value, file).or_else(|| self.of_name(stem_of(value).filter(is_stem)?.as_ref(), file))
    }

    /// Returns whether one of these values is the name of a product.
    pub(super) fn have_product<'v>(&self, mut values: impl Iterator<Item = &'v str>) -> bool {
        values.any(|value| self.products.contains(&letters(value)))
    }

    /// Returns the normal image that a value in a file names, or whose stem it is: one in a folder of this name, if there is a product.
    pub(super) fn mentioned_of(&self, value: &str, product: Option<&str>, file: &Path) -> Option<Place> {
        let Some(product) = product.map(letters) else { return self.mentioned(value, file) };
        let last = value.rsplit(['/', '\\']).next()?;
        // Label Studio changes the names of files that are uploaded.
        let last = own_name(last).filter(|_| !self.have(last)).unwrap_or(last);
        let stem = stem_of(last)?;
        let is = |path: &&&PathBuf| {
            let mut folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(self.root));
            (stem == last || composed(file_name(path)) == composed(last.as_ref()))
                && folders.any(|folder| letters(&file_name(folder).to_string_lossy()) == product)
        };
        let own: Vec<&&PathBuf> = self.by_stem.get(composed(stem.as_ref()).as_bytes())?.iter().filter(is).collect();
        match own[..] {
            [image] => self.normal.get(image.as_path()).copied(),
            // Of several, the folders of the name decide.
            _ => self
                .mentioned(value, file)
                .filter(|place| own.iter().any(|path| self.normal.get(path.as_path()) == Some(place))),
        }
    }

    /// Returns whether a file may be a list of labels of images: it is not that of one image.
    pub(super) fn may_be_list(&self, file: &Path) -> bool {
        !has_ending(file, &["xml"]) && possible_images(&key(file)).all(|image| !self.by_stem.contains_key(image))
    }
}

/// Returns the letters of the names that may be those of products: they are no labels and no parts of a dataset.
fn products<'n>(names: impl Iterator<Item = &'n OsStr>) -> impl Iterator<Item = String> {
    let is_other = |name: &&OsStr| {
        is_normal(name) || is_defective(name) || is_defect_type(name) || holds_images(name) || Part::of(name).is_some()
    };
    names.filter(move |name| !is_other(name)).map(|name| letters(&name.to_string_lossy()))
}

/// Returns whether an image lies in a folder of the name that a name in a file has before its last part. A name without folders has none.
fn is_in_folder_of(name: &str, image: &Path) -> bool {
    let name = name.replace('\\', "/");
    let folder = Path::new(&name).parent().and_then(Path::file_name);
    folder.is_none() || image.parent().and_then(Path::file_name) == folder
}
