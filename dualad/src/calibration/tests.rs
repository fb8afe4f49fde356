use std::path::Path;

use super::*;
use crate::{Error, Random};

const FALSE_ALARMS: Rule = Rule::FalseAlarmRate { rate: 0.05, confidence: 0.95 };

fn normal(score: f32) -> LabeledScore<'static> {
    LabeledScore { category: "gear", score, anomalous: false }
}

fn anomalous(score: f32) -> LabeledScore<'static> {
    LabeledScore { anomalous: true, ..normal(score) }
}

fn pooled(rule: Rule, images: &[LabeledScore<'_>]) -> Thresholds {
    Calibrator::new(rule).calibrate(images.iter().copied()).unwrap().pooled.unwrap()
}

/// 1 to `count`, out of order.
fn numbers(count: usize) -> Vec<LabeledScore<'static>> {
    Random::new(1).stream().permutation(count).into_iter().map(|index| normal(index as f32 + 1.0)).collect()
}

fn alarms(thresholds: &Thresholds) -> FalseAlarms {
    thresholds.reject_method.unwrap().false_alarms.unwrap()
}

#[test]
fn quantiles_are_scores() {
    for (count, quantile, expected) in [
        (4, 0.0, 1.0),
        (4, 0.5, 3.0),
        (5, 0.5, 3.0),
        (4, 1.0, 4.0),
        (1, 0.3, 1.0),
        (100, 0.95, 96.0),
        (101, 0.07, 8.0),
        (11, 0.9, 10.0),
        (11, 0.91, 11.0),
    ] {
        let thresholds = pooled(Rule::Quantile { quantile }, &numbers(count));
        assert_eq!(thresholds.reject, expected, "{count} {quantile}");
        assert_eq!(alarms(&thresholds).images, count as u64 + 1 - expected as u64);
    }
    assert_eq!(pooled(Rule::Quantile { quantile: 0.99 }, &numbers(200)).warnings, [""; 0]);
    assert!(pooled(Rule::Quantile { quantile: 0.99 }, &numbers(50)).warnings[0].contains("50 normal images"));
}

/// By Wilks' numbers, of which `bound` has the test: 59 images allow for none above, 93 for one, 124 for two.
#[test]
fn false_alarm_rates_allow_for_what_they_can() {
    for (count, allowed) in [(59, 0), (92, 0), (93, 1), (123, 1), (124, 2)] {
        let thresholds = pooled(FALSE_ALARMS, &numbers(count));
        assert_eq!(thresholds.reject, ((count - allowed) as f32).next_up());
        assert_eq!(thresholds.warnings, [""; 0]);
        let alarms = alarms(&thresholds);
        assert_eq!((alarms.images, alarms.confidence), (allowed as u64, 0.95));
        assert!(alarms.rate_at_most <= 0.05 && alarms.rate_at_most > 0.03);
        // An image like the last accepted one is accepted.
        assert_eq!(thresholds.decide((count - allowed) as f32).unwrap(), Decision::Accept);
        assert_eq!(thresholds.decide(count as f32 + 1.0).unwrap(), Decision::Reject);
    }
}

#[test]
fn too_few_images_say_how_many_it_takes() {
    let thresholds = pooled(FALSE_ALARMS, &numbers(20));
    assert_eq!(thresholds.reject, 20f32.next_up());
    let holds = 1.0 - 0.05f64.powf(1.0 / 20.0);
    assert!((alarms(&thresholds).rate_at_most - holds).abs() < 1e-12);
    assert!(thresholds.warnings[0].starts_with("reject: a false-alarm rate of at most 0.05"), "{thresholds:?}");
    assert!(thresholds.warnings[0].contains("59 normal images") && thresholds.warnings[0].contains("0.139"));
    assert_eq!(thresholds.warnings.len(), 1, "the same rule for review says nothing twice");
}

#[test]
fn equal_scores_are_on_one_side() {
    // Two of 124 might be above; the three highest are equal, so none is. The bound is that of two nonetheless.
    let mut images = numbers(121);
    images.extend([normal(200.0); 3]);
    let thresholds = pooled(FALSE_ALARMS, &images);
    assert_eq!(thresholds.reject, 200f32.next_up());
    assert_eq!(alarms(&thresholds).images, 0);
    assert_eq!(alarms(&thresholds).rate_at_most, alarms(&pooled(FALSE_ALARMS, &numbers(124))).rate_at_most);
    // All equal.
    assert_eq!(pooled(FALSE_ALARMS, &vec![normal(0.0); 500]).reject, 0f32.next_up());
    assert_eq!(pooled(Rule::Quantile { quantile: 0.5 }, &vec![normal(3.0); 9]).reject, 3.0);
    assert_eq!(alarms(&pooled(Rule::Quantile { quantile: 0.5 }, &vec![normal(3.0); 9])).rate_at_most, 1.0);
}

/// The share of calibrations whose true rate is above the one asked for is the binomial tail by which the rule chose, and
/// not only below `1 - confidence`. It is measured on `RUNS` samples: five standard errors are allowed, which one of
/// two million right ones would exceed, and the seed is fixed.
#[test]
fn the_bound_holds_as_often_as_it_says() {
    const RUNS: usize = 4000;
    let mut random = Random::new(7);
    for (count, rate, confidence) in
        [(59, 0.05, 0.95), (93, 0.05, 0.95), (100, 0.1, 0.9), (300, 0.02, 0.8), (40, 0.3, 0.99), (250, 0.5, 0.95)]
    {
        // What may be above, and the probability that it promises too much, summed one by one.
        let (mut allowed, mut fails, mut more) = (0, 0.0, f64::powi(1.0 - rate, count));
        let mut term = more;
        while more <= 1.0 - confidence {
            fails = more;
            term *= f64::from(count - allowed) * rate / (f64::from(allowed + 1) * (1.0 - rate));
            allowed += 1;
            more += term;
        }
        assert!(allowed > 0 && fails <= 1.0 - confidence, "one more above would be too many");

        let rule = Rule::FalseAlarmRate { rate, confidence };
        let [mut broken, mut broken_exponential, mut broken_ties] = [0; 3];
        for _ in 0..RUNS {
            let scores = random.stream().uniform(count as usize);
            let images: Vec<_> = scores.iter().map(|&score| normal(score)).collect();
            broken += usize::from(1.0 - f64::from(pooled(rule, &images).reject) > rate);
            // Another distribution: P(score >= t) = exp(-t).
            let images: Vec<_> = scores.iter().map(|&score| normal(-(1.0 - score).ln())).collect();
            broken_exponential += usize::from((-f64::from(pooled(rule, &images).reject)).exp() > rate);
            // 40 values, as likely each: of those at or above t, 40 - ceil(t) are left.
            let images: Vec<_> = scores.iter().map(|&score| normal((score * 40.0).floor())).collect();
            broken_ties += usize::from((40.0 - f64::from(pooled(rule, &images).reject).ceil()) / 40.0 > rate + 1e-9);
        }
        let error = (fails * (1.0 - fails) / RUNS as f64).sqrt();
        for broken in [broken, broken_exponential] {
            let share = broken as f64 / RUNS as f64;
            assert!((share - fails).abs() < 5.0 * error, "{count} {rate} {confidence}: {share}, not {fails}");
        }
        let share = broken_ties as f64 / RUNS as f64;
        assert!(share < fails + 5.0 * error, "{count} {rate} {confidence}: {share} of {fails}");
    }
}

/// The bound that is recorded, by the same reasoning, for rules that do not choose by it.
#[test]
fn recorded_bounds_hold() {
    let mut random = Random::new(8);
    let rules = [Rule::Recall { share: 0.8 }, Rule::Quantile { quantile: 0.9 }];
    let mut broken = [0; 2];
    for _ in 0..2000 {
        let scores = random.stream().uniform(100);
        let mut images: Vec<_> = scores.iter().map(|&score| normal(score)).collect();
        images.extend(random.stream().uniform(20).iter().map(|&score| anomalous(score + 0.5)));
        for (rule, broken) in rules.iter().zip(&mut broken) {
            let thresholds = pooled(*rule, &images);
            *broken += usize::from((1.0 - f64::from(thresholds.reject)).max(0.0) > alarms(&thresholds).rate_at_most);
        }
    }
    // 5 % and five standard errors.
    assert!(broken.iter().all(|&broken| broken < 150), "{broken:?}");
}

#[test]
fn labeled_rules_are_the_best_of_all_thresholds() {
    let mut random = Random::new(2);
    for run in 0..2000 {
        // Few values, so that many are equal.
        let bits = random.stream().bits(0);
        let [count, values] = [bits[0] as usize % 12 + 2, bits[1] as usize % 9 + 1];
        let scores = random.stream().uniform(2 * count);
        let mut images: Vec<_> = scores
            .chunks(2)
            .map(|pair| LabeledScore { anomalous: pair[1] < 0.4, ..normal((pair[0] * values as f32).floor() - 2.0) })
            .collect();
        images[0].anomalous = false;
        images[1].anomalous = true;
        let all = images.iter().filter(|image| image.anomalous).count();
        let reached = |anomalous: bool, threshold: f32| {
            images.iter().filter(|image| image.anomalous == anomalous && image.score >= threshold).count()
        };
        // Scores are whole numbers: in quarters, every threshold that makes a difference is there.
        let every = || (-12..=32).map(|quarter| quarter as f32 / 4.0);
        // Numerator and denominator, so that equal ones are equal.
        let f1 = |threshold: f32| {
            let (found, false_alarms) = (reached(true, threshold), reached(false, threshold));
            (2 * found, found + false_alarms + all)
        };
        let mut best = -100.0;
        for threshold in every() {
            let ((a, b), (c, d)) = (f1(threshold), f1(best));
            if a * d >= c * b {
                best = threshold;
            }
        }
        assert_eq!(pooled(Rule::F1Max, &images).reject, best, "{run}: {images:?}");
        for share in [0.01, 0.25, 1.0 / 3.0, 0.5, 2.0 / 3.0, 0.7, 0.99, 1.0] {
            let enough = |&threshold: &f32| reached(true, threshold) as f64 / all as f64 >= share;
            let highest = every().rfind(enough).unwrap();
            assert_eq!(pooled(Rule::Recall { share }, &images).reject, highest, "{run} {share}: {images:?}");
        }
    }
}

#[test]
fn labeled_rules_want_more_than_a_few() {
    let images: Vec<_> = (0..30).map(|score| normal(score as f32)).chain([anomalous(20.0), anomalous(40.0)]).collect();
    for rule in [Rule::F1Max, Rule::Recall { share: 0.5 }] {
        let thresholds = pooled(rule, &images);
        assert_eq!((thresholds.reject, thresholds.normal_images, thresholds.anomalous_images), (40.0, 30, 2));
        assert!(thresholds.warnings[0].contains("2 anomalous images"), "{thresholds:?}");
        assert_eq!(alarms(&thresholds).images, 0);
    }
}

#[test]
fn categories_without_the_images_use_the_pooled_thresholds() {
    let gear = (0..20).map(|score| normal(score as f32)).chain((15..30).map(|score| anomalous(score as f32)));
    let cable = (0..20).map(|score| LabeledScore { category: "cable", score: 100.0 + score as f32, anomalous: false });
    let calibrator = Calibrator::new(Rule::Recall { share: 1.0 }).review(Rule::Quantile { quantile: 0.5 });
    let calibration = calibrator.calibrate(gear.chain(cable.clone())).unwrap();
    assert_eq!(calibration.categories.keys().collect::<Vec<_>>(), ["gear"]);
    assert_eq!(calibration.notices.len(), 1);
    assert!(calibration.notices[0].contains(r#""cable" has no anomalous images"#), "{:?}", calibration.notices);
    let gear = &calibration.categories["gear"];
    assert_eq!((gear.review, gear.reject, gear.region), (10.0, 15.0, 10.0));

    // Half of all normal images are above every gear: too high to be looked at.
    let all = calibration.pooled.as_ref().unwrap();
    assert_eq!((all.review, all.reject), (15.0, 15.0));
    assert_eq!(all.review_method, all.reject_method);
    assert!(all.warnings[0].contains("the review band is empty"), "{:?}", all.warnings);

    let decide = |category, score| calibration.decide(category, score).unwrap().unwrap();
    let verdict = decide(Some("gear"), 12.0);
    assert_eq!((verdict.decision, verdict.review, verdict.reject), (Decision::Review, 10.0, 15.0));
    assert_eq!(verdict.source, ThresholdSource::Category { name: "gear".into() });
    let verdict = decide(Some("cable"), 12.0);
    assert_eq!(verdict.decision, Decision::Accept);
    assert_eq!(verdict.source, ThresholdSource::Pooled { instead_of: Some("cable".into()) });
    assert_eq!(decide(None, f32::INFINITY).source, ThresholdSource::Pooled { instead_of: None });
    assert_eq!(decide(None, f32::INFINITY).decision, Decision::Reject);
    assert_eq!(
        serde_json::to_value(&verdict).unwrap()["source"],
        serde_json::json!({"kind": "pooled", "instead_of": "cable"})
    );

    let error = calibrator.calibrate(cable).unwrap_err().to_string();
    assert!(error.contains("20 normal and 0 anomalous") && error.contains("needs anomalous images"), "{error}");
}

#[test]
fn what_cannot_be_decided_is_said() {
    let empty = Calibration::new(BTreeMap::new(), None);
    assert_eq!(empty.decide(Some("gear"), 1.0).unwrap(), None);
    assert!(empty.decide(None, f32::NAN).is_err());
    assert!(Thresholds::new(0.0, 1.0).unwrap().decide(f32::NAN).unwrap_err().to_string().contains("NaN"));
    for (review, reject) in [(f32::NAN, 1.0), (0.0, f32::INFINITY), (f32::NEG_INFINITY, 0.0), (2.0, 1.0)] {
        assert!(matches!(Thresholds::new(review, reject), Err(Error::InvalidArgument { .. })));
    }
    let calibrator = Calibrator::new(Rule::F1Max);
    assert!(matches!(calibrator.calibrate([]), Err(Error::NoImages { .. })));
    for score in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let error = calibrator.calibrate([normal(1.0), normal(score)]).unwrap_err().to_string();
        assert!(error.contains(r#"score of image 1 (category "gear")"#), "{error}");
    }
    for (rule, field) in [
        (Rule::Quantile { quantile: 1.1 }, "quantile is 1.1"),
        (Rule::Quantile { quantile: f64::NAN }, "quantile is NaN"),
        (Rule::FalseAlarmRate { rate: 0.0, confidence: 0.5 }, "rate is 0"),
        (Rule::FalseAlarmRate { rate: 0.1, confidence: 1.0 }, "confidence is 1"),
        (Rule::Recall { share: 0.0 }, "share is 0"),
    ] {
        let images = [normal(0.0), anomalous(1.0)];
        let errors = [Calibrator::new(rule), calibrator.review(rule)].map(|calibrator| calibrator.calibrate(images));
        for error in errors {
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }
}

/// Bounds may come back with another last bit, for that is how serde_json reads f64.
fn same_rates(loaded: &mut Thresholds, saved: &Thresholds) {
    for (loaded, saved) in
        [(&mut loaded.review_method, saved.review_method), (&mut loaded.reject_method, saved.reject_method)]
    {
        let [a, b] = [&*loaded, &saved].map(|method| method.unwrap().false_alarms.unwrap().rate_at_most);
        assert!((a / b - 1.0).abs() < 1e-15, "{a} {b}");
        loaded.as_mut().unwrap().false_alarms = saved.unwrap().false_alarms;
    }
}

#[test]
fn a_calibration_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calibration.json");
    let mut random = Random::new(3);
    for rule in [FALSE_ALARMS, Rule::Quantile { quantile: 0.97 }, Rule::F1Max, Rule::Recall { share: 0.9 }] {
        for scale in [1e-40, 1e-3, 1.0, 1e18] {
            let scores = random.stream().uniform(300);
            let images = scores.chunks(3).enumerate().flat_map(|(index, scores)| {
                let category = ["gear", "plate \u{1b}\"\n", ""][index % 3];
                scores.iter().map(move |score| LabeledScore {
                    category,
                    score: score * scale,
                    anomalous: !category.is_empty() && index % 2 == 1,
                })
            });
            let calibration = Calibrator::new(rule).review(FALSE_ALARMS).calibrate(images).unwrap();
            calibration.save(&path).unwrap();
            let mut loaded = Calibration::load(&path).unwrap();
            for (name, thresholds) in &calibration.categories {
                same_rates(loaded.categories.get_mut(name).unwrap(), thresholds);
            }
            same_rates(loaded.pooled.as_mut().unwrap(), calibration.pooled.as_ref().unwrap());
            // To the last bit: a threshold is next to a score.
            assert_eq!(loaded, calibration);
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    let mut unsound = Calibration::load(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    unsound.pooled.as_mut().unwrap().review = f32::NAN;
    assert!(matches!(unsound.save(&path), Err(Error::InvalidArgument { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_by_hand_needs_one_number() {
    // As editors on Windows write it.
    let marked = Calibration::from_json("some.json", "\u{feff}{\"pooled\": {\"reject\": 1}}").unwrap();
    assert_eq!(marked, Calibration::from_json("some.json", r#"{"pooled": {"reject": 1}}"#).unwrap());
    let read = |text: &str| Calibration::from_json("hand.json", text).unwrap();
    let calibration = read(r#"{"categories": {"gear": {"reject": 2}, "plate": {"review": 1.5}}}"#);
    assert_eq!(calibration.categories["gear"], Thresholds::new(2.0, 2.0).unwrap());
    assert_eq!(calibration.categories["plate"], Thresholds::new(1.5, 1.5).unwrap());
    assert_eq!(calibration.pooled, None);
    let calibration = read(r#"{"format": 1, "pooled": {"review": 1, "reject": 2, "region": 0.5}}"#);
    assert_eq!(calibration.pooled.unwrap().region, 0.5);
    // Rejects every image.
    let all = read(
        r#"{"pooled": {"reject": 0, "review": -0.0, "known_good": {"images": 5, "rejected": 3, "reviewed": 2, "trained_on": 5}}}"#,
    );
    assert_eq!(all.decide(None, 0.0).unwrap().unwrap().decision, Decision::Reject);
    assert_eq!(read("{}"), Calibration::new(BTreeMap::new(), None));
    // For any model, and for one precision or any. What is read can be written and read again.
    for (text, precision) in [(r#"{"precision": "int8"}"#, Precision::Int8), (r#"{"format": 4}"#, Precision::F32)] {
        let calibration = read(text);
        assert_eq!(
            (calibration.precision, calibration.is_of_any_precision()),
            (precision, precision == Precision::F32)
        );
        assert_eq!(read(&calibration.to_json().unwrap()), calibration);
    }
    let mut of_one = read(r#"{"model": "digest", "pooled": {"reject": 1}}"#);
    of_one.precision = Precision::Int8;
    let of_one = read(&of_one.to_json().unwrap());
    assert_eq!(of_one.precision, Precision::Int8);
    // Those in int8 do not pass for thresholds in f32, of their model or of none.
    for model in [Some("digest".into()), None] {
        let f32 = Calibration { model, ..Calibration::new(BTreeMap::new(), None) };
        assert!(f32.merged_into(&of_one, false).is_err());
    }
    assert_eq!(read(r#"{"categories": {}, "pooled": null}"#), read("{}"));
}

#[test]
fn what_is_no_calibration_is_named() {
    let nested = format!("{}0{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let [deep, deep_format] = ["categories", "format"].map(|field| format!(r#"{{"{field}": {nested}}}"#));
    let long = format!(r#"{{"notices": ["{}"]}}"#, "x".repeat(16 << 20));
    let odd = format!(r#"{{"{}": 1}}"#, "\\u001b[31m".repeat(1000));
    let rule = |rule: &str| format!(r#"{{"pooled": {{"reject": 1, "reject_method": {{"rule": {rule}}}}}}}"#);
    let rules = [
        r#"{"kind": "quantile", "quantile": 2}"#,
        r#"{"kind": "f1-max", "share": 1}"#,
        r#"{"kind": "recall"}"#,
        r#"{"kind": "false-alarm-rate", "rate": 0.1, "confidence": 1}"#,
    ]
    .map(rule);
    let false_alarms = |false_alarms: &str| {
        let method = format!(r#"{{"rule": {{"kind": "f1-max"}}, "false_alarms": {false_alarms}}}"#);
        format!(r#"{{"pooled": {{"reject": 1, "reject_method": {method}}}}}"#)
    };
    let bounds = [
        r#"{"images": -1, "rate_at_most": 0.5, "confidence": 0.5}"#,
        r#"{"images": 1, "rate_at_most": 1.5, "confidence": 0.5}"#,
        r#"{"images": 1, "rate_at_most": 0.5, "confidence": 0}"#,
        r#"{"images": 1, "rate_at_most": 0.5, "confidence": 0.5, "images": 1}"#,
    ]
    .map(false_alarms);
    let more_alarms = false_alarms(r#"{"images": 6, "rate_at_most": 0.5, "confidence": 0.5}"#)
        .replace(r#""reject": 1"#, r#""reject": 1, "normal_images": 5"#);
    let known_good = [
        r#"{"images": 5, "rejected": 6, "reviewed": 0}"#,
        r#"{"images": 5, "rejected": 0, "reviewed": 6}"#,
        r#"{"images": 5, "rejected": 3, "reviewed": 3}"#,
        r#"{"images": 5, "rejected": 18446744073709551615, "reviewed": 18446744073709551615}"#,
        r#"{"images": 5, "rejected": 1, "reviewed": 0, "trained_on": 6}"#,
    ]
    .map(|known| format!(r#"{{"pooled": {{"reject": 1, "known_good": {known}}}}}"#));
    for (text, words) in [
        ("", "EOF"),
        ("[", "it is a list"),
        ("[1]", "it is a list"),
        ("3", "invalid type"),
        ("{}{}", "trailing"),
        (r#"{"format": 5, "all": "new"}"#, "it has format 5, and this version knows up to 4; update dualad"),
        (r#"{"format": 0}"#, "its format is 0; write 1"),
        (r#"{"format": "1"}"#, r#"its format is "1"; write 1"#),
        (r#"{"format": -1}"#, "its format is -1"),
        (r#"{"format": 3, "precision": "int8"}"#, r#"format is 3, and "precision" needs 4; write 4"#),
        (r#"{"format": 4, "model": "digest"}"#, "precision is missing, and a file of format 4 for one model has it"),
        (r#"{"pooled": {}}"#, "pooled: reject is missing"),
        (r#"{"pooled": {"reject": "NaN"}}"#, "pooled"),
        (r#"{"pooled": {"reject": NaN}}"#, "line 1"),
        (r#"{"pooled": {"reject": 1e999}}"#, "out of range"),
        (r#"{"pooled": {"reject": 1e300}}"#, "pooled: reject is inf"),
        (r#"{"pooled": {"reject": 1, "region": -1e300}}"#, "region is -inf"),
        (r#"{"pooled": {"reject": -1}}"#, "pooled: reject is -1.0: must be at least 0, as scores are"),
        (r#"{"pooled": {"reject": -1}}"#, "below 0 it rejects every image, and so does 0"),
        (r#"{"pooled": {"reject": -1e-9}}"#, "reject is -1e-9"),
        (r#"{"pooled": {"reject": 1, "review": -3}}"#, "review is -3.0: must be at least 0"),
        (r#"{"categories": {"gear": {"reject": 1, "region": -2}}}"#, "categories.gear: region is -2.0: must be"),
        (r#"{"pooled": {"reject": 1, "review": 2}}"#, "pooled: review is 2.0: must be at most reject, which is 1.0"),
        (r#"{"pooled": {"reject": 1, "normal_images": -1}}"#, "normal_images"),
        (r#"{"pooled": {"reject": 1, "normal_images": 1.5}}"#, "normal_images"),
        (r#"{"pooled": {"reject": 1, "rejects": 1}}"#, "rejects"),
        (r#"{"categories": {"gear": {"reject": 1}, "gear": {"reject": 2}}}"#, r#""gear" is listed twice"#),
        (r#"{"categories": {"gear": 1}}"#, "gear"),
        (r#"{"categories": []}"#, "an object of categories"),
        (r#"{"category": {}}"#, "unknown field `category`"),
        (&deep, "unknown field `a`"),
        (&deep_format, "recursion limit"),
        (&long, "at most 16 MiB"),
        (&odd, "u{1b}"),
        (&rules[0], "quantile is 2"),
        (&rules[1], "unknown field `share`"),
        (&rules[2], "missing field `share`"),
        (&rules[3], "confidence is 1"),
        (&bounds[0], "-1"),
        (&bounds[1], "rate_at_most is 1.5"),
        (&bounds[2], "confidence is 0"),
        (&bounds[3], "duplicate"),
        (&more_alarms, "reject_method.false_alarms.images is 6: must be at most normal_images, which is 5"),
        (&known_good[0], "known_good.rejected is 6: must be at most known_good.images, which is 5"),
        (&known_good[1], "known_good.reviewed is 6: must be at most known_good.images, which is 5"),
        (
            &known_good[2],
            "known_good.rejected is 3: must be at most known_good.images without those that are reviewed, which is 2",
        ),
        (&known_good[3], "known_good.reviewed is 18446744073709551615"),
        (&known_good[4], "known_good.trained_on is 6: must be at most known_good.images"),
    ] {
        let error = Calibration::from_json("some.json", text).unwrap_err();
        assert!(matches!(error, Error::Format(_)), "{error:?}");
        let error = error.to_string();
        assert!(
            error.starts_with("some.json is not a valid calibration: ") && error.contains(words),
            "{words}: {error}"
        );
        assert!(error.len() < 10_000 && !error.contains('\u{1b}'), "{error}");
    }
}

#[test]
fn what_is_no_file_is_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| Calibration::load(path).unwrap_err().to_string();
    assert!(error(folder.path()).contains("not a file"));
    assert!(matches!(Calibration::load(folder.path().join("none")), Err(Error::Io { action: "read", .. })));
    let path = folder.path().join("large");
    std::fs::File::create(&path).unwrap().set_len((16 << 20) + 1).unwrap();
    assert!(error(&path).contains("not a file of at most 16 MiB"));
    std::fs::write(&path, [0xFF, 0xFE]).unwrap();
    assert!(error(&path).contains("UTF-8"));
    // What would be waited for, for ever.
    #[cfg(unix)]
    {
        let pipe = folder.path().join("pipe");
        if std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
            assert!(error(&pipe).contains("not a file"));
        }
        assert!(error(Path::new("/dev/zero")).contains("not a file"));
    }
}

#[test]
fn the_warning_of_too_few_images_is_given_once() {
    let scores = |counts: &[(&'static str, usize)]| {
        let scores = counts.iter().flat_map(|&(category, count)| (0..count).map(move |part| (category, part as f32)));
        let scores = scores.map(|(category, score)| LabeledScore { category, score, anomalous: false });
        Calibrator::default().calibrate(scores.collect::<Vec<_>>()).unwrap().warnings()
    };
    let said = scores(&[("gear", 12), ("plate", 40), ("cable", 20), ("many", 400)]);
    assert_eq!(said.len(), 1, "{said:?}");
    for words in ["takes 299 normal images", "3 categories have 12 to 40", "at most 0.072 to 0.221"] {
        assert!(said[0].contains(words), "{said:?}");
    }
    assert!(
        scores(&[("gear", 12), ("plate", 12)])[0]
            .contains("2 categories have 12: their rates are guaranteed to be at most 0.221")
    );
    // The pooled thresholds of one category are its own.
    let said = scores(&[("gear", 12)]);
    assert!(
        said.len() == 1 && said[0].starts_with("category \"gear\"") && said[0].contains("at most 0.221"),
        "{said:?}"
    );
    // Each file has them all.
    assert!(scores(&[("gear", 12), ("many", 400)]).len() == 1);
}
