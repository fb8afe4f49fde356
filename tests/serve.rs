//! The example `serve` as a process: its answers are those of `detect`, and neither load nor bad clients harm it.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use dualad::Detector;
use dualad::data::image::{Limits, Picture};
use dualad::data::{Dataset, Split};
use serde_json::Value;

mod support;

use support::{example, recipe, write_parts};

/// A model of two products, images, and what `detect` says of them.
struct Shop {
    folder: tempfile::TempDir,
    images: Vec<PathBuf>,
    /// By category, then by image.
    expected: BTreeMap<&'static str, Vec<Value>>,
}

impl Shop {
    fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }
}

fn shop() -> &'static Shop {
    static SHOP: OnceLock<Shop> = OnceLock::new();
    SHOP.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        write_parts(&data, 10);
        let detector = Detector::fit(&data).recipe(recipe()).epochs(6).run().unwrap().detector;
        let model = folder.path().join("model");
        detector.save(&model).unwrap();
        let dataset = Dataset::open(&data).unwrap();
        let images: Vec<PathBuf> = dataset.samples(Split::Test).map(|sample| sample.path.clone()).collect();
        // One by one: to the bit, numbers depend on what else is in a batch.
        let detect = |category: &str, image: &PathBuf| {
            let mut command = example("detect");
            command.arg("--model").arg(&model).args(["--json", "-"]).arg(image);
            if !category.is_empty() {
                command.args(["--category", category]);
            }
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            without_name(serde_json::from_slice(&output.stdout).unwrap())
        };
        let detect_all = |category| (category, images.iter().map(|image| detect(category, image)).collect());
        let expected = ["", "gear", "plate"].map(detect_all).into();
        Shop { folder, images, expected }
    })
}

fn without_name(mut value: Value) -> Value {
    assert!(value.as_object_mut().unwrap().remove("image").is_some(), "{value}");
    value
}

/// The same but for the last bits of numbers, as the library promises of any batch.
fn close(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && close(a.1, b.1))
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-5 * a.abs().max(b.abs())
        }
        (a, b) => a == b,
    }
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut command = example("serve");
        command.arg("--model").arg(shop().model()).args(["--port", "0", "--threads", "2"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Sends a request and reads its answer, on a connection of its own.
    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        // An answer may come before all is sent, and the rest is refused then.
        let _ = stream.write_all(head(method, path, headers, body.len()).as_bytes());
        let _ = stream.write_all(body);
        Answer::read(stream).expect("an answer")
    }

    fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.ask("POST", path, &[], body)
    }

    fn metric(&self, name: &str) -> f64 {
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

    fn healthy(&self) {
        let answer = self.ask("GET", "/healthz", &[], b"");
        let value = answer.json();
        assert_eq!((answer.status, value["status"].as_str()), (200, Some("ok")), "{value}");
        assert_eq!(value["backbone"], "filter-bank");
        assert_eq!(value["categories"], serde_json::json!(["gear", "plate"]));
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Its exit status and what it wrote to standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code(), text)
    }

    fn stop(self) -> String {
        self.signal("TERM");
        let (code, text) = self.end();
        assert_eq!(code, Some(0), "{text}");
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn head(method: &str, path: &str, headers: &[&str], length: usize) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n")
}

struct Answer {
    status: u16,
    /// In lower case.
    head: String,
    body: Vec<u8>,
}

impl Answer {
    /// All of an answer; `None` where there is not a byte of it.
    fn read(mut stream: TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 65536];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer within 30 s"),
                // Closed before the upload was sent.
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

    fn json(&self) -> Value {
        let text = std::str::from_utf8(&self.body).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The error's message, of an answer with this status.
    fn error(&self, status: u16) -> String {
        let value = self.json();
        assert_eq!(self.status, status, "{value}");
        assert_eq!(value.as_object().unwrap().len(), 1);
        value["error"].as_str().unwrap().to_owned()
    }
}

fn read(path: &PathBuf) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

fn raw(path: &PathBuf) -> (String, Vec<u8>) {
    let picture = Picture::read(path, &Limits::default()).unwrap();
    (format!("X-Image-Shape: {},{},3", picture.height(), picture.width()), picture.pixels().to_vec())
}

const RAW: &str = "Content-Type: application/octet-stream";

#[test]
fn answers_are_those_of_detect_to_the_bit() {
    let Shop { images, expected, .. } = shop();
    let server = Server::start(&[]);
    for (category, expected) in expected {
        let query = if category.is_empty() { String::new() } else { format!("?category={category}") };
        for (image, expected) in images.iter().zip(expected) {
            let name = "X-Image-Name: line-3/part.png";
            let answer = server.ask("POST", &format!("/inspect{query}"), &[name], &read(image)).json();
            assert_eq!(answer["image"], "line-3/part.png");
            assert_eq!(&without_name(answer), expected);
            let (shape, pixels) = raw(image);
            let answer = server.ask("POST", &format!("/inspect{query}"), &[RAW, &shape], &pixels).json();
            assert_eq!(answer["image"], "upload");
            assert_eq!(&without_name(answer), expected);
            let swapped: Vec<u8> = pixels.chunks(3).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect();
            let headers = [RAW, &shape, "X-Image-Format: bgr8"];
            let answer = server.ask("POST", &format!("/inspect{query}"), &headers, &swapped).json();
            assert_eq!(&without_name(answer), expected);
        }
    }

    // Heat maps are the files that detect writes.
    let maps = tempfile::tempdir().unwrap();
    let image = &images[0];
    let mut detect = example("detect");
    detect.arg("--model").arg(shop().model()).args(["--category", "gear", "--heatmaps"]).arg(maps.path()).arg(image);
    assert!(detect.output().unwrap().status.success());
    let map = read(&maps.path().join(image.file_name().unwrap()));
    let answer = server.post("/heatmap?category=gear", &read(image));
    assert!(answer.status == 200 && answer.head.contains("content-type: image/png"), "{}", answer.head);
    assert!(answer.body == map);
    let mut answer = server.post("/inspect?category=g%65ar&heatmap=1", &read(image)).json();
    let encoded = answer.as_object_mut().unwrap().remove("heatmap_png").unwrap();
    assert!(base64::engine::general_purpose::STANDARD.decode(encoded.as_str().unwrap()).unwrap() == map);
    assert_eq!(without_name(answer), expected["gear"][0]);
    let said = server.stop();
    assert!(said.starts_with("stopped: answered ") && said.lines().count() == 1, "{said}");
}

#[test]
fn under_load_nothing_is_lost_and_everything_is_counted() {
    load(&[], false);
}

/// Alone in its batch, an image has the same bits under any load.
#[test]
fn batches_of_one_have_the_same_bits_under_load() {
    load(&["--batch", "1"], true);
}

fn load(arguments: &[&str], exact: bool) {
    let Shop { images, expected, .. } = shop();
    let server = Server::start(&[&["--read-timeout-s", "1", "--max-body-mib", "1"], arguments].concat());
    let sent: [AtomicUsize; 6] = Default::default();
    let statuses = [200u16, 400, 408, 413, 422, 405];
    let one = |client: usize, number: usize| {
        let index = (client * 7 + number) % images.len();
        let (image, kind) = (&images[index], (client + number) % 15);
        let answer = match kind {
            0 => server.post("/inspect", b"no picture"),
            1 => {
                // Byte by byte, and never all.
                let mut stream = server.connect();
                stream.write_all(head("POST", "/inspect", &[], 5000).as_bytes()).unwrap();
                let mut half = stream.try_clone().unwrap();
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(1300) && half.write_all(b"x").is_ok() {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Answer::read(stream).expect("an answer")
            }
            2 => {
                // Of what is too large, nothing is waited for.
                let mut stream = server.connect();
                stream.write_all(head("POST", "/inspect", &[], 1 << 40).as_bytes()).unwrap();
                Answer::read(stream).expect("an answer")
            }
            3 => server.ask("POST", "/inspect", &["Content-Type: image/png"], &vec![7; 2 << 20]),
            4 => server.post("/inspect?category=bolt", &read(image)),
            5 => server.ask("DELETE", "/inspect", &[], b""),
            6 => {
                let (shape, pixels) = raw(image);
                server.ask("POST", "/inspect?category=gear", &[RAW, &shape], &pixels)
            }
            _ => server.post("/inspect?category=gear", &read(image)),
        };
        let wanted = [400, 408, 413, 413, 422, 405].get(kind).copied().unwrap_or(200);
        if wanted == 200 {
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            let (answer, expected) = (without_name(answer.json()), &expected["gear"][index]);
            assert!(if exact { &answer == expected } else { close(&answer, expected) }, "{answer}\n{expected}");
        } else {
            assert!(!answer.error(wanted).is_empty());
        }
        sent[statuses.iter().position(|&status| status == wanted).unwrap()].fetch_add(1, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for client in 0..16 {
            let one = &one;
            scope.spawn(move || (0..30).for_each(|number| one(client, number)));
        }
    });
    let sent: Vec<f64> = sent.iter().map(|count| count.load(Ordering::Relaxed) as f64).collect();
    assert_eq!(sent.iter().sum::<f64>(), 480.0);
    let counted = |name: &str, status: u16| server.metric(&format!("dualad_{name}{{status=\"{status}\"}}"));
    // The metrics are asked for themselves, with 200: those that came before the one that counts.
    assert_eq!(counted("requests_total", 200), sent[0]);
    for (status, sent) in statuses.into_iter().zip(&sent).skip(1) {
        assert_eq!(counted("requests_total", status), *sent, "{status}");
        assert_eq!(counted("uploads_rejected_total", status), if status == 405 { 0.0 } else { *sent }, "{status}");
    }
    let decisions = ["accept", "review", "reject", "none"];
    let decided: f64 =
        decisions.iter().map(|kind| server.metric(&format!("dualad_decisions_total{{decision=\"{kind}\"}}"))).sum();
    for name in ["images_inspected_total", "inspection_seconds_count", "inspection_seconds_bucket{le=\"+Inf\"}"] {
        assert_eq!(server.metric(&format!("dualad_{name}")), sent[0], "{name}");
    }
    assert_eq!(decided, sent[0]);
    assert_eq!(server.metric("dualad_queue_depth"), 0.0);
    assert!(server.metric("dualad_batch_images_count") <= server.metric("dualad_batch_images_sum"));
    server.healthy();
    server.stop();
}

#[test]
fn a_full_queue_says_so_at_once() {
    let server = Server::start(&["--queue", "1", "--linger-ms", "500"]);
    let image = read(&shop().images[0]);
    let begun = Instant::now();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..12).map(|_| scope.spawn(|| server.post("/inspect", &image))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(begun.elapsed() < Duration::from_secs(10));
    let good = answers.iter().filter(|answer| answer.status == 200).count();
    assert!((1..12).contains(&good), "{good}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert!(answer.error(503).contains("1 uploads"));
        assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    }
    // A client that leaves frees its slot.
    let mut stream = server.connect();
    stream.write_all(head("POST", "/inspect", &[], 5000).as_bytes()).unwrap();
    drop(stream);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.post("/inspect", &image).status, 200);
    server.stop();
}

#[test]
fn what_was_accepted_is_answered_before_it_ends() {
    let Shop { images, expected, .. } = shop();
    let server = Server::start(&["--linger-ms", "30"]);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (server, answered) = (&server, &answered);
            scope.spawn(move || {
                for number in 0.. {
                    let index = (client + number) % images.len();
                    let Ok(mut stream) = TcpStream::connect(&server.address) else { return };
                    let body = read(&images[index]);
                    let _ = stream.write_all(head("POST", "/inspect", &[], body.len()).as_bytes());
                    let _ = stream.write_all(&body);
                    // Whole, or never accepted.
                    let Some(answer) = Answer::read(stream) else { continue };
                    answered.fetch_add(1, Ordering::Relaxed);
                    match answer.status {
                        200 => assert!(close(&without_name(answer.json()), &expected[""][index])),
                        _ => assert!(answer.error(503).contains("stopping")),
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(600));
        // One that is still being sent is accepted too.
        let body = read(&images[0]);
        let mut stream = server.connect();
        stream.write_all(head("POST", "/inspect", &[], body.len()).as_bytes()).unwrap();
        stream.write_all(&body[..10]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        server.signal("TERM");
        std::thread::sleep(Duration::from_millis(200));
        // Until then whoever asks is told.
        let health = server.ask("GET", "/healthz", &[], b"");
        assert_eq!((health.status, health.json()["status"].as_str()), (503, Some("stopping")));
        stream.write_all(&body[10..]).unwrap();
        let answer = Answer::read(stream).expect("an answer");
        assert!(close(&without_name(answer.json()), &expected[""][0]));
        answered.fetch_add(2, Ordering::Relaxed);
    });
    let (code, text) = server.end();
    assert_eq!(code, Some(0), "{text}");
    let answered = answered.into_inner();
    assert!(answered > 20 && text.contains(&format!("answered {answered} requests,")), "{answered}: {text}");
}

#[test]
fn a_second_signal_and_a_deadline_end_it() {
    let begin = |arguments: &[&str]| {
        let server = Server::start(arguments);
        let mut stream = server.connect();
        stream.write_all(head("POST", "/inspect", &[], 5000).as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        (server, stream)
    };
    let (server, _stream) = begin(&[]);
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(200));
    server.signal("INT");
    assert_eq!(server.end().0, Some(130));
    let (server, _stream) = begin(&["--stop-timeout-s", "1"]);
    server.signal("TERM");
    let (code, text) = server.end();
    assert!(code == Some(1) && text.contains("--stop-timeout-s") && text.lines().count() == 1, "{code:?} {text}");
}

/// Path, headers, body; the answer's status, and a word of its error.
type Case<'a> = (&'a str, &'a [&'a str], &'a [u8], u16, &'a str);

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let server = Server::start(&["--max-pixels", "5000", "--max-body-mib", "1", "--read-timeout-s", "2"]);
    let image = read(&shop().images[0]);
    let (shape, pixels) = raw(&shop().images[0]);
    let large = {
        let mut file = std::io::Cursor::new(Vec::new());
        let picture = dualad::data::image_crate::RgbImage::new(100, 100);
        picture.write_to(&mut file, dualad::data::image_crate::ImageFormat::Png).unwrap();
        file.into_inner()
    };
    let long = format!("X-Image-Name: {}", "x".repeat(300));
    let cases: &[Case<'_>] = &[
        ("/inspect", &[], b"", 400, "empty"),
        ("/inspect", &[], b"/etc/passwd", 400, "upload"),
        ("/inspect", &[], b"../../etc/passwd", 400, "upload"),
        ("/inspect", &[], &image[..image.len() / 2], 400, "upload"),
        ("/inspect?colour=red", &[], &image, 400, "colour"),
        ("/inspect?heatmap=yes", &[], &image, 400, "0 or 1"),
        ("/inspect?category=gear&category=gear", &[], &image, 400, "twice"),
        ("/inspect?category=%ff", &[], &image, 400, "UTF-8"),
        ("/inspect?category=%4", &[], &image, 400, "UTF-8"),
        ("/heatmap?heatmap=1", &[], &image, 400, "heatmap"),
        ("/inspect?category=bolt", &[], &image, 422, "gear, plate"),
        ("/inspect", &["Content-Type: multipart/form-data; boundary=x"], &image, 415, "image file itself"),
        ("/inspect", &["Content-Type: application/json"], b"{}", 415, "image file itself"),
        ("/inspect", &["Content-Encoding: gzip"], &image, 415, "compressed"),
        ("/inspect", &[&shape], &pixels, 415, "octet-stream"),
        ("/inspect", &[RAW, &shape], &pixels[1..], 400, "take"),
        ("/inspect", &[RAW, "X-Image-Shape: 64,64"], &pixels, 400, "HEIGHT,WIDTH,CHANNELS"),
        ("/inspect", &[RAW, "X-Image-Shape: 64,64,3,x"], &pixels, 400, "X-Image-Shape"),
        ("/inspect", &[RAW, "X-Image-Shape: 64,64,4"], &pixels, 400, "1 or 3"),
        ("/inspect", &[RAW, "X-Image-Shape: 0,64,3"], &pixels, 400, "at least 1"),
        ("/inspect", &[RAW, "X-Image-Shape: 4294967295,4294967295,3"], &pixels, 413, "limit"),
        ("/inspect", &[RAW, &shape, "X-Image-Format: grey8"], &pixels, 400, "grey8"),
        ("/inspect", &[RAW, "X-Image-Format: rgb8"], &pixels, 400, "X-Image-Shape"),
        ("/inspect", &["X-Image-Name: \u{e9}"], &image, 400, "ASCII"),
        ("/inspect", &[&long], &image, 400, "255"),
        ("/inspect", &[], &large, 413, "limit"),
        ("/nowhere", &[], &image, 404, "/inspect"),
        ("/healthz", &[], b"", 405, "POST"),
    ];
    for (path, headers, body, status, word) in cases {
        let error = server.ask("POST", path, headers, body).error(*status);
        assert!(error.contains(word), "{path} {headers:?}: {error}");
    }
    assert!(server.ask("GET", "/inspect", &[], b"").head.contains("allow: post"));
    let grey = server.ask("POST", "/inspect", &[RAW, "X-Image-Shape: 20,30,1"], &[9; 600]).json();
    assert_eq!((&grey["width"], &grey["height"]), (&30.into(), &20.into()));

    // What is no HTTP, breaks off, or never begins.
    for text in [
        "\u{0}\u{1}\u{2}",
        "GET",
        "POST /inspect HTTP/9.9\r\n\r\n",
        "POST /inspect HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut stream = server.connect();
        let _ = stream.write_all(text.as_bytes());
        let _ = stream.shutdown(Shutdown::Write);
        if let Some(answer) = Answer::read(stream) {
            assert_eq!(answer.status, 400, "{text:?}");
        }
    }
    let mut stream = server.connect();
    stream.write_all(head("POST", "/inspect", &[], image.len()).as_bytes()).unwrap();
    stream.write_all(&image[..9]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(Answer::read(stream).is_none_or(|answer| answer.status == 400));
    // A head that never ends is ended.
    let (begun, mut stream) = (Instant::now(), server.connect());
    stream.write_all(b"POST /inspect HTTP/1.1\r\nX: ").unwrap();
    assert!(Answer::read(stream).is_none_or(|answer| answer.status == 408));
    assert!(begun.elapsed() < Duration::from_secs(10));
    // Chunks without a length are counted as they come.
    let mut stream = server.connect();
    stream.write_all(b"POST /inspect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[7; 0x10000], b"\r\n"].concat();
    while stream.write_all(&chunk).is_ok() {}
    assert_eq!(
        Answer::read(stream).expect("an answer").error(413),
        "the upload is larger than 1048576 bytes, the limit"
    );
    server.healthy();
    server.stop();
}

/// An answer that nobody takes is not kept.
#[test]
fn a_client_that_does_not_read_is_left() {
    let server = Server::start(&["--read-timeout-s", "1"]);
    // Noise: its picture is larger than what sockets hold.
    let pixels: Vec<u8> =
        (0..3000u64 * 2500 * 3).map(|index| (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let mut stream = server.connect();
    stream.write_all(head("POST", "/heatmap", &[RAW, "X-Image-Shape: 2500,3000,3"], pixels.len()).as_bytes()).unwrap();
    stream.write_all(&pixels).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    std::thread::sleep(Duration::from_millis(2500));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let text = String::from_utf8_lossy(&rest[..rest.len().min(500)]).into_owned();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
    assert!(rest.len() < length, "{} of {length} bytes", rest.len());
    server.healthy();
    server.stop();
}

#[test]
fn it_does_not_start_on_what_cannot_work() {
    let fail = |arguments: &[&str], code: i32| {
        let output = example("serve").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(code == 2 || text.starts_with("error: ") && text.lines().count() == 1, "{text}");
        text
    };
    let model = shop().model();
    let model = model.to_str().unwrap();
    assert!(fail(&[], 2).contains("--model"));
    for wrong in [["--queue", "0"], ["--port", "70000"], ["--address", "here"], ["--batch", "none"]] {
        assert!(fail(&["--model", model, wrong[0], wrong[1]], 2).contains(wrong[0]));
    }
    assert!(fail(&["--model", "/no/such/model"], 1).contains("/no/such/model"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let error = fail(&["--model", model, "--port", &port], 1);
    assert!(error.contains(&port) && error.contains("--port"), "{error}");

    let server = Server::start(&["--address", "0.0.0.0"]);
    let said = server.stop();
    assert!(said.starts_with("warning: ") && said.contains("authentication") && said.lines().count() == 2, "{said}");
}
