//! Tables on the server: created once, widened by a newer version, never bent.

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
