//! Append: applied once at its place, refused wholly otherwise, and what a refusal tells.

use scylla::{statement::Consistency, value::CqlValue};

use crate::{
    proof::{Log, Proposal, columns},
    server::fresh_slot,
};

/// A log and a fresh slot whose segment 0 stands at epoch 1, next 7.
pub(crate) async fn open_segment() -> anyhow::Result<(Log, i64)> {
    let (log, slot) = (Log::direct().await?, fresh_slot());
    assert!(log.create_head(slot, 0, (1, 7, 1_000)).await.applied());
    Ok((log, slot))
}

#[tokio::test]
async fn an_append_at_the_head_moves_it_and_writes_the_batch() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    let batch = Proposal::new(1, 7, "first");
    assert!(log.append(slot, 0, &batch).await.applied());
    let head = log.head(slot, 0).await?.expect("the head stays");
    assert_eq!(
        (head.epoch, head.next, head.stamp_end),
        (Some(1), Some(8), Some(1_070))
    );
    assert_eq!(head.batch_id, Some(batch.id.clone()));
    assert_eq!(log.rows(slot, 0).await?, [(7, batch.id)]);
    Ok(())
}

#[tokio::test]
async fn an_append_of_another_epoch_is_refused_and_tells_epoch_and_next() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    for epoch in [0, 2] {
        let refused = log
            .append(slot, 0, &Proposal::new(epoch, 7, "stranger"))
            .await
            .refusal();
        // Cassandra: the partition key and the condition's columns, and no other static.
        let told = columns(&[("slot", slot), ("segment", 0), ("epoch", 1), ("next", 7)]);
        assert_eq!(refused, told);
    }
    assert_eq!(log.rows(slot, 0).await?, []);
    assert_eq!(
        log.head(slot, 0).await?.expect("the head stays").batch_id,
        None
    );
    Ok(())
}

#[tokio::test]
async fn an_append_at_another_position_is_refused() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    assert!(
        log.append(slot, 0, &Proposal::new(1, 7, "first"))
            .await
            .applied()
    );
    for seq in [6, 7, 9] {
        let refused = log
            .append(slot, 0, &Proposal::new(1, seq, "other"))
            .await
            .refusal();
        assert_eq!(refused.get("next"), Some(&CqlValue::BigInt(8)));
        assert!(
            !refused.contains_key("batch_id"),
            "a refusal does not tell whose batch it is"
        );
    }
    // Whose batch is there is told by a serial read of the row.
    let there = log.row((slot, 0), 7, Consistency::LocalSerial).await?;
    assert_eq!(there.as_deref(), Some(b"first".as_slice()));
    assert_eq!(log.rows(slot, 0).await?, [(7, b"first".to_vec())]);
    Ok(())
}

#[tokio::test]
async fn the_same_batch_proposed_again_after_it_landed_is_refused() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    let batch = Proposal::new(1, 7, "first");
    assert!(log.append(slot, 0, &batch).await.applied());
    let refused = log.append(slot, 0, &batch).await.refusal();
    assert_eq!(refused.get("next"), Some(&CqlValue::BigInt(8)));
    assert_eq!(log.rows(slot, 0).await?, [(7, batch.id)]);
    Ok(())
}

#[tokio::test]
async fn an_append_to_a_segment_that_never_was_is_refused_and_creates_nothing() -> anyhow::Result<()>
{
    let (log, slot) = (Log::direct().await?, fresh_slot());
    let refused = log
        .append(slot, 5, &Proposal::new(0, 0, "early"))
        .await
        .refusal();
    assert_eq!(refused, columns(&[]));
    assert_eq!(log.head(slot, 5).await?, None);
    assert_eq!(log.rows(slot, 5).await?, []);
    Ok(())
}

#[tokio::test]
async fn of_contenders_for_one_position_exactly_one_lands() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    let log = std::sync::Arc::new(log);
    let mut contenders = tokio::task::JoinSet::new();
    for index in 0..8 {
        let log = log.clone();
        let batch = Proposal::new(1, 7, &format!("contender {index}"));
        contenders.spawn(async move { (log.append(slot, 0, &batch).await, batch.id) });
    }
    let answers = contenders.join_all().await;
    let winners: Vec<_> = answers
        .iter()
        .filter(|(answer, _)| answer.applied())
        .collect();
    assert!(winners.len() <= 1, "two batches were told that they landed");
    let rows = log.rows(slot, 0).await?;
    assert_eq!(rows.len(), 1);
    // A contender may also be told "unknown": the server gives up under contention.
    if let Some((_, id)) = winners.first() {
        assert_eq!(rows[0], (7, id.clone()));
    }
    Ok(())
}
