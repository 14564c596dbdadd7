//! What the store says of each fault, and that a batch proposed again lands once.

use std::{sync::Arc, time::Duration};

use hanse_store::{
    ConditionalBatch, ConditionalStep, Consistency, Direction, Durability, Key, Mutation, Outcome,
    Range, Scan, StampedPut, Store, StoreError, Value,
};
use hanse_store_scylla::{ScyllaConfig, ScyllaStore};

use crate::{
    proxy::{Fault, Proxy, Served},
    server::{self, fresh_slot},
    tables,
};

/// How long the store waits. Long against what a request takes here (some milliseconds).
const TIMEOUT: Duration = Duration::from_millis(700);
/// Longer than that.
const DELAY_MS: u64 = 1_200;

/// A store behind a proxy, and a slot whose segment 0 stands at epoch 1, next 7.
async fn behind_a_proxy() -> anyhow::Result<(Proxy, ScyllaStore, i64)> {
    server::store_tables().await;
    let proxy = Proxy::start(server::address()).await?;
    let config = ScyllaConfig {
        nodes: vec![proxy.address.to_string()],
        request_timeout: TIMEOUT,
        ..server::store_config()
    };
    let customize = |builder| server::routed_through(builder, proxy.address);
    let store = ScyllaStore::connect_with(config, customize).await?;
    let slot = fresh_slot();
    let set = vec![("epoch", 1.into()), ("next", 7.into())];
    let create = ConditionalStep::InsertStaticsIfNotExists { set };
    let batch = ConditionalBatch {
        table: &tables::LOG,
        partition: vec![slot.into(), 0.into()],
        steps: vec![create],
    };
    assert_eq!(store.conditional(batch).await?, Outcome::Applied);
    Ok((proxy, store, slot))
}

fn append(slot: i64, epoch: i64, seq: i64, id: &str) -> ConditionalBatch {
    let id = Value::from(id.as_bytes().to_vec());
    ConditionalBatch {
        table: &tables::LOG,
        partition: vec![slot.into(), 0.into()],
        steps: vec![
            ConditionalStep::UpdateStatics {
                set: vec![("next", (seq + 1).into()), ("batch_id", id.clone())],
                conditions: vec![("epoch", epoch.into()), ("next", seq.into())],
            },
            ConditionalStep::Insert {
                clustering: vec![seq.into()],
                set: vec![("batch", id)],
            },
        ],
    }
}

/// Proposes the same batch until its position is decided.
async fn propose_until_decided(store: &ScyllaStore, batch: &ConditionalBatch) -> Outcome {
    for _ in 0..50 {
        match store.conditional(batch.clone()).await {
            Ok(outcome) => return outcome,
            Err(StoreError::Unknown { .. } | StoreError::Unavailable { .. }) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the position stays undecided");
}

async fn ids(store: &ScyllaStore, slot: i64) -> anyhow::Result<Vec<Value>> {
    let scan = Scan {
        table: &tables::LOG,
        partition: vec![slot.into(), 0.into()],
        range: Range::all(),
        direction: Direction::Forward,
        limit: 10,
    };
    let rows = store.scan(scan).await?.rows;
    Ok(rows.into_iter().map(|row| row.values[0].clone()).collect())
}

#[tokio::test]
async fn every_fault_of_a_conditional_batch_is_unknown_and_settled_by_repetition()
-> anyhow::Result<()> {
    let faults = [
        (Fault::CutLink, false),
        (Fault::DelayResponse(DELAY_MS), false),
        // The driver's default policy would send a statement again after this one.
        (Fault::WriteTimeout("BATCH_LOG"), false),
        (Fault::WriteTimeout("CAS"), false),
        (Fault::WriteTimeout("SIMPLE"), false),
        (Fault::DropRequest, true),
    ];
    for (fault, applied_later) in faults {
        let (proxy, store, slot) = behind_a_proxy().await?;
        let id = format!("{fault:?} in slot {slot}");
        let batch = append(slot, 1, 7, &id);
        proxy.inject(id.as_bytes(), fault);
        let answer = store.conditional(batch.clone()).await;
        assert!(
            matches!(answer, Err(StoreError::Unknown { table: "log", .. })),
            "{answer:?}"
        );
        assert_eq!(
            proxy.sightings(id.as_bytes()),
            1,
            "the driver sent it again by itself"
        );
        let decided = propose_until_decided(&store, &batch).await;
        assert_eq!(decided == Outcome::Applied, applied_later, "{fault:?}");
        assert_eq!(ids(&store, slot).await?, [Value::from(id.into_bytes())]);
    }
    Ok(())
}

#[tokio::test]
async fn a_refused_append_tells_epoch_and_next() -> anyhow::Result<()> {
    let (_proxy, store, slot) = behind_a_proxy().await?;
    let current = vec![("epoch", 1.into()), ("next", 7.into())];
    let told = store.conditional(append(slot, 2, 7, "stranger")).await?;
    assert_eq!(told, Outcome::Refused { current });
    Ok(())
}

#[tokio::test]
async fn a_request_held_until_its_batch_was_decided_is_refused() -> anyhow::Result<()> {
    let (proxy, store, slot) = behind_a_proxy().await?;
    let id = format!("held in slot {slot}");
    let batch = append(slot, 1, 7, &id);
    proxy.inject(id.as_bytes(), Fault::HoldRequest);
    assert!(matches!(
        store.conditional(batch.clone()).await,
        Err(StoreError::Unknown { .. })
    ));
    let key = Key::new([slot.into(), 0.into()], [7.into()]);
    let read = store.get(&tables::LOG, &key, Consistency::Serial).await?;
    assert_eq!(
        read, None,
        "the read says empty although the batch may still land"
    );
    assert_eq!(
        propose_until_decided(&store, &batch).await,
        Outcome::Applied
    );
    proxy.release();
    assert_eq!(proxy.served(0).await, Served::Refused);
    assert_eq!(ids(&store, slot).await?, [Value::from(id.into_bytes())]);
    Ok(())
}

/// An unconditional write is harmless to repeat, so the driver may do it, and a caller may too.
#[tokio::test]
async fn a_cut_unconditional_write_is_repeated() -> anyhow::Result<()> {
    let (proxy, store, slot) = behind_a_proxy().await?;
    let words = format!("plain in slot {slot}");
    proxy.inject(words.as_bytes(), Fault::CutLink);
    let key = Key::new([slot.into()], [1.into()]);
    let put = Mutation::Put(StampedPut {
        table: &tables::NOTES,
        key: key.clone(),
        values: vec![words.as_str().into()],
        stamp: 1,
        expires_at_ms: None,
    });
    for _ in 0..50 {
        match store.apply(vec![put.clone()], Durability::Synced).await {
            Ok(()) => break,
            Err(error) => assert!(error.retryable(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(proxy.events().len(), 1);
    let row = store.get(&tables::NOTES, &key, Consistency::Quorum).await?;
    assert_eq!(row.expect("the row").values, [Value::from(words)]);
    Ok(())
}

/// Nothing was sent: nothing is unknown.
#[tokio::test]
async fn a_cluster_that_is_gone_is_unavailable() -> anyhow::Result<()> {
    let (proxy, store, slot) = behind_a_proxy().await?;
    let store = Arc::new(store);
    drop(proxy);
    // The first requests may still find the old connection, and break with it.
    for _ in 0..50 {
        let answer = store.conditional(append(slot, 1, 7, "nobody hears")).await;
        match answer.expect_err("there is no server") {
            StoreError::Unavailable { .. } => return Ok(()),
            StoreError::Unknown { .. } => tokio::time::sleep(Duration::from_millis(50)).await,
            other => panic!("{other}"),
        }
    }
    panic!("never said that the store is unavailable");
}

#[tokio::test]
async fn no_server_is_an_error_of_connecting() {
    let config = ScyllaConfig {
        nodes: vec!["127.0.0.1:1".to_owned()],
        ..server::store_config()
    };
    let error = ScyllaStore::connect(config)
        .await
        .err()
        .expect("nothing listens there");
    assert_eq!(error.to_string(), "cannot connect to the CQL cluster");
}
