//! The user domain on the embedded engine, over real slot logs.

mod accounts;
mod data;
mod names;
mod refreshing;
mod server;
mod sessions;
mod short_lived;
mod uia;
