//! The HTML page. It needs no other file: its style is inline, its charts are SVG and its pictures are data URIs. It has no
//! script.

mod axis;
mod curves;
mod decided;
mod escape;
mod histogram;
mod loss;
mod number;
mod pictures;
mod results;
mod svg;

use std::collections::BTreeMap;

use self::escape::{escape, name};
use self::number::{counted, duration, grouped, percent};
use crate::Precision;
use crate::config::Variant;
use crate::metrics::{Measured, Metric};
use crate::recipe::Preset;
use crate::report::decisions::{self, Counts};
use crate::report::{ImageResult, Report, ReportPicture, Reported, Seconds, weights};

/// Content security policy: forbids everything that the page does not use, in case of an error in the escaping.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

pub(super) fn page(report: &Report) -> String {
    let categories = report.evaluation.categories.len();
    let title = match report.backbone {
        None => format!("DualAD: {}", counted(categories, "category", "categories")),
        Some(backbone) => format!("DualAD on {backbone}: {}", counted(categories, "category", "categories")),
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n",
        escape(&title),
        include_str!("style.css")
    );
    page += &header(report);
    page += &section("results", "Results", &(results::highlights(report) + &results::table(report)));
    page += &decided::section(report);
    page += &section("run", "The run", &run(report));
    page += &pictures(report);
    page += &section("scores", "Scores and curves", &charts(report));
    page += &format!(
        "</main>\n<footer><p class=\"small\">Written by dualad {}. This file needs no network and runs no script.</p></footer>\n\
         </body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    page
}

fn section(id: &str, title: &str, content: &str) -> String {
    format!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n{content}\n</section>\n")
}

fn header(report: &Report) -> String {
    let evaluation = &report.evaluation;
    let mut names = evaluation.categories.keys();
    let heading = match (names.next(), names.next()) {
        (Some(only), None) => name(only),
        _ => format!("{}, one model", counted(evaluation.categories.len(), "category", "categories")),
    };
    let model = match (report.variant, report.backbone) {
        (None, None) => "One DualAD model".into(),
        (None, Some(backbone)) => format!("One DualAD model on {}", name(backbone.name())),
        (Some(variant), None) => format!("One {} DualAD model", name(variant.name())),
        (Some(variant), Some(backbone)) => {
            format!("One {} DualAD model on {}", name(variant.name()), name(backbone.name()))
        }
    };
    let without = |images: usize| format!("{} without defects", counted(images, "image", "images"));
    let trained = match (report.train_images, report.bank_images) {
        (0, 0) => String::new(),
        (images, 0) => format!(", trained on {}", without(images)),
        (0, bank) => format!(", with {} in its bank", without(bank)),
        (_, bank) if report.epochs == 0 => format!(", with {} in its bank", without(bank)),
        (images, bank) => format!(", trained on {} and with {} in its bank", without(images), grouped(bank)),
    };
    let tested = counted(report.test_images, "image", "images");
    let anomalous = match evaluation.pooled.anomalous {
        0 => "none".into(),
        anomalous => grouped(anomalous),
    };
    let warning = match report.reported {
        Reported::Last => String::new(),
        Reported::BestOnTestSet { epoch } => format!(
            "<aside class=\"warning\"><h2>Chosen on the test set</h2><p>These are the metrics of epoch {} of {}, chosen \
             because it was the best <em>on the test set</em>. They are better than what new images will see, and no \
             comparison with results of a last epoch.</p></aside>",
            grouped(epoch),
            grouped(report.epochs)
        ),
    };
    format!(
        "<header>\n<p class=\"kind\">Anomaly detection report</p>\n<h1>{heading}</h1>\n\
         <p class=\"lede\">{model}{trained}; tested on {tested}, {anomalous} with a defect.</p>\n{warning}</header>\n"
    )
}

/// Returns the facts beside the loss chart.
fn run(report: &Report) -> String {
    let mut facts = String::new();
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            facts += &format!("<div><dt>{name}</dt><dd>{value}</dd></div>");
        }
    };
    let given = |text: &str| if text.is_empty() { String::new() } else { name(text) };
    let number = |number: usize| if number == 0 { String::new() } else { grouped(number) };
    fact("backbone", given(report.backbone.map_or("", |backbone| backbone.name())));
    fact("precision", given(report.precision.map_or("", Precision::name)));
    fact("variant", given(report.variant.map_or("", Variant::name)));
    fact("preset", given(report.preset.map_or("", Preset::name)));
    fact("seed", report.seed.to_string());
    fact("epochs", number(report.epochs));
    fact(
        "metrics of",
        match report.reported {
            Reported::Last => "the last epoch".into(),
            Reported::BestOnTestSet { epoch } => format!("epoch {}, best on the test set", grouped(epoch)),
        },
    );
    fact("parameters learned", number(report.parameters));
    fact("training images", number(report.train_images));
    fact("images in the bank", number(report.bank_images));
    fact("test images", number(report.test_images));
    let Seconds { features, training, evaluation } = report.seconds;
    for (part, seconds) in [("features", features), ("training", training), ("evaluation", evaluation)] {
        if seconds.is_finite() && seconds > 0.0 {
            fact(&format!("time for {part}"), duration(seconds));
        }
    }
    if report.thresholds.pooled.is_some() || !report.thresholds.categories.is_empty() {
        fact("thresholds", given(&report.thresholds.chosen));
    }
    let weights: String = weights::rows(report.weights.as_ref())
        .iter()
        .map(|(key, value)| format!("<div><dt>{}</dt><dd class=\"path\">{}</dd></div>", name(key), name(value)))
        .collect();
    let weights = if weights.is_empty() {
        String::new()
    } else {
        format!("<h3>Weights</h3><dl class=\"facts wide\">{weights}</dl>")
    };

    let mut chart = loss::loss("loss", &report.loss, report.reported);
    let broken = report.loss.iter().filter(|loss| !axis::drawable(**loss)).count();
    if broken > 0 {
        let epochs = counted(broken, "epoch", "epochs");
        chart += &format!(
            "<p class=\"note\">The loss of {epochs} is not a number that can be drawn: training diverged.</p>"
        );
    }
    let chart = if chart.is_empty() {
        String::new()
    } else {
        format!("<div class=\"card\"><h3>Training loss</h3>{chart}</div>")
    };
    format!("<div class=\"run\"><div><dl class=\"facts\">{facts}</dl>{weights}</div>{chart}</div>")
}

fn pictures(report: &Report) -> String {
    let galleries: [(&str, &str, &[ReportPicture], &str); 2] = [
        (
            "misses",
            "Worst misses",
            &report.misses,
            "The images with a defect that scored lowest against their threshold, the worst first.",
        ),
        (
            "alarms",
            "Worst false alarms",
            &report.false_alarms,
            "The images without a defect that scored highest against their threshold, the worst first.",
        ),
    ];
    let mut sections = String::new();
    for (id, title, pictures, about) in galleries {
        if !pictures.is_empty() {
            let gallery = pictures::gallery(report, pictures);
            sections += &section(id, title, &format!("<p class=\"note\">{about}</p>{gallery}"));
        }
    }
    sections
}

/// Returns a group of charts for all categories together, and one for each category.
fn charts(report: &Report) -> String {
    let mut images: BTreeMap<&str, Vec<&ImageResult>> = BTreeMap::new();
    for image in &report.images {
        images.entry(&image.category).or_default().push(image);
    }
    let evaluation = &report.evaluation;
    let mut groups = String::new();
    // With one category, both groups would be the same.
    if evaluation.categories.len() != 1 {
        let all: Vec<_> = report.images.iter().collect();
        let threshold = report.pooled_threshold();
        groups += &group("pooled", "All categories pooled", "all categories", &evaluation.pooled, &all, threshold);
    }
    for (index, (category, measured)) in evaluation.categories.iter().enumerate() {
        let id = format!("category-{index}");
        let images = images.get(category.as_str()).map(Vec::as_slice).unwrap_or_default();
        groups += &group(&id, &name(category), category, measured, images, report.threshold(category));
    }
    if evaluation.categories.len() == 1 {
        groups = groups.replacen("<article", "<span id=\"pooled\"></span><article", 1);
    }
    groups
}

fn group(
    id: &str,
    heading: &str,
    shown: &str,
    measured: &Measured,
    images: &[&ImageResult],
    threshold: Option<f32>,
) -> String {
    let decided = threshold.map(|threshold| decisions::count(images.iter().copied(), threshold));
    let histogram = histogram::histogram(&format!("{id}-scores"), shown, images, threshold);
    let roc = curves::roc(&format!("{id}-roc"), shown, measured, decided);
    let pro = curves::pro(&format!("{id}-pro"), shown, measured);
    let card = |title: &str, chart: String, absent: &str| {
        let chart = if chart.is_empty() { format!("<p class=\"absent\">{}</p>", escape(absent)) } else { chart };
        format!("<div class=\"card\"><h4>{title}</h4>{chart}</div>")
    };
    let undefined = |metric: &Metric| match metric {
        Ok(_) => "No curve was given.".into(),
        Err(reason) => format!("Undefined: {reason}."),
    };
    format!(
        "<article id=\"{id}\"><h3>{heading}</h3>{}<div class=\"charts\">{}{}{}</div></article>\n",
        decisions_of(measured, images, threshold, decided),
        card("Image scores", histogram, "No scores of single images were given."),
        card("ROC", roc, &undefined(&measured.metrics.image_auroc)),
        card("PRO", pro, &undefined(&measured.metrics.pixel_aupro)),
    )
}

/// Returns the decisions of the threshold in a sentence, and for each type of defect.
fn decisions_of(
    measured: &Measured,
    images: &[&ImageResult],
    threshold: Option<f32>,
    decided: Option<Counts>,
) -> String {
    let (Some(threshold), Some(counts)) = (threshold, decided.filter(|_| !images.is_empty())) else {
        let normal = measured.images.saturating_sub(measured.anomalous);
        return format!("<p class=\"note\">{} normal, {} anomalous.</p>", grouped(normal), grouped(measured.anomalous));
    };
    let share = |part: usize, whole: usize| match whole {
        0 => String::new(),
        whole => format!(" ({})", percent(part as f64 / whole as f64)),
    };
    let mut text = String::from("<p class=\"note\">At the threshold, ");
    text += &match counts.anomalous {
        0 => "no image has a defect to be found".into(),
        all => format!(
            "<b>{} of {}</b> found{}",
            grouped(counts.found),
            counted(all, "defective image", "defective images"),
            share(counts.found, all)
        ),
    };
    text += &match counts.normal {
        0 => "; there is no normal image.".into(),
        all => format!(
            "; <b>{} of {}</b> called defective{}.",
            grouped(counts.false_alarms),
            counted(all, "normal image", "normal images"),
            share(counts.false_alarms, all)
        ),
    };
    text += "</p>";

    let mut defects: BTreeMap<&str, Counts> = BTreeMap::new();
    for image in images.iter().filter(|image| image.anomalous) {
        let Some(defect) = image.defect.as_deref() else { continue };
        let counts = defects.entry(defect).or_default();
        counts.anomalous += 1;
        counts.found += usize::from(image.image_score >= threshold);
    }
    // With one type, the sentence says it all.
    if defects.len() < 2 {
        return text;
    }
    text += "<ul class=\"defects\" aria-label=\"found by type of defect\">";
    for (defect, counts) in defects {
        let class = if counts.found < counts.anomalous { " class=\"partly\"" } else { "" };
        text += &format!("<li{class}>{} <b>{}/{}</b></li>", name(defect), counts.found, counts.anomalous);
    }
    text + "</ul>"
}
