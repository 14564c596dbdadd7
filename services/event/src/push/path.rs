//! Dot-separated property paths ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/appendices/#dot-separated-property-paths

use serde_json::Value;

/// Follows a path into nested objects. In a key `\.` is a dot and `\\` a backslash; other
/// backslashes stand for themselves.
pub(super) fn find<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    if !path.contains('\\') {
        return path
            .split('.')
            .try_fold(value, |value, key| value.as_object()?.get(key));
    }
    let mut value = value;
    let mut key = String::new();
    let mut letters = path.chars().peekable();
    while let Some(letter) = letters.next() {
        let escaped = (letter == '\\').then(|| letters.next_if(|next| matches!(next, '.' | '\\')));
        match (letter, escaped.flatten()) {
            (_, Some(next)) => key.push(next),
            ('.', None) => value = value.as_object()?.get(&std::mem::take(&mut key))?,
            (letter, None) => key.push(letter),
        }
    }
    value.as_object()?.get(&key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn follows_the_examples_of_the_spec() {
        let value = json!({ "m.foo": { "b\\ar": { "c": 1 } }, "a": { "b": 2 }, "x\\y": 3, "": 4 });
        for (path, found) in [
            (r"m\.foo.b\\ar.c", Some(1)),
            (r"m.foo", None),
            ("a.b", Some(2)),
            ("a.b.c", None),
            ("a.", None),
            (r"x\y", Some(3)),
            (r"x\\y", Some(3)),
            ("", Some(4)),
        ] {
            assert_eq!(find(&value, path).and_then(Value::as_i64), found, "{path}");
        }
    }
}
