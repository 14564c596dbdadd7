//! What many callers at once cost: shared reads, pipelined writes, one coordinator a partition.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use futures::future::{join_all, try_join_all};
use hanse_store::{
    ConditionalBatch, ConditionalStep, Consistency, Durability, Key, Mutation, Outcome, StampedPut,
    Store, Value,
};
use hanse_store_scylla::{ScyllaConfig, ScyllaStore};

use crate::{
    proxy::Proxy,
    server::{self, fresh_slot},
    tables,
};

/// Slots whose number is also rare as bytes in a frame.
const MARKED: i64 = 0x7E57_0000_0000_0000;

/// A store that reaches each node by way of a proxy of its own.
async fn through_proxies() -> anyhow::Result<(Vec<Proxy>, Arc<ScyllaStore>)> {
    server::store_tables().await;
    let mut proxies = Vec::new();
    for node in server::nodes() {
        proxies.push(Proxy::start(node).await?);
    }
    let doors: Vec<SocketAddr> = proxies.iter().map(|proxy| proxy.address).collect();
    let config = ScyllaConfig {
        nodes: vec![doors[0].to_string()],
        ..server::store_config()
    };
    let customize = |builder| server::routed_through_all(builder, &doors);
    let store = ScyllaStore::connect_with(config, customize).await?;
    Ok((proxies, Arc::new(store)))
}

fn note(slot: i64, position: i64, words: &str) -> Mutation {
    Mutation::Put(StampedPut {
        table: &tables::NOTES,
        key: Key::new([slot.into()], [position.into()]),
        values: vec![words.into()],
        stamp: position + 1,
        expires_at_ms: None,
    })
}

fn sightings(proxies: &[Proxy], slot: i64) -> Vec<usize> {
    let needle = slot.to_be_bytes();
    proxies
        .iter()
        .map(|proxy| proxy.sightings(&needle))
        .collect()
}

fn watch(proxies: &[Proxy], slot: i64) {
    for proxy in proxies {
        proxy.watch(&slot.to_be_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identical_reads_at_once_share_a_query() -> anyhow::Result<()> {
    const READERS: usize = 200;
    let (proxies, store) = through_proxies().await?;
    let slot = MARKED + fresh_slot();
    store
        .apply(vec![note(slot, 0, "words")], Durability::Synced)
        .await?;
    watch(&proxies, slot);
    let key = Key::new([slot.into()], [0.into()]);
    let reads = (0..READERS).map(|_| store.get(&tables::NOTES, &key, Consistency::Quorum));
    for row in try_join_all(reads).await? {
        assert_eq!(row.expect("the row").values, [Value::from("words")]);
    }
    let queries: usize = sightings(&proxies, slot).iter().sum();
    assert!(
        (1..=4).contains(&queries),
        "{READERS} reads, {queries} queries"
    );
    Ok(())
}

/// Sabotage: a reader that joins a query which has begun sees an older value here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_read_sees_what_was_acknowledged_before_it_was_asked_for() -> anyhow::Result<()> {
    const WRITES: i64 = 200;
    const READERS: usize = 16;
    let (_proxies, store) = through_proxies().await?;
    let slot = fresh_slot();
    let key = Key::new([slot.into()], [0.into()]);
    let (acknowledged, done) = (AtomicI64::new(-1), AtomicBool::new(false));
    let read = async || {
        let mut reads = 0;
        while !done.load(Ordering::SeqCst) {
            let at_least = acknowledged.load(Ordering::SeqCst);
            let row = store.get(&tables::NOTES, &key, Consistency::Quorum).await?;
            let words = row.and_then(|row| Some(row.values[0].as_str()?.parse::<i64>()));
            let seen = words.transpose()?.unwrap_or(-1);
            anyhow::ensure!(
                seen >= at_least,
                "{seen} was read, {at_least} was acknowledged"
            );
            reads += 1;
        }
        anyhow::Ok(reads)
    };
    let writes = async {
        for number in 0..WRITES {
            let put = Mutation::Put(StampedPut {
                table: &tables::NOTES,
                key: key.clone(),
                values: vec![number.to_string().into()],
                stamp: number + 1,
                expires_at_ms: None,
            });
            store.apply(vec![put], Durability::Synced).await?;
            acknowledged.store(number, Ordering::SeqCst);
            // The readers' query is under way at this moment, mostly since before the write.
            let row = store.get(&tables::NOTES, &key, Consistency::Quorum).await?;
            let seen = row.and_then(|row| row.values[0].as_str().map(str::to_owned));
            anyhow::ensure!(seen == Some(number.to_string()), "{seen:?} after {number}");
        }
        anyhow::Ok(())
    };
    let write = async {
        let written = writes.await;
        done.store(true, Ordering::SeqCst);
        written
    };
    let (reads, written) = tokio::join!(join_all((0..READERS).map(|_| read())), write);
    written?;
    for reads in reads {
        assert!(reads? > 0);
    }
    Ok(())
}

/// 500 rows: neither one at a time nor all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_many_rows_is_written_side_by_side_within_a_bound() -> anyhow::Result<()> {
    const ROWS: i64 = 500;
    const REQUESTS_MAX: usize = 32;
    let (proxies, store) = through_proxies().await?;
    let first = fresh_slot() * ROWS + MARKED;
    let rows = (0..ROWS).map(|number| note(first + number, 0, "spread"));
    store.apply(rows.collect(), Durability::Synced).await?;
    let most: Vec<usize> = proxies.iter().map(Proxy::most_under_way).collect();
    let (most, sum) = (most.iter().max().copied(), most.iter().sum::<usize>());
    assert!(most > Some(1) && sum <= REQUESTS_MAX * proxies.len());
    assert!(most <= Some(REQUESTS_MAX), "{most:?} under way at once");

    let slot = MARKED + fresh_slot();
    watch(&proxies, slot);
    let rows = (0..ROWS).map(|number| note(slot, number, "together"));
    store.apply(rows.collect(), Durability::Synced).await?;
    let requests: usize = sightings(&proxies, slot).iter().sum();
    assert_eq!(requests, 8, "64 rows of one partition go together");
    Ok(())
}

/// Sabotage: without the keyspace's replication, or with the driver's own policy for batches, the
/// batches of one partition go to any node.
#[tokio::test]
async fn conditional_batches_of_a_partition_have_one_coordinator() -> anyhow::Result<()> {
    const PARTITIONS: usize = 24;
    const BATCHES: i64 = 12;
    let (proxies, store) = through_proxies().await?;
    let mut coordinators = vec![0; proxies.len()];
    for _ in 0..PARTITIONS {
        let slot = MARKED + fresh_slot();
        watch(&proxies, slot);
        assert_eq!(store.conditional(head(slot)).await?, Outcome::Applied);
        for seq in 0..BATCHES {
            assert_eq!(
                store.conditional(append(slot, seq)).await?,
                Outcome::Applied
            );
        }
        let seen = sightings(&proxies, slot);
        let all = usize::try_from(BATCHES)? + 1;
        let one = seen.iter().position(|count| *count == all);
        coordinators[one.unwrap_or_else(|| panic!("slot {slot} by {seen:?}"))] += 1;
    }
    assert!(
        coordinators.iter().all(|partitions| *partitions > 0),
        "all nodes share the partitions: {coordinators:?}"
    );
    Ok(())
}

fn head(slot: i64) -> ConditionalBatch {
    let set = vec![("epoch", 1.into()), ("next", 0.into())];
    ConditionalBatch {
        table: &tables::LOG,
        partition: vec![slot.into(), 0.into()],
        steps: vec![ConditionalStep::InsertStaticsIfNotExists { set }],
    }
}

fn append(slot: i64, seq: i64) -> ConditionalBatch {
    ConditionalBatch {
        table: &tables::LOG,
        partition: vec![slot.into(), 0.into()],
        steps: vec![
            ConditionalStep::UpdateStatics {
                set: vec![("next", (seq + 1).into())],
                conditions: vec![("epoch", 1.into()), ("next", seq.into())],
            },
            ConditionalStep::Insert {
                clustering: vec![seq.into()],
                set: vec![("batch", vec![1].into())],
            },
        ],
    }
}
