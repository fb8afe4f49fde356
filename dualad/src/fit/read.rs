//! The first reading of a run's images: it finds all that cannot be read, and the digests of the others.

use dualad_data::Cancel;
use dualad_data::image::{Limits, Preprocess};
use dualad_store::sha256;
use rayon::prelude::*;

use crate::error::{Error, Result, listed};
use crate::file::sha256_of_file;
use crate::fit::images::{ByCategory, Content, Image, cut};
use crate::model::{Tiling, pixel_digest};
use crate::progress::Progress;

/// The number of images between two reports of progress.
const CHUNK: usize = 32;

/// The settings of a reading.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) limits: &'a Limits,
    pub(super) tiling: Option<Tiling>,
    pub(super) preprocess: &'a Preprocess,
    /// True if images that cannot be read are left out.
    pub(super) skip_broken: bool,
    pub(super) cancel: &'a Cancel,
}

impl Reading<'_> {
    /// Reads every image. Returns the images with their digests, and the notices on images that are left out.
    ///
    /// # Errors
    /// [`Error::Images`] for all images that cannot be read, unless they are left out; [`Error::Cancelled`].
    pub(super) fn read(
        self,
        by_category: ByCategory,
        mut progress: impl FnMut(Progress),
    ) -> Result<(ByCategory, Vec<String>)> {
        let total = by_category.iter().map(|(_, images)| images.len()).sum();
        let (mut done, mut broken) = (0, Vec::new());
        let (mut found, mut notices) = (Vec::with_capacity(by_category.len()), Vec::new());
        for (category, mut images) in by_category {
            let before = images.len();
            let mut whole = Vec::with_capacity(before);
            while !images.is_empty() {
                if self.cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                let chunk: Vec<Image> = images.drain(..CHUNK.min(images.len())).collect();
                done += chunk.len();
                let chunk: Vec<Result<Image>> = chunk.into_par_iter().map(|image| self.content(image)).collect();
                for image in chunk {
                    match image {
                        Ok(image) => whole.push(image),
                        Err(error @ (Error::Data(_) | Error::Io { .. })) => broken.push(error),
                        Err(error) => return Err(error),
                    }
                }
                progress(Progress { done, total });
            }
            if before > 0 && whole.is_empty() {
                notices.push(format!("{category} is left out: none of its images can be read"));
            } else {
                found.push((category, whole));
            }
        }
        match broken.len() {
            0 => Ok((found, notices)),
            _ if self.skip_broken => {
                let notice = match broken.len() {
                    1 => "an image is left out".to_owned(),
                    count => format!("{count} images are left out"),
                };
                notices.insert(0, format!("{notice}: {}", listed(&broken)));
                Ok((found, notices))
            }
            1 => Err(broken.remove(0)),
            _ => Err(Error::Images { errors: broken }),
        }
    }

    fn content(&self, mut image: Image) -> Result<Image> {
        let picture = image.picture(self.limits)?;
        let half = |mut digest: String| {
            digest.truncate(32);
            digest
        };
        let digest = match image.file() {
            Some(sample) => sha256_of_file(&sample.path)?,
            None => sha256(picture.pixels()),
        };
        let tiles = cut(self.tiling, &picture)?;
        if tiles.is_none() {
            self.preprocess.check(image.name(), &picture)?;
        }
        let tiles = tiles.map(|tiles| tiles.iter().map(|tile| half(sha256(tile.pixels()))).collect());
        image.content = Content { digest: half(digest), pixels: pixel_digest(&picture), tiles };
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::fit::images::list;

    fn read(folder: &Path, skip_broken: bool) -> Result<(ByCategory, Vec<String>)> {
        let (limits, cancel, preprocess) = (Limits::default(), Cancel::default(), Preprocess::new(224, 224)?);
        let reading = Reading { limits: &limits, tiling: None, preprocess: &preprocess, skip_broken, cancel: &cancel };
        reading.read(list(folder.into(), &Limits::default()).unwrap(), |_| {})
    }

    #[test]
    fn all_broken_images_are_named_or_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (product, level) in [("cup", 0), ("lid", 200)] {
            std::fs::create_dir(path(product)).unwrap();
            for number in 0..3 {
                let picture = dualad_data::image::RgbImage::from_pixel(8, 8, [level + number as u8; 3].into());
                picture.save(path(product).join(format!("{number}.png"))).unwrap();
            }
        }
        let (images, notices) = read(folder.path(), false).unwrap();
        assert!(notices.is_empty() && images.iter().all(|(_, images)| images.len() == 3));
        // The same pixels under another name and in another format.
        std::fs::rename(path("cup/0.png"), path("cup/9.png")).unwrap();
        let picture = dualad_data::image::RgbImage::from_pixel(8, 8, [0; 3].into());
        picture.save(path("cup/0.bmp")).unwrap();
        let (again, _) = read(folder.path(), false).unwrap();
        let digests: Vec<_> = again[0].1.iter().map(|image| image.content.pixels).collect();
        assert_eq!((digests.len(), digests[0]), (4, images[0].1[0].content.pixels));
        assert_eq!((digests[0], again[0].1[0].content.digest == again[0].1[3].content.digest), (digests[3], false));

        // A line of pixels whose interpolated rows would take gigabytes.
        dualad_data::image_crate::GrayImage::new(2_000_000, 1).save(path("lid/line.png")).unwrap();
        let line = read(folder.path(), false).unwrap_err().to_string();
        assert!(line.contains("line.png") && line.contains("too wide"), "{line}");
        assert!(read(folder.path(), true).unwrap().1[0].contains("an image is left out"));
        std::fs::remove_file(path("lid/line.png")).unwrap();

        std::fs::write(path("cup/1.png"), "no picture").unwrap();
        let one = read(folder.path(), false).unwrap_err();
        assert!(matches!(&one, Error::Data(_)) && one.to_string().contains("cup/1.png"), "{one}");
        for number in 0..3 {
            std::fs::write(path(&format!("lid/{number}.png")), "").unwrap();
        }
        let error = read(folder.path(), false).unwrap_err().to_string();
        assert!(error.contains("4 images") && error.contains("cup/1.png") && error.contains("lid/2.png"), "{error}");
        let (images, notices) = read(folder.path(), true).unwrap();
        assert_eq!(images.iter().map(|(name, images)| (&**name, images.len())).collect::<Vec<_>>(), [("cup", 3)]);
        assert!(notices[0].contains("4 images") && notices[0].contains("lid/0.png"), "{notices:?}");
        assert!(notices[1].contains("lid is left out"), "{notices:?}");
    }
}
