//! The metrics as a table of text.

use dualad_store::printable;

use crate::calibration::DecisionCounts;
use crate::metrics::{Metrics, Unit};
use crate::report::columns::{COLUMNS, percent};
use crate::report::{Report, Reported};

/// The gap between two columns. Between groups of columns it is twice as wide.
const GAP: &str = "  ";

pub(super) fn table(report: &Report) -> String {
    let evaluation = &report.evaluation;
    let mut rows: Vec<Row> =
        evaluation.categories.iter().map(|(name, measured)| Row::new(printable(name), &measured.metrics)).collect();
    let categories = rows.len();
    rows.push(Row::new("mean".into(), &evaluation.mean));
    rows.push(Row::new("pooled".into(), &evaluation.pooled.metrics));

    let name_width = rows.iter().map(|row| row.name.chars().count()).chain(["category".len()]).max().unwrap_or(0);
    // No cell is wider than "100.0", unless a metric is out of its range.
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row.cells[column].len());
        cells.chain([COLUMNS[column].name.len(), "100.0".len()]).max().unwrap_or(0)
    };
    let line = |name: &str, cells: [&str; COLUMNS.len()]| {
        let mut line = format!("{name}{}", " ".repeat(name_width.saturating_sub(name.chars().count())));
        for (column, cell) in cells.into_iter().enumerate() {
            let starts_group = column == 0 || COLUMNS[column].unit != COLUMNS[column - 1].unit;
            let gap = if starts_group { GAP.repeat(2) } else { GAP.to_owned() };
            line += &format!("{gap}{cell:>width$}", width = width(column));
        }
        line.truncate(line.trim_end().len());
        line + "\n"
    };
    let heading = line("category", std::array::from_fn(|column| COLUMNS[column].name));
    // The unit stands above its first column's heading, right-aligned like the values.
    let mut units = [""; COLUMNS.len()];
    (units[0], units[3]) = ("image", "pixel");
    let rule = "-".repeat(heading.trim_end().chars().count()) + "\n";

    let mut text = String::new();
    if let Reported::BestOnTestSet { epoch } = report.reported {
        let epochs = report.epochs;
        text += &format!(
            "NOTE: these are the metrics of epoch {epoch} of {epochs}, chosen because it was the best on the test set.\n\
             They are better than what new images will see, and no comparison with last-epoch results.\n\n"
        );
    }
    text += &line("", units);
    text += &heading;
    text += &rule;
    for (index, row) in rows.iter().enumerate() {
        if index == categories && index > 0 {
            text += &rule;
        }
        text += &line(&row.name, std::array::from_fn(|column| row.cells[column].as_str()));
    }
    text += &decisions(report, name_width);
    if let Some(precision) = report.precision {
        text += &format!("\nScores are computed in {precision}.\n");
    }
    let footnotes: Vec<String> = rows.iter().flat_map(|row| row.footnotes()).collect();
    if !footnotes.is_empty() {
        text += "\nIn percent; \"-\" is undefined, and left out of the mean:\n";
        text.extend(footnotes);
    }
    text
}

/// Returns the decisions by the model's thresholds: a row for each category. Empty without decisions.
fn decisions(report: &Report, name_width: usize) -> String {
    if report.decisions.is_empty() {
        return String::new();
    }
    let row = |name: &str, good: [String; 3], defective: [String; 3]| {
        let cells =
            |[accepted, reviewed, rejected]: [String; 3]| format!("{accepted:>8}{GAP}{reviewed:>6}{GAP}{rejected:>6}");
        let padding = " ".repeat(name_width.saturating_sub(name.chars().count()));
        format!("{name}{padding}{GAP}{GAP}{}{GAP}{GAP}{}\n", cells(good), cells(defective))
    };
    let heading = || ["accept", "review", "reject"].map(String::from);
    let mut text = String::from("\nDecisions by the model's thresholds on the test images:\n");
    let group = |name: &str| [name.to_owned(), String::new(), String::new()];
    text += &(row("", group("good"), group("defective")).trim_end().to_owned() + "\n");
    text += &row("category", heading(), heading());
    for (name, tally) in &report.decisions {
        let counts =
            |counts: DecisionCounts| [counts.accepted, counts.reviewed, counts.rejected].map(|count| count.to_string());
        text += &row(&printable(name), counts(tally.normal), counts(tally.anomalous));
    }
    text
}

struct Row {
    name: String,
    cells: [String; COLUMNS.len()],
    /// The undefined metrics: column and reason.
    undefined: Vec<(usize, String)>,
}

impl Row {
    fn new(name: String, metrics: &Metrics) -> Self {
        let mut undefined = Vec::new();
        let cells = std::array::from_fn(|column| match COLUMNS[column].value(metrics) {
            Ok(value) => percent(value),
            Err(reason) => {
                undefined.push((column, reason));
                "-".into()
            }
        });
        Self { name, cells, undefined }
    }

    /// Returns a line for each reason.
    fn footnotes(&self) -> Vec<String> {
        let mut reasons: Vec<&str> = Vec::new();
        for (_, reason) in &self.undefined {
            if !reasons.contains(&reason.as_str()) {
                reasons.push(reason);
            }
        }
        let line = |reason: &str| {
            let columns = self.undefined.iter().filter(|(_, its)| its == reason).map(|(column, _)| *column);
            format!("  {}: {}: {reason}\n", self.name, listed(&columns.collect::<Vec<_>>()))
        };
        reasons.into_iter().map(line).collect()
    }
}

/// Returns text such as `image AUROC, AP; pixel AUPRO`, or a shorter form for all metrics.
fn listed(columns: &[usize]) -> String {
    if columns.len() == COLUMNS.len() {
        return "every metric".into();
    }
    let group = |unit: Unit| {
        let all = COLUMNS.iter().filter(|column| column.unit == unit).count();
        let names = columns.iter().map(|&column| &COLUMNS[column]).filter(|column| column.unit == unit);
        let names: Vec<_> = names.map(|column| column.name).collect();
        match names.len() {
            0 => None,
            count if count == all => Some(format!("every {unit} metric")),
            _ => Some(format!("{unit} {}", names.join(", "))),
        }
    };
    [Unit::Image, Unit::Pixel].into_iter().filter_map(group).collect::<Vec<_>>().join("; ")
}
