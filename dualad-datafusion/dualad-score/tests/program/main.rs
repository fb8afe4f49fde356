//! The program as a user runs it: files in, files out, workers that end.

mod arguments;
mod inputs;
mod queries;
mod runs;
mod set;
mod workers;
