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

/// The words for normal images.
const NORMAL: [&str; 9] = [GOOD, "goods", "ok", "okay", "normal", "normals", "nodefect", "defectfree", "nondefective"];

/// Returns whether a folder of this name holds normal images: `good` or another word for it, in upper or lower case.
pub(super) fn is_normal(name: &OsStr) -> bool {
    NORMAL.contains(&letters(&name.to_string_lossy()).as_str())
}

/// Returns whether a name other than those of [`is_normal`] may stand for normal images.
pub(super) fn may_be_normal(name: &OsStr) -> bool {
    const NAMES: [&str; 7] = ["nominal", "pass", "passed", "fine", "clean", "healthy", "intact"];
    NAMES.contains(&letters(&name.to_string_lossy()).as_str())
}

/// Returns whether a name other than those of [`is_normal`] and [`may_be_normal`] may be a label of normal images, or of defects.
pub(super) fn may_be_negative(name: &OsStr) -> bool {
    const WORDS: [&str; 4] = ["negative", "negatives", "neg", "negs"];
    const NAMES: [&str; 6] = ["0", "false", "no", "n", "class0", "label0"];
    let name = name.to_string_lossy();
    NAMES.contains(&letters(&name).as_str()) || words(&name).iter().any(|word| WORDS.contains(&word.as_str()))
}

/// The words for images with any defect.
const DEFECTIVE: [&str; 35] = [
    "def",
    "defekt",
    "fehlerhaft",
    "ausschuss",
    "schlecht",
    "mauvais",
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
    "failed",
    "failure",
    "failures",
    "nio",
    "scrap",
];

/// Returns whether a folder of this name holds defective images: `bad` or another word for it, in upper or lower case.
pub(super) fn is_defective(name: &OsStr) -> bool {
    DEFECTIVE.contains(&letters(&name.to_string_lossy()).as_str())
}

/// Returns whether a name is the usual one of a type of defect. No product has such a name.
pub(super) fn is_defect_type(name: &OsStr) -> bool {
    const WORDS: [&str; 18] = [
        "rust",
        "dirt",
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

/// The words for masks and other labels of images.
const LABELS: [&str; 22] = [
    "mask",
    "masks",
    "msk",
    "msks",
    "gt",
    "gts",
    "groundtruth",
    "truth",
    "label",
    "labels",
    "seg",
    "segs",
    "segmentation",
    "segmentations",
    "segmentationclass",
    "anno",
    "annos",
    "anns",
    "annotation",
    "annotations",
    "annotated",
    "bbox",
];

/// Returns the words of a name that are left without those for labels at its end, or else at its beginning: `gear` for
/// `gear_masks`. Returns `None` if it has no such words, or no others.
fn without_labels(name: &OsStr) -> Option<Vec<String>> {
    let all = tokens(&name.to_string_lossy());
    let is_label = |word: &String| LABELS.contains(&word.as_str());
    let rest = match &all[..] {
        [rest @ .., ground, truth] if ground == "ground" && truth == "truth" => rest,
        [rest @ .., word] if is_label(word) => rest,
        [ground, truth, rest @ ..] if ground == "ground" && truth == "truth" => rest,
        [word, rest @ ..] if is_label(word) => rest,
        _ => return None,
    };
    (!rest.is_empty()).then(|| rest.to_vec())
}

/// Returns whether a folder holds labels of images that lie elsewhere by the beginning or the end of its name: `gear_masks`. The
/// name may also be that of a product or of a type of defect.
pub(super) fn may_hold_labels(name: &OsStr) -> bool {
    without_labels(name).is_some()
}

/// Returns whether a folder holds labels of the images of another one by their names: `gear_masks` and `gear`, `masks-gear` and
/// `gear_images`.
pub(super) fn are_labels_of(name: &OsStr, images: &OsStr) -> bool {
    const IMAGES: [&str; 7] = ["image", "images", "img", "imgs", "picture", "pictures", "rgb"];
    let product = |words: Vec<String>| {
        let own: String = words.iter().filter(|word| !IMAGES.contains(&word.as_str())).map(String::as_str).collect();
        if own.is_empty() { words.concat() } else { own }
    };
    let of_images = tokens(&images.to_string_lossy());
    without_labels(name).is_some_and(|of| !of_images.is_empty() && product(of) == product(of_images))
}

/// Returns whether a text file of this name may hold labels: `labels.txt`, `defect_list.txt`.
pub(super) fn means_labels(stem: &OsStr) -> bool {
    let is = |word: &String| {
        LABELS.contains(&word.as_str())
            || DEFECTIVE.contains(&word.as_str())
            || ["class", "classes", "labelled", "labeled", "train", "test", "split", "splits"].contains(&word.as_str())
    };
    words(&stem.to_string_lossy()).iter().any(is)
}

/// The words that turn the next one into its opposite, and the one that does so with the word before it.
const DENIALS: [&str; 5] = ["no", "not", "non", "without", "un"];
const FREE: &str = "free";

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
        let denied = is(before, &DENIALS) || is(after, &[FREE]);
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

/// Returns the words of a name in lower case, without its numbers.
fn words(name: &str) -> Vec<String> {
    let mut tokens = tokens(name);
    tokens.retain(|token| token.starts_with(char::is_alphabetic));
    tokens
}

/// Returns the words and numbers of a name in lower case. A word ends at a character that is no letter, and before a capital
/// after a small letter.
fn tokens(name: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    // The character before, if it can be continued.
    let mut before: Option<char> = None;
    for c in name.chars() {
        let continues = before.is_some_and(|before| {
            before.is_alphabetic() == c.is_alphabetic() && !(c.is_uppercase() && before.is_lowercase())
        });
        before = c.is_alphanumeric().then_some(c);
        if before.is_none() {
            continue;
        }
        match tokens.last_mut().filter(|_| continues) {
            Some(token) => token.extend(c.to_lowercase()),
            None => tokens.push(c.to_lowercase().collect()),
        }
    }
    tokens
}

/// A name that states a label, such as `gear_nok`, and the product that it is a side of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Side {
    /// The words and numbers without those of the label: `gear`. It may be empty.
    pub(super) product: Vec<String>,
    /// The words of the label: `nok`.
    pub(super) label: String,
    pub(super) is_normal: bool,
}

impl Side {
    /// Returns whether a name begins or ends with the product.
    pub(super) fn has_product_of(&self, name: &OsStr) -> bool {
        let own = tokens(&name.to_string_lossy());
        own.starts_with(&self.product) || own.ends_with(&self.product)
    }
}

/// Returns the side that a folder is by its name.
pub(super) fn side_of(name: &OsStr) -> Option<Side> {
    let is_normal = match label_of(name) {
        Stated::Normal => true,
        Stated::Defective => false,
        Stated::DefectType | Stated::Nothing => return None,
    };
    let is_of_label = |word: &String| {
        DEFECTIVE.contains(&word.as_str())
            || NORMAL.contains(&word.as_str())
            || DENIALS.contains(&word.as_str())
            || word == FREE
    };
    let (label, product): (Vec<String>, Vec<String>) =
        tokens(&name.to_string_lossy()).into_iter().partition(is_of_label);
    Some(Side { product, label: label.join("_"), is_normal })
}

/// Returns whether two names are a product's name with a word for normal and one for defective images, without a separator: `gearok`
/// and `gearnok`. Or with opposite words that may be labels: `gear_pos` and `gear_neg`.
pub(super) fn are_opposite(one: &OsStr, other: &OsStr) -> bool {
    const OPPOSITES: [[&str; 2]; 4] = [["pos", "neg"], ["positive", "negative"], ["true", "false"], ["yes", "no"]];
    let (one, other) = (letters(&one.to_string_lossy()), letters(&other.to_string_lossy()));
    let defective = || DEFECTIVE.iter().copied();
    let goods = NORMAL.iter().flat_map(|normal| defective().map(move |defective| [*normal, defective]));
    goods.chain(OPPOSITES).any(|[a, b]| is_same_base([&one, &other], [a, b]) || is_same_base([&other, &one], [a, b]))
}

/// Returns whether each name ends with its word, or each begins with it, and the rest of both is the same.
fn is_same_base([one, other]: [&str; 2], [a, b]: [&str; 2]) -> bool {
    let ends = one.strip_suffix(a).zip(other.strip_suffix(b));
    let begins = one.strip_prefix(a).zip(other.strip_prefix(b));
    [ends, begins].into_iter().flatten().any(|(one, other)| !one.is_empty() && one == other)
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
    fn names_of_folders_are_sides_of_products() {
        let side = |name: &str| {
            let side = side_of(OsStr::new(name))?;
            Some((side.product.join("_"), side.label, side.is_normal))
        };
        for (name, product, label, is_normal) in [
            ("part_nok", "part", "nok", false),
            ("NG-gear 2", "gear_2", "ng", false),
            ("gearBad", "gear", "bad", false),
            ("gear.not_ok", "gear", "not_ok", false),
            ("01_OK", "01", "ok", true),
            ("lid_defect_free", "lid", "defect_free", true),
        ] {
            assert_eq!(side(name), Some((product.into(), label.into(), is_normal)), "{name}");
        }
        for name in ["gear", "spring", "badge", "line2"] {
            assert_eq!(side(name), None, "{name}");
        }
        let opposite = |one: &str, other: &str| are_opposite(OsStr::new(one), OsStr::new(other));
        for (one, other) in [("gearok", "gearnok"), ("ngA7", "okA7"), ("lid_pos", "lid_neg"), ("PARTGOOD", "partbad")] {
            assert!(opposite(one, other) && opposite(other, one), "{one} {other}");
        }
        for (one, other) in [("gearok", "platenok"), ("spring", "string"), ("ok", "ng"), ("gear_1", "gear_2")] {
            assert!(!opposite(one, other), "{one} {other}");
        }
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
