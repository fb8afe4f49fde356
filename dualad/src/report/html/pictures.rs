//! The pictures of the page.

use base64::Engine;

use super::escape::{escape, name};
use super::number::score;
use crate::report::decisions::{Outcome, verdict};
use crate::report::{Report, ReportPicture};

pub(super) fn gallery(report: &Report, pictures: &[ReportPicture]) -> String {
    let figures: String = pictures.iter().map(|picture| figure(report, picture)).collect();
    format!("<div class=\"gallery\">{figures}</div>")
}

fn figure(report: &Report, ReportPicture { image, png, note }: &ReportPicture) -> String {
    let threshold = report.threshold(&image.category);
    let verdict = threshold.map(|threshold| verdict(image, threshold));
    let (class, said) = match verdict {
        Some(Outcome::Missed) => ("wrong", "missed"),
        Some(Outcome::FalseAlarm) => ("wrong", "false alarm"),
        Some(Outcome::Found) => ("right", "found"),
        Some(Outcome::Passed) => ("right", "passed"),
        None => ("open", "no threshold"),
    };
    let truth = match (&image.defect, image.anomalous) {
        (Some(defect), _) => name(defect),
        (None, true) => "anomalous".into(),
        (None, false) => "normal".into(),
    };
    let measured = match threshold {
        Some(threshold) => format!("score {}, threshold {}", score(image.image_score.into()), score(threshold.into())),
        None => format!("score {}", score(image.image_score.into())),
    };
    let note = if note.is_empty() { String::new() } else { format!("<p class=\"small\">{}</p>", escape(note)) };
    let shown = match size(png) {
        Some((width, height)) => {
            let data = base64::engine::general_purpose::STANDARD.encode(png);
            let alt = escape(&format!(
                "{}: {}",
                image.path,
                image.defect.as_deref().unwrap_or(if image.anomalous { "anomalous" } else { "normal" })
            ));
            format!(
                "<img src=\"data:image/png;base64,{data}\" alt=\"{alt}\" width=\"{width}\" height=\"{height}\" \
                 loading=\"lazy\">"
            )
        }
        None => "<p class=\"absent\">The picture is not a PNG file.</p>".into(),
    };
    let (category, path) = (name(&image.category), name(&image.path));
    format!(
        "<figure>{shown}<figcaption><p><span class=\"badge {class}\">{said}</span> <b>{category}</b> \u{b7} {truth}</p>\
         <p class=\"small\">{measured}</p><p class=\"small path\">{path}</p>{note}</figcaption></figure>"
    )
}

/// Returns the width and height in a PNG header, so that the page's layout is fixed before the picture is decoded.
fn size(png: &[u8]) -> Option<(u32, u32)> {
    let header = png.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let (_, header) = header.split_at_checked(8)?;
    let (width, rest) = header.split_first_chunk::<4>()?;
    let (height, _) = rest.split_first_chunk::<4>()?;
    let (width, height) = (u32::from_be_bytes(*width), u32::from_be_bytes(*height));
    (width > 0 && height > 0).then_some((width, height))
}
