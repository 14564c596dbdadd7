//! Creating a room: its first events, decided together and appended as one batch ([spec]).
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#creation

mod events;

use hanse_event::{Draft, build_create, room_version};
use hanse_proto::log::Entry;
use ruma::{
    CanonicalJsonObject, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomVersionId,
    api::client::room::create_room::v3::Request,
};

use self::events::InitialEvents;
use crate::{
    NewEvent, RoomError, Rooms,
    hot::Hot,
    rooms::{Decided, Inner},
};

/// A room to create.
#[derive(Clone, Debug)]
pub struct NewRoom {
    /// Who creates it, and joins it.
    pub creator: OwnedUserId,
    /// Content of the creator's membership: `displayname`, `avatar_url`.
    pub profile: CanonicalJsonObject,
    /// The alias that was reserved for it.
    pub alias: Option<OwnedRoomAliasId>,
    /// What the client asked for. Invitations are the caller's to send afterwards.
    pub request: Request,
}

impl Rooms {
    /// The version of rooms whose creator names none.
    pub fn default_version() -> RoomVersionId {
        room_version::DEFAULT
    }

    /// Creates a room; returns when it is durable and visible. Either all of its first events are
    /// in the log, or none.
    pub async fn create(&self, room: NewRoom) -> Result<OwnedRoomId, RoomError> {
        let (hot, entries) = self.inner.first_events(room).await?;
        let ticket = self.inner.logs.submit(hot.slot, Some(hot.basis), entries)?;
        ticket.applied().await?;
        Ok(hot.room_id)
    }
}

impl Inner {
    async fn first_events(&self, room: NewRoom) -> Result<(Hot, Vec<Entry>), RoomError> {
        let version = room
            .request
            .room_version
            .clone()
            .unwrap_or(room_version::DEFAULT);
        let initial = InitialEvents::of(&room, &version)?;
        let localpart = self.random.alphanumeric(18);
        let create = Draft::state(room.creator, "m.room.create", "", initial.creation_content);
        let create = build_create(create, &version, &localpart, self.now(), &self.key)?;
        let room_id = create.room_id().to_owned();
        let slot = self.logs.slot_of(room_id.as_str());
        let mut hot = Hot::empty(room_id, slot, self.logs.basis(slot)?, &version)?;
        hanse_event::check_auth(&create, hot.rules, |_, _| None)?;
        let mut entries = Vec::new();
        let first = self.accept(&mut hot, &create, None, None);
        entries.extend(submitted(first));
        for draft in initial.drafts {
            let decided = self.decide_event(&mut hot, NewEvent::now(draft)).await?;
            entries.extend(submitted(decided));
        }
        Ok((hot, entries))
    }
}

fn submitted(decided: Decided) -> Option<Entry> {
    match decided {
        Decided::Submit(_, entry) => Some(*entry),
        Decided::Already(_) => None,
    }
}
