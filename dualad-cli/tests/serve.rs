//! `dualad serve` as a process: its answers are those of `dualad inspect`, and signals stop it.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use dualad::Detector;
use dualad::data::{Dataset, Split};
use serde_json::Value;

mod support {
    pub(crate) mod config;
    pub(crate) mod parts;
    pub(crate) mod program;
    pub(crate) mod recipe;
    pub(crate) mod signal;
}

use support::parts::write_parts;
use support::program::program;
use support::recipe::recipe;
use support::signal::signal;

/// A trained model and a test image.
struct Fixture {
    folder: tempfile::TempDir,
    image: PathBuf,
}

impl Fixture {
    fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_parts(&data, 10);
    let model = Detector::fit(&data).recipe(recipe()).epochs(2).run().unwrap().detector;
    model.save(folder.path().join("model")).unwrap();
    let image = Dataset::open(&data).unwrap().samples(Split::Test).next().unwrap().path.clone();
    Fixture { folder, image }
});

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::run(program("serve"), arguments)
    }

    fn run(mut command: Command, arguments: &[&str]) -> Self {
        command.arg("--model").arg(FIXTURE.model()).args(["--port", "0", "--threads", "2"]).args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Self { child, address }
    }

    /// Sends an image and returns the body of the answer.
    fn post(&self, path: &str, image: &Path) -> Vec<u8> {
        let body = std::fs::read(image).unwrap();
        let mut stream = self.begin(path, body.len());
        stream.write_all(&body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        answer.split_off(end + 4)
    }

    /// Sends the head of an upload.
    fn begin(&self, path: &str, length: usize) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Image-Name: {}\r\nContent-Length: {length}\r\n\r\n",
            FIXTURE.image.display()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Waits for the end of the process and returns its exit status and its standard error.
    fn wait(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code(), text)
    }

    fn stop(self) -> String {
        self.signal("TERM");
        let (code, text) = self.wait();
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

#[test]
fn answers_are_those_of_inspect_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (totals, maps) = (folder.path().join("totals.json"), folder.path().join("maps"));
    let server = Server::start(&["--json", totals.to_str().unwrap()]);
    let image = &FIXTURE.image;
    let mut inspect = program("inspect");
    inspect.arg("--model").arg(FIXTURE.model()).args(["--category", "gear", "--json", "-"]).arg(image);
    let output = inspect.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.post("/inspect?category=gear", image), output.stdout);
    assert!(inspect.arg("--heatmaps").arg(&maps).output().unwrap().status.success());
    let map = std::fs::read(maps.join(image.file_name().unwrap())).unwrap();
    assert!(server.post("/heatmap?category=gear", image) == map);
    let text = server.stop();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("model "), "{text}");
    assert_eq!(lines[1], "stopped: answered 2 requests, inspected 2 images, rejected 0 uploads");
    let totals: Value = serde_json::from_slice(&std::fs::read(totals).unwrap()).unwrap();
    assert_eq!((&totals["requests"]["200"], &totals["images_inspected"]), (&2.into(), &2.into()), "{totals}");
}

#[test]
fn a_signal_answers_what_was_accepted() {
    for (signal, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        if is_ignored(number) {
            println!("skipped: the tests run with SIG{signal} ignored, as under nohup, and the server inherits that");
            continue;
        }
        let server = Server::start(&[]);
        let body = std::fs::read(&FIXTURE.image).unwrap();
        let mut stream = server.begin("/inspect", body.len());
        stream.write_all(&body[..10]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        server.signal(signal);
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(&body[10..]).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let (code, text) = server.wait();
        assert!(code == Some(0) && text.contains("answered 1 requests"), "{signal} {code:?} {text}");
    }
}

/// Returns whether this process ignores a signal. A script's jobs in the background ignore SIGINT, and those of `nohup` SIGHUP.
fn is_ignored(signal: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}

/// As under `nohup`.
#[cfg(target_os = "linux")]
#[test]
fn a_hangup_that_was_ignored_from_the_start_stays_ignored() {
    let serve = program("serve");
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(serve.get_program()).args(serve.get_args());
    let server = Server::run(command, &[]);
    server.signal("HUP");
    std::thread::sleep(Duration::from_millis(300));
    server.post("/inspect", &FIXTURE.image);
    server.stop();
}

#[test]
fn a_model_without_thresholds_needs_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let calibrated = Detector::load(FIXTURE.model()).unwrap();
    calibrated.with_calibration(None).save(&model).unwrap();
    let output = program("serve").arg("--model").arg(&model).args(["--port", "0"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && text.lines().count() == 1, "{text}");
    assert!(text.contains("--scores-only") && text.contains("dualad calibrate"), "{text}");
    let server = Server::start(&["--scores-only"]);
    let answer: Value = serde_json::from_slice(&server.post("/inspect", &FIXTURE.image)).unwrap();
    assert!(answer["verdict"].is_null() && answer["image_score"].is_number(), "{answer}");
    assert!(server.stop().starts_with("serving scores only"));
}

#[test]
fn a_change_of_the_thresholds_is_warned_about_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.json");
    let text = std::fs::read(FIXTURE.model().join("calibration.json")).unwrap();
    std::fs::write(&path, &text).unwrap();
    let mut server = Server::start(&["--calibration", path.to_str().unwrap()]);
    let mut stderr = BufReader::new(server.child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let model = dualad::store::sha256_of_file(&FIXTURE.model().join("model.safetensors")).unwrap();
    let expected = format!(
        "model {} (SHA-256 of its parameters), scores in f32, 3 sets of thresholds from {} (SHA-256 {})\n",
        &model[..16],
        path.display(),
        &dualad::store::sha256(&text)[..16]
    );
    assert_eq!(line, expected);
    std::fs::write(&path, r#"{"pooled": {"reject": 1}}"#).unwrap();
    line.clear();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("warning: ") && line.contains("own.json has changed"), "{line}");
    std::fs::write(&path, r#"{"pooled": {"reject": 2}}"#).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    server.signal("TERM");
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("stopped") && rest.lines().count() == 1, "{rest}");
}

/// Clients that never send the rest of a request's head do not keep others out, and neither do those that send no body.
#[test]
fn slow_clients_do_not_keep_others_out() {
    for head in [
        "POST /inspect HTTP/1.1\r\nX: ",
        "POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n",
        "POST /inspect HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nx",
    ] {
        let server = Server::start(&[]);
        let slow: Vec<TcpStream> = (0..600)
            .map(|_| {
                let mut stream = TcpStream::connect(&server.address).unwrap();
                // The server may have closed it already.
                let _ = stream.write_all(head.as_bytes());
                stream
            })
            .collect();
        let begun = Instant::now();
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        server.post("/inspect", &FIXTURE.image);
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        drop(slow);
        server.stop();
    }
}

#[test]
fn a_second_signal_or_the_time_limit_ends_it() {
    let begin = |arguments: &[&str]| {
        let server = Server::start(arguments);
        let stream = server.begin("/inspect", 5000);
        std::thread::sleep(Duration::from_millis(200));
        (server, stream)
    };
    let (server, _stream) = begin(&[]);
    server.signal("TERM");
    std::thread::sleep(Duration::from_millis(200));
    server.signal("INT");
    assert_eq!(server.wait().0, Some(130));
    let (server, _stream) = begin(&["--stop-timeout-s", "1"]);
    server.signal("TERM");
    let (code, text) = server.wait();
    assert!(code == Some(1) && text.contains("--stop-timeout-s") && text.lines().count() == 2, "{code:?} {text}");
}

#[test]
fn it_does_not_start_with_wrong_arguments() {
    let fail = |arguments: &[&str], code: i32| {
        let output = program("serve").args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(code == 2 || text.starts_with("error: ") && text.lines().count() == 1, "{text}");
        text
    };
    let model = FIXTURE.model();
    let model = model.to_str().unwrap();
    assert!(fail(&[], 2).contains("--model"));
    for wrong in [
        ["--queue", "0"],
        ["--decoding-memory-mib", "1"],
        ["--port", "70000"],
        ["--address", "here"],
        ["--batch", "none"],
    ] {
        assert!(fail(&["--model", model, wrong[0], wrong[1]], 2).contains(wrong[0]));
    }
    assert!(fail(&["--model", "/no/such/model"], 1).contains("/no/such/model"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let error = fail(&["--model", model, "--port", &port], 1);
    assert!(error.contains(&port) && error.contains("--port"), "{error}");
}

#[test]
fn an_address_for_other_machines_is_warned_about() {
    let text = Server::start(&["--address", "0.0.0.0"]).stop();
    assert!(text.starts_with("warning: ") && text.contains("authentication") && text.lines().count() == 3, "{text}");
}
