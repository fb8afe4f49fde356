//! A made-up run, plausible enough to look at.

use std::collections::BTreeMap;

use dualad_backbones::{Backbone, Provenance};
use dualad_data::Label;

use crate::config::Variant;
use crate::metrics::{Curves, Evaluation, Measured, Metric, Metrics, Point, Undefined, Unit};
use crate::recipe::Preset;
use crate::report::{ImageResult, Report};

/// A category of the sample report.
pub(crate) struct Made {
    pub(crate) name: String,
    /// Images without a defect.
    pub(crate) normal: usize,
    /// Types of defect, and how many images have each.
    pub(crate) defects: Vec<(String, usize)>,
    /// Distance between the mean scores of anomalous and normal images, in standard deviations.
    pub(crate) distance: f64,
    pub(crate) masks: bool,
}

impl Made {
    pub(crate) fn new(name: &str, normal: usize, defects: &[(&str, usize)], distance: f64) -> Self {
        let defects = defects.iter().map(|(defect, count)| ((*defect).to_owned(), *count)).collect();
        Self { name: name.into(), normal, defects, distance, masks: true }
    }
}

/// The five categories of the generated dataset.
pub(crate) fn categories() -> Vec<Made> {
    vec![
        Made::new("blister", 24, &[("dent", 16), ("missing", 16), ("swapped", 16)], 3.2),
        Made::new("board", 24, &[("missing", 16), ("scratch", 16), ("swapped", 16)], 0.7),
        Made::new("fabric", 24, &[("missing", 16), ("stain", 16), ("swapped", 16)], 2.0),
        Made::new("gear", 24, &[("dent", 16), ("missing", 16), ("scratch", 16), ("stain", 16)], 1.3),
        Made::new("plate", 24, &[("dent", 16), ("scratch", 16), ("stain", 16)], 2.4),
    ]
}

/// A finished run over these.
pub(crate) fn report(categories: &[Made]) -> Report {
    let mut random = Random(1);
    let mut images = Vec::new();
    let mut measured = BTreeMap::new();
    for made in categories {
        let mut own = Vec::new();
        let path = |folder: &str, index: usize| format!("{}/test/{folder}/{index:03}.png", made.name);
        for index in 0..made.normal {
            let score = 0.21 + 0.02 * random.normal();
            own.push(ImageResult::new(&made.name, path("good", index), &Label::Normal, score as f32));
        }
        for (defect, count) in &made.defects {
            for index in 0..*count {
                let score = 0.21 + 0.02 * (made.distance + 1.6 * random.normal().abs() + 0.9 * random.normal());
                let label = Label::Anomalous(defect.clone());
                own.push(ImageResult::new(&made.name, path(defect, index), &label, score as f32));
            }
        }
        measured.insert(made.name.clone(), measure(&own, made.distance, made.masks));
        images.extend(own);
    }
    let masks = categories.iter().all(|made| made.masks);
    let pooled = measure(&images, 1.6, masks);
    let mean = mean(measured.values().map(|measured| &measured.metrics).collect());
    let mut report = Report::new(Evaluation { categories: measured, mean, pooled });
    (report.backbone, report.variant) = (Some(Backbone::WideResNet50x2), Some(Variant::Heterogeneous));
    (report.preset, report.seed, report.epochs) = (Some(Preset::Fast), 7, 120);
    (report.parameters, report.train_images) = (13_457_920, 600);
    (report.seconds.features, report.seconds.training, report.seconds.evaluation) = (48.3, 412.9, 21.6);
    report.loss =
        (0..120).map(|epoch| 0.9 * (-0.12 * f64::from(epoch)).exp() + 0.021 + random.uniform() * 0.003).collect();
    let mut weights = Provenance::default();
    weights.location = "timm/wide_resnet50_2.tv_in1k/model.safetensors".into();
    weights.revision = Some("8fa3ab0c0ba7e6c7ad07ab9fae0d1a6a4e0bd2e7".into());
    weights.sha256 = Some("32414c2f6f3d6b1ed23e4e4d1f2d4c9fb6ff0f8b9e2b0a7b5c39f50b8a1e7c64".into());
    report.weights = Some(weights);
    report.images = images;
    report
}

/// Image metrics as they are, pixel metrics made up.
fn measure(images: &[ImageResult], distance: f64, masks: bool) -> Measured {
    let mut ranked: Vec<_> = images.iter().map(|image| (image.image_score, image.anomalous)).collect();
    ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let anomalous = ranked.iter().filter(|(_, anomalous)| *anomalous).count();
    let normal = ranked.len() - anomalous;
    let (mut hits, mut alarms, mut area, mut precision, mut best) = (0.0, 0.0, 0.0, 0.0, (0.0, None));
    let mut image_roc = vec![Point { x: 0.0, y: 0.0, threshold: f32::INFINITY }];
    for &(threshold, is_anomalous) in &ranked {
        if is_anomalous {
            hits += 1.0;
            precision += hits / (hits + alarms);
        } else {
            alarms += 1.0;
            area += hits;
        }
        let f1 = 2.0 * hits / (hits + alarms + anomalous as f64);
        if f1 > best.0 {
            best = (f1, Some(threshold));
        }
        image_roc.push(Point { x: alarms / normal as f64, y: hits / anomalous as f64, threshold });
    }
    let image = |value: f64| -> Metric {
        match (normal, anomalous) {
            (0, _) => Err(Undefined::NoNormal(Unit::Image)),
            (_, 0) => Err(Undefined::NoAnomalous(Unit::Image)),
            _ => Ok(value),
        }
    };
    let pixel = |value: f64| -> Metric {
        match (masks, anomalous) {
            (_, 0) => Err(Undefined::NoAnomalous(Unit::Pixel)),
            (false, _) => Err(Undefined::NoMask),
            _ => Ok(value),
        }
    };
    // y = x to the power of b has the area 1 / (1 + b).
    let power = |b: f64| -> Vec<Point> {
        let x = (0..=200).map(|index| (f64::from(index) / 200.0).powi(3));
        x.map(|x| Point { x, y: x.powf(b), threshold: 1.0 - x as f32 }).collect()
    };
    let slope = 0.16 / distance;
    let metrics = Metrics {
        image_auroc: image(area / (normal * anomalous) as f64),
        image_ap: image(precision / anomalous as f64),
        image_f1_max: image(best.0),
        pixel_auroc: pixel(1.0 / (1.0 + slope)),
        pixel_ap: pixel(0.16 * distance),
        pixel_f1_max: pixel(0.155 * distance + 0.04),
        pixel_aupro: pixel(1.0 / (1.0 + 3.0 * slope)),
        pixel_aupro_200: pixel(1.0 / (1.0 + 3.0 * slope) - 0.004),
    };
    let curves = Curves {
        image_roc: if metrics.image_auroc.is_ok() { image_roc } else { vec![] },
        pixel_roc: if metrics.pixel_auroc.is_ok() { power(slope) } else { vec![] },
        pixel_pro: if metrics.pixel_aupro.is_ok() { power(2.0 * slope) } else { vec![] },
    };
    let image_threshold = best.1.filter(|_| metrics.image_auroc.is_ok());
    let pixel_threshold = metrics.pixel_auroc.is_ok().then_some(0.4);
    Measured { metrics, curves, image_threshold, pixel_threshold, images: images.len(), anomalous }
}

fn mean(all: Vec<&Metrics>) -> Metrics {
    let of = |metric: fn(&Metrics) -> &Metric| -> Metric {
        let defined: Vec<f64> = all.iter().filter_map(|metrics| metric(metrics).ok()).collect();
        if defined.is_empty() {
            Err(Undefined::NoCategory)
        } else {
            Ok(defined.iter().sum::<f64>() / defined.len() as f64)
        }
    };
    Metrics {
        image_auroc: of(|metrics| &metrics.image_auroc),
        image_ap: of(|metrics| &metrics.image_ap),
        image_f1_max: of(|metrics| &metrics.image_f1_max),
        pixel_auroc: of(|metrics| &metrics.pixel_auroc),
        pixel_ap: of(|metrics| &metrics.pixel_ap),
        pixel_f1_max: of(|metrics| &metrics.pixel_f1_max),
        pixel_aupro: of(|metrics| &metrics.pixel_aupro),
        pixel_aupro_200: of(|metrics| &metrics.pixel_aupro_200),
    }
}

struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1u64 << 24) as f64
    }

    /// About normal, and bounded.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}
