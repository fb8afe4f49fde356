//! An HTTP server for visual anomaly detection: images in, scores, decisions and heat maps out.
//!
//! [`Server`] listens on a TCP port and answers requests with one [`Detector`](dualad::Detector), or with
//! [`Replicas`](dualad::detector::Replicas) on several devices. Images that arrive at the same time, from any number of clients, are inspected together. [`Service`] does the same for connections that the program
//! accepts itself, such as TLS streams. `docs/serving.md` describes the requests and the answers; `dualad serve`, of the crate
//! `dualad-cli`, is a complete program.
//!
//! The server has no authentication and no TLS. It prints nothing and installs no signal handlers.
//!
//! ```no_run
//! use dualad::Detector;
//! use dualad_serve::{Options, Server};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options::default().with_queue(16);
//! let detector = Detector::builder().limits(options.image_limits()).load("model")?;
//! let server = Server::bind(detector, &options, "127.0.0.1:8080".parse()?).await?;
//! println!("listening on http://{}", server.address());
//! let stop = async { tokio::time::sleep(std::time::Duration::from_secs(60)).await };
//! let totals = server.run(stop).await?;
//! println!("inspected {} images", totals.images_inspected);
//! # Ok(())
//! # }
//! ```

mod bodies;
mod client;
mod clients;
mod connections;
mod error;
mod failure;
mod linger;
mod memory;
mod metrics;
mod options;
mod peer;
mod query;
mod rest;
mod routes;
mod server;
mod service;
mod state;
mod thresholds;
mod upload;
mod worker;

pub use error::{Error, Result};
pub use metrics::Totals;
pub use options::Options;
pub use server::Server;
pub use service::Service;
pub use thresholds::ThresholdsFile;

/// The code of the server's documentation, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/serving.md")]
struct Serving;
