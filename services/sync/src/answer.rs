//! One answer: the vector is chosen first, then everything is read as of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use hanse_log::{Position, Slot};
use hanse_room::UserRoom;
use hanse_user::AccountDatum;
use ruma::{
    OwnedRoomId, OwnedUserId,
    api::client::sync::sync_events::{
        DeviceLists,
        v3::{InvitedRoom, JoinedRoom, KnockedRoom, LeftRoom, Response, Rooms},
    },
    events::room::member::MembershipState,
};

use crate::{
    SyncError, account_data,
    ask::Ask,
    devices::{Own, Stretch},
    memory::Changed,
    token::SyncToken,
    worker::Inner,
};

/// Rooms read at once for one answer.
const ROOMS_AT_ONCE: usize = 8;
/// Membership notices read for one answer.
const NOTICES_MAX: usize = 1_000;
/// How long an answer waits for memory to reach a membership that was just read, or a token of another
/// worker: without the bus, a worker may be 3 s behind another.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(6);
/// Pauses between two looks, the first and the longest.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(2);
const CATCH_UP_PAUSE_MAX: Duration = Duration::from_millis(32);

/// An answer, and whether it says anything.
pub(crate) struct Answer {
    pub(crate) response: Response,
}

impl Answer {
    /// Whether there is nothing in it but the token.
    pub(crate) fn is_empty(&self) -> bool {
        self.response.rooms.is_empty()
            && self.response.account_data.is_empty()
            && self.response.to_device.is_empty()
            && self.response.device_lists.is_empty()
    }
}

/// A room of the user, between two positions of its slot.
#[derive(Debug)]
pub(crate) struct RoomAt {
    pub(crate) room: UserRoom,
    pub(crate) slot: Slot,
    /// Up to here the client has seen the room's slot; none: it knows nothing of it.
    pub(crate) since: Option<Position>,
    pub(crate) now: Position,
    pub(crate) changed: Changed,
    pub(crate) events_changed: Changed,
    pub(crate) members_changed: Changed,
    pub(crate) devices_changed: Changed,
    /// Who types, if that changed.
    pub(crate) typing: Option<Vec<OwnedUserId>>,
    /// Whether the user's own slot was told of the membership after the token: the only sign where
    /// the token does not name the room's slot.
    pub(crate) noticed: bool,
    /// The room's account data that changed.
    pub(crate) account_data: Vec<AccountDatum>,
}

impl RoomAt {
    /// Whether nothing of the room can be news.
    fn quiet(&self) -> bool {
        self.changed == Changed::No && self.typing.is_none() && self.account_data.is_empty()
    }
}

/// What one room adds to the answer.
pub(crate) enum View {
    Joined(Box<JoinedRoom>),
    Left(Box<LeftRoom>),
    Invited(InvitedRoom),
    Knocked(KnockedRoom),
}

/// The vector, and the rooms as of it.
struct Snapshot {
    token: SyncToken,
    rooms: Vec<RoomAt>,
    own_changed: Changed,
}

impl Inner {
    pub(crate) async fn answer(&self, ask: &Ask) -> Result<Answer, SyncError> {
        let Snapshot {
            mut token,
            mut rooms,
            own_changed,
        } = self.snapshot(ask).await?;
        let own = match own_changed {
            Changed::No => Vec::new(),
            _ => self.own_data(ask, &token).await?,
        };
        let (global, by_room) = account_data::split(own);
        distribute(&mut rooms, by_room);
        self.distribute_typing(ask, &mut rooms);
        self.distribute_notices(ask, &token, &mut rooms).await?;
        let mut response = Response::new(String::new());
        response.device_lists = self.lists_for(ask, &token, &rooms, own_changed).await?;
        response.account_data.events = account_data::global_events(self, ask, global).await?;
        response.rooms = self.room_views(ask, rooms).await?;
        // Last: a key is never later than its message.
        response.to_device.events = self.to_device(ask, &mut token, own_changed).await?;
        response.next_batch = self.token_key.write(&token, &ask.user_id);
        Ok(Answer { response })
    }

    /// Whose devices changed; at the start a client knows of none.
    async fn lists_for(
        &self,
        ask: &Ask,
        token: &SyncToken,
        rooms: &[RoomAt],
        changed: Changed,
    ) -> Result<DeviceLists, SyncError> {
        let Some(since) = &ask.since else {
            return Ok(DeviceLists::new());
        };
        let own = Own {
            since: since.own,
            now: token.own,
            changed,
        };
        let stretches = rooms.iter().map(|at| Stretch {
            room: &at.room,
            since: at.since,
            now: at.now,
            devices: at.devices_changed,
            members: at.members_changed,
        });
        let stretches: Vec<_> = stretches.collect();
        self.device_lists(&ask.user_id, own, &stretches).await
    }

    /// Chooses the vector and takes the user's rooms, at one moment.
    async fn snapshot(&self, ask: &Ask) -> Result<Snapshot, SyncError> {
        let catch_up = async {
            let mut pause = CATCH_UP_PAUSE;
            loop {
                if let Some(snapshot) = self.try_snapshot(ask) {
                    return snapshot;
                }
                tokio::time::sleep(pause).await;
                pause = CATCH_UP_PAUSE_MAX.min(pause * 2);
            }
        };
        let caught_up = tokio::time::timeout(CATCH_UP_WITHIN, catch_up).await;
        caught_up.map_err(|_| {
            let source = "the follower does not catch up".into();
            hanse_store::StoreError::Unavailable { source }.into()
        })
    }

    /// `None`: a membership was read from the archives that memory has not reached yet, or a token
    /// from another worker is ahead of this one.
    fn try_snapshot(&self, ask: &Ask) -> Option<Snapshot> {
        let typing = self.typing.latest();
        let memory = self.memory.read();
        let rooms = memory.online.rooms(&ask.user_id)?;
        let own_slot = self.logs.slot_of(ask.user_id.as_str());
        let mut token = SyncToken {
            map_version: self.logs.map().version(),
            typing,
            ..SyncToken::default()
        };
        let mut at = Vec::with_capacity(rooms.len());
        for room in rooms.values() {
            let slot = self.logs.slot_of(room.room_id.as_str());
            let now = memory.seen(slot);
            let since = ask
                .since
                .as_ref()
                .and_then(|since| since.slots.get(&slot).copied());
            if room.position > now || since.is_some_and(|since| since > now) {
                return None;
            }
            // It leaves the token only after the leave was told, and the own slot's notice of it, too.
            let told_late =
                |since| room.position > since || memory.online.is_unnoticed(&ask.user_id, room);
            if stays_in_token(&room.membership) || since.is_some_and(told_late) {
                token.slots.insert(slot, now);
            }
            let after = since.unwrap_or(Position::START);
            at.push(RoomAt {
                changed: memory.room_changed(&room.room_id, slot, after),
                events_changed: memory.events_changed(&room.room_id, slot, after),
                members_changed: memory.members_changed(&room.room_id, slot, after),
                devices_changed: memory.devices_changed(&room.room_id, slot, after),
                room: room.clone(),
                slot,
                since,
                now,
                typing: None,
                noticed: false,
                account_data: Vec::new(),
            });
        }
        // After the rooms: what they caused there is in it.
        token.own = memory.seen(own_slot);
        let own_since = ask
            .since
            .as_ref()
            .map_or(Position::START, |since| since.own);
        let own_changed = match &ask.since {
            Some(since) if since.own > token.own => return None,
            Some(_) => memory.user_changed(&ask.user_id, own_slot, own_since),
            None => Changed::Yes,
        };
        Some(Snapshot {
            token,
            rooms: at,
            own_changed,
        })
    }

    async fn own_data(&self, ask: &Ask, token: &SyncToken) -> Result<Vec<AccountDatum>, SyncError> {
        let after = ask
            .since
            .as_ref()
            .map_or(Position::START, |since| since.own);
        Ok(self
            .users
            .account_data_changed(&ask.user_id, after, token.own)
            .await?)
    }

    fn distribute_typing(&self, ask: &Ask, rooms: &mut [RoomAt]) {
        let seen = ask.since.as_ref().map(|since| since.typing);
        // The usual case: nothing happened anywhere.
        if seen == Some(self.typing.latest()) {
            return;
        }
        for at in rooms {
            at.typing = self.typing.news(&at.room.room_id, seen);
        }
    }

    /// Rooms that were left before the token ever named their slot.
    async fn distribute_notices(
        &self,
        ask: &Ask,
        token: &SyncToken,
        rooms: &mut [RoomAt],
    ) -> Result<(), SyncError> {
        let Some(since) = &ask.since else {
            return Ok(());
        };
        let unnamed = |at: &RoomAt| at.since.is_none() && !stays_in_token(&at.room.membership);
        if since.own >= token.own || !rooms.iter().any(unnamed) {
            return Ok(());
        }
        let (after, up_to) = (since.own, token.own);
        let noticed = self
            .users
            .memberships_noticed(&ask.user_id, after, up_to, NOTICES_MAX)
            .await?;
        for at in rooms.iter_mut().filter(|at| unnamed(at)) {
            at.noticed = noticed
                .iter()
                .any(|notice| notice.room_id == at.room.room_id);
        }
        Ok(())
    }

    async fn room_views(&self, ask: &Ask, rooms: Vec<RoomAt>) -> Result<Rooms, SyncError> {
        let wanted = rooms.into_iter().filter(|at| {
            let since_start = ask.since.is_none() || at.since.is_none() || ask.full_state;
            (since_start || !at.quiet()) && ask.wants_room(&at.room.room_id)
        });
        let views = stream::iter(wanted.map(|at| async move {
            let view = self.view(ask, &at).await?;
            Ok::<_, SyncError>(view.map(|view| (at.room.room_id.clone(), view)))
        }));
        let views: Vec<Option<(OwnedRoomId, View)>> =
            views.buffer_unordered(ROOMS_AT_ONCE).try_collect().await?;
        let mut rooms = Rooms::default();
        for (room_id, view) in views.into_iter().flatten() {
            match view {
                View::Joined(room) => drop(rooms.join.insert(room_id, *room)),
                View::Left(room) => drop(rooms.leave.insert(room_id, *room)),
                View::Invited(room) => drop(rooms.invite.insert(room_id, room)),
                View::Knocked(room) => drop(rooms.knock.insert(room_id, room)),
            }
        }
        Ok(rooms)
    }

    async fn view(&self, ask: &Ask, at: &RoomAt) -> Result<Option<View>, SyncError> {
        let news = at.since.is_none_or(|since| at.room.position > since);
        match &at.room.membership {
            MembershipState::Join => self.joined(ask, at).await,
            MembershipState::Invite if news && !self.is_ignored(ask, &at.room).await? => {
                Ok(Some(View::Invited(invited(&at.room))))
            }
            MembershipState::Invite => Ok(None),
            MembershipState::Knock => Ok(news.then(|| View::Knocked(knocked(&at.room)))),
            _ if news => self.left(ask, at).await,
            _ => Ok(None),
        }
    }
}

/// Whether a token names the slot of a room with this membership.
fn stays_in_token(membership: &MembershipState) -> bool {
    matches!(
        membership,
        MembershipState::Join | MembershipState::Invite | MembershipState::Knock
    )
}

fn distribute(rooms: &mut [RoomAt], mut by_room: BTreeMap<OwnedRoomId, Vec<AccountDatum>>) {
    if by_room.is_empty() {
        return;
    }
    for at in rooms {
        at.account_data = by_room.remove(&at.room.room_id).unwrap_or_default();
    }
}

fn invited(room: &UserRoom) -> InvitedRoom {
    let mut invited = InvitedRoom::default();
    invited.invite_state.events = stripped(room);
    invited
}

fn knocked(room: &UserRoom) -> KnockedRoom {
    let mut knocked = KnockedRoom::default();
    knocked.knock_state.events = stripped(room);
    knocked
}

pub(crate) fn stripped<T>(room: &UserRoom) -> Vec<ruma::serde::Raw<T>> {
    let events = room.stripped_state.as_deref().map(serde_json::from_str);
    events.and_then(Result::ok).unwrap_or_default()
}

/// The timeline's events are shared with the memory.
pub(crate) type Events = Vec<Arc<hanse_room::TimelineEvent>>;
