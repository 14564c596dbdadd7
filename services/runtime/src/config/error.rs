//! What an operator reads when a setting is wrong.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why there is no configuration. A process that meets it exits with code 64.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named on the command line cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
    /// Settings are unknown, of the wrong kind, out of range or contradict each other.
    #[error("{}", lines(wrong))]
    Settings {
        /// One for each.
        wrong: Vec<SettingError>,
    },
    /// The defaults cannot be printed: a defect of this program.
    #[error("cannot print the settings: {message}")]
    Unprintable {
        /// Why not.
        message: String,
    },
}

impl ConfigError {
    pub(super) fn unprintable(error: impl fmt::Display) -> Self {
        Self::Unprintable {
            message: error.to_string(),
        }
    }
}

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// Dotted path, such as `registration.mode`.
    pub key: String,
    /// What was found there.
    pub value: String,
    /// What is wrong, in a few words.
    pub problem: &'static str,
    /// What may stand there.
    pub allowed: String,
    /// The known key or value that comes closest.
    pub nearest: Option<String>,
    /// File, variable or flag that says so.
    pub origin: Option<String>,
}

impl SettingError {
    /// The same, with a better word on what may stand there.
    pub(super) fn allowing(mut self, allowed: &str) -> Self {
        allowed.clone_into(&mut self.allowed);
        self
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.key, masked(&self.value))?;
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}; allowed: {}", self.problem, self.allowed)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; did you mean {nearest}?"),
            None => Ok(()),
        }
    }
}

/// The text with `***` for whatever stands between the `://` of a URL and its `@`: errors end up
/// in logs, passwords must not.
fn masked(text: &str) -> String {
    let mut parts = text.split("://");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let authority = part.split(['/', '"', ' ']).next().unwrap_or_default();
        let host = authority.rfind('@').map_or(0, |at| at);
        masked.push_str(if host > 0 { "://***" } else { "://" });
        masked.push_str(part.get(host..).unwrap_or_default());
    }
    masked
}

fn lines(wrong: &[SettingError]) -> String {
    wrong
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The candidate that is most like `word`, if any is like it at all.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let scored = candidates.map(|candidate| (likeness(word, candidate), candidate));
    let best = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (best.0 > 0.6).then_some(best.1)
}

/// From 0 to 1; the last part of a dotted path counts alone, too, so that a key is found in
/// whichever section it belongs to.
fn likeness(word: &str, candidate: &str) -> f64 {
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    let whole = strsim::normalized_damerau_levenshtein(word, candidate);
    let tail = strsim::normalized_damerau_levenshtein(&last(word), &last(candidate));
    whole.max(tail * 0.95)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_masked() {
        let check = |text, shown| assert_eq!(masked(text), shown);
        check("\"redis://u:p@h:1/0\"", "\"redis://***@h:1/0\"");
        check(
            "[\"redis://:p@a\",\"redis://b\"]",
            "[\"redis://***@a\",\"redis://b\"]",
        );
        check("redis://u:p@ss@h", "redis://***@h");
        check("\"ftp://x/@y\"", "\"ftp://x/@y\"");
        check("info,hanse_log=debug", "info,hanse_log=debug");
    }

    #[test]
    fn nearest_finds_typos_and_misplaced_keys() {
        let keys = ["server.name", "server.listen", "data.path"];
        let find = |word| nearest(word, keys.into_iter());
        assert_eq!(find("server.nmae"), Some("server.name"));
        assert_eq!(find("listen"), Some("server.listen"));
        assert_eq!(find("server.path"), Some("data.path"));
        assert_eq!(find("colour"), None);
    }
}
