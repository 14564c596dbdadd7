//! What entries write here: one row for each, by position.

use std::sync::Arc;

use hanse_log::{Applier, LogParts, Position, Rows, SlotLogs, SlotMap};
use hanse_proto::{
    log::{Entry, entry::Kind},
    user::UserEntry,
};
use hanse_runtime::{SystemClock, SystemRandom, Tasks};
use hanse_store::{Column, Direction, Key, Kind as TableKind, Range, Scan, Store, Table, Value};
use hanse_store_scylla::{ScyllaConfig, ScyllaStore};

use super::{ContenderOptions, SLOT};

/// Small, so that segments are succeeded and trimmed while the slot is contended for.
const SEGMENT_BYTES_MAX: usize = 16 * 1024;

static CONTENDED: Table = Table {
    name: "contended",
    kind: TableKind::Stamped,
    partition: &[Column::bigint("slot")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[Column::text("key")],
};

pub(super) struct ByPosition;

impl Applier for ByPosition {
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows) {
        let Some(Kind::User(user)) = &entry.kind else {
            return;
        };
        let slot = vec![i64::from(SLOT.0).into()];
        let key = Key::new(slot, vec![position.packed().into()]);
        rows.put(&CONTENDED, key, vec![user.user_id.as_str().into()]);
    }

    fn tables(&self) -> Vec<&'static Table> {
        vec![&CONTENDED]
    }
}

/// An entry that carries nothing but its key.
pub(super) fn entry(key: &str) -> Entry {
    let user = UserEntry {
        user_id: key.to_owned(),
        kind: None,
    };
    Entry {
        kind: Some(Kind::User(user)),
        ..Entry::default()
    }
}

pub(super) async fn store(options: &ContenderOptions) -> anyhow::Result<Arc<dyn Store>> {
    let clock = SystemClock::shared();
    let config = ScyllaConfig {
        keyspace: options.keyspace.clone(),
        replication_factor: options.replication,
        ..ScyllaConfig::new(vec![options.cql.clone()], Arc::new(move || clock.now_ms()))
    };
    Ok(Arc::new(ScyllaStore::connect(config).await?))
}

pub(super) fn parts(store: Arc<dyn Store>, tasks: &Tasks) -> LogParts {
    let random = SystemRandom::shared();
    LogParts {
        store,
        applier: Arc::new(ByPosition),
        clock: SystemClock::shared(),
        owner: random.alphanumeric(12),
        random,
        tasks: tasks.clone(),
        map: SlotMap::initial(1),
        segment_bytes_max: SEGMENT_BYTES_MAX,
        consumers: Vec::new(),
        cluster: None,
    }
}

/// Once, before the contenders start.
pub(super) async fn create_tables(options: &ContenderOptions) -> anyhow::Result<()> {
    let tasks = Tasks::new();
    SlotLogs::start(parts(store(options).await?, &tasks)).await?;
    tasks.finish().await;
    Ok(())
}

/// Takes the slot as its last owner, and reads everything that is in its archives.
pub(super) async fn archive(options: &ContenderOptions) -> anyhow::Result<Vec<(Position, String)>> {
    let tasks = Tasks::new();
    let store = store(options).await?;
    SlotLogs::open(parts(Arc::clone(&store), &tasks)).await?;
    let mut archive: Vec<(Position, String)> = Vec::new();
    loop {
        let range = archive.last().map_or(Range::all(), |(position, _)| {
            Range::after(vec![position.packed().into()])
        });
        let scan = Scan {
            table: &CONTENDED,
            partition: vec![i64::from(SLOT.0).into()],
            range,
            direction: Direction::Forward,
            limit: 1_000,
        };
        let page = store.scan(scan).await?;
        archive.extend(page.rows.iter().filter_map(|row| {
            let position = row.clustering.first().and_then(Value::as_i64)?;
            let key = row.values.first().and_then(Value::as_str)?;
            Some((Position::from_packed(position), key.to_owned()))
        }));
        if !page.more {
            break;
        }
    }
    tasks.finish().await;
    Ok(archive)
}
