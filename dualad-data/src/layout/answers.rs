//! The values by which tables and annotations say yes, no and nothing, in several languages.

use super::words::{Word, is_defect_type, meaning, plain, tokens};

/// The words for yes and for no, in lower case and in the form of [`plain`].
const YES: &str = "ano co da evet ja oui si sim t tak true verdadeiro verdadero vero vrai wahr y yes да истина あり はい 是 有 有り 예 있음";
const NO: &str = "f falsch false falso faux hayir khong n nao ne nee nein nie no non ложь нет いいえ なし 否 无 無 無し 아니오 아니요 없음";

/// The values for nothing: no value, or one that is not known.
const NOTHING: &str = "'' \"\" () - -- --- . / // ? [] _ k.a. n/a na nan nil none null unknown unlabeled unlabelled {} – — \
    aucun aucune geen kein keine keinen keiner keins nenhum nenhuma nessun nessuna nessuno niets ninguna ninguno nichts \
    ohne yok zadna zadne zadny";

/// The words that say that nothing was found, or that nothing is said here, in the form of [`tokens`].
const NOT_FOUND: &str = "absent absente absents ausente ausentes assente assenti brak bulunamadi checked clean entfallt foto gepruft hatasiz \
    kusursuz nej nenalezena nenalezeno nenalezeny neni never nichts none nothing photo sauber see siehe unchanged unverandert zero отсутствует \
    отсутствуют 没有 ありません 없다 없습니다";

/// The words that say nothing beside those and beside denials: what may be found, and its number.
const FINDING: &str = "a any auffalligkeit auffalligkeiten befund befunde befundet detected erkannt exists festgestellt found gefunden mangel \
    nachweisbar nalezena nalezeno nalezeny of out present sichtbar stk stuck vad vada vady visible von vorhanden wad wady дефектов \
    обнаружен обнаружена обнаружено обнаружены";

fn is_in(list: &str, value: &str) -> bool {
    let value = plain(value.trim()).to_lowercase();
    list.split_whitespace().any(|known| known == value)
}

/// Returns a finite number. Spreadsheets of many countries write a comma before its fraction.
pub(super) fn number(value: &str) -> Option<f64> {
    let found = value.parse().or_else(|_| value.replacen(',', ".", 1).parse());
    found.ok().filter(|number: &f64| number.is_finite())
}

/// Returns whether a value is a number other than 0, or a word for yes. Nothing for one that is neither a number nor such a word.
pub(super) fn truth(value: &str) -> Option<bool> {
    if let Some(number) = number(value) {
        return Some(number != 0.0);
    }
    is_in(YES, value).then_some(true).or_else(|| is_in(NO, value).then_some(false))
}

/// Returns whether a value says nothing.
pub(super) fn says_nothing(value: &str) -> bool {
    is_in(NOTHING, value)
}

/// Returns whether a text says that there is no defect, or nothing about defects: `kein Befund`, `not found`, `0 of 5`, `siehe Foto`. Other
/// words may tell a defect (`keine Bohrung`).
pub(super) fn denies(text: &str) -> bool {
    let is_word = |list: &str, token: &String| list.split_whitespace().any(|known| known == token);
    let is_defect = |token: &String| meaning(token) == Some(Word::Defective) || is_defect_type(token);
    let is_denial = |token: &String| {
        token == "0" || matches!(meaning(token), Some(Word::Denial | Word::Free)) || is_word(NOT_FOUND, token)
    };
    let is_number = |token: &String| token.bytes().all(|byte| byte.is_ascii_digit());
    let tokens = tokens(text);
    match tokens.as_slice() {
        // `Oberfläche in Ordnung`.
        [rest @ .., first, last] if first == "in" && last == "ordnung" => !rest.iter().any(is_denial),
        [first, rest @ ..] if first == "0" => rest.iter().all(|token| is_number(token) || is_word(FINDING, token)),
        tokens => {
            tokens.iter().any(is_denial)
                && tokens.iter().all(|token| is_denial(token) || is_defect(token) || is_word(FINDING, token))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_plain_and_disjoint() {
        let mut all = Vec::new();
        for list in [YES, NO, NOTHING] {
            all.extend(list.split_whitespace());
            assert!(list.split_whitespace().all(|word| plain(word).to_lowercase() == word), "{list}");
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn values_say_yes_no_or_nothing() {
        for (value, expected) in [
            ("1", Some(true)),
            ("0,5", Some(true)),
            ("0,0", Some(false)),
            ("-0.0", Some(false)),
            ("WAHR", Some(true)),
            ("Não", Some(false)),
            ("Sí", Some(true)),
            ("ＮＯ", Some(false)),
            ("無し", Some(false)),
            ("Ano", Some(true)),
            ("ne", Some(false)),
            ("Có", Some(true)),
            ("không", Some(false)),
            ("", None),
            ("inf", None),
            ("1,2,3", None),
            ("scratch", None),
            ("[]", None),
        ] {
            assert_eq!(truth(value), expected, "{value}");
        }
        assert!(
            ["NaN", "Keiner", "{}", "--", "—", "Aucun", "k.A.", "ohne", "Žádná"]
                .iter()
                .all(|value| says_nothing(value))
        );
        assert!(!["", "0", "x", "scratch"].iter().any(|value| says_nothing(value)));
    }

    #[test]
    fn denials_leave_no_other_word() {
        for text in [
            "kein Befund",
            "keine Mängel",
            "not found",
            "0 of 5",
            "0 Stück",
            "není",
            "bez vady",
            "brak wad",
            "siehe Foto",
        ] {
            assert!(denies(text), "{text}");
        }
        for text in [
            "",
            "keine Bohrung",
            "no hole",
            "hole not found",
            "nicht rund",
            "ohne Lack",
            "0 Grad",
            "5",
            "nicht in Ordnung",
        ] {
            assert!(!denies(text), "{text}");
        }
    }
}
