#![no_main]

#[allow(dead_code)]
#[path = "../../examples/common/mod.rs"]
mod common;
#[allow(dead_code)]
#[path = "../../examples/serve/connections.rs"]
mod connections;
#[path = "../../examples/serve/failure.rs"]
mod failure;
#[path = "../../examples/serve/handlers.rs"]
mod handlers;
#[allow(dead_code)]
#[path = "../../examples/serve/metrics.rs"]
mod metrics;
#[allow(dead_code)]
#[path = "../../examples/common/model.rs"]
mod model;
#[path = "../../examples/serve/patience.rs"]
mod patience;
#[path = "../../examples/serve/query.rs"]
mod query;
#[allow(dead_code)]
#[path = "../src/readers.rs"]
mod readers;
#[path = "../src/requests.rs"]
mod requests;
#[path = "../../examples/serve/upload.rs"]
mod upload;
#[path = "../../examples/serve/worker.rs"]
mod worker;

libfuzzer_sys::fuzz_target!(|data: &[u8]| requests::serve(data));
