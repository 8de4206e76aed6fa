//! Words for numbers, times and hostile values.
//!
//! Everything that a history, a log or a file name contributes is untrusted bytes. Markup is escaped where it is
//! written (askama for HTML, [`crate::svg`] for SVG); what escaping leaves alone but a reader or a parser would
//! trip over (control characters, direction overrides) is made visible by [`printable`], through which every
//! finished file passes.

use history::Nanos;
use serde_json::Value;

/// Whether a character would be invisible, move the text around it, or be forbidden in XML.
fn is_unprintable(c: char) -> bool {
    let control = c.is_control() && c != '\n' && c != '\t';
    let invisible = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    let noncharacter = (c as u32) & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c);
    control || invisible || noncharacter
}

/// Spells out every character that cannot be seen, as `\u{1b}`. Line feeds and tabs stay.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// At most `limit` characters, with an ellipsis and the true length when something was cut.
pub(crate) fn clip(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}… ({} characters)", &text[..at], count(text.chars().count() as u64)),
    }
}

/// At most `limit` characters with a bare ellipsis, for labels.
pub(crate) fn clip_label(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// A JSON value in one line.
pub(crate) fn value(value: &Value) -> String {
    value.to_string()
}

/// `1 operation`, `2 operations`.
pub(crate) fn plural(n: usize, word: &str) -> String {
    format!("{} {word}{}", count(n as u64), if n == 1 { "" } else { "s" })
}

/// An integer with its thousands apart: `12,345`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A point on the time axis: `14.203 s`.
pub(crate) fn at(time: Nanos) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// A stamp of an operation, to the microsecond: `14.203017 s`.
pub(crate) fn stamp(time: Nanos) -> String {
    format!("{:.6} s", time.as_secs_f64())
}

/// A length of time with a fitting unit: `412 µs`, `3.2 ms`, `1.25 s`.
pub(crate) fn span(length: Nanos) -> String {
    let nanos = length.0;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", three_digits(nanos as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", three_digits(nanos as f64 / 1e6)),
        _ => format!("{} s", three_digits(nanos as f64 / 1e9)),
    }
}

/// Three significant digits below a thousand, whole numbers from there on.
fn three_digits(x: f64) -> String {
    let decimals = if x < 9.995 {
        2
    } else if x < 99.95 {
        1
    } else {
        0
    };
    format!("{x:.decimals$}")
}

/// A size: `512 B`, `1.2 MiB`.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1_024 => format!("{n} B"),
        1_024..1_048_576 => format!("{:.1} KiB", n as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", n as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", n as f64 / 1_073_741_824.0),
    }
}

/// Wall-clock time in UTC: `2026-09-04 12:00:03 UTC`.
pub(crate) fn wall(ms_since_1970: u64) -> String {
    i64::try_from(ms_since_1970)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| "unknown".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_spelled_out() {
        assert_eq!(printable("a\u{0}b\u{1b}[31m\u{202e}\r\n\t"), "a\\u{0}b\\u{1b}[31m\\u{202e}\\u{d}\n\t");
    }

    #[test]
    fn clipping_respects_characters_and_tells_the_length() {
        assert_eq!(clip("ääää", 2), "ää… (4 characters)");
        assert_eq!(clip("ää", 2), "ää");
    }

    #[test]
    fn lengths_of_time_have_three_digits_and_a_unit() {
        assert_eq!(span(Nanos(999)), "999 ns");
        assert_eq!(span(Nanos(412_345)), "412 µs");
        assert_eq!(span(Nanos(3_200_000)), "3.20 ms");
        assert_eq!(span(Nanos(12_340_000_000)), "12.3 s");
    }

    #[test]
    fn wall_time_is_utc() {
        assert_eq!(wall(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(wall(u64::MAX), "unknown");
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
    }
}
