//! Models from the hub, fetched from a server on the loopback interface.

#![cfg(feature = "hub")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dualad::backbones::hub::Hub;
use dualad::backbones::{Backbone, Provenance, WeightsSource};
use dualad::calibration::{Calibration, Thresholds};
use dualad::candle_core::Device;
use dualad::data::image::Picture;
use dualad::{Detector, DualAd, DualAdConfig, Error, Model, Random, Variant};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A server of a folder as the repository `owner/parts`, at `main` and at [`COMMIT`]. It records the requested paths.
struct Server {
    url: String,
    requested: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requested = Arc::new(Mutex::new(Vec::new()));
        let log = requested.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(&folder, stream, &log);
            }
        });
        Self { url, requested }
    }

    fn requested(&self) -> Vec<String> {
        std::mem::take(&mut self.requested.lock().unwrap())
    }
}

fn serve(folder: &Path, mut stream: TcpStream, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    log.lock().unwrap().push(path.to_owned());
    let at = ["main", COMMIT].iter().find_map(|at| path.strip_prefix(&format!("/owner/parts/resolve/{at}/")));
    let Some(content) = at.and_then(|name| std::fs::read(folder.join(name)).ok()) else {
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nX-Error-Code: EntryNotFound\r\nContent-Length: 0\r\n\r\n",
        );
    };
    // Different for each content, like the name of a git blob.
    let tag = format!("{:040x}", content.iter().fold(7u128, |sum, byte| sum.wrapping_mul(31) + u128::from(*byte)));
    let length = content.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Repo-Commit: {COMMIT}\r\nETag: \"{tag}\"\r\nContent-Length: {length}\r\n\r\n"
    )?;
    if method == "HEAD" { Ok(()) } else { stream.write_all(&content) }
}

fn model() -> Model {
    let config = DualAdConfig::paper(Variant::Heterogeneous, Backbone::FilterBank)
        .with_grid([4, 4])
        .with_neighbor_mask(Some([1, 1]))
        .with_levels(2)
        .with_narrow_width(8)
        .with_chunk_width(8)
        .with_ffn_width(8)
        .with_memory_slots(6);
    let network = DualAd::new(config, &Random::new(0), &Device::Cpu).unwrap();
    let extractor = Backbone::FilterBank.extractor().build().unwrap();
    Model::new(network, Backbone::FilterBank, &[1, 2, 3], extractor.provenance().clone())
}

fn hub(server: &str, cache: &Path) -> Hub {
    let hub = Hub::from_variables(|name| (name == "HF_HOME").then(|| "unused".into())).unwrap();
    hub.endpoint(server).cache(cache).timeout(Duration::from_secs(5))
}

fn picture() -> Picture {
    Picture::new(70, 50, (0..70 * 50 * 3).map(|value| (value * 31 % 251) as u8).collect()).unwrap()
}

#[test]
fn a_fetched_model_equals_the_saved_one() {
    let folder = tempfile::tempdir().unwrap();
    let (repository, cache) = (folder.path().join("repository"), folder.path().join("cache"));
    let calibration = Calibration::new([].into(), Some(Thresholds::new(0.1, 0.2).unwrap()));
    let detector = Detector::builder().from_model(model()).unwrap().with_calibration(Some(calibration));
    detector.save(&repository).unwrap();
    let server = Server::start(repository.clone());
    let fetched = Detector::builder().hub(hub(&server.url, &cache)).from_pretrained("owner/parts").unwrap();
    assert_eq!(fetched.inspect(&picture()).unwrap(), detector.inspect(&picture()).unwrap());
    assert_eq!(fetched.calibration(), detector.calibration());
    // All files come from one commit: the branch may move between two requests.
    let requested = server.requested();
    assert!(
        requested.iter().filter(|path| path.contains("/main/")).all(|path| path.ends_with("config.json")),
        "{requested:?}"
    );
    assert!(requested.iter().any(|path| path.ends_with(&format!("{COMMIT}/model.safetensors"))), "{requested:?}");

    // From the cache, without the network.
    let offline = || Detector::builder().hub(hub(&server.url, &cache).offline(true)).from_pretrained("owner/parts");
    assert_eq!(offline().unwrap().inspect(&picture()).unwrap(), detector.inspect(&picture()).unwrap());
    assert_eq!(offline().unwrap().calibration(), detector.calibration());
    assert!(server.requested().is_empty());
    let other = Detector::builder().hub(hub(&server.url, &cache).offline(true)).from_pretrained("owner/others");
    assert!(other.unwrap_err().to_string().contains("owner/others"));
    // A fetched model can be saved.
    fetched.save(folder.path().join("kept")).unwrap();
    assert!(Detector::load(folder.path().join("kept")).is_ok());

    let pinned = Detector::builder().hub(hub(&server.url, &cache)).revision("v9").from_pretrained("owner/parts");
    assert!(pinned.unwrap_err().to_string().contains("v9"));
}

#[test]
fn a_model_without_thresholds_has_none() {
    let folder = tempfile::tempdir().unwrap();
    model().save(folder.path().join("repository"), "").unwrap();
    let server = Server::start(folder.path().join("repository"));
    let cache = folder.path().join("cache");
    let fetched = Detector::builder().hub(hub(&server.url, &cache)).from_pretrained("owner/parts").unwrap();
    assert!(fetched.calibration().is_none());
    assert!(fetched.inspect(&picture()).unwrap().verdict.is_none());
}

/// The configuration of a fetched model may name any path: it is not opened.
#[test]
fn a_path_in_a_fetched_model_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.safetensors");
    std::fs::write(&secret, "not theirs").unwrap();
    let weights = Provenance::default().with_source(WeightsSource::File).with_location(secret.display().to_string());
    let published = Model::new(model().network().clone(), Backbone::ResNet18, &[1, 2, 3], weights);
    published.save(folder.path().join("repository"), "").unwrap();
    let server = Server::start(folder.path().join("repository"));
    let fetched =
        Detector::builder().hub(hub(&server.url, &folder.path().join("cache"))).from_pretrained("owner/parts");
    let error = fetched.unwrap_err();
    assert!(matches!(error, Error::ModelWeights { .. }), "{error}");
    assert!(error.to_string().contains("needs the weights of its backbone resnet18"), "{error}");
}
