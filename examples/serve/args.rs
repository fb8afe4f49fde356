//! The command line.

use std::net::IpAddr;
use std::time::Duration;

use clap::Parser;
use dualad::data::image::Limits;

use crate::common::CommonArgs;
use crate::model::ModelArgs;

/// Answer questions about images over HTTP
///
/// POST an image to /inspect and read the answer as JSON, or to /heatmap and read a picture; GET /healthz and /metrics. SIGINT
/// and SIGTERM answer what was accepted, then end it. There is no authentication.
#[derive(Debug, Parser)]
#[command(name = "serve", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Address to listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) address: IpAddr,
    /// Port to listen on; 0 for any. The address is printed on standard output
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Largest upload
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub(crate) max_body_mib: u64,
    /// Largest image, width times height
    #[arg(long, value_name = "N", default_value_t = Limits::default().pixels, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_pixels: u64,
    /// Uploads held at a time, from their first byte to their answer; beyond them the answer is 503
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub(crate) queue: u32,
    /// Most images inspected together
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) batch: u32,
    /// How long the first image of a batch waits for others
    #[arg(long, value_name = "MS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub(crate) linger_ms: u64,
    /// How long a request's head may take, how long its body, and how long a client may take nothing of its answer
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) read_timeout_s: u64,
    /// How long stopping may take
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) stop_timeout_s: u64,
    /// --json writes the totals when it ends
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl Args {
    pub(crate) fn max_body(&self) -> u64 {
        self.max_body_mib << 20
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits::default().file_bytes(self.max_body()).pixels(self.max_pixels)
    }

    pub(crate) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }

    pub(crate) fn read_timeout(&self) -> Duration {
        Duration::from_secs(self.read_timeout_s)
    }

    pub(crate) fn stop_timeout(&self) -> Duration {
        Duration::from_secs(self.stop_timeout_s)
    }
}
