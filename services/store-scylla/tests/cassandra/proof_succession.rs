//! Succession: a successor with the head carried over, then the seal; and every place where the
//! owner may die in between.

use scylla::value::CqlValue;

use crate::{
    proof::{Log, Proposal, columns},
    proof_append::open_segment,
};

/// Creates segment 1 with segment 0's head carried over.
async fn create_successor(log: &Log, slot: i64) -> anyhow::Result<()> {
    let head = log.head(slot, 0).await?.expect("a head");
    let carried = (
        head.epoch.expect("an epoch"),
        head.next.expect("a next"),
        head.stamp_end.expect("a stamp"),
    );
    assert!(log.create_head(slot, 1, carried).await.applied());
    Ok(())
}

#[tokio::test]
async fn a_succession_carries_the_head_over_and_seals() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    assert!(
        log.append(slot, 0, &Proposal::new(1, 7, "last of 0"))
            .await
            .applied()
    );
    create_successor(&log, slot).await?;
    assert!(log.seal(slot, 0, 1, 8).await.applied());
    let sealed = log.head(slot, 0).await?.expect("the sealed head stays");
    assert_eq!(
        (sealed.epoch, sealed.next, sealed.sealed),
        (Some(1), Some(-1), Some(1))
    );
    let open = log.head(slot, 1).await?.expect("the successor's head");
    assert_eq!(
        (open.epoch, open.next, open.stamp_end),
        (Some(1), Some(8), Some(1_070))
    );
    // Positions go on where the sealed segment ended.
    assert!(
        log.append(slot, 1, &Proposal::new(1, 8, "first of 1"))
            .await
            .applied()
    );
    Ok(())
}

#[tokio::test]
async fn an_append_to_a_sealed_segment_is_refused() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    create_successor(&log, slot).await?;
    assert!(log.seal(slot, 0, 1, 7).await.applied());
    let refused = log
        .append(slot, 0, &Proposal::new(1, 7, "late"))
        .await
        .refusal();
    assert_eq!(refused.get("next"), Some(&CqlValue::BigInt(-1)));
    assert_eq!(log.rows(slot, 0).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_second_successor_is_refused_and_tells_the_first() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    create_successor(&log, slot).await?;
    let refused = log.create_head(slot, 1, (5, 5, 5)).await.refusal();
    // A refused INSERT tells the whole static row.
    assert_eq!(refused.get("epoch"), Some(&CqlValue::BigInt(1)));
    assert_eq!(refused.get("next"), Some(&CqlValue::BigInt(7)));
    assert_eq!(refused.get("stamp_end"), Some(&CqlValue::BigInt(1_000)));
    Ok(())
}

/// IF NOT EXISTS of statics looks at the static row: rows left behind would not count.
#[tokio::test]
async fn creating_a_head_beside_rows_looks_at_the_statics_alone() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    let insert = format!(
        "INSERT INTO log (slot, segment, seq, \"batch\") VALUES ({slot}, 4, 1, 0x00) IF NOT EXISTS"
    );
    assert!(crate::proof::run(&log.session, &insert).await.applied());
    assert!(log.create_head(slot, 4, (1, 2, 3)).await.applied());
    Ok(())
}

/// The owner dies after the first step: its segment is still open, and its successor's head is there.
#[tokio::test]
async fn a_new_owner_finishes_a_succession_that_was_cut_in_two() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    let zombie = Log::direct().await?;
    create_successor(&log, slot).await?;
    // The new owner finds segment 0 open and takes over both.
    assert!(log.takeover(slot, 0, 1).await.applied());
    assert!(log.takeover(slot, 1, 1).await.applied());
    // Whatever the dead owner had under way is refused, in both segments.
    assert_eq!(
        zombie.seal(slot, 0, 1, 7).await.refusal(),
        columns(&[("epoch", 2), ("next", 7)])
    );
    for (segment, seq) in [(0, 7), (1, 7)] {
        let refused = zombie
            .append(slot, segment, &Proposal::new(1, seq, "zombie"))
            .await;
        assert_eq!(refused.refusal().get("epoch"), Some(&CqlValue::BigInt(2)));
    }
    assert!(log.seal(slot, 0, 2, 7).await.applied());
    assert!(
        log.append(slot, 1, &Proposal::new(2, 7, "new owner"))
            .await
            .applied()
    );
    assert_eq!(log.rows(slot, 0).await?, []);
    assert_eq!(log.rows(slot, 1).await?, [(7, b"new owner".to_vec())]);
    Ok(())
}

/// The owner creates the successor, then appends to the old segment after all: the head that was
/// carried over is stale, so that the seal must name the new `next` and the successor be corrected.
#[tokio::test]
async fn a_seal_that_names_a_stale_next_is_refused() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    create_successor(&log, slot).await?;
    assert!(
        log.append(slot, 0, &Proposal::new(1, 7, "after all"))
            .await
            .applied()
    );
    let refused = log.seal(slot, 0, 1, 7).await.refusal();
    assert_eq!(refused, columns(&[("epoch", 1), ("next", 8)]));
    Ok(())
}

/// The successor's head comes too late: the old owner is replaced before it is created.
#[tokio::test]
async fn a_successor_created_by_a_zombie_carries_the_old_epoch_and_is_taken_over()
-> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    let zombie = Log::direct().await?;
    assert!(log.takeover(slot, 0, 1).await.applied());
    assert!(
        log.append(slot, 0, &Proposal::new(2, 7, "new owner"))
            .await
            .applied()
    );
    // The zombie's head lands: nothing of the new owner's tells it not to.
    assert!(zombie.create_head(slot, 1, (1, 7, 1_000)).await.applied());
    // It cannot seal, so that its successor is never reached.
    assert_eq!(
        zombie.seal(slot, 0, 1, 7).await.refusal(),
        columns(&[("epoch", 2), ("next", 8)])
    );
    // The new owner's own succession meets it, and must take it over and correct it before the seal.
    let refused = log.create_head(slot, 1, (2, 8, 1_070)).await.refusal();
    assert_eq!(refused.get("epoch"), Some(&CqlValue::BigInt(1)));
    let correct = format!(
        "UPDATE log SET epoch = 2, next = 8, stamp_end = 1070 WHERE slot = {slot} AND segment = 1 \
         IF epoch = 1 AND next = 7"
    );
    assert!(crate::proof::run(&log.session, &correct).await.applied());
    assert!(log.seal(slot, 0, 2, 8).await.applied());
    let refused = zombie
        .append(slot, 1, &Proposal::new(1, 7, "zombie"))
        .await
        .refusal();
    assert_eq!(refused.get("epoch"), Some(&CqlValue::BigInt(2)));
    assert!(
        log.append(slot, 1, &Proposal::new(2, 8, "goes on"))
            .await
            .applied()
    );
    Ok(())
}
