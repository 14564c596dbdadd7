//! "Replay writes the same rows": the whole log, applied again, leaves every stamped row as it is,
//! and writes the same rows into an empty store, byte for byte, stamps included.
//!
//! Sabotage: take a stamp from the clock instead of the batch's range, or a value from anywhere but
//! the entry. Both are done here on purpose, too, to show that the comparison sees them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what the tests share is test code, too"
)]

mod archive;
mod work;
mod world;

use hanse_proto::log::{Entry, entry::Kind};
use hanse_proto::room::room_entry;

use crate::{
    archive::{copy_log, differences, dump, forget_checkpoints, move_stamps, rows},
    world::World,
};

/// A store with a history, its tasks ended.
async fn with_history() -> World {
    let mut world = World::new();
    world.open().await;
    let rooms = work::first_half(&world).await;
    world.close().await;
    // A new owner, a new epoch, and a replay from a checkpoint in between.
    world.open().await;
    work::second_half(&world, &rooms).await;
    world.settle().await;
    world.close().await;
    world
}

/// An empty store with another's log, applied.
async fn applied_anew(history: &World, prepare: impl AsyncFnOnce(&mut World)) -> World {
    let mut fresh = World::new();
    copy_log(&history.store(), &fresh.store()).await;
    prepare(&mut fresh).await;
    fresh.open().await;
    fresh.settle().await;
    fresh.close().await;
    fresh
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_log_applied_again_changes_no_row() {
    let mut world = with_history().await;
    let before = dump(&world.store()).await;
    assert!(rows(&before) > 500, "{} rows are no history", rows(&before));
    forget_checkpoints(&world.store()).await;
    world.open().await;
    let replayed = world.replayed();
    world.settle().await;
    world.close().await;
    assert!(replayed > 150, "{replayed} entries replayed");
    assert_eq!(
        differences(&before, &dump(&world.store()).await),
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_log_applied_anew_writes_the_same_rows() {
    let world = with_history().await;
    let fresh = applied_anew(&world, async |_| {}).await;
    let (before, after) = (dump(&world.store()).await, dump(&fresh.store()).await);
    assert_eq!(differences(&before, &after), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_stamps_and_other_rows_would_be_seen() {
    let world = with_history().await;
    let before = dump(&world.store()).await;
    let later = applied_anew(&world, async |fresh| move_stamps(&fresh.store(), 1).await).await;
    let found = differences(&before, &dump(&later.store()).await);
    assert_eq!(found.len(), rows(&before), "each row has another stamp");
    let forgetful = applied_anew(&world, async |fresh| fresh.leave_out(is_receipt)).await;
    let found = differences(&before, &dump(&forgetful.store()).await);
    assert!(
        !found.is_empty() && found.iter().all(|row| row.contains("receipts")),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_stamps_on_the_same_store_would_be_seen() {
    let mut world = with_history().await;
    let before = dump(&world.store()).await;
    forget_checkpoints(&world.store()).await;
    move_stamps(&world.store(), 1).await;
    world.open().await;
    world.close().await;
    assert!(!differences(&before, &dump(&world.store()).await).is_empty());
}

fn is_receipt(entry: &Entry) -> bool {
    let Some(Kind::Room(room)) = &entry.kind else {
        return false;
    };
    matches!(room.kind, Some(room_entry::Kind::Receipt(_)))
}
