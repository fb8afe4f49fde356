//! The server's limits and timeouts.

use std::time::Duration;

use dualad::data::image::Limits;

use crate::error::{Error, Result};
use crate::memory::{largest_need, memory_for};
use crate::thresholds::ThresholdsFile;

const MAX_QUEUE: usize = 65536;
const MAX_CONNECTIONS: usize = 65536;
const MAX_BATCH: usize = 1024;
const MIN_DECODING_MEMORY: u64 = 64 << 20;
/// The longest time limit. The sum of a time and a limit is a time, too.
const MAX_TIME: Duration = Duration::from_secs(86_400);

/// Limits and timeouts of a server.
///
/// ```
/// use dualad_serve::Options;
///
/// let options = Options::default().with_queue(16).with_max_body_bytes(4 << 20);
/// assert_eq!((options.queue, options.batch), (16, 8));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The largest body of an upload, in bytes; at least 1. 32 MiB by default.
    pub max_body_bytes: u64,
    /// The largest image, in pixels (width times height); at least 1. The default is that of [`Limits`].
    pub max_pixels: u64,
    /// The memory for decoding images, over all uploads, in bytes; at least 64 MiB. 1536 MiB by default. Uploads wait for it, and
    /// small ones, up to a thirty-second of it, do not wait for large ones. An image that needs more than three quarters of it is
    /// refused.
    pub decoding_memory: u64,
    /// The number of complete uploads held at a time, until their answer: 1 to 65536, 64 by default. Further uploads are answered with
    /// status 503. Bodies, also those that are still arriving, take up to `queue * max_body_bytes` of memory.
    /// As many answers with heat maps are held at a time, until they are received; further requests for heat maps wait for up to
    /// [`Self::io_timeout`].
    pub queue: usize,
    /// The number of connections served at a time: 1 to 65536, 512 by default. If there are more, the server closes those that keep it
    /// waiting. 32 further ones answer questions about its health only. The system may limit the number of open files; each is one.
    pub connections: usize,
    /// The largest number of images that are taken from the queue together: 1 to 1024, 8 by default. The network computes at most
    /// 8 at a time.
    pub batch: usize,
    /// The time that the first image of a batch waits for others; at most one day. 2 ms by default.
    pub batch_delay: Duration,
    /// The time limit for receiving a request's head, for receiving its body, and for each write of the answer; more than zero,
    /// and at most one day. 10 s by default.
    pub io_timeout: Duration,
    /// The time from the stop signal until every accepted request must be answered. 30 s by default.
    pub stop_timeout: Duration,
    /// Answers without decisions, from a model with or without thresholds. Default: false. Then a model without thresholds is
    /// refused, and so is a request whose category has none.
    pub scores_only: bool,
    /// The file that the detector's thresholds were read from. `/healthz` names it and tells whether it has changed since: the server keeps
    /// its thresholds. Default: none.
    pub thresholds_file: Option<ThresholdsFile>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            max_pixels: Limits::default().pixels,
            decoding_memory: 1536 << 20,
            queue: 64,
            connections: 512,
            batch: 8,
            batch_delay: Duration::from_millis(2),
            io_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(30),
            scores_only: false,
            thresholds_file: None,
        }
    }
}

impl Options {
    /// Sets [`Self::max_body_bytes`].
    pub fn with_max_body_bytes(mut self, max_body_bytes: u64) -> Self {
        self.max_body_bytes = max_body_bytes;
        self
    }

    /// Sets [`Self::max_pixels`].
    pub fn with_max_pixels(mut self, max_pixels: u64) -> Self {
        self.max_pixels = max_pixels;
        self
    }

    /// Sets [`Self::decoding_memory`].
    pub fn with_decoding_memory(mut self, decoding_memory: u64) -> Self {
        self.decoding_memory = decoding_memory;
        self
    }

    /// Raises [`Self::decoding_memory`] to what the largest image of [`Self::max_pixels`] needs, if it is less. Set the pixels first.
    ///
    /// ```
    /// use dualad_serve::Options;
    ///
    /// let options = Options::default().with_max_pixels(400_000_000).with_memory_for_pixels();
    /// assert!(options.decoding_memory > Options::default().decoding_memory);
    /// ```
    pub fn with_memory_for_pixels(mut self) -> Self {
        self.decoding_memory = self.decoding_memory.max(memory_for(Limits::for_pixels(self.max_pixels).memory));
        self
    }

    /// Sets [`Self::queue`].
    pub fn with_queue(mut self, queue: usize) -> Self {
        self.queue = queue;
        self
    }

    /// Sets [`Self::connections`].
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Sets [`Self::batch`].
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Sets [`Self::batch_delay`].
    pub fn with_batch_delay(mut self, batch_delay: Duration) -> Self {
        self.batch_delay = batch_delay;
        self
    }

    /// Sets [`Self::io_timeout`].
    pub fn with_io_timeout(mut self, io_timeout: Duration) -> Self {
        self.io_timeout = io_timeout;
        self
    }

    /// Sets [`Self::stop_timeout`].
    pub fn with_stop_timeout(mut self, stop_timeout: Duration) -> Self {
        self.stop_timeout = stop_timeout;
        self
    }

    /// Sets [`Self::scores_only`].
    pub fn with_scores_only(mut self, scores_only: bool) -> Self {
        self.scores_only = scores_only;
        self
    }

    /// Sets [`Self::thresholds_file`].
    pub fn with_thresholds_file(mut self, file: Option<ThresholdsFile>) -> Self {
        self.thresholds_file = file;
        self
    }

    /// Returns the image limits to load the detector with, so that no image is decoded that is beyond [`Self::max_pixels`] or does not
    /// fit into [`Self::decoding_memory`].
    pub fn image_limits(&self) -> Limits {
        let limits = Limits::for_pixels(self.max_pixels).with_file_bytes(self.max_body_bytes);
        limits.with_memory(limits.memory.min(largest_need(self.decoding_memory)))
    }

    pub(crate) fn check(&self) -> Result<()> {
        let check = |field, value: String, holds, allowed| {
            if holds { Ok(()) } else { Err(Error::InvalidOption { field, value, allowed }) }
        };
        let (body, pixels) = (self.max_body_bytes, self.max_pixels);
        check("max_body_bytes", body.to_string(), body > 0, "at least 1")?;
        check("max_pixels", pixels.to_string(), pixels > 0, "at least 1")?;
        let memory = self.decoding_memory;
        check("decoding_memory", memory.to_string(), memory >= MIN_DECODING_MEMORY, "at least 64 MiB")?;
        check("queue", self.queue.to_string(), (1..=MAX_QUEUE).contains(&self.queue), "from 1 to 65536")?;
        let connections = self.connections;
        let holds = (1..=MAX_CONNECTIONS).contains(&connections);
        check("connections", connections.to_string(), holds, "from 1 to 65536")?;
        check("batch", self.batch.to_string(), (1..=MAX_BATCH).contains(&self.batch), "from 1 to 1024")?;
        let (delay, timeout) = (self.batch_delay, self.io_timeout);
        check("batch_delay", format!("{delay:?}"), delay <= MAX_TIME, "at most one day")?;
        check(
            "io_timeout",
            format!("{timeout:?}"),
            !timeout.is_zero() && timeout <= MAX_TIME,
            "more than zero, and at most one day",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_can_be_raised_for_large_images() {
        for pixels in [1, 100_000_000, 1_000_000_000, u64::MAX] {
            let options = Options::default().with_max_pixels(pixels).with_memory_for_pixels();
            assert!(options.decoding_memory >= Options::default().decoding_memory);
            let needed = Limits::for_pixels(pixels).memory;
            assert!(options.image_limits().memory >= needed - needed / 4, "{pixels}");
            assert!(pixels == u64::MAX || options.image_limits().memory == needed, "{pixels}");
        }
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        assert!(Options::default().check().is_ok());
        for (options, message) in [
            (Options::default().with_queue(0), "`queue` is 0; it must be from 1 to 65536"),
            (Options::default().with_connections(0), "`connections` is 0; it must be from 1 to 65536"),
            (Options::default().with_batch(2000), "`batch` is 2000; it must be from 1 to 1024"),
            (Options::default().with_max_body_bytes(0), "`max_body_bytes` is 0; it must be at least 1"),
            (Options::default().with_max_pixels(0), "`max_pixels` is 0; it must be at least 1"),
            (Options::default().with_decoding_memory(0), "`decoding_memory` is 0; it must be at least 64 MiB"),
            (
                Options::default().with_io_timeout(Duration::ZERO),
                "`io_timeout` is 0ns; it must be more than zero, and at most one day",
            ),
            (
                Options::default().with_io_timeout(Duration::from_secs(90_000)),
                "`io_timeout` is 90000s; it must be more than zero, and at most one day",
            ),
            (
                Options::default().with_batch_delay(Duration::from_secs(90_000)),
                "`batch_delay` is 90000s; it must be at most one day",
            ),
        ] {
            assert_eq!(options.check().unwrap_err().to_string(), message);
        }
    }
}
