//! The user domain on the embedded engine, over real slot logs.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what the tests share is test code, too"
)]

mod accounts;
mod backups;
mod cross_signing;
mod data;
mod dehydrated;
mod keys;
mod names;
mod refreshing;
mod server;
mod sessions;
mod short_lived;
mod to_device;
mod uia;
