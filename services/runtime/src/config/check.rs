//! What types cannot say: ranges, and settings that contradict each other.

mod bus;
mod cluster;
mod store;

use std::fmt::Display;
use std::path::Path;

use figment::value::{Num, Value};
use http::Uri;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::schema::{self, all_keys};
use super::{Config, SettingError};

/// The longest path of a Unix socket, in bytes: `sun_path` less its final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

pub(super) fn check(config: &Config) -> Vec<SettingError> {
    let mut wrong = out_of_range(config);
    let rules = [
        listen_url(config),
        data_path(config),
        log_level(config),
        otlp_endpoint(config),
        socket_path(config),
        drain_order(config),
    ];
    wrong.extend(rules.into_iter().flatten());
    wrong.extend(bus::check(config));
    wrong.extend(store::check(config));
    wrong.extend(cluster::check(config));
    wrong
}

/// Holds every number against the range in its description.
fn out_of_range(config: &Config) -> Vec<SettingError> {
    let Ok(values) = Value::serialize(config) else {
        return Vec::new();
    };
    all_keys()
        .into_iter()
        .filter_map(|key| range_error(&values, &key))
        .collect()
}

fn range_error(values: &Value, key: &str) -> Option<SettingError> {
    let (min, max) = schema::at(key)?.range()?;
    let number = values.find_ref(key)?.to_num().and_then(whole)?;
    let outside = number < i128::from(min) || number > i128::from(max);
    outside.then(|| wrong(key, number, "out of range"))
}

fn whole(number: Num) -> Option<i128> {
    number
        .to_i128()
        .or_else(|| number.to_u128().and_then(|n| i128::try_from(n).ok()))
}

fn listen_url(config: &Config) -> Option<SettingError> {
    let url = config.server.public_base_url.as_ref()?;
    let parsed = url.parse::<Uri>().ok();
    let good = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
    });
    (!good).then(|| wrong("server.public_base_url", quoted(url), "not valid"))
}

fn data_path(config: &Config) -> Option<SettingError> {
    let empty = config.data.path.as_os_str().is_empty();
    empty.then(|| {
        let error = wrong("data.path", quoted(""), "empty");
        error.allowing("a directory that exists or can be made")
    })
}

/// A filter whose every part ends in a level: the filter itself takes a misspelt level for the name
/// of a module and logs nothing.
fn log_level(config: &Config) -> Option<SettingError> {
    let filter = &config.telemetry.log_level;
    let level = |part: &str| {
        part.rsplit('=')
            .next()
            .unwrap_or("")
            .parse::<LevelFilter>()
            .is_ok()
    };
    let good = filter.split(',').all(level) && EnvFilter::try_new(filter).is_ok();
    (!good).then(|| wrong("telemetry.log_level", quoted(filter), "not a filter"))
}

fn otlp_endpoint(config: &Config) -> Option<SettingError> {
    let endpoint = config.telemetry.otlp_endpoint.as_deref()?;
    let parsed = endpoint.parse::<Uri>().ok();
    let good = parsed.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
    (!good).then(|| {
        let error = wrong("telemetry.otlp_endpoint", quoted(endpoint), "not usable");
        error.allowing("an address such as http://otel-collector:4317 (plain gRPC)")
    })
}

fn socket_path(config: &Config) -> Option<SettingError> {
    let path = config.admin.socket_path(&config.data.path);
    let long = path.as_os_str().len() > SOCKET_PATH_BYTES_MAX;
    long.then(|| {
        let error = wrong(
            "admin.socket",
            quoted(&text(&path)),
            "too long for a Unix socket",
        );
        error.allowing(&format!("a path of at most {SOCKET_PATH_BYTES_MAX} bytes"))
    })
}

fn drain_order(config: &Config) -> Option<SettingError> {
    let drain = &config.drain;
    let contradict = drain.hard_after_ms <= drain.readiness_delay_ms;
    contradict.then(|| {
        let problem = "cuts the process off before it begins to drain";
        let error = wrong("drain.hard_after_ms", drain.hard_after_ms, problem);
        let delay = drain.readiness_delay_ms;
        error.allowing(&format!(
            "more than drain.readiness_delay_ms, which is {delay}"
        ))
    })
}

fn wrong(key: &str, value: impl Display, problem: &'static str) -> SettingError {
    SettingError {
        key: key.to_owned(),
        value: format!("{value}"),
        problem,
        allowed: schema::at(key)
            .map(schema::Described::allowed)
            .unwrap_or_default(),
        nearest: None,
        origin: None,
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
