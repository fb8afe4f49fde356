//! A local server that implements the hub's protocol, and violates it on request.
//!
//! Like the real one, it answers a request for a file with its metadata and a redirect to storage, which is a second listener with
//! another host name.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The fault of a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// The first `answers` answers of the storage end after `after` bytes.
    Drop {
        answers: usize,
        after: usize,
    },
    /// All answers of the storage end after their headers.
    AlwaysDrop,
    /// The storage ignores ranges: every answer starts at byte 0, and the first ends early.
    NoRanges {
        after: usize,
    },
    /// The storage sends other content of the same length.
    OtherBytes,
    /// The file is truncated on the server, but the entity tag is that of the whole file.
    CutShort(usize),
    /// The storage sends more bytes than the hub declared.
    Longer,
    /// The storage is silent after this number of bytes.
    HangAfter(usize),
    /// The storage sends one byte every 50 ms.
    Trickle,
    /// The hub accepts the connection and is silent.
    Hang,
    /// The hub closes the connection immediately.
    Close,
    /// The hub answers with a status and an error code.
    Status(u16, &'static str),
    /// A login page answers instead of the hub.
    Html,
    /// A header of the hub's answer has this value; empty removes it.
    Header(&'static str, &'static str),
    /// The repository was renamed: the hub redirects to another path first.
    Renamed,
    /// The hub redirects to itself forever.
    Loop,
    /// The hub sends the content itself, without storage, as it does for small files.
    Direct,
    /// The hub sends an empty file itself.
    Empty,
    /// The storage has the hub's host name and another port.
    SameHost,
    /// The redirect to storage has a body that never ends.
    EndlessRedirect,
    /// The storage's body begins with a chunk header that never ends.
    EndlessChunk,
    /// The storage compresses.
    Compressed,
    /// The storage sends 20 kB to a request without a range, and nothing, from byte 0, to one with a range.
    StartsOver,
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) to_storage: bool,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
}

struct State {
    path: String,
    content: Vec<u8>,
    fault: Fault,
    storage: SocketAddr,
    log: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

pub(crate) struct HubServer {
    state: Arc<State>,
    address: SocketAddr,
}

impl HubServer {
    /// Serves `content` as `/{path}`, where `path` is `owner/name/resolve/revision/file`.
    pub(crate) fn start(path: &str, content: Vec<u8>, fault: Fault) -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let storage = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = hub.local_addr().unwrap();
        let state = Arc::new(State {
            path: format!("/{path}"),
            content,
            fault,
            storage: storage.local_addr().unwrap(),
            log: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        for (listener, to_storage) in [(hub, false), (storage, true)] {
            let state = state.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if state.stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    let (state, Ok(stream)) = (state.clone(), stream) else { return };
                    std::thread::spawn(move || serve(&state, stream, to_storage));
                }
            });
        }
        Self { state, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.log.lock().unwrap().clone()
    }

    pub(crate) fn downloads(&self) -> usize {
        self.requests().iter().filter(|request| request.to_storage && request.method == "GET").count()
    }
}

impl Drop for HubServer {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        // A connection wakes each listener, which then stops.
        for address in [self.address, self.state.storage] {
            let _ = TcpStream::connect(address);
        }
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Answers one request, then closes the connection.
fn serve(state: &State, mut stream: TcpStream, to_storage: bool) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: BTreeMap<String, String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())))
        .collect();
    let request = Request { to_storage, method, path, headers };
    state.log.lock().unwrap().push(request.clone());
    let _ = if to_storage { storage(state, &request, &mut stream) } else { hub(state, &request, &mut stream) };
}

fn head(stream: &mut TcpStream, status: &str, headers: &[(&str, String)]) -> std::io::Result<()> {
    let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    stream.write_all((text + "\r\n").as_bytes())
}

fn hub(state: &State, request: &Request, stream: &mut TcpStream) -> std::io::Result<()> {
    let empty = ("Content-Length", "0".to_owned());
    match &state.fault {
        Fault::Hang => {
            std::thread::sleep(Duration::from_secs(10));
            return Ok(());
        }
        Fault::Close => return Ok(()),
        Fault::Status(status, code) => {
            return head(stream, &format!("{status} No"), &[("X-Error-Code", (*code).into()), empty]);
        }
        Fault::Html => {
            let page = "<!DOCTYPE html><title>Sign in</title>";
            let length = page.len().to_string();
            head(stream, "200 OK", &[("Content-Type", "text/html".into()), ("Content-Length", length)])?;
            return if request.method == "HEAD" { Ok(()) } else { stream.write_all(page.as_bytes()) };
        }
        Fault::Loop => return head(stream, "307 Over there", &[("Location", request.path.clone()), empty]),
        Fault::Renamed if request.path.starts_with("/old/") => {
            let location = request.path.replacen("/old/", "/new/", 1);
            return head(stream, "307 Renamed", &[("Location", location), empty]);
        }
        _ => {}
    }
    let path =
        if state.fault == Fault::Renamed { state.path.replacen("/old/", "/new/", 1) } else { state.path.clone() };
    // The metadata are requested for the revision, the content for the commit that it names.
    let by_commit = path.split("/resolve/").next().map(|repo| format!("{repo}/resolve/{COMMIT}/"));
    let is_known = request.path == path || by_commit.is_some_and(|prefix| request.path.starts_with(&prefix));
    if !is_known {
        return head(stream, "404 Not Found", &[("X-Error-Code", "EntryNotFound".into()), empty]);
    }
    let length = state.content.len();
    if state.fault == Fault::Empty {
        let tag = "\"4f2c1e0f5a0f6a5b1e3b9d7c8a9b0c1d2e3f4a5b\"".to_owned();
        return head(stream, "200 OK", &[("X-Repo-Commit", COMMIT.to_owned()), ("ETag", tag), empty]);
    }
    if state.fault == Fault::EndlessRedirect && request.method == "GET" {
        let location = format!("http://localhost:{}/blob", state.storage.port());
        head(stream, "302 Found", &[("Location", location), ("Transfer-Encoding", "chunked".to_owned())])?;
        return endlessly(stream, b"5\r\nhello\r\n");
    }
    if state.fault == Fault::Direct {
        let headers = [
            ("X-Repo-Commit", COMMIT.to_owned()),
            ("ETag", "\"4f2c1e0f5a0f6a5b1e3b9d7c8a9b0c1d2e3f4a5b\"".to_owned()),
            ("Content-Length", length.to_string()),
        ];
        head(stream, "200 OK", &headers)?;
        return if request.method == "HEAD" { Ok(()) } else { stream.write_all(&state.content) };
    }
    let declared = if let Fault::CutShort(kept) = state.fault { kept } else { length };
    let storage = if state.fault == Fault::SameHost { "127.0.0.1" } else { "localhost" };
    let mut headers = vec![
        ("X-Repo-Commit", COMMIT.to_owned()),
        ("X-Linked-Etag", format!("\"{}\"", sha256(&state.content))),
        ("X-Linked-Size", declared.to_string()),
        ("Location", format!("http://{storage}:{}/blob", state.storage.port())),
        empty,
    ];
    if let Fault::Header(name, value) = state.fault {
        headers.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            headers.push((name, value.to_owned()));
        }
    }
    head(stream, "302 Found", &headers)
}

/// Sends until the client closes the connection, at most for 30 seconds.
fn endlessly(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    for _ in 0..600 {
        stream.write_all(bytes)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn storage(state: &State, request: &Request, stream: &mut TcpStream) -> std::io::Result<()> {
    let answers = state.log.lock().unwrap().iter().filter(|request| request.to_storage).count();
    let mut content = state.content.clone();
    match state.fault {
        Fault::OtherBytes => content[100] ^= 1,
        Fault::CutShort(kept) => content.truncate(kept),
        Fault::Longer => content.extend([0; 1000]),
        _ => {}
    }
    let range =
        request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let start = if matches!(state.fault, Fault::NoRanges { .. }) { 0 } else { range.unwrap_or(0).min(content.len()) };
    let rest = &content[start..];
    let length = ("Content-Length", rest.len().to_string());
    match state.fault {
        Fault::EndlessChunk => {
            head(stream, "200 OK", &[("Transfer-Encoding", "chunked".to_owned())])?;
            stream.write_all(b"5;")?;
            return endlessly(stream, b"a");
        }
        Fault::Compressed => {
            head(stream, "200 OK", &[("Content-Encoding", "gzip".to_owned())])?;
            return endlessly(stream, b"\x1f\x8b\x08\x08aaaaaaaaaaaa");
        }
        Fault::StartsOver if range.is_some() => return head(stream, "200 OK", &[("Content-Length", "0".to_owned())]),
        _ => {}
    }
    if start > 0 {
        let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
        head(stream, "206 Partial Content", &[length, ("Content-Range", range)])?;
    } else if state.fault == Fault::Longer {
        // Without a length, the end of the connection is the end of the body.
        head(stream, "200 OK", &[])?;
    } else {
        head(stream, "200 OK", &[length])?;
    }
    if state.fault == Fault::Trickle {
        for byte in rest.iter().take(100) {
            stream.write_all(&[*byte])?;
            std::thread::sleep(Duration::from_millis(50));
        }
        return Ok(());
    }
    let sent = match state.fault {
        Fault::Drop { answers: dropped, after } if answers <= dropped => after,
        Fault::NoRanges { after } if answers == 1 => after,
        Fault::AlwaysDrop => 0,
        Fault::StartsOver => 20_000,
        Fault::HangAfter(after) => after,
        _ => rest.len(),
    };
    stream.write_all(&rest[..sent.min(rest.len())])?;
    if matches!(state.fault, Fault::HangAfter(_)) {
        std::thread::sleep(Duration::from_secs(10));
    }
    Ok(())
}
