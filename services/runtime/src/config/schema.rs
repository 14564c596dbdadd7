//! The description of every setting, taken from the structs.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

/// The schema of [`Config`], nothing referenced: each setting is found by walking `properties`.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    settings
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value()
});

/// One setting, or a section of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Described<'a>(&'a Value);

/// What stands at `key`, a dotted path; the empty path is the whole.
pub(super) fn at(key: &str) -> Option<Described<'static>> {
    let mut names = key.split('.').filter(|name| !name.is_empty());
    names.try_fold(Described(&SCHEMA), Described::child)
}

/// The dotted paths of all settings (not of sections).
pub(super) fn all_keys() -> Vec<String> {
    let mut keys = Vec::new();
    collect(Described(&SCHEMA), "", &mut keys);
    keys
}

fn collect(described: Described<'_>, path: &str, keys: &mut Vec<String>) {
    let names = described.child_names();
    if names.is_empty() {
        keys.push(path.to_owned());
    }
    for name in names {
        if let Some(child) = described.child(name) {
            collect(child, &join(path, name), keys);
        }
    }
}

/// `section` and `name` with a dot between, where there is a section.
pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

impl<'a> Described<'a> {
    fn child(self, name: &str) -> Option<Self> {
        self.0.get("properties")?.get(name).map(Described)
    }

    /// Names of what is in this section; none for a setting.
    pub(super) fn child_names(self) -> Vec<&'a str> {
        let properties = self.0.get("properties").and_then(Value::as_object);
        properties
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// The doc comment, on one line.
    pub(super) fn comment(self) -> String {
        self.text("description")
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// A value to show for a setting without a default.
    pub(super) fn example(self) -> Option<&'a str> {
        self.text("x-example")
    }

    /// The names of an enumeration with their meaning.
    pub(super) fn variants(self) -> Vec<(&'a str, String)> {
        let node = self.0.get("items").unwrap_or(self.0);
        let variants = node.get("oneOf").and_then(Value::as_array);
        let named = variants.into_iter().flatten().map(Described);
        named
            .filter_map(|variant| Some((variant.text("const")?, variant.comment())))
            .collect()
    }

    /// The smallest and the largest value of a number.
    pub(super) fn range(self) -> Option<(i64, i64)> {
        let bound = |name| self.0.get(name).and_then(Value::as_i64);
        Some((bound("minimum")?, bound("maximum")?))
    }

    /// What may stand here, for people.
    pub(super) fn allowed(self) -> String {
        if let Some(text) = self.text("x-allowed") {
            return text.to_owned();
        }
        let names: Vec<&str> = self.variants().into_iter().map(|(name, _)| name).collect();
        match (self.kind(), self.range()) {
            ("array", _) => format!("a list of {}", names.join(", ")),
            (_, Some((min, max))) => format!("a whole number from {min} to {max}"),
            ("boolean", _) => "true, false".to_owned(),
            ("object", _) => format!("a section with {}", self.child_names().join(", ")),
            _ if names.is_empty() => "a text in quotes".to_owned(),
            _ => names.join(", "),
        }
    }

    fn kind(self) -> &'a str {
        self.text("type").unwrap_or("string")
    }

    fn text(self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setting without a comment, or a number without a range, is not described.
    #[test]
    fn every_setting_is_described() {
        for key in all_keys() {
            let described = at(&key).unwrap();
            assert!(!described.comment().is_empty(), "{key} has no comment");
            if described.kind() == "integer" {
                assert!(described.range().is_some(), "{key} has no range");
            }
        }
        assert!(at("server.name").is_some() && at("rate_limits.login.burst").is_some());
        assert!(at("server.nothing").is_none());
    }

    #[test]
    fn allowed_says_what_may_stand_there() {
        let allowed = |key| at(key).unwrap().allowed();
        assert_eq!(allowed("registration.mode"), "open, token, closed");
        assert_eq!(allowed("server.roles"), "a list of api, persister, sync");
        assert_eq!(allowed("rate_limits.enabled"), "true, false");
        assert_eq!(
            allowed("passwords.iterations"),
            "a whole number from 1 to 100"
        );
        assert_eq!(allowed("data.path"), "a text in quotes");
        assert_eq!(allowed("data"), "a section with durability, path");
    }
}
