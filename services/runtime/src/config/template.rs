//! The commented default file.

use std::fmt::Write;

use super::schema::{self, Described, join};
use super::{Config, ConfigError};

const HEAD: &str = "\
# Hanse's settings with their defaults. Every line may be left out.
#
# An environment variable goes before this file, a flag before both: [server] name is
# HANSE_SERVER__NAME (two underscores between section and key).
";

/// Columns of a comment.
const WIDTH: usize = 98;

/// `config` as TOML, each setting under its comment; settings without a value are commented out.
pub(super) fn render(config: &Config) -> Result<String, ConfigError> {
    let plain = toml::to_string(config).map_err(ConfigError::unprintable)?;
    let mut page = Page {
        text: HEAD.to_owned(),
        section: String::new(),
        printed: Vec::new(),
    };
    for line in plain.lines().filter(|line| !line.is_empty()) {
        match line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(section) => page.open(section),
            None => page.setting(line),
        }
    }
    page.close();
    Ok(page.text)
}

struct Page {
    text: String,
    section: String,
    /// Keys of the open section that have been printed.
    printed: Vec<String>,
}

impl Page {
    fn open(&mut self, section: &str) {
        self.close();
        section.clone_into(&mut self.section);
        self.text.push('\n');
        if let Some(described) = schema::at(section) {
            self.comment(&described.comment());
        }
        let _ = writeln!(self.text, "[{section}]");
    }

    fn setting(&mut self, line: &str) {
        let name = line.split(" =").next().unwrap_or(line);
        if let Some(described) = schema::at(&join(&self.section, name)) {
            self.describe(described);
        }
        let _ = writeln!(self.text, "{line}");
        self.printed.push(name.to_owned());
    }

    /// Ends a section with those of its settings that have no default.
    fn close(&mut self) {
        let printed = std::mem::take(&mut self.printed);
        let Some(section) = schema::at(&self.section).filter(|_| !self.section.is_empty()) else {
            return;
        };
        for name in section.child_names() {
            let described = schema::at(&join(&self.section, name));
            let unset = described.filter(|d| d.child_names().is_empty());
            if let Some(described) = unset.filter(|_| !printed.iter().any(|done| done == name)) {
                self.describe(described);
                let _ = writeln!(
                    self.text,
                    "# {name} = \"{}\"",
                    described.example().unwrap_or("")
                );
            }
        }
    }

    fn describe(&mut self, described: Described<'_>) {
        self.text.push('\n');
        self.comment(&described.comment());
        for (name, meaning) in described.variants() {
            self.comment(&format!("  {name}: {meaning}"));
        }
        self.comment(&format!("Allowed: {}.", described.allowed()));
    }

    fn comment(&mut self, text: &str) {
        let mut line = "#".to_owned();
        for word in text.split(' ') {
            if line.len() + 1 + word.len() > WIDTH {
                let _ = writeln!(self.text, "{line}");
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        let _ = writeln!(self.text, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sources;
    use super::*;

    #[test]
    fn the_printed_file_is_the_default() {
        let text = Config::template().unwrap();
        let sources = Sources::text(&text);
        assert_eq!(Config::load(&sources).unwrap(), Config::default());
    }

    #[test]
    fn every_setting_is_printed_under_its_section() {
        let text = Config::template().unwrap();
        for key in schema::all_keys() {
            let (section, name) = key.rsplit_once('.').unwrap();
            let (_, rest) = text.split_once(&format!("\n[{section}]\n")).unwrap();
            let body = rest.split("\n[").next().unwrap();
            let printed = |line: &str| {
                line.trim_start_matches("# ")
                    .starts_with(&format!("{name} ="))
            };
            assert!(body.lines().any(printed), "{key} is missing");
        }
        assert!(text.lines().all(|line| line.len() <= 100));
    }
}
