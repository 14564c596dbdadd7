//! This process's row in table `members`, and its view of all of them.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use hanse_log::Lease;
use hanse_runtime::{Clock, Random, Tasks};
use hanse_store::{Outcome, Store, StoreError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Member, View,
    member::MemberRow,
    observer::Observer,
    rows::MemberRows,
    tables::MEMBERS,
    tenancy::Tenancy,
    timing::{READ_GAP, READ_PERIOD, READ_TIMEOUT, RENEWAL_PERIOD, RENEWAL_RETRY, RENEWAL_TIMEOUT},
};

/// How often the own row is tried to be deleted; what is left lapses.
const LEAVINGS_MAX: u32 = 3;
/// Rows of long-lapsed members that are removed after one reading.
const REMOVALS_MAX: usize = 4;
/// Periods are shortened by up to a tenth, so that processes that started together drift apart.
const JITTER_SHARE: u32 = 10;

/// What a membership is built from.
pub struct MembershipParts {
    /// The store that all members share.
    pub store: Arc<dyn Store>,
    /// Time; only its monotonic scale decides anything.
    pub clock: Arc<dyn Clock>,
    /// Jitter.
    pub random: Arc<dyn Random>,
    /// Where renewing and reading run. When they are asked to finish, the row is deleted, but not
    /// before every keeper has given its slots up.
    pub tasks: Tasks,
    /// This process. Its id is drawn anew at each start and is the owner in the slots' rows.
    pub me: Member,
}

/// This process as a member of the cluster. Clones are the same.
#[derive(Clone)]
pub struct Membership {
    shared: Arc<Shared>,
}

struct Shared {
    me: Member,
    rows: MemberRows,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    soft: CancellationToken,
    tenancy: Arc<Tenancy>,
    view: watch::Sender<View>,
    draining: watch::Sender<bool>,
    /// How many keepers still need the lease.
    stays: watch::Sender<usize>,
}

/// As long as it lives, so does the lease, even if the tasks were asked to finish.
pub(crate) struct Stay(Arc<Shared>);

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.stays.send_modify(|stays| *stays -= 1);
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("me", &self.shared.me)
            .finish_non_exhaustive()
    }
}

impl Membership {
    /// Creates the table, and begins to renew and to read. The lease is held once the first renewal
    /// has succeeded.
    pub async fn join(parts: MembershipParts) -> Result<Self, StoreError> {
        parts.store.create_tables(&[&MEMBERS]).await?;
        let shared = Arc::new(Shared {
            me: parts.me,
            rows: MemberRows::new(parts.store),
            tenancy: Arc::new(Tenancy::new(Arc::clone(&parts.clock))),
            clock: parts.clock,
            random: parts.random,
            soft: parts.tasks.soft().clone(),
            view: watch::Sender::default(),
            draining: watch::Sender::new(false),
            stays: watch::Sender::new(0),
        });
        let renewing = Arc::clone(&shared).keep_renewing();
        parts.tasks.spawn_critical("member-renew", renewing);
        let reading = Arc::clone(&shared).keep_reading();
        parts.tasks.spawn_critical("member-read", reading);
        Ok(Self { shared })
    }

    /// This process's id.
    pub fn id(&self) -> &str {
        &self.shared.me.id
    }

    /// This process's lease.
    pub fn lease(&self) -> Arc<dyn Lease> {
        Arc::clone(&self.shared.tenancy) as _
    }

    /// Who lives, whenever it changes.
    pub fn view(&self) -> watch::Receiver<View> {
        self.shared.view.subscribe()
    }

    /// Whether the lease is held, and everything known was read since it was gained.
    pub(crate) fn may_act(&self, view: &View) -> bool {
        let tenancy = &self.shared.tenancy;
        tenancy.is_held() && view.tenure == *tenancy.tenure().borrow()
    }

    /// Lets everybody know that this process takes no new work any more, slots included.
    pub fn drain(&self) {
        self.shared.draining.send_replace(true);
    }

    /// Keeps the lease until it is dropped.
    pub(crate) fn stay(&self) -> Stay {
        self.shared.stays.send_modify(|stays| *stays += 1);
        Stay(Arc::clone(&self.shared))
    }
}

impl Shared {
    /// Returns when the process ends and nobody needs the lease any more.
    async fn left(&self) {
        self.soft.cancelled().await;
        let mut stays = self.stays.subscribe();
        let _ = stays.wait_for(|stays| *stays == 0).await;
    }

    fn jittered(&self, period: Duration) -> Duration {
        let share = period / JITTER_SHARE;
        let less = Duration::from_micros(self.random.below(share.as_micros() as u64));
        period.saturating_sub(less)
    }

    fn since(&self, then: Duration) -> Duration {
        self.clock.monotonic().saturating_sub(then)
    }

    async fn keep_renewing(self: Arc<Self>) {
        let mut draining = self.draining.subscribe();
        let mut renewals = 0;
        let mut left = std::pin::pin!(self.left());
        loop {
            let sent = self.clock.monotonic();
            let pause = if self.renewed(&mut renewals).await {
                self.tenancy.renewed(sent);
                self.jittered(RENEWAL_PERIOD)
                    .saturating_sub(self.since(sent))
            } else {
                self.jittered(RENEWAL_RETRY)
            };
            tokio::select! {
                biased;
                () = &mut left => break,
                _ = draining.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.tenancy.end();
        self.leave().await;
    }

    /// Whether a renewal landed for certain. One in doubt is simply followed by the next: each shows
    /// a counter that was never shown before.
    async fn renewed(&self, renewals: &mut i64) -> bool {
        let outcome = within(RENEWAL_TIMEOUT, self.renew(renewals)).await;
        let (renewed, label) = match &outcome {
            Some(Ok(Outcome::Applied)) => (true, "applied"),
            Some(Ok(Outcome::Refused { .. })) => (false, "refused"),
            Some(Err(_)) => (false, "failed"),
            None => (false, "timeout"),
        };
        metrics::counter!("hanse_cluster_renewals_total", "outcome" => label).increment(1);
        if !renewed {
            let held = self.tenancy.is_held();
            tracing::warn!(
                ?outcome,
                lease.held = held,
                "the membership was not renewed"
            );
        }
        renewed
    }

    /// Renews the row, or enters it: the first time, and when others removed it as long lapsed.
    async fn renew(&self, renewals: &mut i64) -> Result<Outcome, StoreError> {
        let mut next = || {
            *renewals += 1;
            let mut member = self.me.clone();
            member.draining = *self.draining.borrow();
            MemberRow {
                member,
                renewals: *renewals,
            }
        };
        match self.rows.renew(&next()).await? {
            Outcome::Applied => Ok(Outcome::Applied),
            Outcome::Refused { .. } => self.rows.enter(&next()).await,
        }
    }

    async fn leave(&self) {
        for _ in 0..LEAVINGS_MAX {
            match within(RENEWAL_TIMEOUT, self.rows.leave(&self.me)).await {
                Some(Ok(_)) => return,
                failed => tracing::warn!(?failed, "the member's row was not deleted"),
            }
            tokio::time::sleep(self.jittered(RENEWAL_RETRY)).await;
        }
    }

    async fn keep_reading(self: Arc<Self>) {
        let mut observer = Observer::default();
        let mut tenure = self.tenancy.tenure();
        let mut left = std::pin::pin!(self.left());
        loop {
            let sent = self.clock.monotonic();
            let in_tenure = *tenure.borrow_and_update();
            match within(READ_TIMEOUT, self.rows.all()).await {
                Some(Ok(rows)) => {
                    observer.read(rows, sent, self.clock.monotonic());
                    self.show(&observer, in_tenure);
                    self.remove_old(&observer).await;
                }
                failed => tracing::warn!(?failed, "the members could not be read"),
            }
            let pause = self.until_next_reading(&observer, sent);
            tokio::select! {
                biased;
                () = &mut left => return,
                _ = tenure.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// A period, or until a member lapses: its slots wait.
    fn until_next_reading(&self, observer: &Observer, sent: Duration) -> Duration {
        let period = sent + self.jittered(READ_PERIOD);
        let lapse = observer.next_lapse().unwrap_or(period);
        let now = self.clock.monotonic();
        period.min(lapse).saturating_sub(now).max(READ_GAP)
    }

    fn show(&self, observer: &Observer, tenure: u64) {
        let live = observer.live();
        metrics::gauge!("hanse_cluster_members").set(live.len() as u32);
        let view = View {
            tenure,
            live,
            heirs: observer.heirs(),
        };
        self.view.send_if_modified(|shown| {
            let differs = *shown != view;
            if differs {
                tracing::info!(members = ?view.live.keys(), "the members are others");
                *shown = view;
            }
            differs
        });
    }

    /// One of those who live tidies up for all.
    async fn remove_old(&self, observer: &Observer) {
        let first = self.view.borrow().live.keys().next().cloned();
        if first.as_deref() != Some(&self.me.id) {
            return;
        }
        let now = self.clock.monotonic();
        for row in observer.long_lapsed(now).take(REMOVALS_MAX) {
            let removed = within(RENEWAL_TIMEOUT, self.rows.remove(row)).await;
            tracing::info!(member = row.member.id, ?removed, "a lapsed member's row");
        }
    }
}

/// `None`: it took too long.
async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, future).await.ok()
}
