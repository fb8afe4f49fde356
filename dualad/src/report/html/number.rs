//! The formatting of values.

use crate::report::columns;

/// Returns `98.4 %` with a non-breaking space.
pub(super) fn percent(fraction: f64) -> String {
    format!("{}\u{202f}%", columns::percent(fraction))
}

/// Returns `1,234,567`.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// Returns four significant digits.
pub(super) fn score(value: f64) -> String {
    significant(value, 4)
}

pub(super) fn significant(value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return "not finite".into();
    }
    if value == 0.0 {
        return "0".into();
    }
    let magnitude = value.abs().log10().floor() as i32;
    if !(-4..=6).contains(&magnitude) {
        return format!("{value:.*e}", (digits - 1).max(0) as usize);
    }
    format!("{value:.*}", (digits - 1 - magnitude).max(0) as usize)
}

/// Returns `1 h 05 min`, `3 min 20 s` or `4.2 s`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 if seconds < 59.95 => format!("{seconds:.1}\u{a0}s"),
        0..3600 => format!("{}\u{a0}min {:02}\u{a0}s", whole / 60, whole % 60),
        _ => format!("{}\u{a0}h {:02}\u{a0}min", whole / 3600, whole % 3600 / 60),
    }
}

/// Returns `1 image` or `2 images`.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{}\u{a0}{}", grouped(count), if count == 1 { one } else { many })
}
