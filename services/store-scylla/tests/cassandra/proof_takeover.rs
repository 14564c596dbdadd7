//! Takeover: each epoch is given to one contender, and what the former owner sends is refused.

use std::sync::Arc;

use scylla::value::CqlValue;
use tokio::task::JoinSet;

use crate::{
    proof::{Answer, Log, Proposal, columns},
    proof_append::open_segment,
};

/// Lets so many contenders race for the next epoch, and returns how many won and how many were left
/// in the dark by the server.
async fn race(log: &Arc<Log>, slot: i64, epoch: i64, contenders: usize) -> (usize, usize) {
    let mut running = JoinSet::new();
    for _ in 0..contenders {
        let log = log.clone();
        running.spawn(async move { log.takeover(slot, 0, epoch).await });
    }
    let answers = running.join_all().await;
    let won = answers.iter().filter(|answer| answer.applied()).count();
    let unknown = answers
        .iter()
        .filter(|answer| matches!(answer, Answer::Unknown(_)))
        .count();
    (won, unknown)
}

/// Twenty epochs, each raced for: never two winners, and the epoch rises by one each time.
async fn race_for_epochs(contenders: usize) -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    let log = Arc::new(log);
    let (mut won_all, mut unknown_all) = (0, 0);
    for epoch in 1..=20 {
        let (won, unknown) = race(&log, slot, epoch, contenders).await;
        assert!(
            won == 1 || (won == 0 && unknown > 0),
            "epoch {epoch} was won {won} times"
        );
        let head = log.head(slot, 0).await?.expect("the head stays");
        if won == 0 && head.epoch == Some(epoch) {
            // Contention left nobody sure, and nobody took it: the next race must start from here.
            assert!(log.takeover(slot, 0, epoch).await.applied());
        } else {
            assert_eq!(head.epoch, Some(epoch + 1));
        }
        won_all += won;
        unknown_all += unknown;
    }
    eprintln!("takeover, {contenders} contenders, 20 epochs: {won_all} won, {unknown_all} unknown");
    Ok(())
}

#[tokio::test]
async fn of_two_contenders_one_takes_the_epoch() -> anyhow::Result<()> {
    race_for_epochs(2).await
}

#[tokio::test]
async fn of_ten_contenders_one_takes_the_epoch() -> anyhow::Result<()> {
    race_for_epochs(10).await
}

#[tokio::test]
async fn a_takeover_from_an_old_epoch_is_refused_and_tells_the_epoch() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    assert!(log.takeover(slot, 0, 1).await.applied());
    let refused = log.takeover(slot, 0, 1).await.refusal();
    // A refused single UPDATE tells only the condition's column.
    assert_eq!(refused, columns(&[("epoch", 2)]));
    Ok(())
}

#[tokio::test]
async fn a_takeover_of_no_segment_is_refused_and_creates_nothing() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    assert_eq!(log.takeover(slot, 9, 1).await.refusal(), columns(&[]));
    assert_eq!(log.head(slot, 9).await?, None);
    Ok(())
}

/// The former owner wakes after the takeover and sends what it had in hand.
#[tokio::test]
async fn a_zombies_append_after_the_takeover_is_refused() -> anyhow::Result<()> {
    let (log, slot) = open_segment().await?;
    assert!(
        log.append(slot, 0, &Proposal::new(1, 7, "before"))
            .await
            .applied()
    );
    let zombie = Log::direct().await?;
    assert!(log.takeover(slot, 0, 1).await.applied());
    let refused = zombie
        .append(slot, 0, &Proposal::new(1, 8, "zombie"))
        .await
        .refusal();
    assert_eq!(refused.get("epoch"), Some(&CqlValue::BigInt(2)));
    assert!(
        log.append(slot, 0, &Proposal::new(2, 8, "new owner"))
            .await
            .applied()
    );
    // Neither is its next position open to it, which would land after the new owner's batch.
    let refused = zombie
        .append(slot, 0, &Proposal::new(1, 9, "zombie"))
        .await
        .refusal();
    assert_eq!(refused.get("epoch"), Some(&CqlValue::BigInt(2)));
    let rows = log.rows(slot, 0).await?;
    assert_eq!(rows, [(7, b"before".to_vec()), (8, b"new owner".to_vec())]);
    Ok(())
}
