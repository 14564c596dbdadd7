//! Reading the sources in their order.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::error::nearest;
use super::schema::{self, join};
use super::{Config, ConfigError, SettingError};

/// What environment variables of ours begin with.
const PREFIX: &str = "HANSE_";

/// Variables of that prefix which are no settings: the file's name, which binary tests start, and
/// where tests keep what they download.
const NOT_SETTINGS: [&str; 3] = ["HANSE_CONFIG", "HANSE_BIN", "HANSE_CACHE"];

/// The setting whose value no error shows.
const PASSWORD: &str = "store.password";

/// What tests are told begins so; a server that they start inherits it.
const TEST_PREFIX: &str = "TEST_";

/// Where settings come from besides the defaults; each source goes before the one above it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A file that must exist. Without one, [`Sources::DEFAULT_FILE`] is read if it exists.
    pub file: Option<PathBuf>,
    /// Whether variables of this process are read.
    pub environment: Environment,
    /// Settings of the command line.
    pub flags: Flags,
    /// TOML that stands for the file, for tests.
    pub text: Option<String>,
}

/// Whether environment variables count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Environment {
    /// They do.
    #[default]
    Read,
    /// They do not.
    Ignore,
}

impl Sources {
    /// The file that is read when none is named.
    pub const DEFAULT_FILE: &'static str = "hanse.toml";

    /// Nothing but this TOML text, for tests.
    pub fn text(text: &str) -> Self {
        let environment = Environment::Ignore;
        Self {
            text: Some(text.to_owned()),
            environment,
            ..Self::default()
        }
    }

    /// The file's name and its content.
    fn read(&self) -> Result<(PathBuf, String), ConfigError> {
        let path = self
            .file
            .clone()
            .unwrap_or_else(|| PathBuf::from(Self::DEFAULT_FILE));
        if let Some(text) = &self.text {
            return Ok((path, text.clone()));
        }
        match fs::read_to_string(&path) {
            Ok(text) => Ok((path, text)),
            Err(e) if self.file.is_none() && e.kind() == ErrorKind::NotFound => {
                Ok((path, String::new()))
            }
            Err(source) => Err(ConfigError::Unreadable { path, source }),
        }
    }
}

/// Settings given on the command line, unparsed: they are read and checked as if they stood in the
/// file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    set: Vec<Flag>,
}

#[derive(Clone, Debug)]
struct Flag {
    name: &'static str,
    key: &'static str,
    value: Value,
}

impl Flags {
    /// Sets `key` to `value` if there is one; `name` is how errors call it.
    #[must_use]
    pub fn with(self, name: &'static str, key: &'static str, value: Option<String>) -> Self {
        self.push(name, key, value.map(Value::from))
    }

    /// Sets a list from a text with commas.
    #[must_use]
    pub fn with_list(self, name: &'static str, key: &'static str, value: Option<String>) -> Self {
        let items = value.map(|text| text.split(',').map(str::trim).map(Value::from).collect());
        self.push(name, key, items.map(|items: Vec<Value>| Value::from(items)))
    }

    fn push(mut self, name: &'static str, key: &'static str, value: Option<Value>) -> Self {
        self.set
            .extend(value.map(|value| Flag { name, key, value }));
        self
    }
}

impl Provider for Flag {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("flag {}", self.name))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = figment::util::nest(self.key, self.value.clone());
        let dict = nested.into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

pub(super) fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let (path, text) = sources.read()?;
    if let Err(error) = text.parse::<toml::Table>() {
        return Err(ConfigError::Syntax {
            path,
            message: error.to_string(),
        });
    }
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    figment = figment.merge(Toml::string(&text));
    let mut wrong = Vec::new();
    if sources.environment == Environment::Read {
        wrong.extend(strays());
        figment = figment.merge(environment());
    }
    for flag in &sources.flags.set {
        figment = figment.merge(flag);
    }
    let reader = Reader { figment, path };
    match reader.figment.extract::<Config>() {
        Ok(config) => {
            wrong.extend(reader.located(super::check::check(&config)));
            if wrong.is_empty() {
                Ok(config)
            } else {
                Err(ConfigError::Settings { wrong })
            }
        }
        Err(errors) => {
            wrong.extend(errors.into_iter().map(|error| reader.explain(&error)));
            Err(ConfigError::Settings { wrong })
        }
    }
}

fn environment() -> Env {
    Env::prefixed(PREFIX)
        .filter(|name| name.as_str().contains("__"))
        .split("__")
}

/// Variables of our prefix without a section: misspelt settings, mostly.
fn strays() -> Vec<SettingError> {
    let names = std::env::vars_os().filter_map(|(name, value)| {
        Some((
            name.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    });
    let stray = names.filter(|(name, _)| is_stray(name));
    stray
        .map(|(name, value)| stray_error(name, &value))
        .collect()
}

fn is_stray(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| {
        !rest.contains("__") && !rest.starts_with(TEST_PREFIX) && !is_service_link(rest)
    }) && !NOT_SETTINGS.contains(&name)
}

/// Kubernetes sets such variables in every pod next to a service that is called `hanse`.
fn is_service_link(rest: &str) -> bool {
    rest == "PORT" || rest.starts_with("PORT_") || rest.starts_with("SERVICE_")
}

fn stray_error(key: String, value: &str) -> SettingError {
    let known: Vec<String> = schema::all_keys().iter().map(|key| variable(key)).collect();
    let nearest = nearest(&key, known.iter().map(String::as_str)).map(str::to_owned);
    SettingError {
        key,
        value: format!("{value:?}"),
        problem: "no such environment variable",
        allowed: format!("{PREFIX}SECTION__KEY"),
        nearest,
        origin: None,
    }
}

/// The variable that sets `key`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

/// What was read, with what errors need to name it.
struct Reader {
    figment: Figment,
    path: PathBuf,
}

impl Reader {
    fn explain(&self, error: &figment::Error) -> SettingError {
        // Items of a list have a number for a name; the setting is the list.
        let named = error
            .path
            .iter()
            .filter(|name| name.parse::<usize>().is_err());
        let path = named.map(String::as_str).collect::<Vec<_>>().join(".");
        match &error.kind {
            Kind::UnknownField(name, _) => self.unknown(&path, name),
            Kind::UnknownVariant(name, _) => self.wrong(&path, "unknown value", Some(name)),
            Kind::InvalidType(..) => self.wrong(&path, "wrong kind of value", None),
            _ => self.wrong(&path, "not valid", None),
        }
    }

    fn unknown(&self, path: &str, name: &str) -> SettingError {
        let section = path
            .strip_suffix(name)
            .map_or(path, |rest| rest.trim_end_matches('.'));
        let key = join(section, name);
        let mut known = schema::all_keys();
        let names = schema::at(section)
            .map(|s| s.child_names().join(", "))
            .unwrap_or_default();
        known.extend(schema::at("").into_iter().flat_map(|root| {
            root.child_names()
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        }));
        let nearest = nearest(&key, known.iter().map(String::as_str)).map(str::to_owned);
        let allowed = if section.is_empty() {
            names
        } else {
            format!("{names} (in [{section}])")
        };
        let origin = self.origin(&key);
        SettingError {
            value: self.value(&key),
            problem: "no such setting",
            allowed,
            nearest,
            origin,
            key,
        }
    }

    fn wrong(&self, key: &str, problem: &'static str, word: Option<&str>) -> SettingError {
        let described = schema::at(key);
        let names = described
            .map(schema::Described::variants)
            .unwrap_or_default();
        let nearest = word.and_then(|word| nearest(word, names.iter().map(|(name, _)| *name)));
        SettingError {
            key: key.to_owned(),
            value: self.value(key),
            problem,
            allowed: described
                .map(schema::Described::allowed)
                .unwrap_or_default(),
            nearest: nearest.map(str::to_owned),
            origin: self.origin(key),
        }
    }

    fn located(&self, wrong: Vec<SettingError>) -> impl Iterator<Item = SettingError> {
        wrong.into_iter().map(|mut wrong| {
            wrong.origin = self.origin(&wrong.key);
            wrong
        })
    }

    fn value(&self, key: &str) -> String {
        if key == PASSWORD {
            return "(secret)".to_owned();
        }
        let found = self.figment.find_value(key).ok();
        found
            .and_then(|value| serde_json::to_string(&value).ok())
            .unwrap_or_default()
    }

    /// Which source set `key`, unless it is a default.
    fn origin(&self, key: &str) -> Option<String> {
        let name = self.figment.find_metadata(key)?.name.as_ref();
        if name.starts_with("flag ") {
            Some(name.to_owned())
        } else if name.contains("environment") {
            Some(format!("environment variable {}", variable(key)))
        } else if name.contains("TOML") {
            Some(format!("in {}", display(&self.path)))
        } else {
            None
        }
    }
}

fn display(path: &Path) -> String {
    path.display().to_string()
}
