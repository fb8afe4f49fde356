//! A refused upload is answered, and its client's next request works.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dualad_serve::Options;

use crate::support::{Answer, FIXTURE, RAW, TestServer, head, read};

/// A request's path and headers, and the status of its answer.
type Case<'a> = (&'a str, &'a [&'a str], u16);

const MIB: usize = 1 << 20;

#[test]
fn the_request_after_a_refused_one_works() {
    let server = TestServer::start(Options::default().with_max_body_bytes(MIB as u64));
    let image = read(&FIXTURE.images[0]);
    let cases: &[Case<'_>] = &[
        ("/inspect", &["Content-Type: application/json"], 415),
        ("/inspect", &["Content-Encoding: gzip"], 415),
        ("/inspect?category=bolt", &[], 422),
        ("/inspect?colour=red", &[], 400),
        ("/heatmap", &[RAW, "X-Image-Shape: 64,64"], 400),
        ("/inspect", &["X-Image-Format: rgb8"], 400),
        ("/nowhere", &[], 404),
        ("/healthz", &[], 405),
    ];
    for size in [1, 100_000, MIB - 1] {
        let body = vec![7; size];
        for (path, headers, status) in cases {
            // The body is within the limit: the connection stays open.
            let mut client = server.keep_alive();
            let answer = client.ask(path, headers, &body);
            assert!(answer.status == *status && !answer.closes(), "{path} {headers:?} {size}: {}", answer.head);
            assert_eq!(client.ask("/inspect", &[], &image).status, 200, "{path} {headers:?} {size}");
            let answer = client.ask_in_chunks(path, headers, &body);
            assert!(answer.status == *status && !answer.closes(), "{path} {headers:?} {size}: {}", answer.head);
            assert_eq!(client.ask("/inspect", &[], &image).status, 200, "{path} {headers:?} {size}");
        }
    }
    // A larger body is not read to its end, but the client can send it and read the answer.
    for size in [MIB + 1, 2 * MIB - 1] {
        let body = vec![7; size];
        for in_chunks in [false, true] {
            let mut client = server.keep_alive();
            let answer = match in_chunks {
                false => client.ask("/inspect", &[], &body),
                true => client.ask_in_chunks("/inspect", &[], &body),
            };
            assert!(answer.error(413).contains("1048576"));
            let mut client = if answer.closes() { server.keep_alive() } else { client };
            assert_eq!(client.ask("/inspect", &[], &image).status, 200, "{size} {in_chunks}");
        }
    }
    server.stop();
}

#[test]
fn the_request_after_a_busy_answer_works() {
    // An upload is held while it waits for others.
    let server = TestServer::start(Options::default().with_queue(1).with_batch_delay(Duration::from_secs(3)));
    let image = read(&FIXTURE.images[0]);
    let mut holder = server.connect();
    std::io::Write::write_all(&mut holder, head("POST", "/inspect", &[], image.len()).as_bytes()).unwrap();
    std::io::Write::write_all(&mut holder, &image).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let mut client = server.keep_alive();
    for size in [image.len(), 3 * MIB] {
        let answer = client.ask("/inspect", &[], &vec![7; size]);
        assert!(answer.error(503).contains("1 uploads") && !answer.closes(), "{}", answer.head);
    }
    assert_eq!(Answer::read(holder).expect("an answer").status, 200);
    assert_eq!(client.ask("/inspect", &[], &image).status, 200);
    server.stop();
}

#[test]
fn a_refused_client_cannot_send_for_ever() {
    let options = Options::default().with_max_body_bytes(MIB as u64).with_io_timeout(Duration::from_secs(1));
    let server = TestServer::start(options);
    // It waits for a sign to send its body, and gets the answer instead.
    let (begun, mut client) = (Instant::now(), server.keep_alive());
    let head =
        "POST /inspect?category=bolt HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n";
    client.send(head.as_bytes()).unwrap();
    let answer = client.answer();
    assert!(answer.status == 422 && answer.closes(), "{}", answer.head);
    assert!(begun.elapsed() < Duration::from_millis(900));
    // It sends nothing more, or too slowly.
    let (begun, mut client) = (Instant::now(), server.keep_alive());
    client.send(b"POST /inspect?category=bolt HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n123").unwrap();
    let answer = client.answer();
    assert!(answer.status == 422 && answer.closes(), "{}", answer.head);
    assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&begun.elapsed()));
    // It sends without end.
    let mut client = server.keep_alive();
    client.send(b"POST /inspect?category=bolt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[7; 0x10000], b"\r\n"].concat();
    let sent = (0..1000).take_while(|_| client.send(&chunk).is_ok()).count();
    assert!(sent < 1000, "{sent}");
    server.assert_healthy();
    server.stop();
}

/// Such a client sends all of its body before it reads, however large it is, and has its answer.
#[test]
fn a_client_that_sends_everything_first_has_its_answer() {
    let server = TestServer::start(Options::default().with_max_body_bytes(MIB as u64));
    for size in [2 * MIB + 1, 3 * MIB, 33 * MIB, 60 * MIB] {
        for headers in [&[][..], &["Content-Type: application/json"]] {
            let answer = server.keep_alive().ask("/inspect", headers, &vec![7; size]);
            assert!(answer.error(413).contains("1048576") && answer.closes(), "{size}: {}", answer.head);
        }
    }
    // One that is slow has its answer too, as long as it sends.
    let mut client = server.keep_alive();
    client
        .send(format!("POST /inspect HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 6 * MIB).as_bytes())
        .unwrap();
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(500));
        client.send(&vec![7; MIB]).expect("a connection");
    }
    assert!(client.answer().error(413).contains("1048576"));
    server.stop();
}

/// A client that has its answer sends the next upload at once, and its slot is free by then.
#[test]
fn as_many_clients_as_the_queue_holds_are_never_refused() {
    for (queue, batch) in [(1, 1), (8, 8), (32, 8)] {
        let server = TestServer::start(Options::default().with_queue(queue).with_batch(batch));
        let image = read(&FIXTURE.images[0]);
        let refused = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for client in 0..queue {
                let (server, image, refused) = (&server, &image, &refused);
                scope.spawn(move || {
                    let mut connection = server.keep_alive();
                    for number in 0..20 {
                        // Uploads that are refused after they were read give their slots back too.
                        let (path, body): (_, &[u8]) = match (client + number) % 5 {
                            0 => ("/inspect", b"no picture"),
                            1 => ("/heatmap", image),
                            _ => ("/inspect", image),
                        };
                        let status = connection.ask(path, &[], body).status;
                        refused.fetch_add(usize::from(status == 503), Ordering::Relaxed);
                        assert!([200, 400, 503].contains(&status), "{status}");
                    }
                });
            }
        });
        assert_eq!(refused.into_inner(), 0, "queue {queue}");
        server.stop();
    }
}
