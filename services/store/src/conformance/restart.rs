//! What was acknowledged is there after a restart.

use super::{
    Subject,
    setup::{FLAT, LOG, Place, append, blob},
};
use crate::{Direction, Durability, Mutation, Range};

/// Synced writes, buffered ones, deletes, and conditional batches.
pub(super) async fn a_restart_loses_nothing(subject: &mut dyn Subject) {
    let place = Place::new(subject, "restart");
    place.open_segment(1).await;
    for seq in 0..20 {
        assert!(place.log(1, append(1, seq, b"body")).await);
        let put = Mutation::Put(place.flat_put(seq, "buffered", 10));
        place
            .store
            .apply(vec![put], Durability::Buffered)
            .await
            .unwrap();
    }
    place.put(place.flat_put(100, "synced", 10)).await;
    place.apply([place.flat_delete(0, 11)]).await;
    drop(place);
    subject.reopen().await;
    let place = Place::new(subject, "restart");
    let rows = place
        .pages(
            &LOG,
            place.segment(1),
            Range::all(),
            Direction::Forward,
            100,
        )
        .await;
    assert_eq!(rows.len(), 20);
    assert!(rows.iter().all(|row| row.values[0] == blob(b"body")));
    let head = place.head(1).await.expect("the head");
    assert_eq!(head[..2], [1.into(), 20.into()]);
    assert_eq!(place.flat(100).await.as_deref(), Some("synced"));
    for number in 1..20 {
        assert!(
            place.get(&FLAT, &place.flat_key(number)).await.is_some(),
            "row {number}"
        );
    }
    assert_eq!(place.flat(0).await, None);
}

/// Stamps, and the fence of the log, hold across a restart.
pub(super) async fn a_restart_forgets_no_stamp(subject: &mut dyn Subject) {
    let place = Place::new(subject, "restart stamps");
    place.open_segment(1).await;
    assert!(place.log(1, append(1, 0, b"first")).await);
    place.put(place.flat_put(1, "newer", 20)).await;
    place.apply([place.flat_delete(2, 20)]).await;
    drop(place);
    subject.reopen().await;
    let place = Place::new(subject, "restart stamps");
    place.put(place.flat_put(1, "older", 10)).await;
    place.put(place.flat_put(2, "older", 10)).await;
    assert_eq!(place.flat(1).await.as_deref(), Some("newer"));
    assert_eq!(place.flat(2).await, None);
    assert!(!place.log(1, append(1, 0, b"second")).await);
    assert!(place.log(1, append(1, 1, b"second")).await);
    assert_eq!(place.body(1, 0).await, Some(blob(b"first")));
}
