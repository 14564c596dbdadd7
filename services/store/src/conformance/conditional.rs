//! Conditional batches: each step, alone and together.

use super::{
    Subject,
    setup::{CAS_FLAT, LOG, Place, append, blob, create_head, insert, named},
};
use crate::{ConditionalBatch, ConditionalStep, Direction, Key, Outcome, Range, Value};

fn update_statics<const S: usize, const C: usize>(
    set: [(&'static str, Value); S],
    conditions: [(&'static str, Value); C],
) -> ConditionalStep {
    ConditionalStep::UpdateStatics {
        set: named(set),
        conditions: named(conditions),
    }
}

fn update<const S: usize, const C: usize>(
    seq: i64,
    set: [(&'static str, Value); S],
    conditions: [(&'static str, Value); C],
) -> ConditionalStep {
    ConditionalStep::Update {
        clustering: vec![seq.into()],
        set: named(set),
        conditions: named(conditions),
    }
}

fn insert_new(seq: i64, body: &[u8]) -> ConditionalStep {
    ConditionalStep::InsertIfNotExists {
        clustering: vec![seq.into()],
        set: named([("body", blob(body))]),
    }
}

/// A head with null `holder` and `sealed`.
fn fresh_head(epoch: i64, next: i64) -> Vec<Value> {
    vec![epoch.into(), next.into(), Value::Null, Value::Null]
}

/// Statics are created once.
pub(super) async fn statics_are_inserted_once(subject: &mut dyn Subject) {
    let place = Place::new(subject, "statics once");
    place.open_segment(1).await;
    assert_eq!(place.head(1).await, Some(fresh_head(1, 0)));
    assert!(!place.log(1, vec![create_head(2, 7)]).await);
    assert_eq!(place.head(1).await, Some(fresh_head(1, 0)));
    // Rows do not make statics exist.
    assert!(place.log(2, vec![insert_new(0, b"row")]).await);
    assert_eq!(place.head(2).await, None);
    assert!(place.log(2, vec![create_head(1, 1)]).await);
}

/// Compare-and-set of statics; those not named stay.
pub(super) async fn statics_are_compared_and_set(subject: &mut dyn Subject) {
    let place = Place::new(subject, "statics set");
    let take = |from: i64| update_statics([("epoch", (from + 1).into())], [("epoch", from.into())]);
    assert!(
        !place.log(1, vec![take(1)]).await,
        "missing statics met a condition"
    );
    place.open_segment(1).await;
    assert!(!place.log(1, vec![take(2)]).await);
    assert!(place.log(1, vec![take(1)]).await);
    assert!(!place.log(1, vec![take(1)]).await, "the same batch again");
    assert_eq!(place.head(1).await, Some(fresh_head(2, 0)));
    let both = [("epoch", 2.into()), ("next_seq", 9.into())];
    assert!(
        !place
            .log(1, vec![update_statics([("epoch", 3.into())], both)])
            .await
    );
    let unset = update_statics([("next_seq", Value::Null)], [("epoch", 2.into())]);
    assert!(place.log(1, vec![unset]).await);
    let head = vec![2.into(), Value::Null, Value::Null, Value::Null];
    assert_eq!(place.head(1).await, Some(head));
}

/// A condition that asks for null holds for a missing value, and only there.
pub(super) async fn null_is_a_condition(subject: &mut dyn Subject) {
    let place = Place::new(subject, "null condition");
    let claim = || update_statics([("holder", "me".into())], [("holder", Value::Null)]);
    assert!(place.log(1, vec![claim()]).await, "on missing statics");
    assert!(!place.log(1, vec![claim()]).await);
    place.open_segment(2).await;
    assert!(
        place.log(2, vec![claim()]).await,
        "on statics without this one"
    );
    assert!(!place.log(2, vec![claim()]).await);
}

/// The append of the slot log: head and row go together, or not at all.
pub(super) async fn an_append_moves_head_and_row(subject: &mut dyn Subject) {
    let place = Place::new(subject, "append");
    place.open_segment(1).await;
    assert!(place.log(1, append(1, 0, b"zero")).await);
    assert!(place.log(1, append(1, 1, b"one")).await);
    assert!(
        !place.log(1, append(1, 1, b"again")).await,
        "a position was taken twice"
    );
    assert!(!place.log(1, append(2, 2, b"wrong epoch")).await);
    assert!(!place.log(2, append(1, 0, b"no such segment")).await);
    assert_eq!(place.body(1, 0).await, Some(blob(b"zero")));
    assert_eq!(place.body(1, 1).await, Some(blob(b"one")));
    assert_eq!(place.body(1, 2).await, None);
    assert_eq!(place.body(2, 0).await, None);
    assert_eq!(place.head(2).await, None);
    let head = place.head(1).await.expect("the head");
    assert_eq!(head[..2], [1.into(), 2.into()]);
}

/// Every condition of every step counts, whatever the order of the steps.
pub(super) async fn a_refused_batch_leaves_nothing(subject: &mut dyn Subject) {
    let place = Place::new(subject, "refused");
    place.open_segment(1).await;
    assert!(place.log(1, vec![insert_new(5, b"five")]).await);
    let holds = || update_statics([("epoch", 2.into())], [("epoch", 1.into())]);
    let fails = || update_statics([("epoch", 2.into())], [("epoch", 9.into())]);
    let delete = |body: &[u8]| ConditionalStep::Delete {
        clustering: vec![5.into()],
        conditions: named([("body", blob(body))]),
    };
    let refused = [
        vec![holds(), insert_new(5, b"taken"), insert_new(6, b"new")],
        vec![insert_new(6, b"new"), holds(), insert_new(5, b"taken")],
        vec![insert_new(6, b"new"), fails()],
        vec![insert(6, b"new"), fails()],
        vec![
            holds(),
            update(6, [("note", "n".into())], [("body", blob(b"missing"))]),
        ],
        vec![holds(), insert(6, b"new"), delete(b"other")],
        vec![delete(b"five"), fails()],
        vec![ConditionalStep::DeleteRows, fails()],
    ];
    for steps in refused {
        let batch = place.batch(1, steps);
        let outcome = place.store.conditional(batch.clone()).await.unwrap();
        assert!(matches!(outcome, Outcome::Refused { .. }), "{batch:?}");
        assert_eq!(place.head(1).await, Some(fresh_head(1, 0)), "{batch:?}");
        assert_eq!(place.body(1, 5).await, Some(blob(b"five")), "{batch:?}");
        assert_eq!(place.body(1, 6).await, None, "{batch:?}");
    }
    // All of them together, when all hold.
    let applied = vec![
        holds(),
        insert_new(6, b"six"),
        insert(7, b"seven"),
        delete(b"five"),
    ];
    assert!(place.log(1, applied).await);
    assert_eq!(place.head(1).await, Some(fresh_head(2, 0)));
    assert_eq!(place.body(1, 5).await, None);
    assert_eq!(place.body(1, 6).await, Some(blob(b"six")));
    assert_eq!(place.body(1, 7).await, Some(blob(b"seven")));
}

/// Rows: created once, replaced by column, compared and set.
pub(super) async fn rows_are_compared_and_set(subject: &mut dyn Subject) {
    let place = Place::new(subject, "rows set");
    place.open_segment(1).await;
    let row = async || {
        let key = Key::new(place.segment(1), [0.into()]);
        place.get_serial(&LOG, &key).await.map(|row| row.values)
    };
    let note = |note: &str| [("note", note.into())];
    assert!(
        !place
            .log(1, vec![update(0, note("n"), [("body", blob(b"a"))])])
            .await
    );
    assert_eq!(row().await, None, "an update made a row");
    assert!(place.log(1, vec![insert_new(0, b"a")]).await);
    assert!(!place.log(1, vec![insert_new(0, b"b")]).await);
    assert_eq!(row().await, Some(vec![blob(b"a"), Value::Null]));
    assert!(
        !place
            .log(1, vec![update(0, note("n"), [("body", blob(b"b"))])])
            .await
    );
    assert!(
        place
            .log(1, vec![update(0, note("n"), [("body", blob(b"a"))])])
            .await
    );
    assert_eq!(row().await, Some(vec![blob(b"a"), "n".into()]));
    // An insert that rides along replaces the columns it names, and no other.
    let guard = || update_statics([("holder", "me".into())], [("epoch", 1.into())]);
    assert!(place.log(1, vec![guard(), insert(0, b"c")]).await);
    assert_eq!(row().await, Some(vec![blob(b"c"), "n".into()]));
    let nulls = [("body", blob(b"c")), ("note", "n".into())];
    let unset = update(0, [("body", Value::Null), ("note", Value::Null)], nulls);
    assert!(place.log(1, vec![unset]).await);
    assert_eq!(
        row().await,
        Some(vec![Value::Null, Value::Null]),
        "a row of nulls is a row"
    );
    assert!(!place.log(1, vec![insert_new(0, b"d")]).await);
}

/// Rows are deleted under a condition; the statics stay.
pub(super) async fn rows_are_compared_and_deleted(subject: &mut dyn Subject) {
    let place = Place::new(subject, "rows deleted");
    place.open_segment(1).await;
    let delete = |seq: i64, body: &[u8]| {
        vec![ConditionalStep::Delete {
            clustering: vec![seq.into()],
            conditions: named([("body", blob(body))]),
        }]
    };
    assert!(
        place
            .log(1, vec![insert_new(0, b"zero"), insert_new(1, b"one")])
            .await
    );
    assert!(!place.log(1, delete(0, b"other")).await);
    assert!(!place.log(1, delete(2, b"missing")).await);
    assert!(place.log(1, delete(0, b"zero")).await);
    assert!(!place.log(1, delete(0, b"zero")).await);
    assert_eq!(place.body(1, 0).await, None);
    assert_eq!(place.body(1, 1).await, Some(blob(b"one")));
    assert!(place.log(1, delete(1, b"one")).await);
    assert_eq!(
        place.head(1).await,
        Some(fresh_head(1, 0)),
        "the last row took the statics along"
    );
    assert!(place.log(1, vec![insert_new(0, b"anew")]).await);
    assert_eq!(place.body(1, 0).await, Some(blob(b"anew")));
}

/// All rows of a partition go at once; its statics and other partitions stay.
pub(super) async fn all_rows_are_deleted_at_once(subject: &mut dyn Subject) {
    let place = Place::new(subject, "all rows");
    for segment in [1, 2] {
        place.open_segment(segment).await;
        for seq in 0..30 {
            assert!(place.log(segment, append(1, seq, b"body")).await);
        }
    }
    let close = update_statics([("sealed", 2.into())], [("epoch", 1.into())]);
    assert!(place.log(1, vec![close, ConditionalStep::DeleteRows]).await);
    let count = async |segment| {
        let partition = place.segment(segment);
        place
            .pages(&LOG, partition, Range::all(), Direction::Forward, 100)
            .await
            .len()
    };
    assert_eq!((count(1).await, count(2).await), (0, 30));
    let head = place.head(1).await.expect("the statics");
    assert_eq!(head, [1.into(), 30.into(), "appender".into(), 2.into()]);
    assert!(place.log(1, append(1, 30, b"after")).await);
    assert_eq!(count(1).await, 1);
}

/// The trim of the slot log: the head goes under its condition, the rows with it, and nothing can be
/// appended there until the segment is created anew.
pub(super) async fn a_trim_takes_head_and_rows(subject: &mut dyn Subject) {
    let place = Place::new(subject, "trim");
    place.open_segment(1).await;
    for seq in 0..10 {
        assert!(place.log(1, append(1, seq, b"body")).await);
    }
    let trim = |sealed: i64| {
        vec![
            ConditionalStep::DeleteStatics {
                conditions: named([("sealed", sealed.into())]),
            },
            ConditionalStep::DeleteRows,
        ]
    };
    assert!(!place.log(1, trim(2)).await, "an open segment was trimmed");
    assert_eq!(place.body(1, 9).await, Some(blob(b"body")));
    let seal = update_statics([("sealed", 2.into())], [("next_seq", 10.into())]);
    assert!(place.log(1, vec![seal]).await);
    assert!(!place.log(1, trim(3)).await);
    assert!(place.log(1, trim(2)).await);
    assert_eq!(place.head(1).await, None);
    let rows = place.pages(
        &LOG,
        place.segment(1),
        Range::all(),
        Direction::Backward,
        100,
    );
    assert_eq!(rows.await, []);
    assert!(!place.log(1, append(1, 10, b"zombie")).await);
    assert_eq!(place.body(1, 10).await, None);
    assert!(place.log(1, vec![create_head(5, 50)]).await);
    assert_eq!(place.head(1).await, Some(fresh_head(5, 50)));
}

/// A table without clustering columns takes the row steps with an empty clustering key.
pub(super) async fn rows_without_clustering_are_compared(subject: &mut dyn Subject) {
    let place = Place::new(subject, "cas flat");
    let batch = |step| ConditionalBatch {
        table: &CAS_FLAT,
        partition: vec![place.part.as_str().into()],
        steps: vec![step],
    };
    let create = || ConditionalStep::InsertIfNotExists {
        clustering: vec![],
        set: named([("version", 1.into()), ("words", "one".into())]),
    };
    let advance = |from: i64| ConditionalStep::Update {
        clustering: vec![],
        set: named([("version", (from + 1).into()), ("flag", true.into())]),
        conditions: named([("version", from.into()), ("words", "one".into())]),
    };
    let delete = |version: i64| ConditionalStep::Delete {
        clustering: vec![],
        conditions: named([("version", version.into())]),
    };
    assert!(!place.decide(batch(advance(1))).await);
    assert!(place.decide(batch(create())).await);
    assert!(!place.decide(batch(create())).await);
    assert!(place.decide(batch(advance(1))).await);
    assert!(!place.decide(batch(advance(1))).await);
    let key = Key::partition([place.part.as_str().into()]);
    let row = place.get_serial(&CAS_FLAT, &key).await.expect("the row");
    assert_eq!(row.values, [2.into(), "one".into(), true.into()]);
    assert!(!place.decide(batch(delete(1))).await);
    assert!(place.decide(batch(delete(2))).await);
    assert_eq!(place.get_serial(&CAS_FLAT, &key).await, None);
    assert!(place.decide(batch(create())).await);
}
