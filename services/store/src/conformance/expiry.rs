//! Rows that expire. Times are generous: a cluster counts whole seconds.

use super::{
    Subject,
    setup::{FLAT, ONCE, Place, blob},
};
use crate::{Direction, Key, Mutation, Range, StampedPut};

const SOON_MS: i64 = 3_000;
const PASS_MS: u64 = 4_500;

fn expiring(place: &Place, number: i64, stamp: i64, in_ms: i64) -> StampedPut {
    StampedPut {
        expires_at_ms: Some(place.now_ms + in_ms),
        ..place.flat_put(number, "expires", stamp)
    }
}

fn once(place: &Place, name: &str, in_ms: i64) -> Mutation {
    Mutation::Put(StampedPut {
        table: &ONCE,
        key: Key::new([place.part.as_str().into()], [name.into()]),
        values: vec![blob(name.as_bytes())],
        stamp: 0,
        expires_at_ms: Some(place.now_ms + in_ms),
    })
}

/// Visible before, gone after, from get and scan alike; the stamp stays behind.
pub(super) async fn rows_expire(subject: &mut dyn Subject) {
    let place = Place::new(subject, "expire");
    place.put(expiring(&place, 1, 10, SOON_MS)).await;
    place.put(expiring(&place, 2, 10, 3_600_000)).await;
    assert_eq!(place.flat(1).await.as_deref(), Some("expires"));
    subject.pass(PASS_MS).await;
    assert_eq!(place.flat(1).await, None);
    assert_eq!(place.flat(2).await.as_deref(), Some("expires"));
    let partition = place.flat_key(1).partition;
    let rows = place
        .pages(&FLAT, partition, Range::all(), Direction::Forward, 10)
        .await;
    assert_eq!(rows, []);
    place.put(place.flat_put(1, "older", 9)).await;
    assert_eq!(
        place.flat(1).await,
        None,
        "an older put came back behind an expired row"
    );
    place.put(place.flat_put(1, "newer", 11)).await;
    assert_eq!(place.flat(1).await.as_deref(), Some("newer"));
}

/// A later put takes the expiry away, or brings one.
pub(super) async fn a_later_put_changes_the_expiry(subject: &mut dyn Subject) {
    let place = Place::new(subject, "change");
    place.put(expiring(&place, 1, 10, SOON_MS)).await;
    place.put(place.flat_put(1, "for good", 11)).await;
    place.put(place.flat_put(2, "for good", 10)).await;
    place.put(expiring(&place, 2, 11, SOON_MS)).await;
    assert_eq!(place.flat(2).await.as_deref(), Some("expires"));
    subject.pass(PASS_MS).await;
    assert_eq!(place.flat(1).await.as_deref(), Some("for good"));
    assert_eq!(place.flat(2).await, None);
}

/// A put that comes after its expiry, as on replay, is a delete with its stamp.
pub(super) async fn a_put_after_its_expiry_deletes(subject: &mut dyn Subject) {
    let place = Place::new(subject, "past");
    place.put(place.flat_put(1, "before", 10)).await;
    place.put(expiring(&place, 1, 20, -1_000)).await;
    assert_eq!(place.flat(1).await, None);
    for stamp in [15, 20] {
        place.put(place.flat_put(1, "hidden", stamp)).await;
        assert_eq!(place.flat(1).await, None, "stamp {stamp}");
    }
    place.put(place.flat_put(1, "after", 21)).await;
    assert_eq!(place.flat(1).await.as_deref(), Some("after"));
    place.put(expiring(&place, 1, 5, -1_000)).await;
    assert_eq!(
        place.flat(1).await.as_deref(),
        Some("after"),
        "an older expired put deleted"
    );
}

/// Rows of a `Once` table: there until they expire.
pub(super) async fn once_rows_expire(subject: &mut dyn Subject) {
    let place = Place::new(subject, "once");
    let puts = [
        once(&place, "long", 3_600_000),
        once(&place, "short", SOON_MS),
    ];
    place.apply(puts.clone()).await;
    // The same again, as a retry does.
    place.apply(puts).await;
    place.apply([once(&place, "gone", -1_000)]).await;
    let names = async || {
        let partition = vec![place.part.as_str().into()];
        let rows = place
            .pages(&ONCE, partition, Range::all(), Direction::Backward, 10)
            .await;
        let names = rows
            .iter()
            .map(|row| row.clustering[0].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["short", "long"]);
    subject.pass(PASS_MS).await;
    assert_eq!(names().await, ["long"]);
    let key = Key::new([place.part.as_str().into()], ["long".into()]);
    let row = place.get(&ONCE, &key).await.expect("the long-lived row");
    assert_eq!(row.values, [blob(b"long")]);
}
