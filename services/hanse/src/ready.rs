//! Whether a process of a cluster should get traffic.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use hanse_cluster::View;
use hanse_log::{Lease, Slot, SlotOwner};
use hanse_runtime::{ReadyPart, Tasks};
use hanse_store::Store;
use tokio::sync::watch;

/// From one look to the next.
const LOOK_PERIOD: Duration = Duration::from_millis(250);
/// Rows that are read at one look, and of these at once.
const ROWS_PER_LOOK: usize = 512;
const ROWS_AT_ONCE: usize = 16;

/// Up while this process may serve slots.
pub(crate) fn while_held(tasks: &Tasks, part: ReadyPart, lease: Arc<dyn Lease>) {
    watch(tasks, "ready-lease", async move {
        let mut period = tokio::time::interval(LOOK_PERIOD);
        loop {
            period.tick().await;
            part.set(lease.is_held());
        }
    });
}

/// Up while a member takes work of a role.
pub(crate) fn while_taken(
    tasks: &Tasks,
    part: ReadyPart,
    role: &'static str,
    mut members: watch::Receiver<View>,
) {
    watch(tasks, "ready-role", async move {
        loop {
            part.set(members.borrow_and_update().taking(role).next().is_some());
            if members.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Up once every slot was seen with an owner that lives, and while there is a persister. Not down
/// while some slots are between owners: that would turn a part's absence into the whole's.
pub(crate) fn while_owned(
    tasks: &Tasks,
    part: ReadyPart,
    slots: Vec<Slot>,
    store: Arc<dyn Store>,
    members: watch::Receiver<View>,
) {
    watch(tasks, "ready-owners", async move {
        let mut unseen = slots;
        let mut period = tokio::time::interval(LOOK_PERIOD);
        loop {
            period.tick().await;
            let view = members.borrow().clone();
            let anybody = view.persisters().next().is_some();
            if anybody && !unseen.is_empty() {
                unseen = still_unseen(unseen, store.as_ref(), &view).await;
            }
            part.set(anybody && unseen.is_empty());
        }
    });
}

async fn still_unseen(mut slots: Vec<Slot>, store: &dyn Store, view: &View) -> Vec<Slot> {
    let later = slots.split_off(slots.len().min(ROWS_PER_LOOK));
    let looks = stream::iter(slots).map(|slot| async move {
        let row = SlotOwner::glance(store, slot).await;
        let owner = row.ok().flatten().map(|row| row.owner);
        let lives = owner.is_some_and(|owner| view.live.contains_key(&owner));
        (!lives).then_some(slot)
    });
    let looked = looks.buffer_unordered(ROWS_AT_ONCE);
    let mut unseen: Vec<Slot> = looked.filter_map(std::future::ready).collect().await;
    unseen.extend(later);
    unseen
}

fn watch(tasks: &Tasks, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let soft = tasks.soft().clone();
    tasks.spawn(name, async move {
        soft.run_until_cancelled(work).await;
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use hanse_cluster::{Member, PERSISTER};
    use hanse_log::{LogParts, SlotLogs, SlotMap};
    use hanse_runtime::{Readiness, SystemClock, SystemRandom};
    use hanse_store_embedded::{EmbeddedStore, Options};
    use tempfile::TempDir;

    use super::*;
    use crate::applier::Domains;

    struct Held(AtomicBool);

    impl Lease for Held {
        fn is_held(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    async fn becomes(readiness: &Readiness, missing: &[&str]) {
        let so = async {
            while readiness.missing() != missing {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let became = tokio::time::timeout(Duration::from_secs(10), so).await;
        let found = readiness.missing();
        assert!(became.is_ok(), "{found:?}, not {missing:?}");
    }

    async fn stays(readiness: &Readiness, missing: &[&str]) {
        tokio::time::sleep(3 * LOOK_PERIOD).await;
        assert_eq!(readiness.missing(), missing);
    }

    fn member(id: &str, role: &str, draining: bool) -> View {
        let member = Member {
            id: id.to_owned(),
            roles: vec![role.to_owned()],
            draining,
            ..Member::default()
        };
        View {
            tenure: 1,
            live: [(id.to_owned(), member)].into(),
            ..View::default()
        }
    }

    /// Red if a persister without a lease is ready.
    #[tokio::test]
    async fn who_has_no_lease_is_not_ready() {
        let (readiness, tasks) = (Readiness::default(), Tasks::new());
        let lease = Arc::new(Held(AtomicBool::new(false)));
        while_held(&tasks, readiness.part("lease"), Arc::clone(&lease) as _);
        stays(&readiness, &["lease"]).await;
        lease.0.store(true, Ordering::Relaxed);
        becomes(&readiness, &[]).await;
        lease.0.store(false, Ordering::Relaxed);
        becomes(&readiness, &["lease"]).await;
        tasks.finish().await;
    }

    /// Red if a worker that drains, or none, is one.
    #[tokio::test]
    async fn who_finds_nobody_for_a_role_is_not_ready() {
        let (readiness, tasks) = (Readiness::default(), Tasks::new());
        let members = watch::Sender::new(View::default());
        while_taken(&tasks, readiness.part("sync"), "sync", members.subscribe());
        becomes(&readiness, &["sync"]).await;
        members.send_replace(member("w", "sync", false));
        becomes(&readiness, &[]).await;
        members.send_replace(member("w", "sync", true));
        becomes(&readiness, &["sync"]).await;
        members.send_replace(member("w", "persister", false));
        stays(&readiness, &["sync"]).await;
        tasks.finish().await;
    }

    /// Red if slots without a living owner are passed over at the start, or the last persister's end
    /// is not seen.
    #[tokio::test]
    async fn who_sees_no_owners_is_not_ready() {
        let (readiness, tasks) = (Readiness::default(), Tasks::new());
        let dir = TempDir::new().unwrap();
        let store: Arc<dyn Store> =
            EmbeddedStore::open(dir.path(), Options::new(Arc::new(|| 0))).unwrap();
        let map = SlotMap::initial(4);
        let logs = SlotLogs::open(LogParts {
            store: Arc::clone(&store),
            applier: Arc::new(Domains),
            clock: SystemClock::shared(),
            random: SystemRandom::shared(),
            tasks: tasks.clone(),
            map,
            owner: "p".to_owned(),
            segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
            consumers: Vec::new(),
            cluster: None,
        });
        logs.await.unwrap();
        let members = watch::Sender::new(member("another", PERSISTER, false));
        let slots = map.slots().collect();
        let part = readiness.part("owners");
        while_owned(&tasks, part, slots, store, members.subscribe());
        stays(&readiness, &["owners"]).await;
        members.send_replace(member("p", PERSISTER, false));
        becomes(&readiness, &[]).await;
        // Its slots are between owners, and others serve.
        members.send_replace(member("another", PERSISTER, false));
        stays(&readiness, &[]).await;
        members.send_replace(View::default());
        becomes(&readiness, &["owners"]).await;
        tasks.finish().await;
    }
}
