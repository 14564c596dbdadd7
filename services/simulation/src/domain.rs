//! What the simulated domain writes: its entries, its tables, and the rows of each entry.

use hanse_log::{Applier, Position, Rows, tables::RELAYED};
use hanse_proto::{
    log::{Entry, Relay, entry::Kind as EntryKind},
    user::UserEntry,
};
use hanse_store::{Column, Key, Kind, Mutation, StampedDelete, StampedPut, Table, Value};

/// Where each key stands in the log. A key is written once: repeats are recognised by this row.
pub(crate) static KEYS: Table = Table {
    name: "sim_keys",
    kind: Kind::Stamped,
    partition: &[Column::text("key")],
    clustering: &[],
    statics: &[],
    values: &[Column::bigint("position"), Column::bigint("source")],
};

/// The last key of each room: overwritten by every entry, so that stamps decide.
pub(crate) static ROOMS: Table = Table {
    name: "sim_rooms",
    kind: Kind::Stamped,
    partition: &[Column::text("room")],
    clustering: &[],
    statics: &[],
    values: &[Column::text("last"), Column::bigint("position")],
};

/// A room's last key as a row that the next entry deletes.
pub(crate) static TRAIL: Table = Table {
    name: "sim_trail",
    kind: Kind::Stamped,
    partition: &[Column::text("room")],
    clustering: &[Column::text("key")],
    statics: &[],
    values: &[Column::bigint("position")],
};

/// Every key of a room by its position: rows that nobody decides on, overwrites or deletes.
pub(crate) static HISTORY: Table = Table {
    name: "sim_history",
    kind: Kind::Stamped,
    partition: &[Column::text("room")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[Column::text("key")],
};

/// The tables of the archives, the log's own too.
pub(crate) const ARCHIVES: [&Table; 5] = [&KEYS, &ROOMS, &TRAIL, &HISTORY, &RELAYED];

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// A client's key, in a room whose last key was `prev` when it was decided.
    Put {
        room: String,
        key: String,
        prev: String,
        /// Which of the key's submissions this is.
        attempt: String,
    },
    /// What another slot's entry caused here.
    Effect { key: String },
}

impl Said {
    /// An entry that says it, of about so many bytes.
    pub(crate) fn entry(&self, bytes: usize) -> Entry {
        let text = match self {
            Self::Put {
                room,
                key,
                prev,
                attempt,
            } => format!("put {room} {key} {prev} {attempt}"),
            Self::Effect { key } => format!("effect {key}"),
        };
        let user = UserEntry {
            user_id: text,
            kind: None,
        };
        Entry {
            trace_parent: "x".repeat(bytes),
            kind: Some(EntryKind::User(user)),
            ..Entry::default()
        }
    }

    pub(crate) fn of(entry: &Entry) -> Option<Self> {
        let Some(EntryKind::User(user)) = &entry.kind else {
            return None;
        };
        let words: Vec<&str> = user.user_id.split(' ').collect();
        match words.as_slice() {
            ["put", room, key, prev, attempt] => Some(Self::Put {
                room: (*room).to_owned(),
                key: (*key).to_owned(),
                prev: (*prev).to_owned(),
                attempt: (*attempt).to_owned(),
            }),
            ["effect", key] => Some(Self::Effect {
                key: (*key).to_owned(),
            }),
            _ => None,
        }
    }

    /// The key that it writes, once.
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Effect { key } => key,
        }
    }
}

/// The effect of a key's entry on a target.
pub(crate) fn effect_key(target: &str, cause: &str) -> String {
    format!("{target}<-{cause}")
}

/// What an entry of `cause` causes at a target.
pub(crate) fn relay(target: &str, cause: &str) -> Relay {
    let key = effect_key(target, cause);
    Relay {
        key: target.to_owned(),
        entry: Some(Said::Effect { key }.entry(0)),
    }
}

/// One write of an entry, without its stamp; no values: a delete.
struct Write {
    table: &'static Table,
    key: Key,
    values: Option<Vec<Value>>,
}

fn put(table: &'static Table, key: Key, values: Vec<Value>) -> Write {
    let values = Some(values);
    Write { table, key, values }
}

fn writes(entry: &Entry, position: Position) -> Vec<Write> {
    let at = || Value::from(position.packed());
    let text = |text: &str| vec![Value::from(text)];
    let source = entry.relay_source.as_ref();
    let source = source.map_or(Value::Null, |source| source.position.into());
    let Some(said) = Said::of(entry) else {
        return Vec::new();
    };
    let mut writes = vec![put(
        &KEYS,
        Key::partition(text(said.key())),
        vec![at(), source],
    )];
    if let Said::Put {
        room, key, prev, ..
    } = &said
    {
        let last = Key::partition(text(room));
        writes.push(put(&ROOMS, last, vec![key.as_str().into(), at()]));
        let trail = |key: &str| Key::new(text(room), text(key));
        writes.push(put(&TRAIL, trail(key), vec![at()]));
        writes.push(Write {
            table: &TRAIL,
            key: trail(prev),
            values: None,
        });
        let place = Key::new(text(room), vec![at()]);
        writes.push(put(&HISTORY, place, text(key)));
    }
    writes
}

/// The domain of the simulation.
pub(crate) struct Recorder;

impl Applier for Recorder {
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows) {
        for Write { table, key, values } in writes(entry, position) {
            match values {
                Some(values) => rows.put(table, key, values),
                None => rows.delete(table, key),
            }
        }
    }

    fn tables(&self) -> Vec<&'static Table> {
        vec![&KEYS, &ROOMS, &TRAIL, &HISTORY]
    }
}

/// The rows of a batch as the checks expect them, stamps included: worked out anew, not by the code
/// under test.
pub(crate) fn expected_rows(
    slot: u32,
    seq: i64,
    stamp_start: i64,
    entries: &[Entry],
) -> Vec<Mutation> {
    let mut stamp = stamp_start;
    let mut rows = Vec::new();
    for (index, entry) in (0..).zip(entries) {
        let mut all = writes(entry, Position::new(seq, index));
        if let Some(source) = &entry.relay_source {
            let key = Key::new(
                vec![i64::from(slot).into()],
                vec![i64::from(source.slot).into()],
            );
            let taken = vec![source.position.into(), i64::from(source.part).into()];
            all.push(put(&RELAYED, key, taken));
        }
        for write in all {
            rows.push(stamped(write, stamp));
            stamp += 1;
        }
    }
    rows
}

fn stamped(write: Write, stamp: i64) -> Mutation {
    let Write { table, key, values } = write;
    match values {
        Some(values) => Mutation::Put(StampedPut {
            table,
            key,
            values,
            stamp,
            expires_at_ms: None,
        }),
        None => Mutation::Delete(StampedDelete { table, key, stamp }),
    }
}
