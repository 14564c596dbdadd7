//! Bounds: the largest that is allowed works, one byte more is refused.

use super::{
    Subject,
    setup::{FLAT, LOG, Place, STAMPED, blob, create_head, named},
};
use crate::{
    ConditionalBatch, ConditionalStep, Direction, Durability, Key, Mutation, Range, StampedPut,
    StoreError, Table, Value,
};

fn assert_too_large<T: std::fmt::Debug>(result: Result<T, StoreError>, expected: &str) {
    match result {
        Err(StoreError::TooLarge { what, .. }) => assert_eq!(what, expected),
        other => panic!("a {expected} over its bound: {other:?}"),
    }
}

/// Keys up to the bound.
pub(super) async fn keys_are_bounded(subject: &mut dyn Subject) {
    let place = Place::new(subject, "keys");
    // Beside the text, a key of FLAT has one bigint.
    let part = |bytes: usize| {
        let pad = "k".repeat(bytes - place.part.len() - 8);
        Key::partition([format!("{}{pad}", place.part).into(), 1.into()])
    };
    let put = |key| {
        vec![Mutation::Put(StampedPut {
            key,
            ..place.flat_put(1, "large key", 1)
        })]
    };
    let largest = part(Table::KEY_BYTES_MAX);
    place.apply(put(largest.clone())).await;
    assert!(place.get(&FLAT, &largest).await.is_some());
    let larger = put(part(Table::KEY_BYTES_MAX + 1));
    assert_too_large(place.store.apply(larger, Durability::Synced).await, "key");
}

/// Rows up to the bound; pages of large rows.
pub(super) async fn rows_are_bounded(subject: &mut dyn Subject) {
    let place = Place::new(subject, "rows");
    let put = |major, bytes| {
        vec![Mutation::Put(StampedPut {
            table: &STAMPED,
            key: place.key(major, ""),
            values: vec![
                Value::Null,
                Value::Null,
                Value::Null,
                vec![7u8; bytes].into(),
            ],
            stamp: 1,
            expires_at_ms: None,
        })]
    };
    for major in 0..6 {
        place.apply(put(major, Table::ROW_BYTES_MAX)).await;
    }
    for direction in [Direction::Forward, Direction::Backward] {
        let partition = vec![place.part.as_str().into()];
        let rows = place
            .pages(&STAMPED, partition, Range::all(), direction, 100)
            .await;
        assert_eq!(rows.len(), 6);
        assert!(
            rows.iter()
                .all(|row| row.values[3].bytes() == Table::ROW_BYTES_MAX)
        );
    }
    let larger = put(6, Table::ROW_BYTES_MAX + 1);
    assert_too_large(place.store.apply(larger, Durability::Buffered).await, "row");
    assert_eq!(place.get(&STAMPED, &place.key(6, "")).await, None);
}

/// Conditional batches: rows and the whole.
pub(super) async fn batches_are_bounded(subject: &mut dyn Subject) {
    let place = Place::new(subject, "batches bound");
    let rows = |count: i64, bytes: usize| -> ConditionalBatch {
        let row = |seq: i64| ConditionalStep::Insert {
            clustering: vec![seq.into()],
            set: named([("body", blob(&vec![7; bytes]))]),
        };
        let steps = [create_head(1, 0)].into_iter().chain((0..count).map(row));
        place.batch(1, steps.collect())
    };
    let too_large = place
        .store
        .conditional(rows(1, Table::ROW_BYTES_MAX + 1))
        .await;
    assert_too_large(too_large, "row");
    let too_large = place.store.conditional(rows(3, Table::ROW_BYTES_MAX)).await;
    assert_too_large(too_large, "batch");
    assert_eq!(place.head(1).await, None, "a refused batch wrote");
    // The log's own bound: 128 KiB.
    assert!(place.decide(rows(1, 128 * 1024)).await);
    let key = Key::new(place.segment(1), [0.into()]);
    let row = place.get_serial(&LOG, &key).await.expect("the row");
    assert_eq!(row.values[0].bytes(), 128 * 1024);
}
