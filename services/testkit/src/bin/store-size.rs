//! `store-size`: what each table of a stopped server takes.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::Parser;
use hanse_log::tables::{CURSORS, LOG, RELAYED, SLOTS};
use hanse_runtime::SystemClock;
use hanse_store::{Store, Table};
use hanse_store_embedded::{EmbeddedStore, Options};

/// Say how many rows and bytes each table of a stopped server has, before compression.
#[derive(Debug, Parser)]
#[command(name = "store-size")]
struct Cli {
    /// The server's data directory
    #[arg(long, value_name = "DIRECTORY")]
    data: PathBuf,
    /// Count this room's rows only
    #[arg(long, value_name = "ROOM_ID")]
    room: Option<String>,
}

/// Tables that say what the state is, not what happened.
const STATE_PREFIX: &str = "room_state";
/// Tables of events themselves.
const EVENTS: &str = "room_events";

#[derive(Clone, Copy, Default)]
struct Size {
    rows: u64,
    bytes: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "store-size: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(cli: &Cli) -> anyhow::Result<()> {
    let path = cli.data.join("store");
    anyhow::ensure!(path.is_dir(), "there is no store in {}", cli.data.display());
    let clock = SystemClock::shared();
    let options = Options::new(Arc::new(move || clock.now_ms()));
    let store =
        EmbeddedStore::open(path, options).context("cannot open (is the server stopped?)")?;
    let own: Vec<&'static Table> = vec![&LOG, &SLOTS, &CURSORS, &RELAYED];
    let tables = [own, hanse_room::tables(), hanse_user::tables()].concat();
    store.create_tables(&tables).await?;
    // How the engine ends a text in a key.
    let prefix = cli.room.as_ref().map(|room| format!("{room}\0\0"));
    let prefix = prefix.unwrap_or_default().into_bytes();
    let (mut state, mut events) = (0, 0);
    for table in tables {
        let size = size_of(&store, table, &prefix)?;
        if table.name.starts_with(STATE_PREFIX) {
            state += size.bytes;
        } else if table.name == EVENTS {
            events += size.bytes;
        }
        let Size { rows, bytes } = size;
        writeln!(
            io::stdout(),
            "{:24} {rows:>10} rows {bytes:>12} bytes",
            table.name
        )?;
    }
    writeln!(
        io::stdout(),
        "state rows {state} bytes, events {events} bytes"
    )?;
    Ok(())
}

/// The rows whose keys start so.
fn size_of(store: &EmbeddedStore, table: &'static Table, prefix: &[u8]) -> anyhow::Result<Size> {
    let mut size = Size::default();
    store.each_stored_row(table, |key, row| {
        if key.starts_with(prefix) {
            size.rows += 1;
            size.bytes += (key.len() + row.len()) as u64;
        }
    })?;
    Ok(size)
}
