//! What a client sends to the example `serve` on a connection: requests, and what is none.
//!
//! The server's own modules are its neighbours here, under the names that they know one another by.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, mpsc};
use std::time::Duration;

use crate::handlers::{self, App};
use crate::metrics::Metrics;
use crate::upload::Most;
use crate::worker::Worker;
use crate::{connections, readers};
use dualad::Detector;
use dualad::data::image::Limits;
use dualad::detector::ModelBytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};

const QUEUE: usize = 4;
const PATIENCE: Duration = Duration::from_secs(5);

struct Server {
    app: Arc<App>,
    runtime: Runtime,
    phase: watch::Sender<()>,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let (config, parameters) = readers::model();
    let most = Most { bytes: 1 << 16, pixels: 1 << 14 };
    let limits = Limits::default().file_bytes(most.bytes).pixels(most.pixels);
    let model = ModelBytes { config, parameters, backbone: None, calibration: None };
    let builder = Detector::builder().limits(limits).threads(1).expect("a thread");
    let detector = builder.from_bytes(&model).expect("a detector");
    let metrics = Arc::new(Metrics::default());
    let (jobs, waiting) = mpsc::sync_channel(QUEUE);
    let worker = Worker {
        detector: detector.clone(),
        jobs: waiting,
        metrics: metrics.clone(),
        batch: 2,
        linger: Duration::ZERO,
    };
    std::thread::spawn(move || worker.run());
    let app = Arc::new(App {
        detector,
        jobs,
        slots: Arc::new(Semaphore::new(QUEUE)),
        queue: QUEUE,
        most,
        read_timeout: PATIENCE,
        metrics,
        stopping: AtomicBool::new(false),
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    Server { app, runtime, phase: watch::channel(()).0 }
});

/// A connection on which `data` comes, and then nothing more.
pub fn serve(data: &[u8]) {
    let Server { app, runtime, phase } = &*SERVER;
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let router = handlers::router(app.clone());
        let serving = tokio::spawn(connections::connection(server, router, phase.subscribe(), PATIENCE, true));
        client.write_all(data).await.expect("all of it fits");
        client.shutdown().await.expect("an end");
        let mut answers = Vec::new();
        // An answer that is larger than what is kept of it is cut off.
        let mut client = client.take(4 << 20);
        let read = client.read_to_end(&mut answers);
        tokio::time::timeout(2 * PATIENCE, read).await.expect("an end of the connection").expect("what can be read");
        serving.await.expect("no panic");
        assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "an answer is one of HTTP");
        // A fault of the server, and not of what was sent.
        assert!(!answers.starts_with(b"HTTP/1.1 500"), "{}", String::from_utf8_lossy(&answers));
        // They come back when whoever inspects has let go of the upload, a moment after its answer.
        let slots = tokio::time::timeout(PATIENCE, app.slots.acquire_many(QUEUE as u32)).await;
        assert!(slots.is_ok(), "a slot was lost");
    });
}
