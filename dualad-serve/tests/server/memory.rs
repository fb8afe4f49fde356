//! Decoding takes bounded memory, and small images do not wait behind large ones.

use std::io::{Cursor, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dualad::data::image_crate::{self, ImageFormat, RgbImage};
use dualad_serve::Options;

use crate::support::{FIXTURE, TestServer, read};

fn black(width: u32, height: u32) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    RgbImage::new(width, height).write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

#[test]
fn small_images_do_not_wait_behind_large_ones() {
    let server = TestServer::start(Options::default().with_decoding_memory(64 << 20));
    // Each takes most of the memory: they are decoded one after the other.
    let (large, small) = (black(4000, 3500), read(&FIXTURE.images[0]));
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                assert_eq!(server.post("/inspect", &large).status, 200);
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(server.post("/inspect", &small).status, 200);
        assert!(done.load(Ordering::SeqCst) < 12, "the small image waited for all large ones");
    });
    assert_eq!(done.into_inner(), 12);
    // With a heat map too, which takes more than there is.
    assert_eq!(server.post("/heatmap", &large).status, 200);
    // It could never be decoded.
    let error = server.post("/inspect", &black(5000, 4000)).error(413);
    assert!(error.contains("memory") && error.contains("50331648"), "{error}");
    server.assert_healthy();
    server.stop();
}

/// A client that disconnects gives its memory back.
#[test]
fn memory_of_clients_that_have_gone_is_free() {
    let server = TestServer::start(Options::default().with_decoding_memory(64 << 20));
    let large = black(4000, 3500);
    for _ in 0..6 {
        let mut stream = server.connect();
        let head = format!("POST /inspect HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", large.len());
        stream.write_all(&[head.as_bytes(), &large].concat()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.post("/inspect", &large).status, 200);
    server.stop();
}

/// Heat maps that their clients do not receive are bounded, and keep no inspection out.
#[test]
fn heat_maps_that_nobody_receives_are_bounded() {
    let small = read(&FIXTURE.images[0]);
    let mut bytes = 1u32;
    let noise = RgbImage::from_fn(2400, 2400, |_, _| {
        bytes = bytes.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        image_crate::Rgb([(bytes >> 24) as u8, (bytes >> 16) as u8, (bytes >> 8) as u8])
    });
    let mut file = Cursor::new(Vec::new());
    noise.write_to(&mut file, ImageFormat::Png).unwrap();
    let noise = file.into_inner();
    for path in ["/heatmap", "/inspect?heatmap=1"] {
        // A client that does not read ends by itself, or is disconnected in the end.
        for io_timeout in [Duration::from_secs(120), Duration::from_secs(4)] {
            let server = TestServer::start(Options::default().with_queue(1).with_io_timeout(io_timeout));
            let mut ignored = server.connect();
            let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", noise.len());
            ignored.write_all(&[head.as_bytes(), &noise].concat()).unwrap();
            // The answer has begun, and does not fit into the buffers of the connection.
            ignored.peek(&mut [0]).unwrap();
            if io_timeout < Duration::from_secs(60) {
                let begun = Instant::now();
                // Those that wait too long are refused.
                while server.post(path, &small).status != 200 {
                    assert!(begun.elapsed() < Duration::from_secs(100), "the client was not disconnected");
                }
                server.stop();
                continue;
            }
            std::thread::scope(|scope| {
                let waits = scope.spawn(|| server.post(path, &small).status);
                let begun = Instant::now();
                for _ in 0..3 {
                    assert_eq!(server.post("/inspect", &small).status, 200);
                }
                // Where it does not wait, the small heat map takes no longer than the inspections after it.
                std::thread::sleep(begun.elapsed().max(Duration::from_millis(500)));
                assert!(!waits.is_finished(), "a second heat map was held");
                drop(ignored);
                assert_eq!(waits.join().unwrap(), 200);
            });
            server.stop();
        }
    }
}
