//! The ROC and PRO charts.

use super::axis::{Axis, drawable};
use super::number::percent;
use super::svg::{Plot, Size, chart, circle, line, path, text, through};
use crate::metrics::{Measured, Metric, Point};
use crate::report::decisions::Counts;

const SIZE: Size = Size { width: 380.0, height: 240.0 };
const PLOT: Plot = Plot { left: 34.0, right: 372.0, top: 26.0, bottom: 200.0 };
/// The false-positive rate up to which AUPRO is measured.
const PRO_END: f64 = 0.3;

/// Returns the chart of both ROC curves, with a circle at the threshold. Empty if neither curve is defined.
pub(super) fn roc(id: &str, shown: &str, measured: &Measured, decided: Option<Counts>) -> String {
    let (image, pixel) = (drawn(&measured.curves.image_roc), drawn(&measured.curves.pixel_roc));
    if image.len() < 2 && pixel.len() < 2 {
        return String::new();
    }
    let (x, y) = (PLOT.x([0.0, 1.0]), PLOT.y([0.0, 1.0]));
    let mut content = axes(&x, &y, "true-positive rate");
    content += &line("chance", [x.at(0.0), y.at(0.0)], [x.at(1.0), y.at(1.0)]);
    content += &curve("curve pixel", &pixel, &x, &y);
    content += &curve("curve image", &image, &x, &y);
    let metrics = &measured.metrics;
    if let Some(counts) = decided.filter(|counts| counts.normal > 0 && counts.anomalous > 0 && image.len() > 1) {
        let rate = |part: usize, whole: usize| part as f64 / whole as f64;
        let place = [rate(counts.false_alarms, counts.normal), rate(counts.found, counts.anomalous)];
        content += &circle("mark", [x.at(place[0]), y.at(place[1])], 4.5);
        content += &circle("mark", [207.0, 146.0], 4.5);
        content += &text("label halo", [222.0, 150.0], "at the threshold");
    }
    let (of_image, of_pixel) = (area(&metrics.image_auroc), area(&metrics.pixel_auroc));
    for (unit, place, points, area) in [("image", 168.0, &image, &of_image), ("pixel", 186.0, &pixel, &of_pixel)] {
        if points.len() > 1 {
            content += &line(&format!("curve {unit}"), [197.0, place - 4.0], [217.0, place - 4.0]);
            content += &text("label halo", [222.0, place], &format!("{unit} AUROC {area}"));
        } else {
            content += &text("label muted halo", [222.0, place], &format!("{unit}: {area}"));
        }
    }
    chart(SIZE, id, &format!("ROC of {shown}: area {of_image} over images, {of_pixel} over pixels."), &content)
}

/// Returns the chart of the PRO curve, with the area that AUPRO measures. Empty if it is undefined.
pub(super) fn pro(id: &str, shown: &str, measured: &Measured) -> String {
    let points = drawn(&measured.curves.pixel_pro);
    if points.len() < 2 {
        return String::new();
    }
    let (x, y) = (PLOT.x([0.0, 1.0]), PLOT.y([0.0, 1.0]));
    let mut content = String::new();
    let mut inside: Vec<[f64; 2]> = points.iter().copied().take_while(|point| point[0] <= PRO_END).collect();
    if let (Some(last), Some(next)) = (inside.last().copied(), points.get(inside.len())) {
        // The end of the area lies between two points.
        let part = (PRO_END - last[0]) / (next[0] - last[0]);
        inside.push([PRO_END, last[1] + part * (next[1] - last[1])]);
    }
    if let Some(last) = inside.last().copied() {
        let around = inside.iter().copied().chain([[last[0], 0.0], [0.0, 0.0]]);
        content += &path("area", &through(around.map(|[right, up]| [x.at(right), y.at(up)])));
    }
    content += &axes(&x, &y, "mean overlap with defects");
    content += &line("limit", [x.at(PRO_END), PLOT.top], [x.at(PRO_END), PLOT.bottom]);
    content += &curve("curve pixel", &points, &x, &y);
    let aupro = area(&measured.metrics.pixel_aupro);
    content += &text("label halo", [x.at(PRO_END) + 8.0, 168.0], &format!("AUPRO {aupro}"));
    content += &text("label muted halo", [x.at(PRO_END) + 8.0, 186.0], "the shaded share of the area to 0.3");
    let title = format!("PRO of {shown}: area {aupro} up to a false-positive rate of 0.3.");
    chart(SIZE, id, &title, &content)
}

fn area(metric: &Metric) -> String {
    match metric {
        Ok(value) if value.is_finite() => percent(*value),
        _ => "undefined".into(),
    }
}

/// Returns the points inside the unit square.
fn drawn(points: &[Point]) -> Vec<[f64; 2]> {
    let points = points.iter().filter(|point| drawable(point.x) && drawable(point.y));
    points.map(|point| [point.x.clamp(0.0, 1.0), point.y.clamp(0.0, 1.0)]).collect()
}

fn axes(x: &Axis, y: &Axis, title: &str) -> String {
    PLOT.axis_below(x, 5, "false-positive rate") + &PLOT.axis_left(y, 5, title) + &PLOT.frame()
}

fn curve(class: &str, points: &[[f64; 2]], x: &Axis, y: &Axis) -> String {
    if points.is_empty() {
        return String::new();
    }
    path(class, &through(points.iter().map(|&[right, up]| [x.at(right), y.at(up)])))
}
