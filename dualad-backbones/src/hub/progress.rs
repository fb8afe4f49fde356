//! Progress of downloads.

use crate::hub_file::HubFile;

/// The progress of a download.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a HubFile,
    /// The bytes received so far, including those of an earlier, interrupted attempt.
    pub received: u64,
    /// The size of the file in bytes.
    pub total: u64,
}

/// Returns a progress bar on standard error for [`Hub::progress`](crate::hub::Hub::progress). It is shown only if standard
/// error is a terminal.
///
/// ```no_run
/// use dualad_backbones::HubFile;
/// use dualad_backbones::hub::{Hub, HubError, terminal_progress};
///
/// let hub = Hub::from_env()?.progress(terminal_progress());
/// let fetched = hub.fetch(&HubFile::new("timm/resnet18.tv_in1k"))?;
/// assert!(fetched.path.is_file());
/// # Ok::<(), HubError>(())
/// ```
pub fn terminal_progress() -> impl Fn(Progress<'_>) + Send + Sync + 'static {
    use indicatif::{ProgressBar, ProgressStyle};
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
    let bar = ProgressBar::new(0).with_style(style);
    move |progress| {
        if bar.length() != Some(progress.total) || bar.message().is_empty() {
            bar.set_length(progress.total);
            bar.set_message(progress.file.repo.clone());
        }
        bar.set_position(progress.received);
        if progress.received == progress.total {
            bar.finish();
        }
    }
}
