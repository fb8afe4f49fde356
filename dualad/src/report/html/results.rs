//! The table of metrics, and their explanation.

use super::escape::{escape, name};
use super::number::percent as percent_of;
use crate::metrics::{Metrics, Unit};
use crate::report::Report;
use crate::report::columns::{COLUMNS, percent};

/// Returns the table, in a box that scrolls sideways if needed, and its footnotes.
pub(super) fn table(report: &Report) -> String {
    let evaluation = &report.evaluation;
    let mut reasons: Vec<String> = Vec::new();
    let mut rows = String::new();
    for (index, (category, measured)) in evaluation.categories.iter().enumerate() {
        let heading = format!("<a href=\"#category-{index}\">{}</a>", name(category));
        rows += &row(&heading, &measured.metrics, &mut reasons);
    }
    let mut totals = row("mean", &evaluation.mean, &mut reasons);
    totals += &row("<a href=\"#pooled\">pooled</a>", &evaluation.pooled.metrics, &mut reasons);

    let span = |unit: Unit| COLUMNS.iter().filter(|column| column.unit == unit).count();
    let mut units = String::new();
    for (unit, title) in [(Unit::Image, "image: is there a defect?"), (Unit::Pixel, "pixel: where is it?")] {
        units += &format!("<th scope=\"colgroup\" colspan=\"{}\" class=\"unit\">{title}</th>", span(unit));
    }
    let mut names = String::new();
    for (index, column) in COLUMNS.iter().enumerate() {
        let (class, meaning) = (group(index), escape(column.meaning));
        names += &format!("<th scope=\"col\"{class}><abbr title=\"{meaning}\">{}</abbr></th>", column.name);
    }
    let footnotes: String = reasons
        .iter()
        .enumerate()
        .map(|(index, reason)| format!("<li id=\"undefined-{}\">{}</li>", letter(index), escape(reason)))
        .collect();
    let footnotes = if reasons.is_empty() {
        String::new()
    } else {
        format!(
            "<p class=\"note\">A dash means that the metric is undefined, and left out of the mean:</p>\
             <ol class=\"reasons\">{footnotes}</ol>"
        )
    };
    format!(
        "<p class=\"note\" id=\"about\">Percent; the deeper the tint, the further from 100. Pooled: what one threshold for all \
         would see.</p>\
         <div class=\"scroll\" role=\"region\" aria-labelledby=\"results\" tabindex=\"0\">\
         <table aria-labelledby=\"results\" aria-describedby=\"about\">\
         <colgroup><col></colgroup><colgroup>{}</colgroup><colgroup>{}</colgroup>\
         <thead><tr><th scope=\"col\" rowspan=\"2\">category</th>{units}</tr><tr>{names}</tr></thead>\
         <tbody>{rows}</tbody><tfoot>{totals}</tfoot></table></div>{footnotes}{}",
        "<col class=\"metric\">".repeat(span(Unit::Image)),
        "<col class=\"metric\">".repeat(span(Unit::Pixel)),
        meanings()
    )
}

/// Returns a row; adds new reasons to `reasons`.
fn row(heading: &str, metrics: &Metrics, reasons: &mut Vec<String>) -> String {
    let mut row = format!("<tr><th scope=\"row\">{heading}</th>");
    for (index, column) in COLUMNS.iter().enumerate() {
        let group = group(index);
        row += &match column.value(metrics) {
            Ok(value) => {
                // The darkest tint keeps the text readable.
                let tint = ((1.0 - value) * 44.0).clamp(0.0, 26.0);
                format!("<td{group} style=\"--tint:{tint:.1}%\">{}</td>", percent(value))
            }
            Err(reason) => {
                let place = reasons.iter().position(|known| *known == reason).unwrap_or_else(|| {
                    reasons.push(reason.clone());
                    reasons.len() - 1
                });
                let (letter, reason) = (letter(place), escape(&reason));
                format!(
                    "<td{group}><span title=\"{reason}\">\u{2013}</span><sup><a href=\"#undefined-{letter}\" \
                     aria-label=\"undefined: {reason}\">{letter}</a></sup></td>"
                )
            }
        };
    }
    row + "</tr>"
}

/// Returns the attribute of cells that start a group of columns.
fn group(column: usize) -> &'static str {
    let starts = column == 0 || COLUMNS[column].unit != COLUMNS[column - 1].unit;
    if starts { " class=\"first\"" } else { "" }
}

/// Returns a footnote's mark: a, b, ... z, then numbers.
fn letter(index: usize) -> String {
    match u8::try_from(index) {
        Ok(index @ 0..26) => char::from(b'a' + index).to_string(),
        _ => (index + 1).to_string(),
    }
}

fn meanings() -> String {
    let terms: String = COLUMNS
        .iter()
        .map(|column| format!("<dt>{}</dt><dd>{}</dd>", column.full_name(), escape(column.meaning)))
        .collect();
    format!("<details><summary>What the metrics mean</summary><dl class=\"meanings\">{terms}</dl></details>")
}

/// Returns the main results.
pub(super) fn highlights(report: &Report) -> String {
    let evaluation = &report.evaluation;
    let categories = evaluation.categories.len();
    let tiles: String = [0, 2, 3, 6]
        .into_iter()
        .map(|index| {
            let column = &COLUMNS[index];
            let shown = |metrics: &Metrics| column.value(metrics).map_or_else(|_| "\u{2013}".into(), percent_of);
            let measured = evaluation.categories.values();
            let defined = measured.filter(|measured| column.value(&measured.metrics).is_ok()).count();
            let over = match defined {
                0 => column.value(&evaluation.mean).err().map(|reason| escape(&reason)).unwrap_or_default(),
                // With one category, the pooled results are the same.
                1 if categories == 1 => String::new(),
                all if all == categories => format!("mean over {all}; pooled {}", shown(&evaluation.pooled.metrics)),
                some => format!("mean over {some} of {categories}; pooled {}", shown(&evaluation.pooled.metrics)),
            };
            let (title, meaning) = (column.full_name(), escape(column.meaning));
            format!(
                "<div class=\"tile\"><h3>{title}</h3><p class=\"figure\">{}</p><p class=\"small\">{over}</p>\
                 <p class=\"small\">{meaning}</p></div>",
                shown(&evaluation.mean)
            )
        })
        .collect();
    format!("<div class=\"tiles\">{tiles}</div>")
}
