//! `event_fields` of a filter ([spec]): only the named fields of events.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#filtering

use ruma::serde::Raw;
use serde_json::{Map, Value, value::to_raw_value};

/// The event with nothing but these fields: names, joined by dots (`content.body`); a backslash
/// before a dot makes it part of a name.
pub(crate) fn keep<T>(event: Raw<T>, fields: Option<&[String]>) -> Raw<T> {
    let Some(fields) = fields else { return event };
    let Ok(Value::Object(whole)) = serde_json::from_str(event.json().get()) else {
        return event;
    };
    let mut kept = Map::new();
    for field in fields {
        copy(&whole, &mut kept, &names(field));
    }
    to_raw_value(&kept).map_or(event, Raw::from_json)
}

fn copy(from: &Map<String, Value>, to: &mut Map<String, Value>, names: &[String]) {
    let Some((name, deeper)) = names.split_first() else {
        return;
    };
    match (from.get(name), deeper) {
        (Some(value), []) => drop(to.insert(name.clone(), value.clone())),
        (Some(Value::Object(inner)), deeper) => {
            let kept = to
                .entry(name.clone())
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(kept) = kept {
                copy(inner, kept, deeper);
            }
        }
        _ => {}
    }
}

fn names(field: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        let last = names.len() - 1;
        match (letter, names.get_mut(last)) {
            ('.', _) => names.push(String::new()),
            ('\\', Some(name)) => name.extend(letters.next()),
            (letter, Some(name)) => name.push(letter),
            (_, None) => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_what_is_named() {
        let event = json!({ "type": "t", "content": { "body": "b", "x": 1, "m.y": { "z": 2 } } });
        let kept = |fields: &[&str]| {
            let fields: Vec<String> = fields.iter().map(|&field| field.to_owned()).collect();
            let raw = Raw::<()>::from_json(to_raw_value(&event).unwrap());
            serde_json::from_str::<Value>(keep(raw, Some(&fields)).json().get()).unwrap()
        };
        assert_eq!(
            kept(&["content.body"]),
            json!({ "content": { "body": "b" } })
        );
        assert_eq!(
            kept(&["type", "content.m\\.y.z"]),
            json!({ "type": "t", "content": { "m.y": { "z": 2 } } })
        );
        assert_eq!(kept(&["no", "content.no.no"]), json!({ "content": {} }));
        assert_eq!(kept(&[]), json!({}));
    }
}
