//! Clients that keep the server waiting, and connect again when they are disconnected, keep no others out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dualad_serve::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::support::{FIXTURE, TestServer, head, read};

/// The connections of the server.
const CONNECTIONS: usize = 64;
/// The slow clients.
const CLIENTS: usize = 200;
/// The longest time for an answer to a client that is not slow.
const SOON: Duration = Duration::from_secs(5);

/// Sends the first bytes of a request at once and the others one by one, again and again.
async fn send_slowly(address: SocketAddr, start: String) {
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        let mut is_open = stream.write_all(start.as_bytes()).await.is_ok();
        let mut answer = [0; 1024];
        while is_open {
            is_open = tokio::select! {
                read = stream.read(&mut answer) => read.is_ok_and(|count| count > 0),
                () = tokio::time::sleep(Duration::from_millis(50)) => stream.write_all(b"x").await.is_ok(),
            };
        }
    }
}

/// Starts slow clients, each with one of these first bytes. They end with the runtime.
fn flood(server: &TestServer, starts: &[String]) -> Runtime {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for start in starts.iter().cycle().take(CLIENTS) {
        runtime.spawn(send_slowly(server.address(), start.clone()));
    }
    // Until they have taken all connections.
    std::thread::sleep(Duration::from_secs(1));
    runtime
}

#[test]
fn clients_are_answered_soon_in_a_flood_of_slow_ones() {
    let slow_head = "POST /inspect HTTP/1.1\r\nHost: x\r\nX: ".to_owned();
    let slow_body = |path: &str| head("POST", path, &[], 5000);
    let image = read(&FIXTURE.images[0]);
    for starts in [
        vec![String::new(), slow_head.clone()],
        vec![slow_body("/inspect"), slow_body("/heatmap")],
        vec![slow_head, slow_body("/inspect"), slow_body("/nowhere"), String::new()],
    ] {
        let options = Options::default().with_connections(CONNECTIONS).with_io_timeout(Duration::from_secs(60));
        let server = TestServer::start(options);
        let runtime = flood(&server, &starts);
        for _ in 0..5 {
            let begun = Instant::now();
            assert_eq!(server.post("/inspect", &image).status, 200);
            assert!(begun.elapsed() < SOON, "an inspection took {:?}", begun.elapsed());
            let begun = Instant::now();
            server.assert_healthy();
            assert!(begun.elapsed() < SOON, "the server's health took {:?}", begun.elapsed());
        }
        drop(runtime);
        server.stop();
    }
}

/// Where there is room, a slow client is only bound by the time limits.
#[test]
fn a_slow_client_is_served_where_there_is_room() {
    let server = TestServer::start(Options::default().with_connections(CONNECTIONS));
    let image = read(&FIXTURE.images[0]);
    std::thread::scope(|scope| {
        let slow = |_| {
            scope.spawn(|| {
                let mut connection = server.keep_alive();
                connection.send(format!("POST /inspect HTTP/1.1\r\nContent-Length: {}\r\n", image.len()).as_bytes())?;
                std::thread::sleep(Duration::from_millis(1500));
                connection.send(b"Host: x\r\n\r\n")?;
                for part in image.chunks(image.len().div_ceil(4)) {
                    std::thread::sleep(Duration::from_millis(500));
                    connection.send(part)?;
                }
                Ok::<_, std::io::Error>(connection.answer().status)
            })
        };
        let slow: Vec<_> = (0..CONNECTIONS - 1).map(slow).collect();
        for client in slow {
            assert_eq!(client.join().unwrap().unwrap(), 200);
        }
    });
    server.stop();
}
