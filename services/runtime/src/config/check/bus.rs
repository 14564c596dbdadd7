//! What must hold of `[bus]`.

use std::path::PathBuf;

use http::Uri;

use super::{quoted, wrong};
use crate::config::{Bus, Config, SettingError};

pub(super) fn check(config: &Config) -> impl Iterator<Item = SettingError> {
    let bus = &config.bus;
    let rules = [
        servers(bus),
        one_kind(bus),
        deployment(bus),
        files(bus),
        pair(bus),
    ];
    rules.into_iter().flatten()
}

fn servers(bus: &Bus) -> Option<SettingError> {
    let bad = bus.redis.iter().find(|url| {
        let parsed = url.parse::<Uri>().ok();
        let good = parsed.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("redis" | "rediss"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        // A fragment would switch the look at the certificate off.
        !good || url.contains('#')
    })?;
    Some(wrong("bus.redis", quoted(bad), "not valid"))
}

/// What some nodes of a cluster ask for, all do.
fn one_kind(bus: &Bus) -> Option<SettingError> {
    let plain = bus.redis.iter().find(|url| !url.starts_with("rediss:"))?;
    let mixed = bus.has_tls();
    mixed.then(|| wrong("bus.redis", quoted(plain), "another URL is rediss"))
}

fn deployment(bus: &Bus) -> Option<SettingError> {
    let name = &bus.deployment;
    let good = |letter: u8| letter.is_ascii_alphanumeric() || b"-._".contains(&letter);
    let length = 1..=Bus::DEPLOYMENT_BYTES_MAX;
    let is_name = length.contains(&name.len()) && name.bytes().all(good);
    (!is_name).then(|| wrong("bus.deployment", quoted(name), "not valid"))
}

/// Whoever names certificates wants TLS, and would talk in the open.
fn files(bus: &Bus) -> Option<SettingError> {
    let files = [
        ("bus.tls_ca", &bus.tls_ca),
        ("bus.tls_cert", &bus.tls_cert),
        ("bus.tls_key", &bus.tls_key),
    ];
    let named = |(key, file): (&'static str, &Option<PathBuf>)| Some((key, file.clone()?));
    let (key, file) = files.into_iter().find_map(named)?;
    let in_vain = !bus.has_tls();
    in_vain.then(|| {
        let error = wrong(key, quoted(&file.to_string_lossy()), "no URL is rediss");
        error.allowing("nothing, or rediss:// in bus.redis")
    })
}

fn pair(bus: &Bus) -> Option<SettingError> {
    let (key, file) = match (&bus.tls_cert, &bus.tls_key) {
        (Some(cert), None) => ("bus.tls_cert", cert),
        (None, Some(key)) => ("bus.tls_key", key),
        _ => return None,
    };
    let error = wrong(key, quoted(&file.to_string_lossy()), "half of a pair");
    Some(error.allowing("both of bus.tls_cert and bus.tls_key, or none"))
}
