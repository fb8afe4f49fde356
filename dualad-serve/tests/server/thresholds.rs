//! No answer lacks its decision, unless the server was told to serve scores only.

use std::collections::BTreeMap;

use dualad::calibration::Calibration;
use dualad::data::image::Limits;
use dualad_serve::{Error, Options, Service};
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
