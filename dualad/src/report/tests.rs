//! Every form of the report, on a usual run and on every kind of odd one.

use super::sample::{Made, categories, report};
use super::*;
use crate::metrics::{Undefined, Unit};

const KEYS: [&str; 8] = [
    "image_auroc",
    "image_ap",
    "image_f1_max",
    "pixel_auroc",
    "pixel_ap",
    "pixel_f1_max",
    "pixel_aupro",
    "pixel_aupro_200",
];

/// One gray pixel.
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\0\0\0\nIDAT\x78\x9c\x63\x68\
    \0\0\0\x82\0\x81\x77\xcd\x72\xb6\0\0\0\0IEND\xae\x42\x60\x82";

fn undefined_run() -> Report {
    let mut made = categories();
    made[1].masks = false; // board
    made[2].defects.clear(); // fabric
    report(&made)
}

fn value(report: &Report) -> serde_json::Value {
    serde_json::from_str(&report.to_json().unwrap()).unwrap()
}

/// A page holds no number that is none, no script and nothing from elsewhere, and closes every element.
fn check_page(page: &str) {
    for forbidden in
        ["NaN", "\"inf", " inf", "-inf", "<script", "javascript:", "http:", "https:", "//", "@import", "url("]
    {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.starts_with("<!doctype html>"));
    let policy = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    assert!(page.contains(policy));
    // The policy binds only what comes after it.
    assert!(page.find(policy) < page.find("<style"));

    let void = ["meta", "col", "img", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    let mut ids: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap();
        let name = tag.split([' ', '\n']).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !void.contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
        ids.extend(tag.split(" id=\"").nth(1).and_then(|rest| rest.split('"').next()));
    }
    assert!(open.is_empty(), "{open:?}");
    let mut unique = ids.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), ids.len());
    for target in page.split("href=\"#").skip(1).chain(page.split("aria-labelledby=\"").skip(1)) {
        let target = target.split('"').next().unwrap();
        assert!(ids.contains(&target), "{target}");
    }
}

#[test]
fn json_has_the_documented_keys_in_their_order() {
    let json = report(&categories()).to_json().unwrap();
    let expected = [
        "format",
        "backbone",
        "variant",
        "preset",
        "seed",
        "epochs",
        "parameters",
        "train_images",
        "test_images",
        "seconds",
        "features",
        "training",
        "evaluation",
        "loss",
        "categories",
        "blister",
    ];
    let expected = expected.into_iter().chain(KEYS);
    let mut rest = json.as_str();
    for key in expected {
        // Between two expected keys there is no other.
        let (before, after) = rest.split_once('"').unwrap();
        assert!(!before.contains('"'));
        rest = after
            .strip_prefix(key)
            .and_then(|rest| rest.strip_prefix("\":"))
            .unwrap_or_else(|| panic!("{key}: {after:.80}"));
        if ["backbone", "variant", "preset"].contains(&key) {
            rest = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')).unwrap().1;
        }
    }
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["format"], 1);
    assert_eq!(value["seconds"].as_object().unwrap().len(), 3);
    assert_eq!(value["categories"].as_object().unwrap().len(), 5);
    for metrics in [&value["categories"]["gear"], &value["mean"], &value["pooled"]] {
        let mut keys: Vec<_> = metrics.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        let mut expected = KEYS;
        expected.sort_unstable();
        assert_eq!(keys, expected);
        assert!(metrics.as_object().unwrap().values().all(|value| (0.0..=1.0).contains(&value.as_f64().unwrap())));
    }
    assert!(value["precision"].is_null());
    assert_eq!(value["loss"].as_array().unwrap().len(), 120);
    assert_eq!(value["images"].as_array().unwrap().len(), 376);
    assert_eq!(value["reported_epoch"], serde_json::json!({"epoch": 120, "chosen": "last"}));
    assert!(json.ends_with("}\n"));
}

#[test]
fn json_has_null_and_a_reason_where_a_metric_is_undefined() {
    let value = value(&undefined_run());
    assert!(value["categories"]["board"]["pixel_ap"].is_null());
    assert!(value["categories"]["board"]["image_ap"].is_f64());
    let undefined = &value["undefined"];
    assert_eq!(undefined["categories"]["board"]["pixel_ap"], "an anomalous image has no mask");
    assert_eq!(undefined["categories"]["fabric"]["image_auroc"], "no anomalous image");
    assert_eq!(undefined["categories"].as_object().unwrap().len(), 2);
    assert_eq!(undefined["pooled"].as_object().unwrap().len(), 5);
    assert_eq!(undefined["mean"], serde_json::json!({}));
    assert!(value["thresholds"]["categories"]["fabric"].is_null());
}

#[test]
fn json_refuses_what_is_not_finite_and_names_it() {
    let usual = report(&categories());
    let broken = |change: &dyn Fn(&mut Report)| {
        let mut report = usual.clone();
        change(&mut report);
        report.to_json().unwrap_err().to_string()
    };
    assert!(broken(&|report| report.loss[3] = f64::NAN).starts_with("loss[3] is NaN: must be finite"));
    assert!(broken(&|report| report.seconds.training = f64::INFINITY).contains("seconds.training"));
    assert!(broken(&|report| report.thresholds.pooled = Some(f32::NAN)).contains("thresholds.pooled"));
    assert!(broken(&|report| report.images[2].image_score = f32::NAN).contains("blister/test/good/002.png"));
    // A metric has a place for it.
    let mut report = usual.clone();
    report.evaluation.mean.image_ap = Ok(f64::NAN);
    assert!(value(&report)["mean"]["image_ap"].is_null());
    assert_eq!(value(&report)["undefined"]["mean"]["image_ap"], "its computation gave no finite number");
}

#[test]
fn every_form_says_that_the_epoch_was_chosen_on_the_test_set() {
    let mut report = report(&categories());
    assert!(!report.table().contains("test set"));
    assert!(!report.to_html().contains("Chosen on the test set"));
    report.reported = Reported::BestOnTestSet { epoch: 87 };
    assert!(report.table().starts_with("NOTE: these are the metrics of epoch 87 of 120"));
    assert!(report.to_html().contains("Chosen on the test set"));
    assert_eq!(value(&report)["reported_epoch"], serde_json::json!({"epoch": 87, "chosen": "best on the test set"}));
}

#[test]
fn the_table_is_aligned_and_explains_its_dashes() {
    let table = undefined_run().table();
    assert!(table.is_ascii());
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[1].starts_with("category") && lines[1].ends_with("AUPRO-200"));
    let rows: Vec<&str> = lines[3..11].to_vec();
    assert!(rows.iter().all(|row| row.len() == lines[1].len()), "{table}");
    // Every cell ends where its heading does.
    let ends = |line: &str| -> Vec<usize> {
        let cells = line.split(' ').scan(0, |at, word| {
            *at += word.len() + 1;
            Some((*at, word))
        });
        cells.filter(|(_, word)| !word.is_empty()).map(|(at, _)| at).collect()
    };
    for row in rows.iter().filter(|row| !row.starts_with("--")) {
        assert_eq!(ends(row)[1..], ends(lines[1])[1..], "{table}");
    }
    assert!(rows[1].starts_with("board") && rows[1].ends_with('-'));
    assert!(table.contains("  board: every pixel metric: an anomalous image has no mask\n"));
    assert!(table.contains("  fabric: every image metric: no anomalous image\n"));
    assert!(!table.contains("  mean:"));
    assert!(table.ends_with('\n'));

    let mut report = undefined_run();
    report.evaluation.mean.image_ap = Err(Undefined::NoNormal(Unit::Image));
    report.evaluation.mean.pixel_aupro = Err(Undefined::NoNormal(Unit::Image));
    assert!(report.table().contains("  mean: image AP; pixel AUPRO: no normal image\n"));
}

#[test]
fn names_cannot_move_the_cursor() {
    let mut made = categories();
    made[0].name = "\u{1b}[2Jred\nline\u{202e}".into();
    made[1].name = "Schr\u{e4}ubchen".into();
    let table = report(&made).table();
    assert!(table.contains("\\u{1b}[2Jred\\nline\\u{202e}"));
    assert!(!table.contains(['\u{1b}', '\u{202e}']));
    let widths: Vec<usize> = table.lines().skip(1).take(9).map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{table}");
}

#[test]
fn the_page_shows_what_was_found() {
    let mut report = report(&categories());
    let miss = report.worst_misses(1)[0];
    let mut picture = ReportPicture::new(report.images[miss].clone(), PNG.to_vec());
    picture.note = "a note".into();
    report.misses.push(picture);
    report.false_alarms.push(ReportPicture::new(report.images[0].clone(), b"GIF89a".to_vec()));
    let page = report.to_html();
    // Of its own, base64 may hold two slashes, but not in this picture.
    check_page(&page);
    assert!(page.contains("src=\"data:image/png;base64,iVBORw0KGgo"));
    assert!(page.contains("width=\"1\" height=\"1\""));
    assert!(page.contains("The picture is not a PNG file."));
    assert!(page.contains(">missed<") && page.contains("a note"));
    // Three charts for each category and for all together, and the loss.
    assert_eq!(page.matches("<svg ").count(), 3 * 6 + 1);
    assert_eq!(page.matches("role=\"img\"").count(), 3 * 6 + 1);
    assert_eq!(page.matches("<th scope=\"row\">").count(), 7);
    assert!(page.contains("13,457,920") && page.contains("6\u{a0}min 53\u{a0}s"));
    // The same report, the same bytes.
    assert_eq!(page, report.to_html());
}

#[test]
fn the_page_escapes_whatever_it_is_given() {
    let evil = "\"'><script>alert(1)</script>&\u{0}\u{202e}";
    let made = vec![Made::new(evil, 5, &[(evil, 5), ("b", 5)], 0.5), Made::new("x", 5, &[("a", 5)], 0.5)];
    let mut report = report(&made);
    report.thresholds.chosen = evil.into();
    let mut weights = Provenance::default();
    weights.location = evil.into();
    report.weights = Some(weights);
    let mut picture = ReportPicture::new(report.images[7].clone(), PNG.to_vec());
    picture.note = evil.into();
    report.misses = vec![picture];
    let page = report.to_html();
    // Paths of this dataset hold the tag's own slash.
    check_page(&page.replace("&lt;/script", ""));
    assert!(!page.contains("<script") && !page.contains("\"'>") && !page.contains(['\u{0}', '\u{202e}']));
    assert!(page.contains("&quot;&#39;&gt;&lt;script&gt;alert(1)"));
}

#[test]
fn the_page_stands_odd_runs() {
    let one = |normal, defects: &[(&str, usize)]| report(&[Made::new("bottle", normal, defects, 3.0)]);
    let many: Vec<_> = (0..40).map(|index| Made::new(&format!("c{index:02}"), 9, &[("a", 5), ("b", 4)], 2.0)).collect();
    let mut broken = undefined_run();
    (broken.loss[0], broken.loss[1], broken.loss[2]) = (f64::NAN, f64::INFINITY, -f64::MAX);
    broken.seconds.features = f64::NAN;
    broken.thresholds.pooled = Some(f32::NAN);
    (broken.images[0].image_score, broken.images[1].image_score) = (f32::NAN, f32::NEG_INFINITY);
    (broken.images[2].image_score, broken.images[3].image_score) = (f32::MAX, f32::MIN);
    broken.misses.push(ReportPicture::new(broken.images[0].clone(), PNG[..20].to_vec()));
    broken.evaluation.mean.image_auroc = Ok(f64::NAN);
    for measured in broken.evaluation.categories.values_mut() {
        for point in &mut measured.curves.image_roc {
            point.x = f64::NAN;
        }
    }
    let mut steady = one(5, &[("a", 5)]);
    for image in &mut steady.images {
        image.image_score = 0.0;
    }
    let losses: [Vec<f64>; 7] = [
        vec![],
        vec![0.5],
        vec![0.0; 4],
        vec![-1.0, 2.0],
        vec![1e-300, 1.0],
        vec![5e-324, 1e-323],
        (0..5000).map(|epoch| 1.0 / f64::from(epoch + 1)).collect(),
    ];
    let mut odd = vec![report(&[]), one(1, &[]), one(0, &[("a", 1)]), report(&many), broken, steady, undefined_run()];
    for loss in losses {
        let mut report = one(3, &[("a", 3)]);
        (report.loss, report.reported) = (loss, Reported::BestOnTestSet { epoch: 900 });
        odd.push(report);
    }
    for mut report in odd {
        check_page(&report.to_html());
        assert!(!report.table().is_empty());
        report.images.clear();
        check_page(&report.to_html());
    }
}

#[test]
fn the_worst_are_those_furthest_on_the_wrong_side() {
    let mut report = report(&[Made::new("a", 1, &[("x", 1)], 3.0), Made::new("b", 1, &[("x", 1)], 3.0)]);
    let image = |category: &str, label: &Label, score| ImageResult::new(category, "p", label, score);
    let defect = Label::Anomalous("x".into());
    report.thresholds = ReportThresholds::new([("a".into(), 0.5)].into(), Some(10.0), "by hand");
    report.images = vec![
        image("a", &defect, 0.4),
        image("a", &Label::Normal, 0.1),
        image("b", &defect, 8.0), // furthest below the pooled threshold
        image("b", &defect, f32::NAN),
        image("a", &defect, 0.9),
        image("a", &Label::Normal, 0.6),
    ];
    assert_eq!(report.worst_misses(9), [2, 0, 4]);
    assert_eq!(report.worst_misses(1), [2]);
    assert_eq!(report.worst_false_alarms(9), [5, 1]);
}

#[test]
fn files_are_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a/b");
    let mut report = report(&categories());
    report.save(&inner).unwrap();
    assert_eq!(std::fs::read_to_string(inner.join("report.json")).unwrap(), report.to_json().unwrap());
    assert_eq!(std::fs::read_to_string(inner.join("report.html")).unwrap(), report.to_html());
    assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 2);

    let before = report.to_html();
    (report.loss[0], report.seed) = (f64::NAN, 8);
    assert!(matches!(report.save(&inner), Err(Error::InvalidArgument { .. })));
    assert_eq!(std::fs::read_to_string(inner.join("report.html")).unwrap(), before);
    let error = report.save_html(inner.join("report.json/x.html")).unwrap_err();
    assert!(matches!(error, Error::Io { action: "write", .. }));
    assert!(matches!(report.save_html(""), Err(Error::Io { .. })));
}

#[test]
fn every_form_has_the_decisions_by_the_thresholds_of_the_model() {
    let report = report(&categories());
    assert!(!report.table().contains("Decisions") && !report.to_html().contains("id=\"decisions\""));
    assert_eq!(value(&report)["decisions"], serde_json::json!({}));
    let thresholds = r#"{"categories": {"gear": {"review": 0.22, "reject": 0.25}}}"#;
    let report = report.with_decisions(&Calibration::from_json("example", thresholds).unwrap()).unwrap();
    let of = |anomalous: bool| {
        report.images.iter().filter(move |image| image.category == "gear" && image.anomalous == anomalous)
    };
    let counts = |anomalous: bool| {
        let rejected = of(anomalous).filter(|image| image.image_score >= 0.25).count();
        let reviewed = of(anomalous).filter(|image| image.image_score >= 0.22).count() - rejected;
        [of(anomalous).count() - reviewed - rejected, reviewed, rejected]
    };
    let [good, defective] = [counts(false), counts(true)];
    assert!(good.iter().chain(&defective).filter(|count| **count > 0).count() > 4, "{good:?} {defective:?}");
    let written = value(&report)["decisions"]["gear"]["anomalous"].clone();
    assert_eq!(["accepted", "reviewed", "rejected"].map(|name| written[name].as_u64().unwrap() as usize), defective);
    let table = report.table();
    let row: Vec<&str> = table.lines().rfind(|line| line.starts_with("gear")).unwrap().split_whitespace().collect();
    assert_eq!(row[1..], good.iter().chain(&defective).map(ToString::to_string).collect::<Vec<_>>());
    let page = report.to_html();
    check_page(&page);
    let cells: String = good.iter().map(|count| format!("<td>{count}</td>")).collect();
    assert!(page.replace(" class=\"first\"", "").contains(&cells), "{cells}");
}

#[test]
fn every_form_names_the_precision() {
    let mut report = report(&categories());
    assert!(!report.table().contains("computed in") && !report.to_html().contains("<dt>precision</dt>"));
    report.precision = Some(Precision::Int8);
    assert_eq!(value(&report)["precision"], "int8");
    assert!(report.table().ends_with("\nScores are computed in int8.\n"), "{}", report.table());
    assert!(report.to_html().contains("<dt>precision</dt><dd><bdi>int8</bdi></dd>"));
}
