//! A trained model, a server in this process, and a client that reads whole answers.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use dualad::backbones::Backbone;
use dualad::data::image::{Limits, Picture};
use dualad::data::synthetic::{self, Category};
use dualad::data::{Dataset, Split};
use dualad::detector::{Replicas, Request};

use dualad::recipe::Recipe;
use dualad::{Detector, Variant};
use dualad_serve::{Options, Server, Totals};
use serde_json::Value;
use tokio::sync::Notify;

/// A model of two categories, images, and the inspections of a detector without a server.
pub(crate) struct Fixture {
    folder: tempfile::TempDir,
    pub(crate) images: Vec<PathBuf>,
    /// By category, then by image. The category "" stands for none.
    pub(crate) expected: BTreeMap<&'static str, Vec<Value>>,
}

impl Fixture {
    pub(crate) fn detector(&self, limits: Limits) -> Detector {
        let builder = Detector::builder().limits(limits).threads(2);
        builder.load(self.folder.path().join("model")).unwrap()
    }
}

pub(crate) static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let categories = vec![Category::Gear, Category::Plate];
    let options = synthetic::Options { size: 64, train: 10, test_good: 2, test_per_defect: 1, categories, seed: 1 };
    synthetic::write(&data, &options, |_, _| ()).unwrap();
    Detector::fit(&data).recipe(recipe()).epochs(6).run().unwrap().detector.save(folder.path().join("model")).unwrap();
    let dataset = Dataset::open(&data).unwrap();
    let images: Vec<PathBuf> = dataset.samples(Split::Test).map(|sample| sample.path.clone()).collect();
    let mut fixture = Fixture { folder, images, expected: BTreeMap::new() };
    let detector = fixture.detector(Limits::default());
    for category in ["", "gear", "plate"] {
        // One by one: the last bits of the scores depend on the other images of a batch.
        let inspect = |image: &PathBuf| {
            let request = Request::from(image.as_path());
            let request = if category.is_empty() { request } else { request.category(category) };
            serde_json::from_str(&serde_json::to_string(&detector.inspect(request).unwrap()).unwrap()).unwrap()
        };
        fixture.expected.insert(category, fixture.images.iter().map(inspect).collect());
    }
    fixture
});

/// A network small enough for a test: 64 x 64 pixels.
fn recipe() -> Recipe {
    let mut recipe = Recipe::fast(Variant::Heterogeneous, Backbone::FilterBank);
    recipe.network = recipe
        .network
        .with_grid([4, 4])
        .with_neighbor_mask(Some([1, 1]))
        .with_levels(2)
        .with_narrow_width(8)
        .with_chunk_width(8)
        .with_ffn_width(8)
        .with_heads(2)
        .with_encoder_layers(1)
        .with_memory_slots(6);
    (recipe.train.batch_size, recipe.train.schedule.warmup_steps) = (4, 2);
    recipe
}

/// A server in a thread of its own.
pub(crate) struct TestServer {
    address: SocketAddr,
    stop: Arc<Notify>,
    thread: JoinHandle<dualad_serve::Result<Totals>>,
}

impl TestServer {
    pub(crate) fn start(options: Options) -> Self {
        Self::start_with(FIXTURE.detector(options.image_limits()), options)
    }

    pub(crate) fn start_with(detectors: impl Into<Replicas>, options: Options) -> Self {
        let detectors = detectors.into();
        let stop = Arc::new(Notify::new());
        let stopped = stop.clone();
        let (ready, address) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(detectors, &options, "127.0.0.1:0".parse().unwrap()).await?;
                ready.send(server.address()).unwrap();
                server.run(stopped.notified()).await
            })
        });
        Self { address: address.recv().unwrap(), stop, thread }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Connects for several requests.
    pub(crate) fn keep_alive(&self) -> KeepAlive {
        KeepAlive(BufReader::new(self.connect()))
    }

    /// Connects, unless the server has closed its port.
    pub(crate) fn try_connect(&self) -> Option<TcpStream> {
        TcpStream::connect(self.address).ok()
    }

    /// Sends a request on a connection of its own and reads the answer.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The server may answer before it has read everything, and close the connection.
        let _ = stream.write_all(head(method, path, headers, body.len()).as_bytes());
        let _ = stream.write_all(body);
        Answer::read(stream).expect("an answer")
    }

    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.ask("POST", path, &[], body)
    }

    /// Returns the value of a metric, and 0 for one that is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let answer = self.ask("GET", "/metrics", &[], b"");
        assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
        let text = String::from_utf8(answer.body).unwrap();
        for line in text.lines() {
            assert!(
                line.starts_with("# HELP ") || line.starts_with("# TYPE ") || line.starts_with("dualad_"),
                "{line}"
            );
        }
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    pub(crate) fn assert_healthy(&self) {
        let answer = self.ask("GET", "/healthz", &[], b"");
        let value = answer.json();
        assert_eq!((answer.status, value["status"].as_str()), (200, Some("ok")), "{value}");
        assert_eq!(value["backbone"], "filter-bank");
        assert_eq!(value["categories"], serde_json::json!(["gear", "plate"]));
    }

    /// Asks the server to stop.
    pub(crate) fn begin_stop(&self) {
        self.stop.notify_one();
    }

    /// Waits for the result of [`Server::run`].
    pub(crate) fn join(self) -> dualad_serve::Result<Totals> {
        self.thread.join().unwrap()
    }

    pub(crate) fn stop(self) -> Totals {
        self.begin_stop();
        self.join().unwrap()
    }
}

pub(crate) fn head(method: &str, path: &str, headers: &[&str], length: usize) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n")
}

/// A connection for several requests.
pub(crate) struct KeepAlive(BufReader<TcpStream>);

impl KeepAlive {
    /// Sends a whole request, and then reads the answer, as most clients do.
    pub(crate) fn ask(&mut self, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let length = format!("Content-Length: {}", body.len());
        self.ask_in_parts(path, &[headers, &[length.as_str()]].concat(), &[body])
    }

    /// As [`Self::ask`], with the body in chunks.
    pub(crate) fn ask_in_chunks(&mut self, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut parts = Vec::new();
        for chunk in body.chunks(10_000) {
            parts.push([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        }
        parts.push(b"0\r\n\r\n".to_vec());
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        self.ask_in_parts(path, &[headers, &["Transfer-Encoding: chunked"]].concat(), &parts)
    }

    fn ask_in_parts(&mut self, path: &str, headers: &[&str], parts: &[&[u8]]) -> Answer {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let stream = self.0.get_mut();
        stream.write_all(format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n").as_bytes()).expect("a connection");
        for part in parts {
            stream.write_all(part).expect("a connection");
        }
        self.answer()
    }

    /// Reads an answer.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).expect("an answer") > 0, "the connection is closed: {head:?}");
        }
        let head = head.trim_end().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).expect("a whole answer");
        Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads a whole answer; `None` if the connection ends before its first byte.
    pub(crate) fn read(mut stream: TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 65536];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no answer within 30 s"),
                // The server closed the connection before it had read the upload.
                Err(_) => break,
            }
        }
        if bytes.is_empty() {
            return None;
        }
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let body = bytes[end + 4..].to_vec();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
            assert_eq!(length.parse::<usize>().unwrap(), body.len(), "a whole body: {head}");
        }
        Some(Self { status, head, body })
    }

    /// Returns true if the server says that it closes the connection.
    pub(crate) fn closes(&self) -> bool {
        self.head.contains("connection: close")
    }

    pub(crate) fn json(&self) -> Value {
        let text = std::str::from_utf8(&self.body).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Returns the error message of an answer, which must have this status.
    pub(crate) fn error(&self, status: u16) -> String {
        let value = self.json();
        assert_eq!(self.status, status, "{value}");
        assert_eq!(value.as_object().unwrap().len(), 1);
        value["error"].as_str().unwrap().to_owned()
    }
}

/// Removes the image's name from an answer, which must have one.
pub(crate) fn without_name(mut value: Value) -> Value {
    assert!(value.as_object_mut().unwrap().remove("image").is_some(), "{value}");
    value
}

/// Compares answers up to the last bits of their numbers, which depend on the other images of a batch.
pub(crate) fn is_close(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_close(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && is_close(a.1, b.1))
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-5 * a.abs().max(b.abs())
        }
        (a, b) => a == b,
    }
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

/// Returns an image as raw pixels, and the header that describes them.
pub(crate) fn raw_pixels(path: &Path) -> (String, Vec<u8>) {
    let picture = Picture::read(path, &Limits::default()).unwrap();
    (format!("X-Image-Shape: {},{},3", picture.height(), picture.width()), picture.pixels().to_vec())
}

/// The content type of raw pixels.
pub(crate) const RAW: &str = "Content-Type: application/octet-stream";
