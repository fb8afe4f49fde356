//! The bound on the findings that a report lists.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::finding::{Finding, FindingKind};
use crate::text::names_of;

/// Keeps the first findings of each kind, at most `most`, and adds one that counts the others of the kind. They are sorted by severity.
pub(super) fn bound(root: &Path, most: usize, findings: &mut Vec<Finding>) {
    let mut kept = HashMap::<FindingKind, usize>::new();
    let mut others = Vec::<(FindingKind, usize, BTreeMap<String, usize>)>::new();
    findings.retain(|finding| {
        let kept = kept.entry(finding.kind).or_default();
        if *kept < most {
            *kept += 1;
            return true;
        }
        let position = others.iter().position(|(kind, ..)| *kind == finding.kind).unwrap_or(others.len());
        if position == others.len() {
            others.push((finding.kind, 0, BTreeMap::new()));
        }
        if let Some((_, count, categories)) = others.get_mut(position) {
            *count += finding.count;
            *categories.entry(finding.category.clone()).or_default() += finding.count;
        }
        false
    });
    for (kind, count, mut categories) in others {
        categories.remove("");
        let places: Vec<String> = categories.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        let place = if places.is_empty() { String::new() } else { format!(", in {}", names_of(&places)) };
        let what = format!("more findings of the kind \"{kind}\": {count}{place}");
        let category =
            if let [one] = &categories.into_keys().collect::<Vec<_>>()[..] { one.clone() } else { String::new() };
        let mut finding = Finding::new(kind, &category, root, what);
        finding.count = count;
        findings.push(finding);
    }
    // Those that count follow the others of their severity.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_findings_of_a_kind_are_bounded_and_counted() {
        let mut findings: Vec<Finding> = (0..50)
            .map(|index| {
                let category = if index % 5 == 0 { "a" } else { "b" };
                Finding::new(FindingKind::UnpairedMask, category, Path::new("m"), index.to_string())
            })
            .collect();
        findings.push(Finding::new(FindingKind::Choice, "", Path::new("c"), "c".into()));
        bound(Path::new("root"), 20, &mut findings);
        assert_eq!(findings.len(), 22);
        let line = findings[20].to_string();
        assert_eq!(line, "warning: root: more findings of the kind \"unpaired mask\": 30, in a (6), b (24)");
        assert_eq!((findings[20].count, findings[21].kind), (30, FindingKind::Choice));
        assert_eq!(findings.iter().map(|finding| finding.count).sum::<usize>(), 51);
    }
}
