//! The table of decisions by the model's thresholds.

use super::escape::name;
use super::number::grouped;
use crate::calibration::DecisionCounts;
use crate::report::Report;

/// Returns the section, or nothing without decisions.
pub(super) fn section(report: &Report) -> String {
    if report.decisions.is_empty() {
        return String::new();
    }
    let count = |count: u64| grouped(usize::try_from(count).unwrap_or(usize::MAX));
    let mut rows = String::new();
    for (category, tally) in &report.decisions {
        let cells = |DecisionCounts { accepted, reviewed, rejected, .. }: DecisionCounts, first: &str| {
            let [accepted, reviewed, rejected] = [accepted, reviewed, rejected].map(count);
            format!("<td{first}>{accepted}</td><td>{reviewed}</td><td>{rejected}</td>")
        };
        let (good, defective) = (cells(tally.normal, " class=\"first\""), cells(tally.anomalous, " class=\"first\""));
        rows += &format!("<tr><th scope=\"row\">{}</th>{good}{defective}</tr>", name(category));
    }
    let names = "<th scope=\"col\" class=\"first\">accepted</th><th scope=\"col\">to review</th><th scope=\"col\">rejected</th>";
    let table = format!(
        "<p class=\"note\" id=\"decisions-about\">The numbers of test images that the thresholds in calibration.json accept, send to a \
         review and reject. The charts below use other thresholds, which were chosen on the test images.</p>\
         <div class=\"scroll\" role=\"region\" aria-labelledby=\"decisions\" tabindex=\"0\">\
         <table aria-labelledby=\"decisions\" aria-describedby=\"decisions-about\">\
         <colgroup><col></colgroup><colgroup span=\"3\"></colgroup><colgroup span=\"3\"></colgroup>\
         <thead><tr><th scope=\"col\" rowspan=\"2\">category</th><th scope=\"colgroup\" colspan=\"3\" class=\"unit\">good images</th>\
         <th scope=\"colgroup\" colspan=\"3\" class=\"unit\">defective images</th></tr><tr>{names}{names}</tr></thead>\
         <tbody>{rows}</tbody></table></div>"
    );
    super::section("decisions", "Decisions", &table)
}
