//! Buffers: aligned memory on large pages, scratch memory of a thread, and buffers that are used again.

mod buffer;
mod scratch;
mod workspace;

pub use buffer::Buffer;
pub(crate) use scratch::with_scratch;
pub use workspace::{Workspace, WorkspacePool};
