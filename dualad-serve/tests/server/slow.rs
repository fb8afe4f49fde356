//! Uploads that arrive slowly keep no others out.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dualad_serve::Options;

use crate::support::{FIXTURE, TestServer, head, read};

/// Begins uploads of so many bytes, and sends the first `sent` of them.
fn begin(server: &TestServer, path: &str, count: usize, length: usize, sent: usize) -> Vec<TcpStream> {
    let begin = |_| {
        let mut stream = server.connect();
        // The server may have closed it already.
        let _ = stream.write_all(head("POST", path, &[], length).as_bytes());
        let _ = stream.write_all(&vec![7; sent]);
        stream
    };
    (0..count).map(begin).collect()
}

#[test]
fn uploads_that_arrive_slowly_take_no_slots() {
    let image = read(&FIXTURE.images[0]);
    for path in ["/inspect", "/inspect?heatmap=1", "/heatmap"] {
        let server = TestServer::start(Options::default().with_queue(4).with_io_timeout(Duration::from_secs(120)));
        let mut slow = begin(&server, path, 8, image.len(), 1);
        std::thread::sleep(Duration::from_millis(200));
        for _ in 0..10 {
            slow.iter_mut().for_each(|stream| stream.write_all(&[7]).unwrap());
            assert_eq!(server.post(path, &image).status, 200);
        }
        assert_eq!(server.metric("dualad_queue_depth"), 8.0);
        drop(slow);
        let totals = server.stop();
        assert_eq!(totals.images_inspected, 10);
    }
}

#[test]
fn uploads_that_stop_arriving_give_their_memory_back() {
    // Memory for two bodies, which is taken.
    let options = Options::default().with_queue(2).with_max_body_bytes(1 << 20);
    let server = TestServer::start(options.with_io_timeout(Duration::from_secs(60)));
    let slow = begin(&server, "/inspect", 2, 1 << 20, (1 << 20) - 1);
    let begun = Instant::now();
    while server.metric("dualad_queue_depth") < 2.0 {
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    std::thread::sleep(Duration::from_millis(200));
    let image = read(&FIXTURE.images[0]);
    for _ in 0..3 {
        assert_eq!(server.post("/inspect", &image).status, 200);
    }
    drop(slow);
    server.stop();
}
