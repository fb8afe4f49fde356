//! The words of names, and those that state a label, in several languages.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;

/// The meaning of a word for the label of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Normal,
    Defective,
    /// Turns the next word into its opposite: `not`.
    Denial,
    /// Turns the word before it into its opposite: `free`.
    Free,
}

/// The words for normal images, sorted, in the form of [`plain`] and in lower case. Words that are also names of parts, or that mean
/// something else in another language, are not in these lists.
const NORMAL: &str = "accept acceptable accepted approved bon bonne bonnes bons bueno buenos buoni buono compliant conform \
    conforme conformes conforming correcto defectfree dobre dobry einwandfrei fehlerfrei fehlerlos flawless goed good goods \
    gut gute gutteil gutteile hyva i.o. inordnung intact intakt iyi konform makellos mangelfrei nodefect nondefective \
    normal normale normales normals ohnebefund ok okay passed saglam unauffallig undamaged годен годные годный исправен \
    исправно норма хорошая хорошее хорошие хороший хорошо 合格 合格品 好 无异常 无瑕疵 无缺陷 欠陥なし 正品 正常 正常品 無欠陥 無異常 無缺陷 異常なし 良 良品 良好 결함없음 \
    무결함 양품 이상없음 정상 정상품 합격";

/// The words for images with any defect.
const DEFECTIVE: &str = "abnormal abnormals afgekeurd anomalies anomalous anomaly ausschuss bad bads bozuk damaged decline \
    declined def defaut defauts defect defected defective defecto defectos defects defectueuse defectueux defectuoso \
    defeito defeitos defekt defekte difetti difetto difettosi difettoso disapproved fail failed failure failures fault \
    faults faulty fehler fehlerhaft fejl fout fouten hatali ko kotu kusurlu malo malos mangelhaft mauvais mauvaise ng \
    nichtinordnung nio nogood nok noncompliant nonconform nonconforming nonconformity notgood notok rebut rebuts rechazado \
    rechazo reject rejected rejects ruim scarti scarto schlecht schlechte schlechtteil schlechtteile schrott scrap spatne \
    unacceptable unapproved vadne vadny viallinen virhe wada wadliwe wadliwy wady zle zly zmetek zmetky брак дефект \
    дефектный дефекты негоден негодные неисправен плохие плохой 不合格 不合格品 不正常 不良 不良品 坏 坏品 废品 廢品 异常 未合格 欠陥 欠陥品 次品 瑕疵 瑕疵品 異常 \
    異常品 缺陷 缺陷品 非正常 非良品 결함 불량 불량품 불합격 비정상";

/// The words that turn the next one into its opposite.
const DENIALS: &str = "bez degil geen kein keine nao nicht nie niet no non not ohne sans senza sin un without \
    без не 不 无 未 無 非";

/// The words that turn the one before into its opposite.
const FREE: &str = "free frei none なし 無し 없음";

/// The usual names of types of defects. English ones may have an ending.
const DEFECT_TYPES: &str = "bent blowhole broken contamination corrosion crack damage deform dent dirt discolor \
    flaw graffio grieta kratzer misplaced missing rayure rust scrape scratch stain трещина царапина キズ 傷 划痕 \
    割れ 欠け 汚れ 裂痕 裂纹 균열 스크래치";

/// The grammatical endings of a word.
const ENDINGS: [&str; 9] = ["", "s", "es", "ed", "d", "ing", "ation", "age", "y"];

/// The whole names of folders of normal images whose words may be parts of other names: `i.O.` without its dots, as in `io_board`,
/// `pass`, as in `pass_filter`, and `perfect`, as in `perfect_seal`.
const WHOLE_NAMES: [&str; 4] = ["io", "pass", "perfect", "perfekt"];

static WORDS: LazyLock<HashMap<&str, Word>> = LazyLock::new(|| {
    let lists = [(NORMAL, Word::Normal), (DEFECTIVE, Word::Defective), (DENIALS, Word::Denial), (FREE, Word::Free)];
    lists.iter().flat_map(|(words, kind)| words.split_whitespace().map(|word| (word, *kind))).collect()
});

/// The words of [`DEFECT_TYPES`].
static DEFECT_TYPE_WORDS: LazyLock<Vec<&str>> = LazyLock::new(|| DEFECT_TYPES.split_whitespace().collect());

/// The words of a label that may end or begin a name without separators: those of scripts without upper and lower case, of two letters or
/// more, the longest first.
static UNCASED: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let is = |word: &&str| word.chars().count() > 1 && !word.chars().any(is_cased);
    let mut words: Vec<&str> = [NORMAL, DEFECTIVE].iter().flat_map(|list| list.split_whitespace()).filter(is).collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words
});

/// Returns the meaning of one of the [`tokens`] of a name.
pub(super) fn meaning(token: &str) -> Option<Word> {
    WORDS.get(token).copied()
}

/// Returns the meaning of all letters of a name.
pub(super) fn meaning_of_letters(letters: &str) -> Option<Word> {
    if WHOLE_NAMES.contains(&letters) { Some(Word::Normal) } else { meaning(letters) }
}

/// Returns the words for normal and for defective images, without dots.
pub(super) fn labels() -> impl Iterator<Item = (&'static str, bool)> {
    let of = |list: &'static str, is_normal| list.split_whitespace().map(move |word| (word, is_normal));
    let all = of(NORMAL, true).chain(of(DEFECTIVE, false)).filter(|(word, _)| !word.contains('.'));
    all.chain(WHOLE_NAMES.map(|name| (name, true)))
}

/// Returns whether a word is the usual one of a type of defect: scratch, scratches, scratched.
pub(super) fn is_defect_type(token: &str) -> bool {
    let is = |known: &str| token.strip_prefix(known).is_some_and(|rest| ENDINGS.contains(&rest));
    DEFECT_TYPE_WORDS.iter().any(|known| is(known))
}

/// Returns whether a token means nothing beside a word of a label: Japanese names an article so.
pub(super) fn is_filler(token: &str) -> bool {
    token == "品"
}

/// Returns a name in which letters that look the same are the same: without accents on Latin letters, with letters of usual width, and
/// composed.
pub(super) fn plain(name: &str) -> String {
    if name.is_ascii() {
        return name.into();
    }
    let mut after_latin = false;
    let is_kept = |c: &char| {
        let is_mark = ('\u{300}'..='\u{36f}').contains(c);
        if !is_mark {
            after_latin = c.is_ascii_alphabetic();
        }
        !(is_mark && after_latin)
    };
    let bare = name.nfkd().filter(is_kept).map(|c| match c {
        // Letters that Unicode does not take apart.
        'ı' => 'i',
        'ł' => 'l',
        'Ł' => 'L',
        c => c,
    });
    bare.nfc().collect::<String>().replace('ß', "ss")
}

/// Returns the letters and digits of a name in lower case: `Ground-Truth` and `ground_truth` are the same.
pub(super) fn letters(name: &str) -> String {
    plain(name).chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase()
}

/// Returns the words and numbers of a name in lower case. A word ends at a character that is no letter, before a capital after a
/// small letter, and between scripts with and without upper and lower case. Words of a label are told apart from what they are
/// written together with in scripts without it. Abbreviations with dots are one word: `ng` for `n.g.`.
pub(super) fn tokens(name: &str) -> Vec<String> {
    // Each with whether nothing, or a dot alone, is between it and the one before.
    let mut found: Vec<(String, bool)> = Vec::new();
    // The character before, if it can be continued, and whether a dot alone follows it.
    let (mut before, mut dot) = (None::<char>, false);
    for c in plain(name).chars() {
        if !c.is_alphanumeric() {
            dot = c == '.' && before.is_some();
            before = None;
            continue;
        }
        let continues = before.is_some_and(|before| {
            before.is_alphabetic() == c.is_alphabetic()
                && is_cased(before) == is_cased(c)
                && !(c.is_uppercase() && before.is_lowercase())
        });
        match found.last_mut().filter(|_| continues) {
            Some((token, _)) => token.extend(c.to_lowercase()),
            None => found.push((c.to_lowercase().collect(), before.is_some() || dot)),
        }
        (before, dot) = (Some(c), false);
    }
    let mut tokens = Vec::with_capacity(found.len());
    let mut rest = &found[..];
    while let [(first, _), others @ ..] = rest {
        if let Some((word, count)) = abbreviation(rest) {
            tokens.push(word.into());
            rest = &rest[count..];
        } else {
            match first.chars().next().is_some_and(|c| c.is_alphabetic() && !is_cased(c)) {
                true => split_uncased(first, &mut tokens),
                false => tokens.push(first.clone()),
            }
            rest = others;
        }
    }
    tokens
}

/// Returns the word that an abbreviation at the start stands for, and its number of tokens: `n.i.O.`, `niO`, `n.g.`, `O.K.`, `o.B.`.
fn abbreviation(tokens: &[(String, bool)]) -> Option<(&'static str, usize)> {
    const KNOWN: [(&[&str], &str); 9] = [
        (&["n", "i", "o"], "nio"),
        (&["ni", "o"], "nio"),
        (&["n", "o", "k"], "nok"),
        (&["n", "ok"], "nok"),
        (&["i", "o"], "i.o."),
        (&["o", "b"], "ohnebefund"),
        (&["k", "o"], "ko"),
        (&["n", "g"], "ng"),
        (&["o", "k"], "ok"),
    ];
    let begins = |parts: &[&str]| {
        let pairs = || parts.iter().zip(tokens);
        tokens.len() >= parts.len()
            && pairs().all(|(part, (token, _))| part == token)
            && pairs().skip(1).all(|(_, (_, is_joined))| *is_joined)
    };
    KNOWN.iter().find(|(parts, _)| begins(parts)).map(|(parts, word)| (*word, parts.len()))
}

/// Adds the parts of a token without upper and lower case: the words of a label at its end and its beginning, and the rest.
fn split_uncased(token: &str, tokens: &mut Vec<String>) {
    let (mut rest, mut end) = (token, Vec::new());
    let known = |is: &dyn Fn(&str) -> bool| UNCASED.iter().copied().find(|word| is(word));
    while let Some(word) = known(&|word| rest.ends_with(word)) {
        end.push(word);
        rest = &rest[..rest.len() - word.len()];
    }
    while let Some(word) = known(&|word| rest.starts_with(word)) {
        tokens.push(word.into());
        rest = &rest[word.len()..];
    }
    if !rest.is_empty() {
        tokens.push(rest.into());
    }
    tokens.extend(end.into_iter().rev().map(String::from));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_disjoint() {
        let mut all = Vec::new();
        for list in [NORMAL, DEFECTIVE, DENIALS, FREE, DEFECT_TYPES] {
            let words: Vec<&str> = list.split_whitespace().collect();
            assert!(words.is_sorted_by(|a, b| a < b), "{words:?}");
            all.extend(words);
        }
        for word in &all {
            assert_eq!(plain(word).to_lowercase(), *word);
            assert_eq!(all.iter().filter(|other| *other == word).count(), 1, "{word}");
        }
    }

    #[test]
    fn names_have_words_and_numbers() {
        for (name, expected) in [
            ("part_no_3_ok", "part no 3 ok"),
            ("gearNotOK2", "gear not ok 2"),
            ("Défaut-été", "defaut ete"),
            ("ＮＧ品１", "ng 品 1"),
            ("齿轮不合格", "齿轮 不合格"),
            ("不良品ギア", "不良品 ギア"),
            ("n.i.O. 7", "nio 7"),
            ("lid_niO", "lid nio"),
            ("lid_iO", "lid i.o."),
            ("o. B. 7", "o b 7"),
            ("o.B. 7", "ohnebefund 7"),
            ("io_board", "io board"),
            ("N.G.", "ng"),
            ("ng.ok", "ng ok"),
            ("İyi", "iyi"),
            ("Ausschuß", "ausschuss"),
        ] {
            assert_eq!(tokens(name).join(" "), expected, "{name}");
        }
        // A long name takes neither much time nor a deep stack.
        assert_eq!(tokens(&"正常".repeat(100_000)).len(), 100_000);
    }
}
