//! The target for HTTP: bytes that a client sends to the server on one connection.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use dualad::Detector;
use dualad::detector::ModelBytes;
use dualad_serve::{Options, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use crate::readers;

const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest part of the answers that is read, in bytes.
const MAX_ANSWERS: u64 = 4 << 20;

static SERVER: LazyLock<(Service, Runtime)> = LazyLock::new(|| {
    let options = Options::default().with_max_body_bytes(1 << 16).with_max_pixels(1 << 14).with_queue(4);
    let options =
        options.with_batch(2).with_batch_delay(Duration::ZERO).with_io_timeout(TIMEOUT).with_scores_only(true);
    let (config, parameters) = readers::model();
    let model = ModelBytes { config, parameters, backbone: None, calibration: None };
    let builder = Detector::builder().limits(options.image_limits()).threads(1);
    let detector = builder.from_bytes(&model).expect("a detector");
    let service = Service::new(detector, &options).expect("a service");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    (service, runtime.expect("a runtime"))
});

/// Sends `data` on a connection, closes the sending side, and reads the answers.
///
/// # Panics
/// If an answer is not HTTP or reports an internal error, if the connection stays open, or if an upload stays held.
pub fn serve(data: &[u8]) {
    let (service, runtime) = &*SERVER;
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let serving = tokio::spawn(async move { service.serve_connection(server).await });
        client.write_all(data).await.expect("room for all of the input");
        client.shutdown().await.expect("the end of the input");
        let mut answers = Vec::new();
        let mut client = client.take(MAX_ANSWERS);
        let read = client.read_to_end(&mut answers);
        tokio::time::timeout(2 * TIMEOUT, read).await.expect("the connection ends").expect("readable answers");
        drop(client);
        serving.await.expect("no panic");
        assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "an answer is HTTP");
        assert!(!answers.starts_with(b"HTTP/1.1 500"), "{}", String::from_utf8_lossy(&answers));
        // The inspection thread drops an upload a moment after its answer.
        let begun = Instant::now();
        while service.held_uploads() > 0 {
            assert!(begun.elapsed() < TIMEOUT, "an upload is still held");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}
