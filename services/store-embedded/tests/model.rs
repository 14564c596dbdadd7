//! Random calls against a model made of maps: every answer must be the same, across restarts too.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use hanse_store::{
    Column, ConditionalBatch, ConditionalStep, Consistency, Direction, Key, Kind, Mutation,
    Outcome, Range, Scan, StampedDelete, StampedPut, Store, Table, Value,
};
use hanse_store_embedded::{Durability, EmbeddedStore, Options};
use proptest::prelude::*;

static ROWS: Table = Table {
    name: "rows",
    kind: Kind::Stamped,
    partition: &[Column::text("part")],
    clustering: &[Column::text("name"), Column::bigint("number")],
    statics: &[],
    values: &[Column::bigint("stamped")],
};

static CAS: Table = Table {
    name: "cas",
    kind: Kind::Cas,
    partition: &[Column::text("part")],
    clustering: &[Column::bigint("seq")],
    statics: &[Column::bigint("head"), Column::bigint("other")],
    values: &[Column::bigint("body")],
};

type RowKey = (String, String, i64);

#[derive(Clone, Debug)]
enum Call {
    Put {
        key: RowKey,
        stamp: i64,
        expires_in_ms: Option<i64>,
    },
    Delete {
        key: RowKey,
        stamp: i64,
    },
    Scan {
        part: String,
        range: Range,
        direction: Direction,
        limit: usize,
    },
    Conditional {
        part: String,
        steps: Vec<ConditionalStep>,
    },
    Pass {
        ms: i64,
    },
    Reopen,
}

fn part() -> impl Strategy<Value = String> {
    "[a\u{0}]{0,2}"
}

fn row_key() -> impl Strategy<Value = RowKey> {
    (part(), "[ab\u{0}]{0,2}", -2i64..3)
}

fn bound() -> impl Strategy<Value = (Vec<Value>, bool)> {
    ("[ab\u{0}]{0,2}", -2i64..3, 0usize..3, any::<bool>()).prop_map(
        |(name, number, columns, exclusive)| {
            let mut tuple = vec![Value::from(name), number.into()];
            tuple.truncate(columns);
            (tuple, exclusive && columns > 0)
        },
    )
}

fn scan() -> impl Strategy<Value = Call> {
    (part(), bound(), bound(), any::<bool>(), 1usize..5).prop_map(
        |(part, (from, from_exclusive), (to, to_exclusive), forward, limit)| Call::Scan {
            part,
            range: Range {
                from,
                from_exclusive,
                to,
                to_exclusive,
            },
            direction: if forward {
                Direction::Forward
            } else {
                Direction::Backward
            },
            limit,
        },
    )
}

fn small() -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 4 => (0i64..3).prop_map(Value::from)]
}

fn static_step() -> impl Strategy<Value = ConditionalStep> {
    prop_oneof![
        (small(), small()).prop_map(|(set, condition)| ConditionalStep::UpdateStatics {
            set: vec![("head", set)],
            conditions: vec![("head", condition)],
        }),
        (0i64..3, small()).prop_map(|(head, other)| ConditionalStep::InsertStaticsIfNotExists {
            set: vec![("head", head.into()), ("other", other)],
        }),
        small().prop_map(|condition| ConditionalStep::DeleteStatics {
            conditions: vec![("head", condition)],
        }),
    ]
}

fn row_step(seq: i64) -> impl Strategy<Value = ConditionalStep> {
    let clustering = vec![Value::from(seq)];
    (0..4, small(), 0i64..3).prop_map(move |(kind, set, condition)| {
        let clustering = clustering.clone();
        let set = vec![("body", set)];
        let conditions = vec![("body", condition.into())];
        match kind {
            0 => ConditionalStep::Insert { clustering, set },
            1 => ConditionalStep::InsertIfNotExists { clustering, set },
            2 => ConditionalStep::Update {
                clustering,
                set,
                conditions,
            },
            _ => ConditionalStep::Delete {
                clustering,
                conditions,
            },
        }
    })
}

fn conditional() -> impl Strategy<Value = Call> {
    let rows = prop_oneof![
        3 => (prop::option::of(row_step(0)), prop::option::of(row_step(1)))
            .prop_map(|(zero, one)| [zero, one].into_iter().flatten().collect::<Vec<_>>()),
        1 => Just(vec![ConditionalStep::DeleteRows]),
    ];
    (part(), prop::option::of(static_step()), rows).prop_map(|(part, statics, rows)| {
        let steps = statics.into_iter().chain(rows).collect();
        Call::Conditional { part, steps }
    })
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        8 => (row_key(), 0i64..8, prop::option::weighted(0.3, -50i64..200))
            .prop_map(|(key, stamp, expires_in_ms)| Call::Put { key, stamp, expires_in_ms }),
        3 => (row_key(), 0i64..8).prop_map(|(key, stamp)| Call::Delete { key, stamp }),
        6 => scan(),
        8 => conditional(),
        2 => (0i64..100).prop_map(|ms| Call::Pass { ms }),
        1 => Just(Call::Reopen),
    ]
}

/// A stamped row: its stamp, and when it ends (`None`: never; `Some(i64::MIN)`: deleted).
#[derive(Clone, Copy)]
struct Stamped {
    stamp: i64,
    ends_ms: Option<i64>,
    value: i64,
}

/// A partition of `CAS`: its statics, and its rows' bodies.
#[derive(Clone, Default)]
struct Partition {
    statics: [Option<i64>; 2],
    rows: BTreeMap<i64, Option<i64>>,
}

#[derive(Default)]
struct Model {
    now_ms: i64,
    rows: BTreeMap<RowKey, Stamped>,
    cas: BTreeMap<String, Partition>,
}

impl Model {
    fn write(&mut self, key: RowKey, new: Stamped) {
        let deletes = |row: &Stamped| row.ends_ms == Some(i64::MIN);
        let wins = self.rows.get(&key).is_none_or(|old| {
            new.stamp > old.stamp || new.stamp == old.stamp && deletes(&new) && !deletes(old)
        });
        if wins {
            self.rows.insert(key, new);
        }
    }

    fn scan(&self, part: &str, range: &Range, direction: Direction) -> Vec<(Vec<Value>, i64)> {
        let live = |row: &&Stamped| row.ends_ms.is_none_or(|ends_ms| self.now_ms < ends_ms);
        let mut rows: Vec<_> = self
            .rows
            .iter()
            .filter(|(key, row)| key.0 == part && live(row))
            .map(|(key, row)| (vec![Value::from(key.1.as_str()), key.2.into()], row.value))
            .filter(|(tuple, _)| {
                let head = &tuple[..range.from.len()];
                let tail = &tuple[..range.to.len()];
                (head > &range.from[..] || head == range.from && !range.from_exclusive)
                    && (tail < &range.to[..] || tail == range.to && !range.to_exclusive)
            })
            .collect();
        rows.sort();
        if direction == Direction::Backward {
            rows.reverse();
        }
        rows
    }

    fn decide(&mut self, part: &str, steps: &[ConditionalStep]) -> bool {
        let old = self.cas.entry(part.to_owned()).or_default();
        if !steps.iter().all(|step| allows(old, step)) {
            return false;
        }
        let mut new = old.clone();
        for step in steps {
            write(&mut new, step);
        }
        *old = new;
        true
    }
}

fn column(name: &str) -> usize {
    usize::from(name == "other")
}

fn allows(old: &Partition, step: &ConditionalStep) -> bool {
    let row = step
        .clustering()
        .map(|seq| old.rows.get(&seq[0].as_i64().unwrap()));
    match step {
        ConditionalStep::InsertStaticsIfNotExists { .. } => old.statics == [None, None],
        ConditionalStep::InsertIfNotExists { .. } => row == Some(None),
        ConditionalStep::Update { conditions, .. } | ConditionalStep::Delete { conditions, .. } => {
            row == Some(Some(&conditions[0].1.as_i64()))
        }
        _ => step
            .conditions()
            .iter()
            .all(|(name, value)| old.statics[column(name)] == value.as_i64()),
    }
}

fn write(new: &mut Partition, step: &ConditionalStep) {
    let seq = step.clustering().map(|seq| seq[0].as_i64().unwrap());
    match (step, seq) {
        (ConditionalStep::Delete { .. }, Some(seq)) => {
            new.rows.remove(&seq);
        }
        (_, Some(seq)) => {
            new.rows.insert(seq, step.set()[0].1.as_i64());
        }
        (ConditionalStep::DeleteStatics { .. }, None) => new.statics = [None, None],
        (ConditionalStep::DeleteRows, None) => new.rows.clear(),
        (_, None) => {
            for (name, value) in step.set() {
                new.statics[column(name)] = value.as_i64();
            }
        }
    }
}

/// The store beside its model.
struct Pair<'a> {
    path: &'a Path,
    clock_ms: Arc<AtomicI64>,
    store: Option<Arc<EmbeddedStore>>,
    model: Model,
    written: i64,
}

impl Pair<'_> {
    async fn open(&mut self) {
        self.store = None;
        let clock_ms = Arc::clone(&self.clock_ms);
        let options = Options {
            durability: Durability::Os,
            ..Options::new(Arc::new(move || clock_ms.load(Ordering::Relaxed)))
        };
        let store = EmbeddedStore::open(self.path, options).unwrap();
        store.create_tables(&[&ROWS, &CAS]).await.unwrap();
        self.store = Some(store);
    }

    fn store(&self) -> &EmbeddedStore {
        self.store.as_ref().unwrap()
    }

    async fn call(&mut self, call: Call) {
        match call {
            Call::Put {
                key,
                stamp,
                expires_in_ms,
            } => self.put(key, stamp, expires_in_ms).await,
            Call::Delete { key, stamp } => {
                let delete = StampedDelete {
                    table: &ROWS,
                    key: full_key(&key),
                    stamp,
                };
                self.apply(Mutation::Delete(delete)).await;
                let ends_ms = Some(i64::MIN);
                self.model.write(
                    key,
                    Stamped {
                        stamp,
                        ends_ms,
                        value: 0,
                    },
                );
            }
            Call::Scan {
                part,
                range,
                direction,
                limit,
            } => {
                self.check_scan(&part, range, direction, limit).await;
            }
            Call::Conditional { part, steps } => self.conditional(part, steps).await,
            Call::Pass { ms } => {
                self.model.now_ms += ms;
                self.clock_ms.store(self.model.now_ms, Ordering::Relaxed);
            }
            Call::Reopen => self.open().await,
        }
    }

    async fn apply(&self, mutation: Mutation) {
        let durability = hanse_store::Durability::Buffered;
        self.store()
            .apply(vec![mutation], durability)
            .await
            .unwrap();
    }

    async fn put(&mut self, key: RowKey, stamp: i64, expires_in_ms: Option<i64>) {
        self.written += 1;
        let expires_at_ms = expires_in_ms.map(|ms| self.model.now_ms + ms);
        let put = StampedPut {
            table: &ROWS,
            key: full_key(&key),
            values: vec![self.written.into()],
            stamp,
            expires_at_ms,
        };
        self.apply(Mutation::Put(put)).await;
        let past = expires_in_ms.is_some_and(|ms| ms <= 0);
        let ends_ms = if past { Some(i64::MIN) } else { expires_at_ms };
        self.model.write(
            key,
            Stamped {
                stamp,
                ends_ms,
                value: self.written,
            },
        );
    }

    async fn check_scan(&self, part: &str, range: Range, direction: Direction, limit: usize) {
        let expected = self.model.scan(part, &range, direction);
        let scan = Scan {
            table: &ROWS,
            partition: vec![part.into()],
            range,
            direction,
            limit,
        };
        let page = self.store().scan(scan.clone()).await.unwrap();
        let rows = page
            .rows
            .into_iter()
            .map(|row| (row.clustering, row.values[0].as_i64().unwrap()));
        let first = expected[..expected.len().min(limit)].to_vec();
        assert_eq!(rows.collect::<Vec<_>>(), first, "{scan:?}");
        assert_eq!(page.more, expected.len() > limit, "{scan:?}");
    }

    async fn conditional(&mut self, part: String, steps: Vec<ConditionalStep>) {
        if !steps.iter().any(ConditionalStep::is_conditional) {
            return;
        }
        let partition = vec![Value::from(part.as_str())];
        let batch = ConditionalBatch {
            table: &CAS,
            partition,
            steps: steps.clone(),
        };
        if batch.check().is_err() {
            return;
        }
        let outcome = self.store().conditional(batch).await.unwrap();
        let applied = self.model.decide(&part, &steps);
        assert_eq!(outcome == Outcome::Applied, applied, "{steps:?}");
        self.check_partition(&part).await;
    }

    async fn check_partition(&self, part: &str) {
        let expected = self.model.cas.get(part).cloned().unwrap_or_default();
        let scan = Scan {
            table: &CAS,
            partition: vec![part.into()],
            range: Range::all(),
            direction: Direction::Forward,
            limit: 100,
        };
        let page = self.store().scan(scan).await.unwrap();
        let bodies = page.rows.iter().map(|row| {
            assert_eq!(row.statics, expected.statics.map(Value::from));
            (row.clustering[0].as_i64().unwrap(), row.values[0].as_i64())
        });
        assert_eq!(bodies.collect::<BTreeMap<_, _>>(), expected.rows);
        let key = Key::partition([part.into()]);
        let head = self
            .store()
            .get(&CAS, &key, Consistency::Serial)
            .await
            .unwrap();
        let statics = expected.statics.map(Value::from).to_vec();
        let expected = (expected.statics != [None, None]).then_some(statics);
        assert_eq!(head.map(|row| row.statics), expected);
    }
}

fn full_key(key: &RowKey) -> Key {
    Key::new(
        [key.0.as_str().into()],
        [key.1.as_str().into(), key.2.into()],
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    // Sabotage that this finds: `>=` for `>` in `apply::wins`, a bound that is exclusive by mistake.
    #[test]
    fn random_calls_match_the_model(calls in prop::collection::vec(call(), 1..150)) {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair {
                path: directory.path(),
                clock_ms: Arc::default(),
                store: None,
                model: Model::default(),
                written: 0,
            };
            pair.open().await;
            for call in calls {
                pair.call(call).await;
            }
        });
    }
}
