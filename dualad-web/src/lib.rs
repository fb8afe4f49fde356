//! dualad in the browser and in Node: a detector as JavaScript sees it. `docs/web.md` is the guide.
//!
//! Results are plain objects, so that a worker can post them. Errors are exceptions with the messages of the library.

mod detector;
mod errors;
mod fit;
mod inspection;
mod pixels;
mod types;
