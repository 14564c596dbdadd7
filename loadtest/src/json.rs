//! Looking things up in JSON text without reading it all: for answers on the measured path.

use memchr::memmem;

/// The string value of the first `"key":` in the text, as it stands there (escapes and all).
///
/// Inside of a string a quote is escaped, so a match is a key; of which object is the caller's
/// knowledge.
pub fn string_of<'a>(text: &'a [u8], key: &str) -> Option<&'a str> {
    let quoted = format!("\"{key}\"");
    memmem::find_iter(text, &quoted).find_map(|at| string_value(text.get(at + quoted.len()..)?))
}

fn string_value(after_key: &[u8]) -> Option<&str> {
    let value = after_key.trim_ascii_start().strip_prefix(b":")?;
    let value = value.trim_ascii_start().strip_prefix(b"\"")?;
    let mut escaped = false;
    let end = value.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    std::str::from_utf8(value.get(..end)?).ok()
}

/// All numbers that stand directly after `marker`.
pub fn numbers_after<'a>(text: &'a [u8], marker: &'a str) -> impl Iterator<Item = u64> + 'a {
    memmem::find_iter(text, marker.as_bytes()).filter_map(move |at| {
        let digits = text.get(at + marker.len()..)?;
        let end = digits.iter().take_while(|b| b.is_ascii_digit()).count();
        std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_from_a_value_and_from_text() {
        let check = |text: &str, found: Option<&str>| {
            assert_eq!(string_of(text.as_bytes(), "next"), found, "{text}");
        };
        check(r#"{"next":"s1_2"}"#, Some("s1_2"));
        check(r#"{"a":"next","next" : "s1"}"#, Some("s1"));
        check(r#"{"a":"\"next\":\"x\"","next":"s1"}"#, Some("s1"));
        check(r#"{"next":"a\"b\\"}"#, Some(r#"a\"b\\"#));
        check(r#"{"next":7}"#, None);
        check(r#"{"next":"cut"#, None);
        check("", None);
    }

    #[test]
    fn numbers_follow_their_marker() {
        let text = br#"{"body":"lt-1#12"},{"body":"lt-1#7 x"},{"body":"lt-1#"},{"body":"lt-2#9"}"#;
        assert_eq!(numbers_after(text, "lt-1#").collect::<Vec<_>>(), [12, 7]);
    }
}
