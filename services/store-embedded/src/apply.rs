//! Unconditional writes, on the writer thread.

use std::collections::HashSet;

use fjall::Keyspace;
use hanse_store::{Kind, Mutation, StampedPut, StoreError};

use crate::{
    disk,
    engine::Core,
    key,
    row::{self, Header, State},
};

/// The row that a mutation leaves, if it wins.
struct Candidate {
    header: Header,
    bytes: Vec<u8>,
}

impl Core {
    /// Writes the mutations that win over what is stored. They go to the journal in one piece, unless
    /// a row is written twice.
    pub(crate) fn apply(&self, mutations: &[Mutation]) -> Result<(), StoreError> {
        let now_ms = self.now_ms();
        let mut batch = self.db.batch();
        let mut keys = HashSet::with_capacity(mutations.len());
        for mutation in mutations {
            let (table, at) = (mutation.table(), mutation.key());
            let key = key::row_key(table, self.table_id(table)?, &at.partition, &at.clustering);
            if keys.contains(&key) {
                // The second write of a row must see the first.
                batch.commit().map_err(disk::write_failed)?;
                batch = self.db.batch();
                keys.clear();
            }
            let rows = self.keyspace(table.kind);
            let candidate = candidate(mutation, now_ms);
            if wins(rows, mutation, &key, &candidate.header)? {
                batch.insert(rows, key.as_slice(), candidate.bytes);
                keys.insert(key);
            }
        }
        batch.commit().map_err(disk::write_failed)
    }
}

fn candidate(mutation: &Mutation, now_ms: i64) -> Candidate {
    match mutation {
        Mutation::Put(put) if put.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms) => live(put),
        Mutation::Put(put) => tombstone(put.stamp, now_ms),
        Mutation::Delete(delete) => tombstone(delete.stamp, now_ms),
    }
}

fn live(put: &StampedPut) -> Candidate {
    let header = Header {
        stamp: (put.table.kind == Kind::Stamped).then_some(put.stamp),
        state: put.expires_at_ms.map_or(State::Live, State::Expires),
    };
    Candidate {
        header,
        bytes: row::encode(header, &put.values),
    }
}

fn tombstone(stamp: i64, now_ms: i64) -> Candidate {
    let header = Header {
        stamp: Some(stamp),
        state: State::Tombstone(now_ms),
    };
    Candidate {
        header,
        bytes: row::encode(header, &[]),
    }
}

/// Whether the write changes what is stored: the greater stamp wins, a delete at equal stamps.
fn wins(
    rows: &Keyspace,
    mutation: &Mutation,
    key: &[u8],
    new: &Header,
) -> Result<bool, StoreError> {
    let table = mutation.table();
    if table.kind == Kind::Once {
        // Nothing to compare with: such a row is written once, or again with the same content.
        return Ok(!new.is_tombstone());
    }
    let Some(stored) = rows.get(key).map_err(|error| disk::read_failed(&error))? else {
        return Ok(true);
    };
    let old = row::decode_header(table, &stored)?;
    Ok(
        new.stamp > old.stamp
            || new.stamp == old.stamp && new.is_tombstone() && !old.is_tombstone(),
    )
}
