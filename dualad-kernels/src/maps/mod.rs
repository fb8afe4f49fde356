//! Pooling, gates and layout conversion of maps `[batch, rows, columns, channels]`.

mod gate;
mod planes;
mod pool;

pub use gate::apply_gate;
pub use planes::{from_planes, to_planes};
pub use pool::{Pool, max_pool, mean_of_cells, mean_pool_into};
