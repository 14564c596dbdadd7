//! Rows and their values.

use super::{
    Subject,
    setup::{FLAT, LOG, ORDERED, Place, STAMPED, blob},
};
use crate::{Direction, Key, Mutation, Range, StampedPut, Value};

fn put(place: &Place, major: i64, values: Vec<Value>) -> Mutation {
    Mutation::Put(StampedPut {
        table: &STAMPED,
        key: place.key(major, ""),
        values,
        stamp: 1,
        expires_at_ms: None,
    })
}

/// Every type, its extremes, nulls, empty and NUL values.
pub(super) async fn values_of_every_type_read_back(subject: &mut dyn Subject) {
    let place = Place::new(subject, "values");
    let long: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
    let null = || Value::Null;
    let rows = [
        vec![7.into(), true.into(), "words".into(), blob(b"bytes")],
        vec![null(), null(), null(), null()],
        vec![0.into(), false.into(), "".into(), blob(b"")],
        vec![i64::MIN.into(), null(), "\0".into(), blob(b"\0")],
        vec![
            i64::MAX.into(),
            true.into(),
            "a\0b\0\0".into(),
            blob(&[0, 0xff, 0, 0]),
        ],
        vec![
            (-1).into(),
            false.into(),
            "héllo \u{10ffff}🦀".into(),
            blob(&long),
        ],
        vec![null(), true.into(), null(), blob(&[0xff; 300])],
    ];
    let puts = (0..)
        .zip(&rows)
        .map(|(major, values)| put(&place, major, values.clone()));
    place.apply(puts).await;
    for (major, values) in (0..).zip(&rows) {
        let row = place.get(&STAMPED, &place.key(major, "")).await;
        let row = row.expect("a row that was put, even of nulls only");
        assert_eq!(row.values, *values);
        assert_eq!(row.clustering, [major.into(), "".into()]);
        assert_eq!(row.statics, []);
    }
}

/// What was never written is not there.
pub(super) async fn missing_rows_are_none(subject: &mut dyn Subject) {
    let place = Place::new(subject, "missing");
    place.apply([put(&place, 1, vec![Value::Null; 4])]).await;
    assert_eq!(place.get(&STAMPED, &place.key(2, "")).await, None);
    assert_eq!(place.get(&STAMPED, &place.key(1, "x")).await, None);
    assert_eq!(place.flat(1).await, None);
    assert_eq!(place.head(1).await, None);
    let log_key = Key::new(place.segment(1), [0.into()]);
    assert_eq!(place.get(&LOG, &log_key).await, None);
}

/// A table without clustering columns: get and scan.
pub(super) async fn rows_without_clustering(subject: &mut dyn Subject) {
    let place = Place::new(subject, "flat");
    place.put(place.flat_put(1, "one", 1)).await;
    place.put(place.flat_put(-1, "minus one", 1)).await;
    assert_eq!(place.flat(1).await.as_deref(), Some("one"));
    assert_eq!(place.flat(-1).await.as_deref(), Some("minus one"));
    let partition = place.flat_key(1).partition;
    let rows = place
        .pages(&FLAT, partition, Range::all(), Direction::Forward, 10)
        .await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].values, ["one".into()]);
    assert_eq!(rows[0].clustering, []);
}

/// A put binds the whole row: a null hides what was there.
pub(super) async fn nulls_overwrite(subject: &mut dyn Subject) {
    let place = Place::new(subject, "nulls");
    let full = vec![7.into(), true.into(), "words".into(), blob(b"bytes")];
    place.apply([put(&place, 1, full)]).await;
    let mut nulls = StampedPut {
        table: &STAMPED,
        key: place.key(1, ""),
        values: vec![Value::Null; 4],
        stamp: 2,
        expires_at_ms: None,
    };
    nulls.values[2] = "left".into();
    place.put(nulls.clone()).await;
    let row = place.get(&STAMPED, &nulls.key).await.expect("the row");
    assert_eq!(row.values, nulls.values);
}

/// Keys of every type sort as their values do, signs, NULs and prefixes included.
pub(super) async fn keys_of_every_type_sort(subject: &mut dyn Subject) {
    let place = Place::new(subject, "sort");
    let partition = vec![place.part.as_str().into(), blob(&[0, 1, 0]), true.into()];
    let mut keys: Vec<Vec<Value>> = Vec::new();
    for number in [i64::MIN, -256, -1, 0, 1, 255, i64::MAX] {
        for words in [
            "", "\0", "\0a", "a", "a\0", "a\0b", "a\u{1}", "aa", "b", "é",
        ] {
            let bytes = words.as_bytes().to_vec();
            keys.push(vec![
                number.into(),
                (words < "a").into(),
                words.into(),
                bytes.into(),
            ]);
        }
    }
    keys.push(vec![0.into(), true.into(), "x".into(), blob(&[0xff, 0xff])]);
    keys.push(vec![0.into(), true.into(), "x".into(), blob(&[0xff])]);
    keys.push(vec![0.into(), true.into(), "x".into(), blob(&[])]);
    keys.sort();
    let puts = (0..).zip(&keys).map(|(at, key)| {
        Mutation::Put(StampedPut {
            table: &ORDERED,
            key: Key::new(partition.clone(), key.clone()),
            values: vec![Value::BigInt(at)],
            stamp: 1,
            expires_at_ms: None,
        })
    });
    // Not in their order.
    let (odd, even): (Vec<_>, Vec<_>) = puts.enumerate().partition(|(at, _)| at % 2 == 1);
    place
        .apply(odd.into_iter().rev().chain(even).map(|(_, put)| put))
        .await;
    for direction in [Direction::Forward, Direction::Backward] {
        let rows = place
            .pages(&ORDERED, partition.clone(), Range::all(), direction, 9)
            .await;
        let mut read: Vec<_> = rows.into_iter().map(|row| row.clustering).collect();
        if direction == Direction::Backward {
            read.reverse();
        }
        assert_eq!(read, keys, "{direction:?}");
    }
}

/// Neighbouring partitions do not see each other's rows.
pub(super) async fn partitions_are_isolated(subject: &mut dyn Subject) {
    let place = Place::new(subject, "isolation");
    let parts = ["", "\0", "\0\0", "a", "a\0", "aa", "\u{1}", "é"];
    let partition = |part: &str| vec![Value::from(format!("{}{part}", place.part))];
    let puts = parts.iter().map(|part| {
        Mutation::Put(StampedPut {
            table: &STAMPED,
            key: Key::new(partition(part), [1.into(), (*part).into()]),
            values: vec![Value::Null; 4],
            stamp: 1,
            expires_at_ms: None,
        })
    });
    place.apply(puts).await;
    for part in parts {
        for direction in [Direction::Forward, Direction::Backward] {
            let rows = place
                .pages(&STAMPED, partition(part), Range::all(), direction, 10)
                .await;
            let found: Vec<_> = rows.iter().map(|row| row.clustering[1].clone()).collect();
            assert_eq!(found, [part.into()], "partition {part:?}");
        }
    }
}
