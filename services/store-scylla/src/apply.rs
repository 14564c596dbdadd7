//! Unconditional writes, grouped by partition.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt, stream};
use hanse_store::{Kind, Mutation, StampedPut, StoreError, Table, Value};

use crate::{
    bind::{Call, Param},
    engine::Engine,
    error::repeatable,
};

/// Requests of one call that are under way at once.
const REQUESTS_MAX: usize = 32;
/// Rows of one request, all of one partition.
const ROWS_MAX: usize = 64;
/// Bytes of one request, counted before its last row is added.
const BYTES_MAX: usize = 256 * 1024;
/// The longest time to live that servers take: twenty years. What lives longer lives so long.
const TTL_SECONDS_MAX: i64 = 20 * 365 * 24 * 60 * 60;

/// The calls of one request.
struct Request<'a> {
    table: &'static Table,
    calls: Vec<Call<'a>>,
    bytes: usize,
}

impl Engine {
    /// Writes the mutations, in requests of one partition each.
    pub(crate) async fn write(&self, mutations: &[Mutation]) -> Result<(), StoreError> {
        let now_ms = (self.clock)();
        let requests = self.requests(mutations, now_ms).into_iter();
        let sent: Vec<_> = requests.map(|request| self.send(request)).collect();
        stream::iter(sent)
            .buffer_unordered(REQUESTS_MAX)
            .try_collect::<()>()
            .await
    }

    async fn send(&self, request: Request<'_>) -> Result<(), StoreError> {
        let _pass = self.gate.pass("apply", request.table).await?;
        let done = self.run_plain(&request.calls).await;
        done.map_err(|error| repeatable(request.table, error))
    }

    fn requests<'a>(&self, mutations: &'a [Mutation], now_ms: i64) -> Vec<Request<'a>> {
        let mut requests: Vec<Request<'a>> = Vec::new();
        let mut open: HashMap<(&'static str, &'a [Value]), usize> = HashMap::new();
        for mutation in mutations {
            let Some(call) = self.call(mutation, now_ms) else {
                continue;
            };
            let table = mutation.table();
            let partition = (table.name, mutation.key().partition.as_slice());
            let at = open.get(&partition).copied();
            let at = at.filter(|at| requests.get(*at).is_some_and(Request::has_room));
            let at = at.unwrap_or_else(|| {
                requests.push(Request {
                    table,
                    calls: Vec::new(),
                    bytes: 0,
                });
                requests.len() - 1
            });
            open.insert(partition, at);
            if let Some(request) = requests.get_mut(at) {
                request.bytes += call.bytes();
                request.calls.push(call);
            }
        }
        requests
    }

    /// The statement of a mutation; none for a row of a `Once` table that has expired already.
    fn call<'a>(&self, mutation: &'a Mutation, now_ms: i64) -> Option<Call<'a>> {
        match mutation {
            Mutation::Delete(delete) => Some(self.delete(mutation, delete.stamp)),
            Mutation::Put(put) => match (time_to_live(put, now_ms), put.table.kind) {
                (None, Kind::Once) => None,
                (None, _) => Some(self.delete(mutation, put.stamp)),
                (Some(ttl), kind) => Some(self.put(put, kind, ttl)),
            },
        }
    }

    fn put<'a>(&self, put: &'a StampedPut, kind: Kind, ttl: i32) -> Call<'a> {
        let keys = put.key.partition.iter().chain(&put.key.clustering);
        let mut params: Vec<_> = keys.chain(&put.values).map(Param::from).collect();
        if kind == Kind::Once {
            params.push(Param::Int(ttl));
            return Call {
                text: self.cql.put_once(put.table),
                params,
            };
        }
        params.extend([Param::BigInt(put.stamp), Param::Int(ttl)]);
        Call {
            text: self.cql.put_stamped(put.table),
            params,
        }
    }

    fn delete<'a>(&self, mutation: &'a Mutation, stamp: i64) -> Call<'a> {
        let key = mutation.key();
        let keys = key.partition.iter().chain(&key.clustering).map(Param::from);
        let params = [Param::BigInt(stamp)].into_iter().chain(keys).collect();
        Call {
            text: self.cql.delete_stamped(mutation.table()),
            params,
        }
    }
}

impl Request<'_> {
    fn has_room(&self) -> bool {
        self.calls.len() < ROWS_MAX && self.bytes < BYTES_MAX
    }
}

impl Call<'_> {
    fn bytes(&self) -> usize {
        let bytes = |param: &Param<'_>| match param {
            Param::Value(value) => value.bytes(),
            _ => size_of::<i64>(),
        };
        self.params.iter().map(bytes).sum()
    }
}

/// The seconds that a row still has to live, rounded up (it may stay a second too long, and never
/// goes too early); 0: for ever; none: it has expired.
fn time_to_live(put: &StampedPut, now_ms: i64) -> Option<i32> {
    let Some(expires_at_ms) = put.expires_at_ms else {
        return Some(0);
    };
    let left_ms = expires_at_ms.saturating_sub(now_ms);
    if left_ms <= 0 {
        return None;
    }
    let seconds = (left_ms / 1_000 + i64::from(left_ms % 1_000 != 0)).min(TTL_SECONDS_MAX);
    i32::try_from(seconds).ok()
}

#[cfg(test)]
mod tests {
    use hanse_store::{Column, Key};

    use super::*;

    static SESSIONS: Table = Table {
        name: "sessions",
        kind: Kind::Once,
        partition: &[Column::text("id")],
        clustering: &[],
        statics: &[],
        values: &[Column::text("user")],
    };

    fn expiring(expires_at_ms: Option<i64>) -> StampedPut {
        StampedPut {
            table: &SESSIONS,
            key: Key::partition(vec!["a".into()]),
            values: vec!["u".into()],
            stamp: 1,
            expires_at_ms,
        }
    }

    #[test]
    fn a_time_to_live_is_rounded_up_and_bounded() {
        let cases = [
            (None, Some(0)),
            (Some(10_000), None),
            (Some(9_000), None),
            (Some(10_001), Some(1)),
            (Some(11_000), Some(1)),
            (Some(11_001), Some(2)),
            (Some(i64::MAX), Some(630_720_000)),
        ];
        for (expires_at_ms, seconds) in cases {
            assert_eq!(time_to_live(&expiring(expires_at_ms), 10_000), seconds);
        }
    }
}
