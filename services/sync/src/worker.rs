//! The worker: follows every slot, knows who is online, and answers their requests.

use std::{fmt, sync::Arc, time::Duration};

use hanse_log::{Follower, Position, ReadError, SlotLogs};
use hanse_room::{RoomReader, Typing};
use hanse_runtime::{Clock, Tasks, trace};
use hanse_user::Users;
use parking_lot::RwLock;
use ruma::{
    DeviceId, UserId,
    api::client::sync::sync_events::{
        DeviceLists,
        v3::{Request, Response},
    },
};
use tracing::{Instrument, Span};

use crate::{
    SyncError,
    ask::Ask,
    devices::{Own, Stretch, ToldChanges},
    facts::Facts,
    memory::{Changed, Concerned, Memory},
    online::OnlineUser,
    seen::SeenMembers,
    to_device::Acknowledged,
    token::TokenKey,
    unread::UnreadCache,
};

/// Longest that a request waits for something to happen.
const TIMEOUT_MAX: Duration = Duration::from_mins(2);
/// How long a client that waits is not told of others' changed devices, so that it is told of several
/// at once. In a large room each change concerns everybody who waits.
const DEVICES_GATHERED_FOR: Duration = Duration::from_secs(1);
/// How often those who went away are forgotten, and typing times out.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// What the worker is built from.
pub struct SyncParts {
    /// The slots to follow.
    pub logs: SlotLogs,
    /// The rooms' archives.
    pub rooms: RoomReader,
    /// Users, for account data, filters and push rules.
    pub users: Users,
    /// Who is typing.
    pub typing: Typing,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where the follower runs; its soft token ends long polls.
    pub tasks: Tasks,
    /// The deployment's secret for tokens.
    pub token_key: TokenKey,
}

/// Answers `/sync`. Clones are the same.
#[derive(Clone)]
pub struct SyncWorker {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) memory: RwLock<Memory>,
    pub(crate) logs: SlotLogs,
    pub(crate) rooms: RoomReader,
    pub(crate) users: Users,
    pub(crate) typing: Typing,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: Tasks,
    pub(crate) token_key: TokenKey,
    pub(crate) unread: UnreadCache,
    pub(crate) facts: Facts,
    pub(crate) seen_members: SeenMembers,
    pub(crate) acknowledged: Acknowledged,
    pub(crate) told_changes: ToldChanges,
}

impl fmt::Debug for SyncWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncWorker").finish_non_exhaustive()
    }
}

impl SyncWorker {
    /// Starts following.
    pub fn start(parts: SyncParts) -> Self {
        let SyncParts {
            logs,
            rooms,
            users,
            typing,
            clock,
            tasks,
            token_key,
        } = parts;
        let follower = logs.follow();
        let memory = RwLock::new(Memory::new(follower.positions(), *logs.map()));
        let (unread, seen_members) = (UnreadCache::default(), SeenMembers::default());
        let acknowledged = Acknowledged::default();
        let inner = Arc::new(Inner {
            memory,
            logs,
            rooms,
            users,
            typing,
            clock,
            tasks,
            token_key,
            unread,
            facts: Facts::default(),
            seen_members,
            acknowledged,
            told_changes: ToldChanges::default(),
        });
        inner
            .tasks
            .spawn_critical("sync-follow", follow(Arc::clone(&inner), follower));
        inner.tasks.spawn("sync-sweep", sweep(Arc::clone(&inner)));
        inner
            .tasks
            .spawn("sync-typing", wake_for_typing(Arc::clone(&inner)));
        inner
            .tasks
            .spawn("sync-typing-listen", listen_to_typing(Arc::clone(&inner)));
        Self { inner }
    }

    /// `GET /_matrix/client/v3/sync` ([spec]) for one device.
    ///
    /// [spec]: https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3sync
    pub async fn sync(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        request: Request,
    ) -> Result<Response, SyncError> {
        let timeout = request.timeout.unwrap_or_default().min(TIMEOUT_MAX);
        let ask = Ask::of(&self.inner, user_id, device_id, request).await?;
        self.remove_acknowledged(&ask);
        let mut response = self.answer_in(&ask, timeout).await?;
        self.inner.key_status(&ask, &mut response).await?;
        Ok(response)
    }

    /// Answers as soon as there is something to tell, or when time is up.
    async fn answer_in(&self, ask: &Ask, timeout: Duration) -> Result<Response, SyncError> {
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        let user = self.inner.enter(&ask.user_id).await?;
        loop {
            let (awake, nudged) = (user.wake.notified(), user.nudge.notified());
            tokio::pin!(awake, nudged);
            // From here on nothing is missed while the answer is built.
            awake.as_mut().enable();
            nudged.as_mut().enable();
            let span = woken_span(&user);
            metrics::counter!("hanse_sync_answers_built_total").increment(1);
            let answer = self.inner.answer(ask).instrument(span).await?;
            if !answer.is_empty() || !ask.waits() {
                return Ok(answer.response);
            }
            tokio::select! {
                () = &mut awake => {}
                () = gathered(nudged) => {}
                () = &mut deadline => return Ok(answer.response),
                () = self.inner.tasks.soft().cancelled() => return Ok(ask.same_again()),
            }
        }
    }

    /// Whose devices changed between two tokens of this user, for `/keys/changes` ([spec]).
    ///
    /// [spec]: https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3keyschanges
    pub async fn device_lists(
        &self,
        user_id: &UserId,
        from: &str,
        to: &str,
    ) -> Result<DeviceLists, SyncError> {
        let inner = &self.inner;
        let from = inner.token_key.read(from, user_id)?;
        let to = inner.token_key.read(to, user_id)?;
        let rooms = inner.rooms.user_rooms(user_id).await?;
        let stretches = rooms.iter().filter_map(|room| {
            let slot = inner.logs.slot_of(room.room_id.as_str());
            let since = from.slots.get(&slot).copied();
            // A slot that the later token no longer names: the user has left its rooms.
            let left = since.is_some().then_some(Position::END);
            let now = to.slots.get(&slot).copied().or(left)?;
            let (devices, members) = (Changed::Unknown, Changed::Unknown);
            (room.position <= now).then_some(Stretch {
                room,
                since,
                now,
                devices,
                members,
            })
        });
        let stretches: Vec<_> = stretches.collect();
        let own = Own {
            since: from.own,
            now: to.own,
            changed: Changed::Unknown,
        };
        inner.device_lists(user_id, own, &stretches).await
    }

    /// The position in a room at which a sync token of this user stands.
    pub fn position_of(
        &self,
        user_id: &UserId,
        token: &str,
        room_id: &ruma::RoomId,
    ) -> Result<Position, SyncError> {
        let token = self.inner.token_key.read(token, user_id)?;
        Ok(token.position_in(self.inner.logs.map(), room_id))
    }
}

impl Inner {
    /// Marks the user as online, and makes sure that their rooms are in memory.
    async fn enter(&self, user_id: &UserId) -> Result<Arc<OnlineUser>, SyncError> {
        let (user, load) = self
            .memory
            .write()
            .online
            .enter(user_id, self.clock.monotonic());
        if load {
            let rooms = self.rooms.user_rooms(user_id).await?;
            self.memory.write().online.loaded(user_id, rooms);
        }
        Ok(user)
    }
}

/// Returns some time after the nudge.
async fn gathered(nudged: impl Future<Output = ()>) {
    nudged.await;
    tokio::time::sleep(DEVICES_GATHERED_FOR).await;
}

/// The answer belongs to the trace of what woke the user, and the request refers to it.
fn woken_span(user: &OnlineUser) -> Span {
    let trace_parent = user.take_trace();
    if trace_parent.is_empty() {
        return Span::none();
    }
    let span = tracing::info_span!("sync.answer");
    trace::adopt(&span, &trace_parent);
    trace::link(&trace_parent);
    span
}

async fn follow(inner: Arc<Inner>, mut follower: Follower) {
    let soft = inner.tasks.soft().clone();
    loop {
        let next = tokio::select! {
            next = follower.next() => next,
            () = soft.cancelled() => return,
        };
        match next {
            Ok(Some(batch)) => {
                inner.users.observe(&batch);
                let Concerned { at_once, soon } = inner.memory.write().take(&batch);
                let concerned = at_once.len() + soon.len();
                metrics::counter!("hanse_sync_woken_total").increment(concerned as u64);
                for user in at_once {
                    user.wake.notify_waiters();
                }
                for user in soon {
                    user.nudge.notify_waiters();
                }
            }
            Ok(None) => return,
            // Stopped for so long that the log went on without us: what this memory holds of its
            // users is not to be mended. The process ends, and begins with an empty one.
            Err(error @ ReadError::Trimmed { .. }) => {
                tracing::error!(%error, "the follower came too late");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "following the log failed");
                tokio::time::sleep(SWEEP_PERIOD).await;
            }
        }
    }
}

async fn sweep(inner: Arc<Inner>) {
    let mut period = tokio::time::interval(SWEEP_PERIOD);
    let soft = inner.tasks.soft().clone();
    while soft.run_until_cancelled(period.tick()).await.is_some() {
        inner.typing.sweep();
        inner.memory.write().online.sweep(inner.clock.monotonic());
    }
}

async fn wake_for_typing(inner: Arc<Inner>) {
    let mut notices = inner.typing.subscribe();
    let soft = inner.tasks.soft().clone();
    while let Some(notice) = soft.run_until_cancelled(notices.recv()).await {
        // Behind: the next request of each user sees it all the same.
        let Ok(room_id) = notice else { continue };
        let mut awake = Vec::new();
        inner.memory.read().online.listeners(&room_id, &mut awake);
        for user in awake {
            user.wake.notify_waiters();
        }
    }
}

async fn listen_to_typing(inner: Arc<Inner>) {
    let soft = inner.tasks.soft().clone();
    soft.run_until_cancelled(inner.typing.listen()).await;
}
