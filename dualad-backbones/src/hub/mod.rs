//! Files from the Hugging Face hub, in the cache that Python's `huggingface_hub` uses too.
//!
//! The crate `hf_hub` only provides the paths of the cache. The transfer is implemented here: every wait ends, every name is
//! checked, and a file gets its name in the cache only after its length and (for a large file, whose entity tag is its
//! SHA-256) its SHA-256 have been checked. `docs/candle-notes.md` says what `hf_hub`'s own transfer lacks.
//!
//! Environment variables: `HF_HOME` (or `XDG_CACHE_HOME`), `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`,
//! `HF_HUB_OFFLINE` (set unless 0, false, no or off), `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`.

mod cache;
mod client;
mod config;
mod download;
mod error;
mod fetch;
mod name;
mod progress;

pub use cache::Fetched;
pub use config::Hub;
pub use error::HubError;
pub use progress::{Progress, terminal_progress};
