//! The content of a file of COCO.

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::bounded::{Entry, Id, List};
use super::encoding::Encoding;
use super::files::{MAX_BYTES, bytes};

#[derive(Deserialize)]
pub(super) struct File {
    pub(super) images: List<Image>,
    /// Nothing if the file has no such list.
    pub(super) annotations: Option<List<Annotation>>,
    #[serde(default)]
    pub(super) categories: List<Kind>,
}

#[derive(Deserialize)]
pub(super) struct Image {
    pub(super) id: Id,
    pub(super) file_name: String,
    pub(super) width: Option<f64>,
    pub(super) height: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Annotation {
    pub(super) image_id: Id,
    pub(super) category_id: Option<Id>,
    pub(super) segmentation: Option<Segmentation>,
    pub(super) bbox: Option<List<f32>>,
}

#[derive(Deserialize)]
pub(super) struct Kind {
    pub(super) id: Id,
    pub(super) name: String,
}

/// The values of 4 bytes that a struct with texts takes the memory of.
const OF_STRUCT: usize = 40;

impl Entry for Image {
    fn values(&self) -> usize {
        OF_STRUCT + self.file_name.len() / 4
    }
}

impl Entry for Kind {
    fn values(&self) -> usize {
        OF_STRUCT + self.name.len() / 4
    }
}

impl Entry for Annotation {
    fn values(&self) -> usize {
        let shapes = match &self.segmentation {
            None => 0,
            Some(Segmentation::Polygons(polygons)) => polygons.values(),
            Some(Segmentation::Runs(Runs { counts: Counts::Plain(lengths), .. })) => lengths.values(),
            // Each letter may be a length.
            Some(Segmentation::Runs(Runs { counts: Counts::Compressed(text), .. })) => text.len(),
        };
        OF_STRUCT + shapes + self.bbox.as_ref().map_or(0, List::values)
    }
}

pub(super) enum Segmentation {
    Polygons(List<List<f32>>),
    Runs(Runs),
}

#[derive(Deserialize)]
pub(super) struct Runs {
    pub(super) counts: Counts,
    /// The height and width.
    pub(super) size: (u32, u32),
}

pub(super) enum Counts {
    Plain(List<u32>),
    Compressed(String),
}

// Derived for untagged enums, reading would first keep all values in memory.
impl<'de> Deserialize<'de> for Segmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Segmentation;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of polygons, or run lengths with counts and size")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, polygons: A) -> Result<Segmentation, A::Error> {
                List::of(polygons).map(Segmentation::Polygons)
            }

            fn visit_map<A: MapAccess<'de>>(self, runs: A) -> Result<Segmentation, A::Error> {
                Runs::deserialize(MapAccessDeserializer::new(runs)).map(Segmentation::Runs)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Counts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of run lengths, or a text of compressed ones")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, lengths: A) -> Result<Counts, A::Error> {
                List::of(lengths).map(Counts::Plain)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Counts, E> {
                Ok(Counts::Compressed(text.into()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Returns whether a file has a list of images and one of annotations as COCO has. It is read up to the second of them, and nothing
/// of it is kept. A file that is too large to be read is one if it has the first of them: reading it then says that it is too large.
pub(super) fn is_coco(path: &Path) -> bool {
    // Opening a pipe may never end.
    let file = path.is_file().then(|| fs::File::open(path).ok()).flatten();
    let Some(mut file) = file.map(BufReader::new) else { return false };
    let is_large = file.get_ref().metadata().is_ok_and(|metadata| metadata.len() > MAX_BYTES);
    let (encoding, mark) = file.fill_buf().map_or((Encoding::Utf8, 0), Encoding::of);
    let found = Cell::new([false; 2]);
    let probe = Probe { found: &found };
    // It ends with an error in any case, after the second list has begun.
    let _ = if encoding == Encoding::Utf8 {
        file.consume(mark);
        probe.deserialize(&mut serde_json::Deserializer::from_reader(file.take(MAX_BYTES)))
    } else {
        let Ok(text) = bytes(path) else { return false };
        probe.deserialize(&mut serde_json::Deserializer::from_slice(&text))
    };
    found.get() == [true; 2] || is_large && found.get() != [false; 2]
}

/// The search for the two lists of COCO in a file.
#[derive(Clone, Copy)]
struct Probe<'a> {
    /// True for the list of images and that of annotations, if they are found.
    found: &'a Cell<[bool; 2]>,
}

impl<'de> DeserializeSeed<'de> for Probe<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(key) = entries.next_key::<String>()? {
            match key.as_str() {
                "images" => entries.next_value_seed(ListAt { probe: self, place: 0 })?,
                "annotations" => entries.next_value_seed(ListAt { probe: self, place: 1 })?,
                _ => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// One of the two lists.
struct ListAt<'a> {
    probe: Probe<'a>,
    place: usize,
}

impl<'de> DeserializeSeed<'de> for ListAt<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ListAt<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut found = self.probe.found.get();
        if let Some(found) = found.get_mut(self.place) {
            *found = true;
        }
        self.probe.found.set(found);
        if found == [true; 2] {
            return Err(A::Error::custom("both lists are found"));
        }
        while entries.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
