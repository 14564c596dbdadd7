//! Trim: only a sealed segment goes, it goes wholly, and nothing can be appended to it again.

use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

use crate::{
    proof::{Log, Proposal, columns, run},
    proof_append::open_segment,
};

/// A slot whose segment 0 has two batches and is sealed in favour of segment 1.
async fn sealed_segment() -> anyhow::Result<(Log, i64)> {
    let (log, slot) = open_segment().await?;
    for seq in [7, 8] {
        assert!(
            log.append(slot, 0, &Proposal::new(1, seq, "batch"))
                .await
                .applied()
        );
    }
    assert!(log.create_head(slot, 1, (1, 9, 1_080)).await.applied());
    assert!(log.seal(slot, 0, 1, 9).await.applied());
    Ok((log, slot))
}

#[tokio::test]
async fn a_trim_removes_head_and_batches() -> anyhow::Result<()> {
    let (log, slot) = sealed_segment().await?;
    assert!(log.trim(slot, 0).await.applied());
    assert_eq!(log.head(slot, 0).await?, None);
    assert_eq!(log.rows(slot, 0).await?, []);
    // The successor is another partition and stays.
    assert_eq!(
        log.head(slot, 1).await?.expect("the open head").next,
        Some(9)
    );
    Ok(())
}

#[tokio::test]
async fn a_trim_without_the_seal_is_refused_and_removes_nothing() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    assert!(
        log.append(slot, 0, &Proposal::new(1, 7, "batch"))
            .await
            .applied()
    );
    let refused = log.trim(slot, 0).await.refusal();
    // `sealed` is null and so is not told; the keys are, that of the first row included.
    assert_eq!(
        refused,
        columns(&[("slot", slot), ("segment", 0), ("seq", 7)])
    );
    assert_eq!(log.rows(slot, 0).await?, [(7, b"batch".to_vec())]);
    assert_eq!(
        log.head(slot, 0).await?.expect("the head stays").next,
        Some(8)
    );
    Ok(())
}

#[tokio::test]
async fn an_append_to_a_trimmed_segment_is_refused_and_creates_nothing() -> anyhow::Result<()> {
    let (log, slot) = sealed_segment().await?;
    assert!(log.trim(slot, 0).await.applied());
    for seq in [-1, 7, 9] {
        let refused = log
            .append(slot, 0, &Proposal::new(1, seq, "zombie"))
            .await
            .refusal();
        assert_eq!(refused, columns(&[]));
    }
    assert_eq!(log.head(slot, 0).await?, None);
    assert_eq!(log.rows(slot, 0).await?, []);
    Ok(())
}

#[tokio::test]
async fn takeover_seal_and_second_trim_of_a_trimmed_segment_are_refused() -> anyhow::Result<()> {
    let (log, slot) = sealed_segment().await?;
    assert!(log.trim(slot, 0).await.applied());
    assert_eq!(log.takeover(slot, 0, 1).await.refusal(), columns(&[]));
    assert_eq!(log.seal(slot, 0, 1, 9).await.refusal(), columns(&[]));
    assert_eq!(log.trim(slot, 0).await.refusal(), columns(&[]));
    assert_eq!(log.head(slot, 0).await?, None);
    Ok(())
}

/// Why a trim is a batch of two: the server refuses a condition on a whole partition's delete.
#[tokio::test]
async fn a_conditional_delete_of_a_whole_partition_is_refused_by_the_server() -> anyhow::Result<()>
{
    let (log, slot) = sealed_segment().await?;
    let delete = format!("DELETE FROM log WHERE slot = {slot} AND segment = 0 IF sealed = 1");
    let error = log
        .session
        .query_unpaged(delete, ())
        .await
        .expect_err("Cassandra refuses it");
    let ExecutionError::LastAttemptError(RequestAttemptError::DbError(kind, text)) = error else {
        panic!("another error: {error}");
    };
    assert_eq!(kind, DbError::Invalid);
    assert_eq!(
        text,
        "DELETE statements must restrict all PRIMARY KEY columns with equality \
         relations in order to delete non static columns"
    );
    assert_eq!(log.rows(slot, 0).await?.len(), 2, "nothing was removed");
    Ok(())
}

/// The rows alone can go under a condition on the head, too: a delete of a range of them.
#[tokio::test]
async fn a_range_delete_rides_on_the_heads_condition_and_leaves_the_head() -> anyhow::Result<()> {
    let (log, slot) = sealed_segment().await?;
    let batch = |sealed: i64| {
        let partition = format!("WHERE slot = {slot} AND segment = 0");
        format!(
            "BEGIN BATCH UPDATE log SET next = -2 {partition} IF sealed = {sealed}; \
             DELETE FROM log {partition} AND seq >= -9223372036854775808; APPLY BATCH"
        )
    };
    assert!(!run(&log.session, &batch(2)).await.applied());
    assert_eq!(log.rows(slot, 0).await?.len(), 2);
    assert!(run(&log.session, &batch(1)).await.applied());
    assert_eq!(log.rows(slot, 0).await?, []);
    assert_eq!(
        log.head(slot, 0).await?.expect("the head stays").next,
        Some(-2)
    );
    Ok(())
}
