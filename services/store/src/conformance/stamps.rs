//! Stamps: the greater one wins, whatever the order of arrival.

use super::{
    Subject,
    setup::{FLAT, Place, STAMPED},
};
use crate::{Durability, Mutation, StampedPut, Value};

/// An older put loses, before and after.
pub(super) async fn the_greater_stamp_wins(subject: &mut dyn Subject) {
    let place = Place::new(subject, "greater");
    for (number, stamps) in [
        (1, [10, 20, 15]),
        (2, [20, 10, 15]),
        (3, [10, 15, 20]),
        (4, [-5, 20, 0]),
    ] {
        for stamp in stamps {
            place
                .put(place.flat_put(number, &format!("at {stamp}"), stamp))
                .await;
        }
        assert_eq!(
            place.flat(number).await.as_deref(),
            Some("at 20"),
            "row {number}"
        );
    }
}

/// A delete with a greater stamp hides the row, one with a smaller stamp does not.
pub(super) async fn deletes_have_stamps(subject: &mut dyn Subject) {
    let place = Place::new(subject, "deletes");
    place.put(place.flat_put(1, "kept", 10)).await;
    place.apply([place.flat_delete(1, 9)]).await;
    assert_eq!(place.flat(1).await.as_deref(), Some("kept"));
    place.apply([place.flat_delete(1, 11)]).await;
    assert_eq!(place.flat(1).await, None);
    place.put(place.flat_put(1, "late", 10)).await;
    assert_eq!(
        place.flat(1).await,
        None,
        "a put older than the delete came back"
    );
    place.put(place.flat_put(1, "again", 12)).await;
    assert_eq!(place.flat(1).await.as_deref(), Some("again"));
}

/// The delete of a row that is not there yet hides the put that comes late.
pub(super) async fn deletes_come_before_puts(subject: &mut dyn Subject) {
    let place = Place::new(subject, "before");
    place.apply([place.flat_delete(1, 10)]).await;
    place.put(place.flat_put(1, "late", 9)).await;
    assert_eq!(place.flat(1).await, None);
}

/// At equal stamps the delete wins, in either order.
pub(super) async fn a_delete_wins_at_equal_stamps(subject: &mut dyn Subject) {
    let place = Place::new(subject, "equal");
    place.put(place.flat_put(1, "put first", 10)).await;
    place.apply([place.flat_delete(1, 10)]).await;
    assert_eq!(place.flat(1).await, None);
    place.apply([place.flat_delete(2, 10)]).await;
    place.put(place.flat_put(2, "delete first", 10)).await;
    assert_eq!(place.flat(2).await, None);
}

/// The same write again, as a replay does, changes nothing.
pub(super) async fn the_same_write_again_is_harmless(subject: &mut dyn Subject) {
    let place = Place::new(subject, "again");
    let put = Mutation::Put(place.flat_put(1, "once", 10));
    for durability in [Durability::Synced, Durability::Buffered, Durability::Synced] {
        place
            .store
            .apply(vec![put.clone()], durability)
            .await
            .unwrap();
        assert_eq!(place.flat(1).await.as_deref(), Some("once"));
    }
    for _ in 0..2 {
        place.apply([place.flat_delete(1, 11)]).await;
        place.apply([put.clone()]).await;
        assert_eq!(place.flat(1).await, None);
    }
}

/// One call with several writes of one row: the greatest stamp wins there, too.
pub(super) async fn a_call_may_write_a_row_twice(subject: &mut dyn Subject) {
    let place = Place::new(subject, "twice");
    let put = |number, stamp| Mutation::Put(place.flat_put(number, &format!("at {stamp}"), stamp));
    place.apply([put(1, 2), put(1, 3), put(1, 1)]).await;
    assert_eq!(place.flat(1).await.as_deref(), Some("at 3"));
    place
        .apply([put(2, 1), place.flat_delete(2, 3), put(2, 2)])
        .await;
    assert_eq!(place.flat(2).await, None);
    place.apply([place.flat_delete(3, 1), put(3, 2)]).await;
    assert_eq!(place.flat(3).await.as_deref(), Some("at 2"));
}

/// One call may write rows of several tables and partitions; none at all is fine.
pub(super) async fn a_call_may_write_many_tables(subject: &mut dyn Subject) {
    let place = Place::new(subject, "many");
    place.apply([]).await;
    let stamped = StampedPut {
        table: &STAMPED,
        key: place.key(1, "m"),
        values: vec![Value::Null; 4],
        stamp: 1,
        expires_at_ms: None,
    };
    let flat = (0..50).map(|number| Mutation::Put(place.flat_put(number, "many", 1)));
    place.apply(flat.chain([Mutation::Put(stamped)])).await;
    assert!(place.get(&STAMPED, &place.key(1, "m")).await.is_some());
    for number in 0..50 {
        assert!(place.get(&FLAT, &place.flat_key(number)).await.is_some());
    }
}

/// What `apply` acknowledged as buffered can be read at once.
pub(super) async fn buffered_writes_are_seen_at_once(subject: &mut dyn Subject) {
    let place = Place::new(subject, "buffered");
    for number in 0..20 {
        let put = Mutation::Put(place.flat_put(number, "seen", 1));
        place
            .store
            .apply(vec![put], Durability::Buffered)
            .await
            .unwrap();
        assert_eq!(place.flat(number).await.as_deref(), Some("seen"));
    }
    place.store.sync().await.unwrap();
    assert_eq!(place.flat(19).await.as_deref(), Some("seen"));
}
