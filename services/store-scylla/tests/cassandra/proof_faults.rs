//! Unknown outcomes, one at a time: what each fault leaves behind, and how it is settled.

use std::time::Duration;

use scylla::statement::Consistency;

use crate::{
    proof::{Answer, Log, Proposal, columns},
    proxy::{Fault, Proxy, Served},
    server::{self, fresh_slot},
};

/// How long the client waits for an answer. Long against an LWT here (some milliseconds), so that
/// time-outs are the faults' and not the machine's.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(700);
/// Longer than the client waits.
const DELAY_MS: u64 = 1_200;

/// A log behind a proxy, an unhindered one, and a slot at epoch 1, next 7.
async fn behind_a_proxy() -> anyhow::Result<(Proxy, Log, Log, i64)> {
    let proxy = Proxy::start(server::address()).await?;
    let hindered = Log::new(server::session_through(proxy.address, CLIENT_TIMEOUT).await?).await?;
    let (direct, slot) = (Log::direct().await?, fresh_slot());
    assert!(direct.create_head(slot, 0, (1, 7, 1_000)).await.applied());
    Ok((proxy, hindered, direct, slot))
}

/// Proposes the same batch at the same position until that is decided: true if it was applied by an
/// answer that we saw, false if it was refused.
async fn propose_until_decided(log: &Log, slot: i64, batch: &Proposal) -> bool {
    for _ in 0..50 {
        match log.append(slot, 0, batch).await {
            Answer::Applied => return true,
            Answer::Refused(_) => return false,
            // The driver re-opens a cut connection within some ten milliseconds.
            Answer::Unknown(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    panic!("position {} stays undecided", batch.seq);
}

async fn stored(log: &Log, slot: i64) -> anyhow::Result<Option<Vec<u8>>> {
    log.row((slot, 0), 7, Consistency::LocalSerial).await
}

#[tokio::test]
async fn a_link_cut_after_the_request_leaves_the_batch_there() -> anyhow::Result<()> {
    let (proxy, hindered, direct, slot) = behind_a_proxy().await?;
    let batch = Proposal::new(1, 7, &format!("cut in slot {slot}"));
    proxy.inject(&batch.id, Fault::CutLink);
    assert!(matches!(
        hindered.append(slot, 0, &batch).await,
        Answer::Unknown(_)
    ));
    assert_eq!(
        proxy.served(0).await,
        Served::Applied,
        "it landed, and the client does not know"
    );
    assert!(!propose_until_decided(&hindered, slot, &batch).await);
    assert_eq!(stored(&hindered, slot).await?, Some(batch.id.clone()));
    assert_eq!(direct.rows(slot, 0).await?, [(7, batch.id)]);
    Ok(())
}

#[tokio::test]
async fn a_response_later_than_the_timeout_leaves_the_batch_there() -> anyhow::Result<()> {
    let (proxy, hindered, direct, slot) = behind_a_proxy().await?;
    let batch = Proposal::new(1, 7, &format!("late in slot {slot}"));
    proxy.inject(&batch.id, Fault::DelayResponse(DELAY_MS));
    assert!(matches!(
        hindered.append(slot, 0, &batch).await,
        Answer::Unknown(_)
    ));
    assert!(!propose_until_decided(&hindered, slot, &batch).await);
    assert_eq!(
        proxy.events(),
        [(Fault::DelayResponse(DELAY_MS), Served::Applied)]
    );
    assert_eq!(stored(&hindered, slot).await?, Some(batch.id.clone()));
    assert_eq!(direct.rows(slot, 0).await?, [(7, batch.id)]);
    Ok(())
}

#[tokio::test]
async fn a_lost_request_lands_when_it_is_proposed_again() -> anyhow::Result<()> {
    let (proxy, hindered, direct, slot) = behind_a_proxy().await?;
    let batch = Proposal::new(1, 7, &format!("lost in slot {slot}"));
    proxy.inject(&batch.id, Fault::DropRequest);
    assert!(matches!(
        hindered.append(slot, 0, &batch).await,
        Answer::Unknown(_)
    ));
    assert_eq!(stored(&direct, slot).await?, None);
    assert!(propose_until_decided(&hindered, slot, &batch).await);
    assert_eq!(direct.rows(slot, 0).await?, [(7, batch.id)]);
    Ok(())
}

/// Law 3's reason: a read that says "empty", a serial one too, decides nothing.
#[tokio::test]
async fn a_read_that_says_empty_would_be_wrong() -> anyhow::Result<()> {
    let (proxy, hindered, direct, slot) = behind_a_proxy().await?;
    let batch = Proposal::new(1, 7, &format!("held in slot {slot}"));
    proxy.inject(&batch.id, Fault::HoldRequest);
    assert!(matches!(
        hindered.append(slot, 0, &batch).await,
        Answer::Unknown(_)
    ));
    for consistency in [Consistency::LocalQuorum, Consistency::LocalSerial] {
        assert_eq!(direct.row((slot, 0), 7, consistency).await?, None);
    }
    // Whoever took that for an answer has told a client "not sent". Now the request arrives.
    proxy.release();
    assert_eq!(proxy.served(0).await, Served::Applied);
    assert_eq!(stored(&direct, slot).await?, Some(batch.id));
    Ok(())
}

/// The same late request, settled by proposing the batch again: whatever arrives later is refused.
#[tokio::test]
async fn a_request_that_arrives_after_the_position_was_decided_is_refused() -> anyhow::Result<()> {
    let (proxy, hindered, direct, slot) = behind_a_proxy().await?;
    let batch = Proposal::new(1, 7, &format!("held in slot {slot}"));
    proxy.inject(&batch.id, Fault::HoldRequest);
    assert!(matches!(
        hindered.append(slot, 0, &batch).await,
        Answer::Unknown(_)
    ));
    assert!(propose_until_decided(&hindered, slot, &batch).await);
    assert!(
        direct
            .append(slot, 0, &Proposal::new(1, 8, "next"))
            .await
            .applied()
    );
    proxy.release();
    assert_eq!(proxy.served(0).await, Served::Refused);
    assert_eq!(
        direct.rows(slot, 0).await?,
        [(7, batch.id), (8, b"next".to_vec())]
    );
    assert_eq!(direct.head(slot, 0).await?.expect("a head").next, Some(9));
    Ok(())
}

/// The other end of law 3: the slot is taken while the outcome is unknown. The refusal by epoch
/// decides the position, for ever: an epoch never comes back.
#[tokio::test]
async fn a_takeover_decides_an_unknown_append() -> anyhow::Result<()> {
    let (proxy, hindered, direct, slot) = behind_a_proxy().await?;
    let batch = Proposal::new(1, 7, &format!("held in slot {slot}"));
    proxy.inject(&batch.id, Fault::HoldRequest);
    assert!(matches!(
        hindered.append(slot, 0, &batch).await,
        Answer::Unknown(_)
    ));
    assert!(direct.takeover(slot, 0, 1).await.applied());
    assert!(!propose_until_decided(&hindered, slot, &batch).await);
    assert_eq!(stored(&hindered, slot).await?, None);
    proxy.release();
    assert_eq!(
        proxy.served(0).await,
        Served::Refused,
        "the answer stays true"
    );
    assert_eq!(direct.rows(slot, 0).await?, []);
    Ok(())
}

/// An append that landed before the takeover, unknown to its owner, is the new owner's to keep.
#[tokio::test]
async fn an_unknown_append_that_landed_before_a_takeover_is_found_by_its_row() -> anyhow::Result<()>
{
    let (proxy, hindered, direct, slot) = behind_a_proxy().await?;
    let batch = Proposal::new(1, 7, &format!("cut in slot {slot}"));
    proxy.inject(&batch.id, Fault::CutLink);
    assert!(matches!(
        hindered.append(slot, 0, &batch).await,
        Answer::Unknown(_)
    ));
    assert_eq!(proxy.served(0).await, Served::Applied);
    assert!(direct.takeover(slot, 0, 1).await.applied());
    assert!(!propose_until_decided(&hindered, slot, &batch).await);
    assert_eq!(stored(&hindered, slot).await?, Some(batch.id));
    Ok(())
}

/// The slot's number, as the server gets it, names the requests that carry no batch id.
fn needle(slot: i64, segment: i64) -> Vec<u8> {
    let part = |value: i64| [8_i32.to_be_bytes().as_slice(), &value.to_be_bytes()].concat();
    [part(slot), part(segment)].concat()
}

/// A takeover carries no name: once its outcome is unknown, a refusal that tells e + 1 may be its own
/// doing or a rival's. It is taken again from the epoch told, until an answer says "applied".
#[tokio::test]
async fn an_unknown_takeover_is_taken_again_from_the_epoch_told() -> anyhow::Result<()> {
    let (proxy, hindered, direct, slot) = behind_a_proxy().await?;
    proxy.inject(&needle(slot, 0), Fault::DelayResponse(DELAY_MS));
    assert!(matches!(
        hindered.takeover(slot, 0, 1).await,
        Answer::Unknown(_)
    ));
    assert_eq!(
        hindered.takeover(slot, 0, 1).await.refusal(),
        columns(&[("epoch", 2)])
    );
    assert!(hindered.takeover(slot, 0, 2).await.applied());
    assert_eq!(direct.head(slot, 0).await?.expect("a head").epoch, Some(3));
    Ok(())
}

#[tokio::test]
async fn a_takeover_that_arrives_late_is_refused() -> anyhow::Result<()> {
    let (proxy, hindered, direct, slot) = behind_a_proxy().await?;
    proxy.inject(&needle(slot, 0), Fault::HoldRequest);
    assert!(matches!(
        hindered.takeover(slot, 0, 1).await,
        Answer::Unknown(_)
    ));
    assert!(direct.takeover(slot, 0, 1).await.applied());
    proxy.release();
    assert_eq!(proxy.served(0).await, Served::Refused);
    assert_eq!(direct.head(slot, 0).await?.expect("a head").epoch, Some(2));
    Ok(())
}

/// Succession and trim are settled by their own repetition: the refusal tells that it is done.
#[tokio::test]
async fn unknown_successions_and_trims_are_settled_by_repetition() -> anyhow::Result<()> {
    let (proxy, hindered, direct, slot) = behind_a_proxy().await?;
    let carried = [("epoch", 1), ("next", 7), ("stamp_end", 1_000)];
    proxy.inject(&needle(slot, 1), Fault::DelayResponse(DELAY_MS));
    assert!(matches!(
        hindered.create_head(slot, 1, (1, 7, 1_000)).await,
        Answer::Unknown(_)
    ));
    let mut told = hindered.create_head(slot, 1, (1, 7, 1_000)).await.refusal();
    told.retain(|name, _| carried.iter().any(|(column, _)| column == name));
    assert_eq!(
        told,
        columns(&carried),
        "the head that is there is the one we wanted"
    );

    proxy.inject(&needle(slot, 0), Fault::DelayResponse(DELAY_MS));
    assert!(matches!(
        hindered.seal(slot, 0, 1, 7).await,
        Answer::Unknown(_)
    ));
    let sealed = columns(&[("epoch", 1), ("next", -1)]);
    assert_eq!(hindered.seal(slot, 0, 1, 7).await.refusal(), sealed);

    proxy.inject(&needle(slot, 0), Fault::DelayResponse(DELAY_MS));
    assert!(matches!(hindered.trim(slot, 0).await, Answer::Unknown(_)));
    assert_eq!(hindered.trim(slot, 0).await.refusal(), columns(&[]));
    assert_eq!(direct.head(slot, 0).await?, None);
    Ok(())
}
