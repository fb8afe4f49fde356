//! Findings that are alike, joined: one for a folder, or for many folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::finding::{Finding, FindingKind};
use crate::text::{names_of, shown};

/// The findings of a kind by category and folder.
type Folders = BTreeMap<(String, PathBuf), Vec<Finding>>;

/// Returns the findings by category and folder, sorted by path.
fn by_folder(findings: impl IntoIterator<Item = Finding>) -> Folders {
    let mut folders = Folders::new();
    for finding in findings {
        let folder = finding.path.parent().unwrap_or(&finding.path).into();
        folders.entry((finding.category.clone(), folder)).or_default().push(finding);
    }
    folders.values_mut().for_each(|found| found.sort_by(|a, b| a.path.cmp(&b.path)));
    folders
}

/// Returns whether a finding is of a file that is not there, or of a link that leads to none.
pub(super) fn is_of_missing_file(finding: &Finding) -> bool {
    finding.kind == FindingKind::Unreadable && (is_missing(&finding.path) || target(&finding.path).is_some())
}

fn is_missing(path: &Path) -> bool {
    std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// Returns the target of a link that leads to no file.
fn target(path: &Path) -> Option<PathBuf> {
    std::fs::read_link(path).ok().filter(|_| std::fs::metadata(path).is_err())
}

/// The number of folders whose missing files are told apart.
const MAX_FOLDERS: usize = 5;

/// Joins the findings of files that are not there: one for each folder, or one for all if they are many. Lists may name many files, and
/// other findings would be hidden behind these.
pub(super) fn missing_files(root: &Path, findings: Vec<Finding>) -> Vec<Finding> {
    let (folders, mut joined) = (by_folder(findings), Vec::new());
    if folders.len() > MAX_FOLDERS {
        return vec![of_all(root, &folders)];
    }
    for ((category, folder), mut found) in folders {
        if found.len() > 1 {
            let names: Vec<String> = found.iter().map(name).collect();
            let is_gone = is_missing(&folder);
            let why = if is_gone { "that folder is not there".into() } else { why_missing(&found) };
            let what =
                format!("cannot read {} files in {}, because {why}: {}", names.len(), shown(&folder), names_of(&names));
            found = vec![Finding::new(FindingKind::Unreadable, &category, &folder, what)];
        } else if let Some((finding, target)) =
            found.first_mut().and_then(|found| target(&found.path).map(|target| (found, target)))
        {
            finding.message += &format!("; it is a link to {}", led_to(&finding.path, &target));
        }
        joined.append(&mut found);
    }
    joined
}

/// Joins the findings of files that are not there in many folders.
fn of_all(root: &Path, folders: &Folders) -> Finding {
    // A dataset may be opened by a file in its folder.
    let root = if root.is_file() { root.parent().unwrap_or(root) } else { root };
    let within = |folder: &Path| match folder.strip_prefix(root) {
        Ok(inner) if !inner.as_os_str().is_empty() => shown(inner),
        _ => shown(folder),
    };
    let all: Vec<Finding> = folders.values().flatten().cloned().collect();
    let counts: Vec<String> =
        folders.iter().map(|((_, folder), found)| format!("{} ({})", within(folder), found.len())).collect();
    let what = format!(
        "cannot read {} files in {} folders of {}, because {}: {}",
        all.len(),
        folders.len(),
        shown(root),
        why_missing(&all),
        names_of(&counts)
    );
    let categories: BTreeSet<&String> = folders.keys().map(|(category, _)| category).collect();
    let category = if categories.len() == 1 { categories.first().map_or("", |name| name.as_str()) } else { "" };
    Finding::new(FindingKind::Unreadable, category, root, what)
}

fn name(finding: &Finding) -> String {
    finding.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Tells why several files cannot be read: they are not there, or are links that lead to no file.
fn why_missing(found: &[Finding]) -> String {
    let mut links = found.iter().filter_map(|finding| Some((finding, target(&finding.path)?)));
    let Some((first, target)) = links.next() else { return "they are not there".into() };
    let example = format!("such as {}, a link to {}", name(first), led_to(&first.path, &target));
    match 1 + links.count() {
        count if count == found.len() => format!("they are links that lead to no file ({example})"),
        count => format!("they are not there, and {count} of them are links that lead to no file ({example})"),
    }
}

/// Describes the target of a link that leads to no file.
fn led_to(link: &Path, target: &Path) -> String {
    if is_missing(link) {
        format!("{}, which is not there", shown(target))
    } else {
        format!("{}, which cannot be followed; replace the link by the file", shown(target))
    }
}

/// Joins the findings of images without a mask: one for each folder.
pub(super) fn missing_masks(findings: &mut Vec<Finding>) {
    let missing: Vec<Finding> = findings.extract_if(.., |finding| finding.kind == FindingKind::MissingMask).collect();
    for ((category, folder), mut found) in by_folder(missing) {
        if let [first, _, ..] = &found[..] {
            let what = format!(
                "{} anomalous images in it have no mask (such as {}): their category's and the pooled pixel metrics are undefined",
                found.len(),
                name(first)
            );
            found = vec![Finding::new(FindingKind::MissingMask, &category, &folder, what)];
        }
        findings.append(&mut found);
    }
}
