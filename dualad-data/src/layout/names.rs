//! Names of folders that say what their images are.

use std::ffi::OsStr;

/// The name of the folder of normal images, beside the folders of defect types.
pub(crate) const GOOD: &str = "good";

/// The folders that a category consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Test,
    /// The masks.
    Truth,
}

impl Part {
    /// Returns the name in MVTec AD.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Truth => "ground_truth",
        }
    }

    /// Returns the part that a folder of this name is, in upper or lower case.
    pub(super) fn of(name: &OsStr) -> Option<Self> {
        match letters(&name.to_string_lossy()).as_str() {
            "train" | "training" => Some(Self::Train),
            "test" | "testing" => Some(Self::Test),
            "groundtruth" | "gt" | "mask" | "masks" => Some(Self::Truth),
            _ => None,
        }
    }
}

/// Returns whether a folder of this name holds normal images: `good` or another word for it, in upper or lower case.
pub(super) fn is_normal(name: &OsStr) -> bool {
    const NAMES: [&str; 9] =
        [GOOD, "goods", "ok", "okay", "normal", "normals", "nodefect", "defectfree", "nondefective"];
    NAMES.contains(&letters(&name.to_string_lossy()).as_str())
}

/// Returns whether a name other than those of [`is_normal`] may stand for normal images.
pub(super) fn may_be_normal(name: &OsStr) -> bool {
    const NAMES: [&str; 7] = ["nominal", "pass", "passed", "fine", "clean", "healthy", "intact"];
    NAMES.contains(&letters(&name.to_string_lossy()).as_str())
}

/// The words for images with any defect.
const DEFECTIVE: [&str; 24] = [
    "ng",
    "nok",
    "ko",
    "bad",
    "bads",
    "notgood",
    "notok",
    "nogood",
    "defect",
    "defects",
    "defected",
    "defective",
    "anomaly",
    "anomalies",
    "anomalous",
    "abnormal",
    "abnormals",
    "faulty",
    "fault",
    "faults",
    "reject",
    "rejects",
    "rejected",
    "fail",
];

/// Returns whether a folder of this name holds defective images: `bad` or another word for it, in upper or lower case.
pub(super) fn is_defective(name: &OsStr) -> bool {
    DEFECTIVE.contains(&letters(&name.to_string_lossy()).as_str())
}

/// Returns whether a name is the usual one of a type of defect. No product has such a name.
pub(super) fn is_defect_type(name: &OsStr) -> bool {
    const WORDS: [&str; 16] = [
        "scratch",
        "dent",
        "crack",
        "stain",
        "broken",
        "bent",
        "damage",
        "contamination",
        "scrape",
        "missing",
        "misplaced",
        "blowhole",
        "flaw",
        "discolor",
        "deform",
        "corrosion",
    ];
    words(&name.to_string_lossy()).iter().any(|word| {
        // Scratches, scratched; dents, dented.
        WORDS.iter().any(|known| word.strip_prefix(known).is_some_and(|rest| ENDINGS.contains(&rest)))
    })
}

/// The grammatical endings of a word.
const ENDINGS: [&str; 9] = ["", "s", "es", "ed", "d", "ing", "ation", "age", "y"];

/// Returns whether folders of these names may be labels or products: nothing tells.
pub(super) fn may_be_a_label(name: &OsStr) -> bool {
    const NAMES: [&str; 14] =
        ["0", "1", "pos", "neg", "positive", "negative", "true", "false", "yes", "no", "p", "n", "class0", "class1"];
    let name: String = name.to_string_lossy().chars().filter(|c| c.is_alphanumeric()).collect();
    NAMES.contains(&name.to_lowercase().as_str())
}

/// Returns whether a folder of this name holds masks or other labels of images that lie elsewhere.
pub(super) fn holds_labels(name: &OsStr) -> bool {
    const NAMES: [&str; 8] =
        ["label", "labels", "annotation", "annotations", "segmentation", "segmentationclass", "seg", "anns"];
    Part::of(name) == Some(Part::Truth) || NAMES.contains(&letters(&name.to_string_lossy()).as_str())
}

/// The label that the name of an image states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stated {
    Nothing,
    Normal,
    Defective,
    /// A type of defect, which may also be a part of a product's name.
    DefectType,
}

/// Returns the label that the name of an image states, such as `ng_001`, `001-defect` or `scratch3`.
pub(super) fn label_of(stem: &OsStr) -> Stated {
    let all = words(&stem.to_string_lossy());
    let is = |word: &str, names: &[&str]| names.contains(&word);
    let mut normal = false;
    for (index, word) in all.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| all.get(index)).map_or("", String::as_str);
        let after = all.get(index + 1).map_or("", String::as_str);
        let denied = is(before, &["no", "not", "non", "without", "un"]) || is(after, &["free"]);
        let (defective, good) = (DEFECTIVE.contains(&word.as_str()), is_normal(OsStr::new(word)));
        if (defective && !denied) || (good && denied) {
            return Stated::Defective;
        }
        // A later word may tell otherwise: `normal-light_ng_004`.
        normal |= defective || good;
    }
    if normal {
        return Stated::Normal;
    }
    if is_defect_type(stem) { Stated::DefectType } else { Stated::Nothing }
}

/// Returns the letters of a name in lower case: `Ground-Truth` and `ground_truth` are the same.
fn letters(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Returns the words of a name in lower case. They end at a character that is no letter, and before a capital after a small
/// letter.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_small = false;
    for c in name.chars() {
        if !c.is_alphabetic() || c.is_uppercase() && after_small {
            words.push(String::new());
        }
        if c.is_alphabetic()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        after_small = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Returns whether a file or folder is no part of a dataset: hidden, or kept by an operating system, a network storage or an
/// archiver.
pub(super) fn is_foreign(name: &OsStr) -> bool {
    const NAMES: [&str; 14] = [
        "@eadir",
        "@tmp",
        "@recycle",
        "@recently-snapshot",
        "@snapshot",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "system volume information",
        "lost+found",
        "__macosx",
        "network trash folder",
        "__pycache__",
    ];
    name.as_encoded_bytes().starts_with(b".")
        || NAMES.iter().any(|known| name.as_encoded_bytes().eq_ignore_ascii_case(known.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_are_known_in_any_case() {
        let is = |test: fn(&OsStr) -> bool, names: &[&str]| names.iter().all(|name| test(OsStr::new(name)));
        let is_not = |test: fn(&OsStr) -> bool, names: &[&str]| !names.iter().any(|name| test(OsStr::new(name)));
        assert!(is(is_normal, &["good", "Good", "OK", "ok", "Normal", "no_defect", "defect-free"]));
        assert!(is_not(is_normal, &["goodyear", "okra", "pass", "NG", "abnormal"]));
        assert!(is(is_defective, &["NG", "ko", "bad", "Not_Good", "Anomaly", "abnormal", "DEFECT", "n.g."]));
        assert!(is_not(is_defective, &["good", "spring", "badge", "scratch"]));
        assert!(is(is_defect_type, &["scratch", "Scratches", "broken_large", "bent_wire", "dented", "surface_crack"]));
        assert!(is_not(is_defect_type, &["gear", "stainless", "dental", "crackers", "chips", "bracket"]));
        assert!(is(is_foreign, &[".git", "@eaDir", "System Volume Information", "lost+found", "__MACOSX"]));
        assert!(is_not(is_foreign, &["gear", "eaDir", "found"]));
        for (name, part) in [("Train", Part::Train), ("TEST", Part::Test), ("Ground-Truth", Part::Truth)] {
            assert_eq!(Part::of(OsStr::new(name)), Some(part));
        }
        assert_eq!(Part::of(OsStr::new("validation")), None);
    }

    #[test]
    fn names_of_images_state_labels() {
        for (stem, expected) in [
            ("ng_001", Stated::Defective),
            ("001-NG", Stated::Defective),
            ("imageBad12", Stated::Defective),
            ("part.defect.3", Stated::Defective),
            ("not_ok_4", Stated::Defective),
            ("ok001", Stated::Normal),
            ("good (3)", Stated::Normal),
            ("no_defect_7", Stated::Normal),
            ("defect-free7", Stated::Normal),
            ("scratch_000", Stated::DefectType),
            ("001", Stated::Nothing),
            ("spring_010", Stated::Nothing),
            ("tokyo_2", Stated::Nothing),
            ("badge", Stated::Nothing),
        ] {
            assert_eq!(label_of(OsStr::new(stem)), expected, "{stem}");
        }
    }
}
