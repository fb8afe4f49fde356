//! The command line of `dualad serve`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dualad_serve::Options;

use crate::common::CommonArgs;
use crate::model::ModelArgs;

/// Serve inspections over HTTP
///
/// POST an image to /inspect for an answer in JSON, or to /heatmap for a picture; GET /healthz and /metrics. At SIGINT, SIGTERM or
/// SIGHUP the server answers the requests that it has accepted, and ends. There is no authentication.
#[derive(Debug, clap::Args)]
#[command(mut_arg("json", |arg| arg.help("Write the totals as JSON to FILE when the server ends; `-` prints them")))]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Address to listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    address: IpAddr,
    /// Port to listen on; 0 for any free port. The address is printed on standard output
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,
    /// Largest upload
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=4096))]
    max_body_mib: u64,
    /// Memory for decoding images, over all uploads, which wait for it; small ones do not wait for large ones [default: 1536, or what
    /// the largest image of --max-pixels needs]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(64..=1 << 20))]
    decoding_memory_mib: Option<u64>,
    /// Complete uploads held at a time, until their answer; further ones are answered with 503
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    queue: u32,
    /// Connections served at a time; of more, those are closed that keep the server waiting, such as by sending slowly
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=65536))]
    connections: u32,
    /// Largest number of images that are taken from the queue together; the network computes at most 8 at a time
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: u32,
    /// Time that the first image of a batch waits for others
    #[arg(long, value_name = "MS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=60_000))]
    linger_ms: u64,
    /// Time limit for receiving a request's head, for receiving its body, and for each write of the answer
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    read_timeout_s: u64,
    /// Time limit for stopping
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    stop_timeout_s: u64,
    /// Serve scores without decisions. Needed for a model without thresholds
    #[arg(long, conflicts_with = "calibration")]
    pub(crate) scores_only: bool,
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

impl Args {
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    pub(crate) fn options(&self) -> Options {
        let options = Options::default().with_max_pixels(self.model.images.max_pixels);
        let options = match self.decoding_memory_mib {
            Some(mib) => options.with_decoding_memory(mib << 20),
            None => options.with_memory_for_pixels(),
        };
        options
            .with_max_body_bytes(self.max_body_mib << 20)
            .with_queue(self.queue as usize)
            .with_connections(self.connections as usize)
            .with_batch(self.batch as usize)
            .with_batch_delay(Duration::from_millis(self.linger_ms))
            .with_io_timeout(Duration::from_secs(self.read_timeout_s))
            .with_stop_timeout(Duration::from_secs(self.stop_timeout_s))
            .with_scores_only(self.scores_only)
    }
}
