//! Calls that do not fit their table are refused and write nothing.

use super::{
    Subject,
    setup::{
        CAS_FLAT, FLAT, LOG, ONCE, Place, STAMPED, assert_misuse, blob, create_head, insert, named,
    },
};
use crate::{
    ConditionalBatch, ConditionalStep, Consistency, Direction, Durability, Key, Mutation, Range,
    Scan, StampedDelete, StampedPut, Table, Value,
};

fn put(table: &'static Table, key: Key, values: Vec<Value>) -> StampedPut {
    StampedPut {
        table,
        key,
        values,
        stamp: 1,
        expires_at_ms: None,
    }
}

/// Each verb refuses tables of another kind.
pub(super) async fn verbs_refuse_other_kinds(subject: &mut dyn Subject) {
    let place = Place::new(subject, "kinds");
    let apply = async |mutation, what: &str| {
        let result = place.store.apply(vec![mutation], Durability::Synced).await;
        assert_misuse(result, what);
    };
    let log_key = Key::new(place.segment(1), [0.into()]);
    let log_put = put(&LOG, log_key, vec![Value::Null; 2]);
    apply(Mutation::Put(log_put), "a put on a Cas table").await;
    let once_key = Key::new([place.part.as_str().into()], ["n".into()]);
    let once_put = put(&ONCE, once_key.clone(), vec![blob(b"")]);
    apply(Mutation::Put(once_put), "a Once row without expiry").await;
    let once_delete = StampedDelete {
        table: &ONCE,
        key: once_key,
        stamp: 1,
    };
    apply(Mutation::Delete(once_delete), "a delete on a Once table").await;
    let insert = ConditionalStep::InsertIfNotExists {
        clustering: vec![],
        set: named([("words", "w".into())]),
    };
    let batch = ConditionalBatch {
        table: &FLAT,
        partition: place.flat_key(1).partition,
        steps: vec![insert],
    };
    assert_misuse(
        place.store.conditional(batch).await,
        "a condition on a Stamped table",
    );
    let serial = place
        .store
        .get(&FLAT, &place.flat_key(1), Consistency::Serial)
        .await;
    assert_misuse(serial, "a serial read of a Stamped table");
}

/// Keys and values have the number and the types of their columns; keys have no nulls.
pub(super) async fn keys_and_values_must_fit(subject: &mut dyn Subject) {
    let place = Place::new(subject, "fit");
    let part = || Value::from(place.part.as_str());
    let nulls = || vec![Value::Null; 4];
    let puts = [
        (
            "text for bigint",
            Key::new([part()], ["1".into(), "m".into()]),
            nulls(),
        ),
        (
            "bigint for text",
            Key::new([part()], [1.into(), 1.into()]),
            nulls(),
        ),
        (
            "null in the partition",
            Key::new([Value::Null], [1.into(), "m".into()]),
            nulls(),
        ),
        (
            "null in the clustering",
            Key::new([part()], [1.into(), Value::Null]),
            nulls(),
        ),
        (
            "half a clustering key",
            Key::new([part()], [1.into()]),
            nulls(),
        ),
        (
            "no partition",
            Key::new([], [1.into(), "m".into()]),
            nulls(),
        ),
        (
            "two partition values",
            Key::new([part(), part()], [1.into(), "m".into()]),
            nulls(),
        ),
        ("too few values", place.key(1, "m"), vec![Value::Null; 3]),
        ("too many values", place.key(1, "m"), vec![Value::Null; 5]),
        (
            "a blob for a boolean",
            place.key(1, "m"),
            vec![Value::Null, blob(b"x"), Value::Null, Value::Null],
        ),
    ];
    for (what, key, values) in puts {
        let bad = Mutation::Put(put(&STAMPED, key.clone(), values));
        let good = Mutation::Put(place.flat_put(1, "beside", 1));
        let result = place.store.apply(vec![good, bad], Durability::Synced).await;
        assert_misuse(result, what);
        if what.contains("values") || what.contains("boolean") {
            continue;
        }
        assert_misuse(
            place.store.get(&STAMPED, &key, Consistency::Quorum).await,
            what,
        );
    }
    assert_eq!(
        place.flat(1).await,
        None,
        "a refused call wrote the row beside"
    );
}

/// Scans: bounds that fit, a limit within its bounds.
pub(super) async fn scans_must_fit(subject: &mut dyn Subject) {
    let place = Place::new(subject, "scans");
    let fits = Scan {
        table: &STAMPED,
        partition: vec![place.part.as_str().into()],
        range: Range::all(),
        direction: Direction::Forward,
        limit: 1,
    };
    let bounds = [
        ("a bound of another type", Range::at_least(["m".into()])),
        ("a null bound", Range::at_most([Value::Null])),
        (
            "too long a bound",
            Range::prefix([1.into(), "m".into(), "x".into()]),
        ),
        ("an exclusive bound of nothing", Range::after([])),
    ];
    for (what, range) in bounds {
        let scan = Scan {
            range,
            ..fits.clone()
        };
        assert_misuse(place.store.scan(scan).await, what);
    }
    for limit in [0, Scan::LIMIT_MAX + 1] {
        let scan = Scan {
            limit,
            ..fits.clone()
        };
        assert_misuse(place.store.scan(scan).await, "the limit");
    }
    let partition = vec![];
    assert_misuse(
        place
            .store
            .scan(Scan {
                partition,
                ..fits.clone()
            })
            .await,
        "no partition",
    );
    assert!(place.store.scan(fits).await.is_ok());
}

/// Batches that say nothing, or what CQL cannot decide.
pub(super) async fn batches_must_fit(subject: &mut dyn Subject) {
    let place = Place::new(subject, "batches");
    let set = || named([("body", blob(b"x"))]);
    let insert_new = |seq: i64| ConditionalStep::InsertIfNotExists {
        clustering: vec![seq.into()],
        set: set(),
    };
    let update = |set, conditions| ConditionalStep::Update {
        clustering: vec![0.into()],
        set,
        conditions,
    };
    let batches = [
        ("no step", vec![]),
        ("no condition", vec![insert(0, b"x")]),
        (
            "no condition but DeleteRows",
            vec![ConditionalStep::DeleteRows],
        ),
        (
            "an unknown column",
            vec![update(named([("nobody", 1.into())]), set())],
        ),
        (
            "a static as a row's column",
            vec![update(named([("epoch", 1.into())]), set())],
        ),
        (
            "a column of another type",
            vec![update(named([("body", 1.into())]), set())],
        ),
        (
            "a column set twice",
            vec![update([set(), set()].concat(), set())],
        ),
        ("an update of nothing", vec![update(vec![], set())]),
        (
            "a row compared with nulls only",
            vec![update(set(), named([("note", Value::Null)]))],
        ),
        (
            "statics of nothing",
            vec![ConditionalStep::InsertStaticsIfNotExists { set: vec![] }],
        ),
        ("one row twice", vec![insert_new(1), insert(1, b"y")]),
        ("statics twice", vec![create_head(1, 0), create_head(1, 0)]),
        (
            "a row beside DeleteRows",
            vec![insert_new(1), ConditionalStep::DeleteRows],
        ),
        (
            "a delete of statics under no condition",
            vec![
                insert_new(1),
                ConditionalStep::DeleteStatics { conditions: vec![] },
            ],
        ),
    ];
    for (what, steps) in batches {
        assert_misuse(place.store.conditional(place.batch(1, steps)).await, what);
    }
    let mut nameless = place.batch(1, vec![create_head(1, 0)]);
    nameless.partition.pop();
    assert_misuse(place.store.conditional(nameless).await, "half a partition");
    let flat = ConditionalBatch {
        table: &CAS_FLAT,
        partition: vec![place.part.as_str().into()],
        steps: vec![create_head(1, 0)],
    };
    assert_misuse(
        place.store.conditional(flat).await,
        "statics of a table without",
    );
    assert_eq!(place.head(1).await, None);
}
