//! The suite that every engine passes: what the verbs mean, said as cases.
//!
//! An engine's test names a function that makes a [`Subject`] and lets the macro write one test for
//! each case (or runs [`CASES`] in a loop, if it wants one session for all):
//!
//! ```ignore
//! hanse_store::store_conformance!(make_store);
//! ```
//!
//! One schema ([`TABLES`]) serves all cases, and each keeps to partitions of its own, since creating
//! tables is slow on a cluster. Cases take one to some hundred calls each.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "these are tests, in a library so that every engine can run them"
)]

mod conditional;
mod contention;
mod expiry;
mod limits;
mod misuse;
mod paging;
mod restart;
mod rows;
mod setup;
mod stamps;

use std::{future::Future, pin::Pin, sync::Arc};

use async_trait::async_trait;

pub use setup::TABLES;

use crate::Store;

/// An engine under test, with its clock.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store, with [`TABLES`] created.
    fn store(&self) -> Arc<dyn Store>;

    /// What the partitions of this run start with; differs from run to run if data outlives a run.
    fn prefix(&self) -> String;

    /// The time by which rows expire, in Unix milliseconds.
    fn now_ms(&self) -> i64;

    /// Lets at least this much of that time pass, in milliseconds.
    async fn pass(&self, ms: u64);

    /// Closes the store, without any farewell that a crash would not have, and opens it again.
    async fn reopen(&mut self);
}

/// A case that runs.
pub type Run<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One case.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Runs it; panics if the engine fails it.
    pub run: for<'a> fn(&'a mut dyn Subject) -> Run<'a>,
}

macro_rules! cases {
    ($d:tt $($module:ident::$case:ident),* $(,)?) => {
        /// Every case of the suite.
        pub const CASES: &[Case] = &[
            $(Case { name: stringify!($case), run: |subject| Box::pin($module::$case(subject)) },)*
        ];

        /// Writes a `#[tokio::test]` for each case. Takes the path of an
        /// `async fn() -> impl Subject`. The caller needs tokio with `macros` and
        /// `rt-multi-thread`.
        #[macro_export]
        macro_rules! store_conformance {
            ($make:path) => {
                $crate::store_conformance!(@tests $make, $($case),*);
            };
            (@tests $make:path, $d($name:ident),*) => {
                $d(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $d name() {
                        let mut subject = $make().await;
                        $crate::conformance::run(stringify!($d name), &mut subject).await;
                    }
                )*
            };
        }
    };
}

cases! { $
    rows::values_of_every_type_read_back,
    rows::missing_rows_are_none,
    rows::rows_without_clustering,
    rows::nulls_overwrite,
    rows::keys_of_every_type_sort,
    rows::partitions_are_isolated,
    paging::pages_add_up,
    paging::limits_end_a_page,
    paging::ranges_bound_by_prefix,
    paging::an_empty_partition_has_an_empty_page,
    paging::pages_skip_deleted_rows,
    paging::statics_come_with_each_row,
    stamps::the_greater_stamp_wins,
    stamps::deletes_have_stamps,
    stamps::deletes_come_before_puts,
    stamps::a_delete_wins_at_equal_stamps,
    stamps::the_same_write_again_is_harmless,
    stamps::a_call_may_write_a_row_twice,
    stamps::a_call_may_write_many_tables,
    stamps::buffered_writes_are_seen_at_once,
    expiry::rows_expire,
    expiry::a_later_put_changes_the_expiry,
    expiry::a_put_after_its_expiry_deletes,
    expiry::once_rows_expire,
    conditional::statics_are_inserted_once,
    conditional::statics_are_compared_and_set,
    conditional::null_is_a_condition,
    conditional::an_append_moves_head_and_row,
    conditional::a_refused_batch_leaves_nothing,
    conditional::rows_are_compared_and_set,
    conditional::rows_are_compared_and_deleted,
    conditional::all_rows_are_deleted_at_once,
    conditional::a_trim_takes_head_and_rows,
    conditional::rows_without_clustering_are_compared,
    contention::one_of_many_appends_wins,
    contention::one_of_many_creates_wins,
    contention::many_puts_of_a_row_converge,
    misuse::verbs_refuse_other_kinds,
    misuse::keys_and_values_must_fit,
    misuse::scans_must_fit,
    misuse::batches_must_fit,
    limits::keys_are_bounded,
    limits::rows_are_bounded,
    limits::batches_are_bounded,
    restart::a_restart_loses_nothing,
    restart::a_restart_forgets_no_stamp,
}

/// Runs the case of this name.
///
/// # Panics
/// If the engine fails it, or if there is no such case.
pub async fn run(name: &str, subject: &mut dyn Subject) {
    let case = CASES.iter().find(|case| case.name == name);
    (case.expect("a case of the suite").run)(subject).await;
}
