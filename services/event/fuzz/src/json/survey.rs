//! What a JSON text holds, by a reader that shares nothing with the one that is tested: serde's own
//! values for the syntax, and a walk over the text for what they do not keep.

use std::collections::HashSet;

use hanse_event::strict_json::Limits;
use serde_json::Value;

/// The largest integer of canonical JSON: 2^53 - 1.
const INTEGER_MAX: i128 = 9_007_199_254_740_991;

/// A text that is JSON.
pub(crate) struct Survey {
    value: Value,
    /// How many arrays and objects are around the innermost value.
    pub(crate) depth: usize,
    has_duplicates: bool,
    /// Whether every number is written as canonical JSON writes them.
    all_integers: bool,
}

impl Survey {
    /// `None`: no JSON, or nested deeper than 127 levels.
    pub(crate) fn of(text: &[u8]) -> Option<Self> {
        let value = serde_json::from_slice(text).ok()?;
        let mut survey = Self {
            value,
            depth: 0,
            has_duplicates: false,
            all_integers: true,
        };
        survey.walk(std::str::from_utf8(text).expect("serde reads UTF-8 only"));
        Some(survey)
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    pub(crate) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// Whether canonical JSON can say this, within the limits.
    pub(crate) fn fits(&self, text: &[u8], limits: Limits) -> bool {
        self.is_object()
            && text.len() <= limits.bytes_max
            && self.depth <= limits.depth_max
            && self.all_integers
            && !self.has_duplicates
    }

    /// As the appendix of the specification has it written.
    pub(crate) fn canonical(&self) -> String {
        Self::written(&self.value)
    }

    /// A value as the appendix of the specification has it written.
    pub(crate) fn written(value: &Value) -> String {
        let mut text = String::new();
        write(value, &mut text);
        text
    }

    fn walk(&mut self, text: &str) {
        let bytes = text.as_bytes();
        // Of each array and object that is open, the keys so far.
        let mut open: Vec<HashSet<String>> = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let begin = at;
            at += 1;
            match bytes[begin] {
                b'{' | b'[' => {
                    open.push(HashSet::new());
                    self.depth = self.depth.max(open.len());
                }
                b'}' | b']' => {
                    open.pop();
                }
                b'"' => {
                    at = end_of_string(bytes, begin);
                    if is_key(&bytes[at..]) {
                        let key = serde_json::from_str(&text[begin..at]).expect("a string");
                        let keys = open.last_mut().expect("a key is in an object");
                        self.has_duplicates |= !keys.insert(key);
                    }
                }
                b'-' | b'0'..=b'9' => {
                    let number =
                        |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                    at = begin
                        + bytes[begin..]
                            .iter()
                            .take_while(|byte| number(byte))
                            .count();
                    self.all_integers &= is_canonical_number(&text[begin..at]);
                }
                _ => {}
            }
        }
    }
}

/// Just behind the closing quote.
fn end_of_string(bytes: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn is_key(behind: &[u8]) -> bool {
    behind.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

fn is_canonical_number(number: &str) -> bool {
    let is_integer = number != "-0" && !number.contains(['.', 'e', 'E']);
    let in_range = |value: i128| (-INTEGER_MAX..=INTEGER_MAX).contains(&value);
    is_integer && number.parse().is_ok_and(in_range)
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
        Value::String(string) => write_string(string, text),
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                write(value, text);
            }
            text.push(']');
        }
        Value::Object(object) => {
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort_by(|one, other| one.chars().cmp(other.chars()));
            text.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                write_string(key, text);
                text.push(':');
                write(&object[key], text);
            }
            text.push('}');
        }
    }
}

fn write_string(string: &str, text: &mut String) {
    text.push('"');
    for letter in string.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            '\0'..='\u{1f}' => text.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => text.push(letter),
        }
    }
    text.push('"');
}
