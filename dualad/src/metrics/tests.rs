//! The fast form against the plain one, and every way in which a metric has no value.

use proptest::prelude::*;

use super::evaluate::evaluate_within;
use super::{Error, Evaluation, Measured, Metric, Metrics, ScoredImage, Undefined, Unit, evaluate, plain, regions};

/// An image that owns what [`ScoredImage`] borrows.
#[derive(Debug, Clone)]
struct Image {
    category: &'static str,
    anomalous: bool,
    image_score: f32,
    width: usize,
    map: Vec<f32>,
    mask: Option<Vec<u8>>,
}

impl Image {
    fn scored(&self) -> ScoredImage<'_> {
        ScoredImage {
            category: self.category,
            anomalous: self.anomalous,
            image_score: self.image_score,
            height: self.map.len().checked_div(self.width).unwrap_or(0),
            width: self.width,
            map: &self.map,
            mask: self.mask.as_deref(),
        }
    }
}

/// Two rows: as many columns as scores in half.
fn image(anomalous: bool, image_score: f32, map: &[f32], mask: Option<&[u8]>) -> Image {
    let (map, mask) = (map.to_vec(), mask.map(<[u8]>::to_vec));
    Image { category: "a", anomalous, image_score, width: map.len() / 2, map, mask }
}

fn measure(images: &[Image]) -> Result<Evaluation, Error> {
    evaluate(&images.iter().map(Image::scored).collect::<Vec<_>>())
}

fn close(found: Metric, expected: f64) -> bool {
    found.is_ok_and(|found| (found - expected).abs() < 1e-11)
}

/// Compares the metrics of a set of images with those of the plain form.
fn hold(measured: &Measured, images: &[&Image]) {
    let metrics = &measured.metrics;
    assert_eq!(measured.images, images.len());
    assert_eq!(measured.anomalous, images.iter().filter(|image| image.anomalous).count());
    let mut scores: Vec<(f32, f64)> =
        images.iter().map(|image| (image.image_score, f64::from(u8::from(image.anomalous)))).collect();
    hold_ranking(
        &mut scores,
        [metrics.image_auroc, metrics.image_ap, metrics.image_f1_max],
        measured.image_threshold,
        None,
        Unit::Image,
    );
    let unmasked = images.iter().any(|image| image.anomalous && image.mask.is_none());
    let (mut scores, mut regions) = (Vec::new(), 0);
    for image in images {
        let (pixels, found) = plain::pixels(&image.map, image.mask.as_deref(), image.width);
        scores.extend(pixels);
        regions += found;
    }
    let why = hold_ranking(
        &mut scores,
        [metrics.pixel_auroc, metrics.pixel_ap, metrics.pixel_f1_max],
        measured.pixel_threshold,
        unmasked.then_some(Undefined::NoMask),
        Unit::Pixel,
    );
    if let Some(why) = why {
        assert_eq!([metrics.pixel_aupro, metrics.pixel_aupro_200], [Err(why); 2]);
        assert!(measured.curves.pixel_roc.is_empty() && measured.curves.pixel_pro.is_empty());
        return;
    }
    let expected = plain::aupro(&mut scores, regions);
    assert!(close(metrics.pixel_aupro, expected), "{:?} {expected}", metrics.pixel_aupro);
    let expected = plain::aupro_200(&scores, regions);
    if expected.is_nan() || metrics.pixel_aupro_200 == Err(Undefined::FewRates) {
        // With one rate there is nothing to divide; with no rate under the limit, nothing to sum.
        assert!(expected.is_nan() || expected == 0.0, "{expected}");
        assert_eq!(metrics.pixel_aupro_200, Err(Undefined::FewRates));
    } else {
        assert!(close(metrics.pixel_aupro_200, expected), "{:?} {expected}", metrics.pixel_aupro_200);
    }
    for (curve, limit) in [(&measured.curves.pixel_roc, 1.0), (&measured.curves.pixel_pro, 0.3)] {
        assert!(curve.len() <= 600, "{}", curve.len());
        let ends = [curve[0], curve[curve.len() - 1]].map(|point| (point.x, point.y));
        assert_eq!(ends, [(0.0, 0.0), (1.0, 1.0)]);
        let (mut area, mut last) = (0.0, curve[0]);
        for &point in curve {
            assert!(point.x >= last.x && point.y >= last.y && point.threshold <= last.threshold, "{last:?} {point:?}");
            let x = point.x.min(limit);
            if last.x < x {
                area +=
                    (x - last.x) * (last.y + (last.y + (point.y - last.y) * (x - last.x) / (point.x - last.x))) / 2.0;
            }
            last = point;
        }
        let whole = if limit < 1.0 { metrics.pixel_aupro } else { metrics.pixel_auroc };
        assert!((area / limit - whole.unwrap_or(-1.0)).abs() < 0.01, "{area} {whole:?}");
    }
}

/// Returns why the metrics are undefined, if they are.
fn hold_ranking(
    scores: &mut [(f32, f64)],
    metrics: [Metric; 3],
    threshold: Option<f32>,
    why: Option<Undefined>,
    unit: Unit,
) -> Option<Undefined> {
    let one_class = if scores.iter().all(|score| score.1 > 0.0) {
        Some(Undefined::NoNormal(unit))
    } else if scores.iter().all(|score| score.1 == 0.0) {
        Some(Undefined::NoAnomalous(unit))
    } else {
        None
    };
    if let Some(why) = why.or(one_class) {
        assert_eq!((metrics, threshold), ([Err(why); 3], None));
        return Some(why);
    }
    let expected = plain::ranked(scores);
    let fits = [expected.auroc, expected.ap, expected.f1_max].into_iter().zip(metrics);
    assert!(fits.clone().all(|(expected, metric)| close(metric, expected)), "{:?}", fits.collect::<Vec<_>>());
    assert_eq!(threshold, Some(expected.f1_threshold), "{unit}");
    None
}

fn hold_all(evaluation: &Evaluation, images: &[Image]) {
    hold(&evaluation.pooled, &images.iter().collect::<Vec<_>>());
    let mut found = 0;
    for (name, category) in &evaluation.categories {
        let images: Vec<&Image> = images.iter().filter(|image| image.category == name).collect();
        found += images.len();
        hold(category, &images);
    }
    assert_eq!(found, images.len());
    let metrics = |index: usize| evaluation.categories.values().map(move |category| nth(&category.metrics, index));
    for (index, (name, mean)) in evaluation.mean.iter().enumerate() {
        let values: Vec<f64> = metrics(index).filter_map(Result::ok).collect();
        match mean {
            Ok(mean) => assert!((mean - values.iter().sum::<f64>() / values.len() as f64).abs() < 1e-12, "{name}"),
            Err(why) => assert_eq!((*why, values.len()), (Undefined::NoCategory, 0)),
        }
    }
}

fn nth(metrics: &Metrics, index: usize) -> Metric {
    metrics.iter().nth(index).map_or(Err(Undefined::NoCategory), |(_, metric)| *metric)
}

/// Scores of many kinds: few distinct ones, all within one 65,536th of the range of floats, any, both signs of zero.
fn score() -> impl Strategy<Value = f32> {
    prop_oneof![
        6 => (0_i8..6).prop_map(|value| f32::from(value) / 4.0),
        3 => (0_u16..=u16::MAX).prop_map(|value| f32::from_bits(0x3f80_0000 | u32::from(value))),
        2 => -1.0e3_f32..1.0e3,
        1 => Just(-0.0),
        1 => any::<f32>().prop_filter("finite", |value| value.is_finite()),
    ]
}

fn images() -> impl Strategy<Value = Vec<Image>> {
    let scores = prop_oneof![4 => Just(false), 1 => Just(true)];
    let image = (0_usize..3, any::<bool>(), score(), 0_usize..10, 1_usize..10, 0_u8..9, scores).prop_flat_map(
        |(category, anomalous, image_score, height, width, density, constant)| {
            let pixels = height * width;
            let map = prop::collection::vec(score(), if constant { 1 } else { pixels })
                .prop_map(move |map| if constant { vec![map[0]; pixels] } else { map });
            let mask = prop::collection::vec((0_u8..8).prop_map(move |value| u8::from(value < density) * 255), pixels);
            (map, mask, 0_u8..20).prop_map(move |(map, mut mask, masked)| {
                if !anomalous {
                    mask.fill(0);
                }
                let mask = (masked > 0 && (anomalous || masked < 10)).then_some(mask);
                Image { category: ["a", "b", "c"][category], anomalous, image_score, width, map, mask }
            })
        },
    );
    prop::collection::vec(image, 0..9)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn fast_is_plain(images in images(), budget in prop_oneof![0_usize..300, Just(1 << 20)]) {
        let scored: Vec<_> = images.iter().map(Image::scored).collect();
        let evaluation = evaluate_within(&scored, budget);
        prop_assert!(evaluation.is_ok(), "{:?}", evaluation.err());
        let evaluation = evaluation.unwrap();
        hold_all(&evaluation, &images);
        // To the bit, whatever is sorted at a time.
        prop_assert_eq!(evaluation, evaluate(&scored).unwrap());
    }

    #[test]
    fn spans_are_floods(
        (width, mask) in (1_usize..14, 0_usize..14, 1_u8..8).prop_flat_map(|(width, height, density)| {
            let pixel = (0_u8..8).prop_map(move |value| u8::from(value < density));
            (Just(width), prop::collection::vec(pixel, height * width))
        }),
    ) {
        let (expected, count) = plain::pixels(&vec![0.0; mask.len()], Some(&mask), width);
        let (spans, regions) = regions::spans(&mask, width);
        prop_assert_eq!(regions, count as u64);
        let mut found = vec![0.0; mask.len()];
        for span in &spans {
            prop_assert!(span.start < span.end && span.start as usize / width == (span.end as usize - 1) / width);
            found[span.start as usize..span.end as usize].fill(1.0 / f64::from(span.area));
        }
        prop_assert_eq!(found, expected.into_iter().map(|pixel| pixel.1).collect::<Vec<_>>());
        prop_assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
    }
}

/// Larger than what proptest draws, in categories of different sizes, on one thread and on more.
#[test]
fn threads_change_nothing() {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let images: Vec<Image> = (0..40)
        .map(|index| {
            let (width, anomalous) = (50 + index, index % 3 > 0);
            let map: Vec<f32> = (0..width * 60).map(|_| next() * next()).collect();
            let mask: Vec<u8> = map.iter().map(|&score| u8::from(anomalous && score + next() > 1.3)).collect();
            let category = ["screw", "cable", "tile"][index % 7 % 3];
            Image {
                category,
                anomalous,
                image_score: next() + f32::from(u8::from(anomalous)) / 4.0,
                width,
                map,
                mask: Some(mask),
            }
        })
        .collect();
    let scored: Vec<_> = images.iter().map(Image::scored).collect();
    let on = |threads, budget| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| evaluate_within(&scored, budget)).unwrap()
    };
    let one = on(1, 1 << 30);
    hold_all(&one, &images);
    for (threads, budget) in [(1, 20_000), (2, 1 << 20), (5, 100_000), (3, 50_000)] {
        assert_eq!(on(threads, budget), one, "{threads} threads, {budget} bytes");
    }
}

#[test]
fn nothing_given_is_nothing_defined() {
    let evaluation = measure(&[]).unwrap();
    assert!(evaluation.categories.is_empty());
    assert!(evaluation.mean.iter().all(|(_, metric)| *metric == Err(Undefined::NoCategory)));
    assert!(evaluation.pooled.metrics.iter().all(|(_, metric)| metric.is_err()));
    assert_eq!((evaluation.pooled.images, evaluation.pooled.image_threshold), (0, None));
}

#[test]
fn equal_scores_are_chance() {
    let images = [image(false, 1.0, &[2.0; 8], None), image(true, 1.0, &[2.0; 8], Some(&[0, 0, 0, 0, 0, 0, 1, 1]))];
    let evaluation = measure(&images).unwrap();
    let metrics = &evaluation.categories["a"].metrics;
    assert_eq!([metrics.image_auroc, metrics.pixel_auroc], [Ok(0.5); 2]);
    assert_eq!([metrics.image_ap, metrics.pixel_ap], [Ok(0.5), Ok(0.125)]);
    // A straight line: half of 0.3.
    assert!(close(metrics.pixel_aupro, 0.15));
    assert_eq!(metrics.pixel_aupro_200, Err(Undefined::FewRates));
    hold_all(&evaluation, &images);
}

#[test]
fn one_class_is_undefined() {
    let normal = image(false, 1.0, &[1.0, 2.0], None);
    let anomalous = image(true, 2.0, &[1.0, 2.0], Some(&[1, 1]));
    for (images, image, pixel) in [
        (vec![normal.clone()], Undefined::NoAnomalous(Unit::Image), Undefined::NoAnomalous(Unit::Pixel)),
        (vec![anomalous.clone()], Undefined::NoNormal(Unit::Image), Undefined::NoNormal(Unit::Pixel)),
    ] {
        let evaluation = measure(&images).unwrap();
        let metrics = &evaluation.categories["a"].metrics;
        assert_eq!([metrics.image_auroc, metrics.image_ap, metrics.image_f1_max], [Err(image); 3]);
        assert_eq!([metrics.pixel_auroc, metrics.pixel_ap, metrics.pixel_f1_max], [Err(pixel); 3]);
        assert_eq!([metrics.pixel_aupro, metrics.pixel_aupro_200], [Err(pixel); 2]);
        assert!(evaluation.categories["a"].curves.image_roc.is_empty());
        assert_eq!(evaluation.mean.image_ap, Err(Undefined::NoCategory));
    }
    // Each category of one class, both together of two.
    let images = [Image { category: "b", ..normal }, anomalous];
    let evaluation = measure(&images).unwrap();
    assert_eq!(evaluation.pooled.metrics.image_auroc, Ok(1.0));
    hold_all(&evaluation, &images);
}

#[test]
fn a_missing_mask_leaves_pixels_undefined_where_it_matters() {
    let mut images = vec![image(false, 1.0, &[1.0, 2.0], None), image(true, 2.0, &[1.0, 2.0], None)];
    images.extend(images.clone().into_iter().map(|image| Image { category: "b", ..image }));
    images[3].mask = Some(vec![0, 1]);
    let evaluation = measure(&images).unwrap();
    assert_eq!(evaluation.categories["a"].metrics.image_auroc, Ok(1.0));
    assert_eq!(evaluation.categories["a"].metrics.pixel_ap, Err(Undefined::NoMask));
    assert!(evaluation.categories["b"].metrics.pixel_ap.is_ok());
    assert_eq!(evaluation.mean.pixel_ap, evaluation.categories["b"].metrics.pixel_ap);
    assert_eq!(evaluation.pooled.metrics.pixel_ap, Err(Undefined::NoMask));
    hold_all(&evaluation, &images);
}

#[test]
fn an_empty_mask_is_normal_pixels_of_an_anomalous_image() {
    let images = [image(false, 1.0, &[1.0, 2.0], None), image(true, 2.0, &[1.0, 2.0], Some(&[0, 0]))];
    let evaluation = measure(&images).unwrap();
    assert_eq!(evaluation.pooled.metrics.image_auroc, Ok(1.0));
    assert_eq!(evaluation.pooled.metrics.pixel_auroc, Err(Undefined::NoAnomalous(Unit::Pixel)));
}

#[test]
fn images_without_maps_have_image_metrics() {
    let images = [image(false, 1.0, &[], None), image(true, 2.0, &[], None)];
    let metrics = measure(&images).unwrap().pooled.metrics;
    assert_eq!((metrics.image_auroc, metrics.pixel_auroc), (Ok(1.0), Err(Undefined::NoMask)));
}

#[test]
fn scores_that_have_no_order_are_refused() {
    let good = image(false, 1.0, &[1.0; 4], None);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = measure(&[good.clone(), image(false, bad, &[1.0; 4], None)]).unwrap_err();
        assert!(matches!(&error, Error::ImageScore { image: 1, .. }), "{error}");
        assert!(error.to_string().contains("image 1 (category \"a\")"), "{error}");
        // The first of them, on any number of threads.
        let images =
            [good.clone(), image(false, 1.0, &[1.0, 1.0, bad, bad], None), image(false, 1.0, &[bad, bad], None)];
        let error = measure(&images).unwrap_err();
        assert!(matches!(&error, Error::PixelScore { image: 1, row: 1, column: 0, .. }), "{error}");
    }
}

#[test]
fn sizes_and_labels_that_contradict_are_refused() {
    let map = [1.0; 6];
    let scored = ScoredImage {
        category: "a",
        anomalous: true,
        image_score: 0.0,
        height: 2,
        width: 3,
        map: &map,
        mask: Some(&[1; 6]),
    };
    assert!(evaluate(&[scored]).is_ok());
    assert!(matches!(evaluate(&[ScoredImage { width: 2, ..scored }]), Err(Error::MapSize { values: 6, .. })));
    assert!(matches!(
        evaluate(&[ScoredImage { width: usize::MAX, height: 2, ..scored }]),
        Err(Error::MapSize { height: 2, .. })
    ));
    assert!(matches!(
        evaluate(&[scored, ScoredImage { mask: Some(&[1; 5]), ..scored }]),
        Err(Error::MaskSize { image: 1, mask: 5, map: 6, .. })
    ));
    assert!(matches!(
        evaluate(&[ScoredImage { anomalous: false, ..scored }]),
        Err(Error::MarkedNormal { pixels: 6, .. })
    ));
}

#[test]
fn json_has_the_names_and_null() {
    let images = [image(false, 1.0, &[1.0, 2.0], None), image(true, 2.0, &[1.0, 2.0], None)];
    let json = serde_json::to_value(measure(&images).unwrap().mean).unwrap();
    let expected = serde_json::json!({
        "image_auroc": 1.0, "image_ap": 1.0, "image_f1_max": 1.0, "pixel_auroc": null, "pixel_ap": null,
        "pixel_f1_max": null, "pixel_aupro": null, "pixel_aupro_200": null,
    });
    assert_eq!(json, expected);
}
