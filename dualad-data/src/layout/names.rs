//! Names of folders that say what their images are.

use std::ffi::OsStr;

use super::mask_words::is_mask_word;
use super::words::{self, Word, letters, meaning, meaning_of_letters, tokens};

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
        let name = letters(&name.to_string_lossy());
        let parts = [(Self::Train, TRAIN), (Self::Test, TEST), (Self::Truth, TRUTH)];
        let found = parts.into_iter().find(|(_, names)| names.split_whitespace().any(|known| known == name));
        found.map(|(part, _)| part)
    }
}

/// The names of the folders of a category, in lower case, without accents and other characters than letters and digits.
const TRAIN: &str = "train training traindata trainimages trainingdata trainingimages trainingset trainset trainings trainingsbilder \
    trainingsdaten addestramento entrainement entrenamiento treinamento treino обучение 学習 学習用 訓練 训练 训练集 训练数据 훈련 학습";
const TEST: &str = "test testing testdata testimages testingset testset testbilder testdaten prueba pruebas teste тест 評価 評価用 テスト \
    测试 测试集 测试数据 測試 테스트 평가";
const TRUTH: &str = "groundtruth gt mask masks";

/// The words for images of any kind.
const IMAGES: &str = "bild bilder data foto fotos image images img imgs jpegimages photo photos pic pics picture pictures rgb 图像 图片 画像";

fn is_image_word(word: &str) -> bool {
    IMAGES.split_whitespace().any(|known| known == word)
}

/// Returns whether a folder of this name holds images of any kind.
pub(super) fn holds_images(name: &OsStr) -> bool {
    is_image_word(&letters(&name.to_string_lossy()))
}

/// Returns whether a folder of this name holds normal images: `good` or another word for it, in upper or lower case.
pub(super) fn is_normal(name: &OsStr) -> bool {
    whole(name) == Some(Stated::Normal)
}

/// Returns the label that a name consists of: `ok`, `not good`, `異常なし`. A number below 10 may stand before it, by which folders are
/// sorted: `1_OK`, `02 bad`. `0 defects` is a count.
fn whole(name: &OsStr) -> Option<Stated> {
    let name = name.to_string_lossy();
    match meaning_of_letters(&letters(&name)) {
        Some(Word::Normal) => return Some(Stated::Normal),
        Some(Word::Defective) => return Some(Stated::Defective),
        Some(Word::Denial | Word::Free) => return None,
        None => {}
    }
    let words = labelled(&name);
    let words = match &words[..] {
        [number, rest @ ..] if number.token.parse().is_ok_and(|number: u64| number < 10) => match rest {
            [count] if count.token.ends_with('s') && count.label == Some(Stated::Defective) => return None,
            rest => rest,
        },
        words => words,
    };
    let of_label = words.iter().filter(|word| word.label.is_some()).count();
    (of_label == 1 && words.iter().all(|word| word.is_of_label || words::is_filler(&word.token))).then(|| stated(words))
}

/// Returns whether a name other than those of [`is_normal`] may stand for normal images.
pub(super) fn may_be_normal(name: &OsStr) -> bool {
    const NAMES: [&str; 4] = ["nominal", "fine", "clean", "healthy"];
    NAMES.contains(&letters(&name.to_string_lossy()).as_str())
}

/// Returns whether a name other than those of [`is_normal`] and [`may_be_normal`] may be a label of normal images, or of defects.
pub(super) fn may_be_negative(name: &OsStr) -> bool {
    const WORDS: [&str; 10] =
        ["negative", "negatives", "neg", "negs", "negativ", "negatif", "negativo", "отрицательный", "阴性", "陰性"];
    const NAMES: [&str; 6] = ["0", "false", "no", "n", "class0", "label0"];
    let name = name.to_string_lossy();
    NAMES.contains(&letters(&name).as_str()) || words(&name).iter().any(|word| WORDS.contains(&word.as_str()))
}

/// Returns whether a folder of this name holds defective images: `bad` or another word for it, in upper or lower case.
pub(super) fn is_defective(name: &OsStr) -> bool {
    whole(name) == Some(Stated::Defective)
}

/// Returns whether a word of a name is the usual one of a type of defect.
pub(super) fn is_defect_type(name: &OsStr) -> bool {
    tokens(&name.to_string_lossy()).iter().any(|token| words::is_defect_type(token))
}

/// A name that has a word for defects, and that may be a product's all the same: `bent_tube`, `fail_safe_relay`.
pub(super) struct Compound {
    /// The word for defects.
    pub(super) word: String,
    /// The other words and numbers.
    pub(super) rest: Vec<String>,
}

/// Returns the compound that a name is: a word for a type of defect or for a failure, and after it others that name a thing. In
/// `surface_crack` and `gear_ng` it is the last word, and `broken_large` has no thing.
pub(super) fn compound_of(name: &OsStr) -> Option<Compound> {
    const FAILURES: [&str; 10] =
        ["fail", "failed", "failure", "failures", "fault", "faults", "faulty", "reject", "rejects", "scrap"];
    const DEGREES: [&str; 12] =
        ["big", "heavy", "hole", "large", "light", "line", "long", "major", "minor", "short", "small", "spot"];
    let tokens = tokens(&name.to_string_lossy());
    let is_word = |token: &str| words::is_defect_type(token) || FAILURES.contains(&token);
    let mut found = tokens.iter().filter(|token| is_word(token));
    let (Some(word), None) = (found.next(), found.next()) else { return None };
    let names_thing = |token: &&String| {
        token.starts_with(char::is_alphabetic) && token.chars().count() > 1 && !DEGREES.contains(&token.as_str())
    };
    let rest: Vec<String> = tokens.iter().filter(|token| *token != word).cloned().collect();
    // Words such as `ng` mean nothing else.
    let is_clear = rest.iter().all(|token| meaning(token) != Some(Word::Defective));
    let has_thing = tokens.iter().skip_while(|token| *token != word).skip(1).any(|token| names_thing(&token));
    (is_clear && has_thing).then(|| Compound { word: word.clone(), rest })
}

/// Returns the words and numbers of a name besides those for defective images and types of defects, if it has such words.
pub(super) fn besides_label(name: &OsStr) -> Option<Vec<String>> {
    match side_of(name) {
        Some(side) => (!side.is_normal).then_some(side.product),
        None => is_defect_type(name).then(|| {
            let mut rest = tokens(&name.to_string_lossy());
            rest.retain(|token| !words::is_defect_type(token));
            rest
        }),
    }
}

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

/// Returns whether a folder of this name may hold images of any kind, beside a folder of masks. It may also be that of a product.
pub(super) fn may_hold_images(name: &OsStr) -> bool {
    const NAMES: [&str; 10] =
        ["frame", "frames", "input", "inputs", "original", "originals", "raw", "rawimages", "source", "sources"];
    NAMES.contains(&letters(&name.to_string_lossy()).as_str())
}

/// Returns whether a folder of this name holds masks or other labels, in any of several languages: `masks`, `png_masks`, `train_labels`.
pub(super) fn holds_masks(name: &OsStr) -> bool {
    const OTHERS: [&str; 9] = ["bin", "binary", "bmp", "jpg", "pixel", "png", "tif", "tiff", "train"];
    let name = name.to_string_lossy();
    let is_mask = |name: &str| holds_labels(name.as_ref()) || is_mask_word(&letters(name));
    is_mask(&name) || matches!(&tokens(&name)[..], [other, word] if OTHERS.contains(&other.as_str()) && is_mask(word))
}

/// Returns whether a folder of this name may hold files of annotations.
pub(super) fn may_hold_annotations(name: &OsStr) -> bool {
    const NAMES: [&str; 11] =
        ["ann", "anno", "annotation", "annotations", "anns", "export", "exports", "json", "jsons", "label", "labels"];
    NAMES.contains(&letters(&name.to_string_lossy()).as_str())
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
    let is_label = |word: &String| LABELS.contains(&word.as_str()) || is_mask_word(word);
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
    product_of_labels(name).is_some_and(|product| product_of_images(images) == Some(product))
}

/// Returns the product whose labels a folder holds by its name: `gear` for `gear_masks`.
pub(super) fn product_of_labels(name: &OsStr) -> Option<String> {
    without_labels(name).map(product_of)
}

/// Returns the product whose images a folder holds by its name: `gear` for `gear` and `gear_images`.
pub(super) fn product_of_images(name: &OsStr) -> Option<String> {
    let tokens = tokens(&name.to_string_lossy());
    (!tokens.is_empty()).then(|| product_of(tokens))
}

fn product_of(words: Vec<String>) -> String {
    let own: String = words.iter().filter(|word| !is_image_word(word)).map(String::as_str).collect();
    if own.is_empty() { words.concat() } else { own }
}

/// Returns whether a text file of this name may hold labels: `labels.txt`, `defect_list.txt`.
pub(super) fn means_labels(stem: &OsStr) -> bool {
    let is = |word: &String| {
        LABELS.contains(&word.as_str())
            || meaning(word) == Some(Word::Defective)
            || ["class", "classes", "labelled", "labeled", "train", "test", "split", "splits"].contains(&word.as_str())
    };
    words(&stem.to_string_lossy()).iter().any(is)
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

/// A word or a number of a name.
struct Labelled {
    token: String,
    /// The label that it states, with its denial.
    label: Option<Stated>,
    /// `true` for the word of a label, and its denial.
    is_of_label: bool,
}

/// Returns the words and numbers of a name with the labels that they state.
fn labelled(name: &str) -> Vec<Labelled> {
    let tokens = tokens(name);
    let is = |index: Option<usize>, word| {
        index.and_then(|index| tokens.get(index)).is_some_and(|token| meaning(token) == Some(word))
    };
    // Only the word beside it: in `part_no_3_ok`, `no` is that of the number.
    let denied = |index: usize| is(index.checked_sub(1), Word::Denial) || is(Some(index + 1), Word::Free);
    let mut found: Vec<Labelled> = Vec::with_capacity(tokens.len());
    for (index, token) in tokens.iter().enumerate() {
        let label = match (meaning(token), denied(index)) {
            (Some(Word::Normal), false) | (Some(Word::Defective), true) => Some(Stated::Normal),
            (Some(Word::Defective), false) | (Some(Word::Normal), true) => Some(Stated::Defective),
            (Some(Word::Denial | Word::Free) | None, _) => None,
        };
        found.push(Labelled { token: token.clone(), label, is_of_label: label.is_some() });
    }
    for index in 0..found.len() {
        let is_label =
            |index: Option<usize>| index.and_then(|index| found.get(index)).is_some_and(|word| word.label.is_some());
        let is_denial = is(Some(index), Word::Denial) && is_label(Some(index + 1))
            || is(Some(index), Word::Free) && is_label(index.checked_sub(1));
        if let Some(word) = found.get_mut(index).filter(|_| is_denial) {
            word.is_of_label = true;
        }
    }
    found
}

/// Returns the label that the words of a name state. Any word for defective ones counts: `normal-light_ng_004`.
fn stated(words: &[Labelled]) -> Stated {
    let has = |label| words.iter().any(|word| word.label == Some(label));
    if has(Stated::Defective) {
        Stated::Defective
    } else if has(Stated::Normal) {
        Stated::Normal
    } else {
        Stated::Nothing
    }
}

/// Returns the label that the name of an image states, such as `ng_001`, `001-defect` or `scratch3`.
pub(super) fn label_of(stem: &OsStr) -> Stated {
    match stated(&labelled(&stem.to_string_lossy())) {
        Stated::Nothing if is_defect_type(stem) => {
            if denies_defects(stem) {
                Stated::Normal
            } else {
                Stated::DefectType
            }
        }
        found => found,
    }
}

/// Returns whether a name denies each type of defect in it: `no_scratch`.
fn denies_defects(name: &OsStr) -> bool {
    let tokens = tokens(&name.to_string_lossy());
    let is = |token: Option<&String>, word| token.is_some_and(|token| meaning(token) == Some(word));
    let mut found = tokens.iter().enumerate().filter(|(_, token)| words::is_defect_type(token));
    found.all(|(index, _)| {
        is(index.checked_sub(1).and_then(|before| tokens.get(before)), Word::Denial)
            || is(tokens.get(index + 1), Word::Free)
    })
}

/// Returns the words of a name in lower case, without its numbers.
fn words(name: &str) -> Vec<String> {
    let mut tokens = tokens(name);
    tokens.retain(|token| token.starts_with(char::is_alphabetic));
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

/// Returns the side that a folder is by its name.
pub(super) fn side_of(name: &OsStr) -> Option<Side> {
    let words = labelled(&name.to_string_lossy());
    let is_normal = match stated(&words) {
        Stated::Normal => true,
        Stated::Defective => false,
        Stated::DefectType | Stated::Nothing => return None,
    };
    let (label, product): (Vec<Labelled>, Vec<Labelled>) = words.into_iter().partition(|word| word.is_of_label);
    let of = |words: Vec<Labelled>| words.into_iter().map(|word| word.token).collect::<Vec<_>>();
    let mut product = of(product);
    product.retain(|word| !words::is_filler(word));
    Some(Side { product, label: of(label).join("_"), is_normal })
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
        assert!(is(is_normal, &["good", "Good", "OK", "ok", "Normal", "no_defect", "defect-free", "Pass", "intact"]));
        assert!(is_not(is_normal, &["goodyear", "okra", "pass_filter", "NG", "abnormal"]));
        assert!(is(is_defective, &["NG", "ko", "bad", "Not_Good", "Anomaly", "abnormal", "DEFECT", "n.g.", "damaged"]));
        assert!(is_not(is_defective, &["good", "spring", "badge", "scratch"]));
        assert!(is(is_defect_type, &["scratch", "Scratches", "broken_large", "bent_wire", "dented", "surface_crack"]));
        assert!(is_not(is_defect_type, &["gear", "stainless", "dental", "crackers", "chips", "bracket"]));
        let normal =
            ["ＯＫ", "良品", "OK品", "正常", "合格", "無異常", "양품", "정상", "Gut", "iO", "i.O.", "IO", "bon", "İYİ"];
        assert!(is(is_normal, &normal) && is(is_normal, &["sans défaut", "Conforme", "годен", "defect free"]));
        let defective =
            ["ＮＧ", "NG品", "不良", "不合格", "异常", "異常品", "불량", "n.i.O.", "NiO", "niO", "Fehler", "Défaut"];
        assert!(is(is_defective, &defective) && is(is_defective, &["non conforme", "nicht ok", "брак", "KÖTÜ"]));
        // Names of parts, and words of several meanings.
        assert!(is_not(is_normal, &["io_board", "gutter", "bonnet", "bom", "brak", "齿轮", "不锈钢"]));
        assert!(is_not(is_defective, &["不锈钢", "sem", "mal", "ne", "brak"]));
        // A number by which folders are sorted stands before a label.
        assert!(is(is_normal, &["1_OK", "0-good", "01 gut", "1.OK", "2 not defective", "1_良品"]));
        assert!(is(is_defective, &["2_NOK", "1-bad", "02 schlecht", "1NG", "3_not_ok", "1_defect"]));
        assert!(is_not(is_normal, &["10_OK", "1_gear_ok", "1_2_ok", "0_defects", "1"]));
        assert!(is_not(is_defective, &["0_defects", "3 faults", "12_NG", "1_gear_ng", "part_1_ng"]));
        assert!(is(is_foreign, &[".git", "@eaDir", "System Volume Information", "lost+found", "__MACOSX"]));
        assert!(is_not(is_foreign, &["gear", "eaDir", "found"]));
        for (name, part) in [("Train", Part::Train), ("TEST", Part::Test), ("Ground-Truth", Part::Truth)] {
            assert_eq!(Part::of(OsStr::new(name)), Some(part));
        }
        assert_eq!(Part::of(OsStr::new("validation")), None);
        let masks =
            ["Maske", "MASKEN", "Máscaras", "masques", "Segmentierung", "binary_masks", "Маски", "マスク", "标注"];
        assert!(is(holds_masks, &masks) && is(holds_masks, &["masks", "ground truth"]));
        assert!(is(holds_masks, &["png_masks", "train-labels", "binaryMasks", "segm", "annot"]));
        assert!(is_not(holds_masks, &["label_train", "gear_masks", "label_images"]));
        assert!(is_not(holds_masks, &["Maskerade", "face_mask", "binder", "Etikett", "scratch"]));
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
    }

    #[test]
    fn names_of_products_may_have_a_word_for_defects() {
        let rest = |name: &str| compound_of(OsStr::new(name)).map(|compound| compound.rest.join(" "));
        for (name, expected) in [
            ("bent_tube", "tube"),
            ("fail_safe_relay", "safe relay"),
            ("crack-sensor 2", "sensor 2"),
            ("RustRemover", "remover"),
        ] {
            assert_eq!(rest(name).as_deref(), Some(expected), "{name}");
        }
        for name in [
            "bent",
            "surface_crack",
            "broken_large",
            "gear_ng",
            "ng_gear",
            "scratch_ng_pad",
            "gear",
            "dent_1",
            "fail_a",
        ] {
            assert_eq!(rest(name), None, "{name}");
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
            ("no_scratch_3", Stated::Normal),
            ("rust-free 4", Stated::Normal),
            ("no_scratch_but_dent", Stated::DefectType),
            ("001", Stated::Nothing),
            ("spring_010", Stated::Nothing),
            ("tokyo_2", Stated::Nothing),
            ("badge", Stated::Nothing),
            // A number is not denied.
            ("part_no_3_ok", Stated::Normal),
            ("lot no. 12 NG", Stated::Defective),
            ("non_2_ng", Stated::Defective),
            ("ok_3_free", Stated::Normal),
            ("№ 4 ok", Stated::Normal),
            ("良品_001", Stated::Normal),
            ("齿轮不良3", Stated::Defective),
            ("不_合格", Stated::Defective),
            ("sans défaut 2", Stated::Normal),
            ("не годен 4", Stated::Defective),
        ] {
            assert_eq!(label_of(OsStr::new(stem)), expected, "{stem}");
        }
    }
}
