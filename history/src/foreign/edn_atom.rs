//! The atoms of EDN as JSON values: names, numbers, strings, characters.

use serde_json::Value;

/// Reads a name or a number.
pub(super) fn atom(text: &str) -> Result<Value, String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.starts_with(|first: char| first.is_ascii_digit()) {
        return number(text, unsigned).ok_or_else(|| format!("`{}` is not a number", shortened(text)));
    }
    match text {
        "nil" => Ok(Value::Null),
        "true" => Ok(true.into()),
        "false" => Ok(false.into()),
        "" => Err("unexpected character".into()),
        ":" => Err("a keyword has no name".into()),
        _ => Ok(text.strip_prefix(':').unwrap_or(text).into()),
    }
}

/// Reads a number. What JSON's numbers cannot hold exactly becomes a string.
fn number(text: &str, unsigned: &str) -> Option<Value> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(hexadecimal) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        let is_plain = text == unsigned && hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit());
        return u64::from_str_radix(hexadecimal, 16).ok().filter(|_| is_plain).map(Value::from);
    }
    let whole = unsigned.strip_suffix('N').unwrap_or(unsigned);
    if digits(whole) {
        // Clojure would read a leading zero as octal, EDN forbids it.
        return (whole == "0" || !whole.starts_with('0')).then(|| integer(text.starts_with('-'), whole));
    }
    if let Some((numerator, denominator)) = unsigned.split_once('/') {
        return (digits(numerator) && digits(denominator)).then(|| text.into());
    }
    let decimal = unsigned.strip_suffix('M');
    let float: f64 = decimal.unwrap_or(unsigned).parse().ok()?;
    let exact = decimal
        .is_none()
        .then(|| serde_json::Number::from_f64(if text.starts_with('-') { -float } else { float }));
    Some(exact.flatten().map_or_else(|| text.into(), Value::Number))
}

fn integer(negative: bool, digits: &str) -> Value {
    let text = if negative { format!("-{digits}") } else { digits.to_owned() };
    text.parse::<i64>()
        .map(Value::from)
        .or_else(|_| text.parse::<u64>().map(Value::from))
        .unwrap_or_else(|_| text.into())
}

/// Reads the inside of a string.
pub(super) fn unescape(text: &str) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        result.push_str(&rest[..at]);
        let (escaped, length) = escape(&rest[at + 1..])?;
        result.push(escaped);
        rest = &rest[at + 1 + length..];
    }
    result.push_str(rest);
    Ok(result)
}

/// The character that an escape stands for, given what follows its backslash, and how many bytes it took.
fn escape(text: &str) -> Result<(char, usize), String> {
    let escaped = match text.chars().next() {
        Some('t') => '\t',
        Some('r') => '\r',
        Some('n') => '\n',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some(same @ ('\\' | '"')) => same,
        Some('u') => return unicode(&text[1..]).map(|(character, length)| (character, length + 1)),
        other => return Err(format!("a string has the unknown escape `\\{}`", other.unwrap_or(' '))),
    };
    Ok((escaped, 1))
}

/// Reads the four digits after `\u`, or a pair of surrogates.
fn unicode(text: &str) -> Result<(char, usize), String> {
    let broken = || "a string has a broken `\\u` escape".to_owned();
    let unit = |text: &str| {
        let digits = text.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u16::from_str_radix(digits, 16).ok()
    };
    let first = unit(text).ok_or_else(broken)?;
    let second = text.get(4..6).filter(|next| *next == "\\u").and_then(|_| unit(&text[6..]));
    let is_high = (0xd800..0xdc00).contains(&first);
    let units = [first, second.filter(|_| is_high).unwrap_or_default()];
    let character = char::decode_utf16(units).next().and_then(Result::ok).ok_or_else(broken)?;
    Ok((character, if is_high { 10 } else { 4 }))
}

/// Reads what follows the backslash of a character.
pub(super) fn character(text: &str) -> Result<String, String> {
    let mut characters = text.chars();
    if let (Some(only), None) = (characters.next(), characters.next()) {
        return Ok(only.into());
    }
    let named = match text {
        "newline" => '\n',
        "return" => '\r',
        "space" => ' ',
        "tab" => '\t',
        "backspace" => '\u{8}',
        "formfeed" => '\u{c}',
        _ => match text.strip_prefix('u').filter(|digits| digits.len() == 4).map(unicode) {
            Some(Ok((character, _))) => character,
            _ => return Err(format!("there is no character `\\{}`", shortened(text))),
        },
    };
    Ok(named.into())
}

/// The key of a JSON object for a key of a map: names as they are, anything else as its JSON text.
pub(super) fn key_text(key: Value) -> String {
    match key {
        Value::String(name) => name,
        other => other.to_string(),
    }
}

/// The beginning of a text, for messages.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN_CHARACTERS: usize = 60;
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_lose_their_colon() {
        assert_eq!(atom("nil"), Ok(Value::Null));
        assert_eq!(atom("true"), Ok(json!(true)));
        assert_eq!(atom(":jepsen.db/ok?"), Ok(json!("jepsen.db/ok?")));
        assert_eq!(atom("a.b/c"), Ok(json!("a.b/c")));
        assert_eq!(atom("-"), Ok(json!("-")));
        assert!(atom(":").is_err() && atom("").is_err());
    }

    #[test]
    fn numbers_that_json_can_hold_are_numbers() {
        for (text, value) in [
            ("0", json!(0)),
            ("-7", json!(-7)),
            ("+7", json!(7)),
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("12N", json!(12)),
            ("0x1F", json!(31)),
            ("1.5", json!(1.5)),
            ("-1e3", json!(-1000.0)),
        ] {
            assert_eq!(atom(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn other_numbers_are_strings() {
        for (text, value) in [
            ("18446744073709551616", "18446744073709551616"),
            ("+99999999999999999999N", "99999999999999999999"),
            ("1/3", "1/3"),
            ("1.50M", "1.50M"),
            ("1e999", "1e999"),
        ] {
            assert_eq!(atom(text), Ok(json!(value)), "{text}");
        }
    }

    #[test]
    fn what_begins_like_a_number_must_be_one() {
        for text in [
            "1a",
            "012",
            "1/",
            "1/b",
            "0x",
            "0x+1",
            "-0x1",
            "1.2.3",
            "+1_000",
            "1.5MM",
            "0xfffffffffffffffff",
        ] {
            assert!(atom(text).is_err(), "{text}");
        }
    }

    #[test]
    fn strings_are_unescaped() {
        assert_eq!(unescape("a\\n\\\"\\\\ \\u00e9 \\ud83d\\ude00").unwrap(), "a\n\"\\ é 😀");
        for text in ["\\q", "\\u12", "\\ud83d", "\\ud83dx", "\\udc00", "\\u+123", "\\"] {
            assert!(unescape(text).is_err(), "{text}");
        }
    }

    #[test]
    fn characters_are_named_or_themselves() {
        for (text, value) in [("a", "a"), ("newline", "\n"), ("u0041", "A"), ("(", "("), ("é", "é")] {
            assert_eq!(character(text).unwrap(), value);
        }
        assert!(character("ab").is_err() && character("ud800").is_err() && character("u00éé").is_err());
    }
}
