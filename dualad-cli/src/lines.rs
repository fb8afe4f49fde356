//! Lists of faults: the first ones, and the number of the others.

use std::collections::BTreeMap;

use dualad::data::Finding;

/// The number of faults that are printed. The rest is counted.
pub(crate) const MAX_FAULTS: usize = 20;

/// Returns the lines of the first findings, at most `most`, and one for the number of the others and their kinds. 0 lists all.
pub(crate) fn finding_lines(findings: &[Finding], most: usize, of_others: &str) -> Vec<String> {
    let most = if most == 0 { findings.len() } else { most };
    let (listed, others) = findings.split_at(most.min(findings.len()));
    let mut lines: Vec<String> = listed.iter().map(Finding::to_string).collect();
    let mut kinds = BTreeMap::<String, usize>::new();
    others.iter().for_each(|finding| *kinds.entry(finding.kind.to_string()).or_default() += finding.count);
    if !kinds.is_empty() {
        let kinds_of = kinds.iter().map(|(kind, count)| format!("{kind}: {count}")).collect::<Vec<_>>().join(", ");
        lines.push(format!("... and {} more ({kinds_of}){of_others}", kinds.values().sum::<usize>()));
    }
    lines
}

/// Returns the lines of the first faults, and one for the number of the others: `... and 5 more`, and what is said of them.
pub(crate) fn first_lines<F>(faults: &[F], line: impl Fn(&F) -> String, of_others: &str) -> Vec<String> {
    let mut lines: Vec<String> = faults.iter().take(MAX_FAULTS).map(line).collect();
    if let Some(more @ 1..) = faults.len().checked_sub(MAX_FAULTS) {
        lines.push(format!("... and {more} more{of_others}"));
    }
    lines
}
