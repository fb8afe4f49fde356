//! No answer lacks its decision, unless the server was told to serve scores only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dualad::calibration::Calibration;
use dualad::data::image::Limits;
use dualad::store::sha256;
use dualad_serve::{Error, Options, Service, ThresholdsFile};
use serde_json::{Value, json};

use crate::support::{FIXTURE, TestServer, read};

fn health(server: &TestServer) -> Value {
    let answer = server.ask("GET", "/healthz", &[], b"");
    assert_eq!(answer.status, 200);
    ["scores_only", "thresholds", "pooled_thresholds"].iter().map(|&key| answer.json()[key].clone()).collect()
}

#[test]
fn a_model_without_thresholds_is_served_on_request_only() {
    let calibrated = FIXTURE.detector(Limits::default());
    let empty = Calibration::new(BTreeMap::new(), None);
    for calibration in [None, Some(empty)] {
        let detector = calibrated.clone().with_calibration(calibration);
        let error = Service::new(detector.clone(), &Options::default()).unwrap_err();
        assert!(matches!(error, Error::NoThresholds) && error.to_string().contains("calibrate"), "{error}");
        let server = TestServer::start_with(detector, Options::default().with_scores_only(true));
        let answer = server.post("/inspect?category=gear", &read(&FIXTURE.images[0]));
        assert!(answer.status == 200 && answer.json()["verdict"].is_null());
        assert_eq!(health(&server), json!([true, [], false]));
        server.stop();
    }
    // With thresholds too.
    let server = TestServer::start(Options::default().with_scores_only(true));
    assert!(server.post("/inspect", &read(&FIXTURE.images[0])).json()["verdict"].is_null());
    assert_eq!(health(&server), json!([true, [], false]));
    server.stop();
    let server = TestServer::start(Options::default());
    assert_eq!(health(&server), json!([false, ["gear", "plate"], true]));
    server.stop();
}

#[test]
fn the_health_names_the_thresholds_and_tells_if_their_file_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibration.json");
    assert!(matches!(ThresholdsFile::read(&path), Err(Error::Thresholds { .. })));
    assert!(ThresholdsFile::read(folder.path()).is_err());
    let detector = FIXTURE.detector(Limits::default());
    let text = detector.calibration().unwrap().to_json().unwrap();
    std::fs::write(&path, &text).unwrap();
    let model = detector.config().sha256.clone();
    let file = ThresholdsFile::read(&path).unwrap();
    let options = Options::default().with_thresholds_file(Some(file));
    let server = TestServer::start_with(detector.clone(), options.clone());
    let health = || server.ask("GET", "/healthz", &[], b"").json();
    let found = health();
    assert_eq!(found["precision"], "f32");
    assert_eq!((&found["model"], &found["thresholds_file"]), (&json!(model), &json!(path)));
    assert_eq!(found["thresholds_sha256"], sha256(text.as_bytes())[..16]);
    assert_eq!((&found["thresholds_count"], &found["thresholds_changed"]), (&json!(3), &json!(false)));
    let wait = |changed: bool| {
        let begun = Instant::now();
        while health()["thresholds_changed"] != changed {
            assert!(begun.elapsed() < Duration::from_secs(60), "{changed}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // Of the same length and time.
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    std::fs::write(&path, text.trim_end().to_owned() + " ").unwrap();
    std::fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    if cfg!(unix) {
        wait(true);
    }
    // A reader of the old content again.
    std::fs::write(&path, &text).unwrap();
    wait(false);
    std::fs::remove_file(&path).unwrap();
    wait(true);
    std::fs::create_dir(&path).unwrap();
    std::thread::sleep(Duration::from_millis(2100));
    wait(true);
    server.stop();

    // Without thresholds or without a file, there is nothing to look at.
    for options in [options.with_scores_only(true), Options::default()] {
        let server = TestServer::start_with(detector.clone(), options);
        let found = server.ask("GET", "/healthz", &[], b"").json();
        assert!(found["thresholds_file"].is_null() && found["thresholds_sha256"].is_null(), "{found}");
        assert_eq!(found["thresholds_changed"], false);
        server.stop();
    }
}

#[test]
fn an_image_without_thresholds_of_its_own_is_refused() {
    let detector = FIXTURE.detector(Limits::default());
    let mut own = detector.calibration().unwrap().clone();
    own.pooled = None;
    own.categories.retain(|name, _| name == "gear");
    let server = TestServer::start_with(detector.with_calibration(Some(own)), Options::default());
    assert_eq!(health(&server), json!([false, ["gear"], false]));
    let image = read(&FIXTURE.images[0]);
    assert!(server.post("/inspect", &image).error(422).contains("?category=gear"));
    assert!(server.post("/heatmap?category=plate", &image).error(422).contains("\"plate\""));
    let answer = server.post("/inspect?category=gear", &image).json();
    assert!(answer["verdict"]["decision"].is_string(), "{answer}");
    server.stop();

    // With several, the address has one of them.
    let detector = FIXTURE.detector(Limits::default());
    let mut own = detector.calibration().unwrap().clone();
    own.pooled = None;
    let server = TestServer::start_with(detector.with_calibration(Some(own)), Options::default());
    let error = server.post("/inspect", &image).error(422);
    assert!(error.contains("gear, plate;") && error.ends_with("?category=gear"), "{error}");
    server.stop();
}
