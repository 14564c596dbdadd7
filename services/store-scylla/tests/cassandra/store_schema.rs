//! Tables on the server: created once, widened by a newer version, never bent.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use hanse_store::{Column, Consistency, Durability, Key, Kind, Mutation, StampedPut, Store, Table};
use hanse_store_scylla::{ConnectError, Dialect, ScyllaConfig, ScyllaStore};

use crate::server;

static OLD: Table = Table {
    name: "migrating",
    kind: Kind::Stamped,
    partition: &[Column::bigint("id")],
    clustering: &[],
    statics: &[],
    values: &[Column::text("words")],
};

static NEW: Table = Table {
    values: &[Column::text("words"), Column::boolean("flag")],
    ..OLD
};

static BENT: Table = Table {
    values: &[Column::bigint("words")],
    ..OLD
};

static OTHER_KEY: Table = Table {
    partition: &[Column::text("words")],
    values: &[Column::bigint("id")],
    ..OLD
};

fn put(table: &'static Table, id: i64, values: &[hanse_store::Value]) -> Mutation {
    Mutation::Put(StampedPut {
        table,
        key: Key::partition([id.into()]),
        values: values.to_vec(),
        stamp: id,
        expires_at_ms: None,
    })
}

#[tokio::test]
async fn a_newer_version_adds_columns_and_both_versions_go_on() -> anyhow::Result<()> {
    server::store_tables().await;
    let (old, new) = (server::store().await, server::store().await);
    old.create_tables(&[&OLD]).await?;
    old.apply(vec![put(&OLD, 1, &["one".into()])], Durability::Synced)
        .await?;
    new.create_tables(&[&NEW]).await?;
    new.create_tables(&[&NEW]).await?;
    new.apply(
        vec![put(&NEW, 2, &["two".into(), true.into()])],
        Durability::Synced,
    )
    .await?;
    old.apply(vec![put(&OLD, 3, &["three".into()])], Durability::Synced)
        .await?;
    for (id, words, flag) in [(1, "one", None), (2, "two", Some(true)), (3, "three", None)] {
        let key = Key::partition([id.into()]);
        let row = new
            .get(&NEW, &key, Consistency::Quorum)
            .await?
            .expect("a row");
        assert_eq!(row.values, [words.into(), flag.into()]);
        let row = old
            .get(&OLD, &key, Consistency::Quorum)
            .await?
            .expect("a row");
        assert_eq!(row.values, [words.into()]);
    }
    for (table, reason) in [
        (
            &BENT,
            "in the cluster, column words is a regular column of type text",
        ),
        (
            &OTHER_KEY,
            "in the cluster, column words is a regular column of type text",
        ),
    ] {
        let error = new
            .create_tables(&[table])
            .await
            .expect_err("another table stands there");
        let wanted = format!("a call does not fit table migrating: {reason}");
        assert_eq!(error.to_string(), wanted);
    }
    Ok(())
}

/// A column that a newer version has dropped from its description stays, and is not touched.
#[tokio::test]
async fn a_column_that_nobody_describes_any_more_is_left_alone() -> anyhow::Result<()> {
    static BEFORE: Table = Table {
        name: "contracting",
        values: &[Column::text("words"), Column::boolean("flag")],
        ..OLD
    };
    static AFTER: Table = Table {
        name: "contracting",
        ..OLD
    };
    server::store_tables().await;
    let (before, after) = (server::store().await, server::store().await);
    before.create_tables(&[&BEFORE]).await?;
    let both = ["one".into(), true.into()];
    before
        .apply(vec![put(&BEFORE, 1, &both)], Durability::Synced)
        .await?;
    after.create_tables(&[&AFTER]).await?;
    let key = Key::partition([1.into()]);
    let row = after.get(&AFTER, &key, Consistency::Quorum).await?;
    assert_eq!(row.expect("a row").values, ["one".into()]);
    let row = before.get(&BEFORE, &key, Consistency::Quorum).await?;
    assert_eq!(row.expect("a row").values, both);
    Ok(())
}

/// Both versions write without a pause while the newer one adds its column.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_fails_while_a_column_is_added() -> anyhow::Result<()> {
    const BEFORE_AND_AFTER: i64 = 50;
    static BEFORE: Table = Table {
        name: "widening",
        ..OLD
    };
    static AFTER: Table = Table {
        name: "widening",
        ..NEW
    };
    server::store_tables().await;
    let (old, new) = (server::store().await, server::store().await);
    old.create_tables(&[&BEFORE]).await?;
    let (added, last) = (AtomicBool::new(false), AtomicI64::new(0));
    let old_writes = async {
        let mut after = 0;
        for id in 0.. {
            after += i64::from(added.load(Ordering::SeqCst));
            if after > BEFORE_AND_AFTER {
                break;
            }
            let words = [format!("{id}").into()];
            old.apply(vec![put(&BEFORE, id, &words)], Durability::Synced)
                .await?;
            let key = Key::partition([id.into()]);
            let row = old.get(&BEFORE, &key, Consistency::Quorum).await?;
            assert_eq!(row.expect("a row").values, words);
            last.store(id, Ordering::SeqCst);
        }
        anyhow::Ok(())
    };
    let migration = async {
        while last.load(Ordering::SeqCst) < BEFORE_AND_AFTER {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        new.create_tables(&[&AFTER]).await?;
        added.store(true, Ordering::SeqCst);
        anyhow::Ok(())
    };
    tokio::try_join!(old_writes, migration)?;
    for id in 0..last.load(Ordering::SeqCst) {
        let key = Key::partition([id.into()]);
        let row = new.get(&AFTER, &key, Consistency::Quorum).await?;
        let words = format!("{id}").into();
        assert_eq!(
            row.expect("a row").values,
            [words, hanse_store::Value::Null]
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_server_is_known_for_what_it_is() {
    server::store_tables().await;
    assert_eq!(server::store().await.dialect(), Dialect::Cassandra);
}

#[tokio::test]
async fn a_keyspace_of_a_bad_name_is_refused_before_anything_is_sent() {
    let config = ScyllaConfig {
        keyspace: "hanse\"; DROP KEYSPACE hanse".to_owned(),
        ..server::store_config()
    };
    let refused = ScyllaStore::connect(config).await.err();
    assert!(matches!(refused, Some(ConnectError::KeyspaceName { .. })));
}
