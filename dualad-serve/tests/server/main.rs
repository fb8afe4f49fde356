//! The server over TCP: its answers are those of the detector, and neither load nor faulty clients harm it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use dualad::candle_core::Device;
use dualad::data::image::Limits;
use dualad::data::image_crate::{self, ImageFormat, RgbImage};
use dualad::detector::{Replicas, Request};
use dualad_serve::{Error, Options, Server};

mod flood;
mod memory;
mod refusals;
mod slow;
mod support;
mod thresholds;

use support::{Answer, FIXTURE, Fixture, RAW, TestServer, head, is_close, raw_pixels, read, without_name};

#[test]
fn answers_equal_the_detectors_results() {
    let Fixture { images, expected, .. } = &*FIXTURE;
    let server = TestServer::start(Options::default());
    for (category, expected) in expected {
        let query = if category.is_empty() { String::new() } else { format!("?category={category}") };
        for (image, expected) in images.iter().zip(expected) {
            let name = "X-Image-Name: line-3/part.png";
            let answer = server.ask("POST", &format!("/inspect{query}"), &[name], &read(image)).json();
            assert_eq!(answer["image"], "line-3/part.png");
            assert_eq!(&without_name(answer), expected);
            let (shape, pixels) = raw_pixels(image);
            let answer = server.ask("POST", &format!("/inspect{query}"), &[RAW, &shape], &pixels).json();
            assert_eq!(answer["image"], "upload");
            assert_eq!(&without_name(answer), expected);
            let swapped: Vec<u8> = pixels.chunks(3).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect();
            let headers = [RAW, &shape, "X-Image-Format: bgr8"];
            let answer = server.ask("POST", &format!("/inspect{query}"), &headers, &swapped).json();
            assert_eq!(&without_name(answer), expected);
        }
    }

    // The heat map is the detector's.
    let image = &images[0];
    let detector = FIXTURE.detector(Limits::default());
    let request = Request::from(image.as_path()).category("gear");
    let expected_map = detector.inspect(request).unwrap().heat_map(&detector.picture(request).unwrap()).unwrap();
    let answer = server.post("/heatmap?category=gear", &read(image));
    assert!(answer.status == 200 && answer.head.contains("content-type: image/png"), "{}", answer.head);
    let map = answer.body;
    assert!(image_crate::load_from_memory(&map).unwrap().into_rgb8() == expected_map);
    let mut answer = server.post("/inspect?category=g%65ar&heatmap=1", &read(image)).json();
    let encoded = answer.as_object_mut().unwrap().remove("heatmap_png").unwrap();
    assert!(base64::engine::general_purpose::STANDARD.decode(encoded.as_str().unwrap()).unwrap() == map);
    assert_eq!(without_name(answer), expected["gear"][0]);
    let totals = server.stop();
    assert_eq!(totals.images_inspected, 9 * images.len() as u64 + 2);
    assert_eq!(totals.requests, [(200, totals.images_inspected)].into());
    // One client: an image waits for nothing but its own batch.
    assert!(0.0 < totals.busy_seconds && totals.busy_seconds <= totals.waiting_seconds, "{totals:?}");
    assert!(totals.waiting_seconds < totals.seconds, "{totals:?}");
}

#[test]
fn under_load_nothing_is_lost_and_everything_is_counted() {
    load(FIXTURE.detector(Limits::default()), Options::default(), false);
}

/// An image that is alone in its batch has the same bits under any load.
#[test]
fn batches_of_one_have_the_same_bits_under_load() {
    load(FIXTURE.detector(Limits::default()), Options::default().with_batch(1), true);
}

/// A thread for each device takes images from one queue.
#[test]
fn replicas_answer_with_the_bits_of_one_detector_under_load() {
    let replicas = Replicas::new(FIXTURE.detector(Limits::default()), &[Device::Cpu, Device::Cpu]).unwrap();
    load(replicas, Options::default().with_batch(1), true);
}

fn load(detectors: impl Into<Replicas>, options: Options, exact: bool) {
    let Fixture { images, expected, .. } = &*FIXTURE;
    let options = options.with_io_timeout(Duration::from_secs(1)).with_max_body_bytes(1 << 20);
    let server = TestServer::start_with(detectors, options);
    let sent: [AtomicUsize; 6] = Default::default();
    let statuses = [200u16, 400, 408, 413, 422, 405];
    let one = |client: usize, number: usize| {
        let index = (client * 7 + number) % images.len();
        let (image, kind) = (&images[index], (client + number) % 15);
        let answer = match kind {
            0 => server.post("/inspect", b"no picture"),
            1 => {
                // Byte by byte, and never the whole body.
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
                // The server does not wait for a body that is too large.
                let mut stream = server.connect();
                stream.write_all(head("POST", "/inspect", &[], 1 << 40).as_bytes()).unwrap();
                Answer::read(stream).expect("an answer")
            }
            3 => server.ask("POST", "/inspect", &["Content-Type: image/png"], &vec![7; 2 << 20]),
            4 => server.post("/inspect?category=bolt", &read(image)),
            5 => server.ask("DELETE", "/inspect", &[], b""),
            6 => {
                let (shape, pixels) = raw_pixels(image);
                server.ask("POST", "/inspect?category=gear", &[RAW, &shape], &pixels)
            }
            _ => server.post("/inspect?category=gear", &read(image)),
        };
        let wanted = [400, 408, 413, 413, 422, 405].get(kind).copied().unwrap_or(200);
        if wanted == 200 {
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            let (answer, expected) = (without_name(answer.json()), &expected["gear"][index]);
            assert!(if exact { &answer == expected } else { is_close(&answer, expected) }, "{answer}\n{expected}");
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
    // Requests for the metrics have status 200 too: this is the first one.
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
    server.assert_healthy();
    server.stop();
}

#[test]
fn a_full_queue_is_answered_at_once() {
    let server = TestServer::start(Options::default().with_queue(1).with_batch_delay(Duration::from_millis(500)));
    let image = read(&FIXTURE.images[0]);
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
    // A client that disconnects frees its slot.
    let mut stream = server.connect();
    stream.write_all(head("POST", "/inspect", &[], 5000).as_bytes()).unwrap();
    drop(stream);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(server.post("/inspect", &image).status, 200);
    server.stop();
}

#[test]
fn accepted_requests_are_answered_before_the_server_ends() {
    let Fixture { images, expected, .. } = &*FIXTURE;
    let server = TestServer::start(Options::default().with_batch_delay(Duration::from_millis(30)));
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (server, answered) = (&server, &answered);
            scope.spawn(move || {
                for number in 0.. {
                    let index = (client + number) % images.len();
                    let Some(mut stream) = server.try_connect() else { return };
                    let body = read(&images[index]);
                    let _ = stream.write_all(head("POST", "/inspect", &[], body.len()).as_bytes());
                    let _ = stream.write_all(&body);
                    // An answer is whole, or the connection was never accepted.
                    let Some(answer) = Answer::read(stream) else { continue };
                    answered.fetch_add(1, Ordering::Relaxed);
                    match answer.status {
                        200 => assert!(is_close(&without_name(answer.json()), &expected[""][index])),
                        _ => assert!(answer.error(503).contains("stopping")),
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(600));
        // A request whose body is still being sent is accepted too.
        let body = read(&images[0]);
        let mut stream = server.connect();
        stream.write_all(head("POST", "/inspect", &[], body.len()).as_bytes()).unwrap();
        stream.write_all(&body[..10]).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        server.begin_stop();
        std::thread::sleep(Duration::from_millis(200));
        // Until then the server answers that it is stopping.
        let health = server.ask("GET", "/healthz", &[], b"");
        assert_eq!((health.status, health.json()["status"].as_str()), (503, Some("stopping")));
        stream.write_all(&body[10..]).unwrap();
        let answer = Answer::read(stream).expect("an answer");
        assert!(is_close(&without_name(answer.json()), &expected[""][0]));
        answered.fetch_add(2, Ordering::Relaxed);
    });
    let answered = answered.into_inner() as u64;
    assert!(answered > 20, "{answered}");
    assert_eq!(server.join().unwrap().requests.values().sum::<u64>(), answered);
}

#[test]
fn stopping_takes_no_longer_than_allowed() {
    let server = TestServer::start(Options::default().with_stop_timeout(Duration::from_secs(1)));
    let mut stream = server.connect();
    stream.write_all(head("POST", "/inspect", &[], 5000).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    server.begin_stop();
    let begun = Instant::now();
    assert!(matches!(server.join(), Err(Error::StopTimeout { .. })));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(Answer::read(stream).is_none());
}

/// A request's path, headers and body; the answer's status, and a part of its error.
type Case<'a> = (&'a str, &'a [&'a str], &'a [u8], u16, &'a str);

#[test]
fn invalid_requests_are_refused_with_a_reason() {
    let options = Options::default().with_max_pixels(5000).with_max_body_bytes(1 << 20);
    let server = TestServer::start(options.with_io_timeout(Duration::from_secs(2)));
    let image = read(&FIXTURE.images[0]);
    let (shape, pixels) = raw_pixels(&FIXTURE.images[0]);
    let large = {
        let mut file = std::io::Cursor::new(Vec::new());
        let picture = RgbImage::new(100, 100);
        picture.write_to(&mut file, ImageFormat::Png).unwrap();
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
        // Advice that only the server's operator could follow.
        assert!(!["fetch", "raise", "enable", "remove it"].iter().any(|advice| error.contains(advice)), "{error}");
    }
    assert!(server.ask("GET", "/inspect", &[], b"").head.contains("allow: post"));
    let grey = server.ask("POST", "/inspect", &[RAW, "X-Image-Shape: 20,30,1"], &[9; 600]).json();
    assert_eq!((&grey["width"], &grey["height"]), (&30.into(), &20.into()));

    // Bytes that are not HTTP, and a request that is incomplete.
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
    // A head that is never complete ends its connection.
    let (begun, mut stream) = (Instant::now(), server.connect());
    stream.write_all(b"POST /inspect HTTP/1.1\r\nX: ").unwrap();
    assert!(Answer::read(stream).is_none_or(|answer| answer.status == 408));
    assert!(begun.elapsed() < Duration::from_secs(10));
    // A chunked body has no length: its bytes are counted as they arrive.
    let mut stream = server.connect();
    stream.write_all(b"POST /inspect HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[7; 0x10000], b"\r\n"].concat();
    while stream.write_all(&chunk).is_ok() {}
    assert_eq!(
        Answer::read(stream).expect("an answer").error(413),
        "the upload is larger than 1048576 bytes, the limit"
    );
    server.assert_healthy();
    server.stop();
}

/// The server drops an answer that its client does not read.
#[test]
fn a_client_that_does_not_read_is_disconnected() {
    let server = TestServer::start(Options::default().with_io_timeout(Duration::from_secs(1)));
    // The PNG of noise is larger than the sockets' buffers.
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
    server.assert_healthy();
    server.stop();
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let detector = FIXTURE.detector(Limits::default());
    let error = Server::bind(detector.clone(), &Options::default(), address).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }) && error.to_string().contains(&address.to_string()), "{error}");
    let error = Server::bind(detector, &Options::default().with_queue(0), address).await.unwrap_err();
    assert!(matches!(error, Error::InvalidOption { field: "queue", .. }), "{error}");
}
