//! The flag for the size of images.

use dualad::data::image::Limits;

/// The flag of the subcommands that read images.
#[derive(Debug, clap::Args)]
pub(crate) struct LimitArgs {
    /// Largest image in pixels, width times height; the memory for an image grows with it
    #[arg(long, value_name = "N", default_value_t = Limits::default().pixels, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_pixels: u64,
}

impl LimitArgs {
    pub(crate) fn limits(&self) -> Limits {
        Limits::for_pixels(self.max_pixels)
    }
}
