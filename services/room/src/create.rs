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
    commands::{CreateRoom, SignedEvent},
    hot::Hot,
    redact::Effect,
    rooms::{Built, Decided, Inner},
    written::Written,
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
        let create = self.inner.create_room(room)?;
        let room_id = create.room_id.clone();
        self.routed(create).await?;
        Ok(room_id)
    }
}

impl Inner {
    /// Signs the create event, which says in which slot the room is, and drafts the others.
    fn create_room(&self, room: NewRoom) -> Result<CreateRoom, RoomError> {
        let version = room
            .request
            .room_version
            .clone()
            .unwrap_or(room_version::DEFAULT);
        let InitialEvents {
            creation_content,
            drafts,
        } = InitialEvents::of(&room, &version)?;
        let localpart = self.random.alphanumeric(18);
        let create = Draft::state(room.creator, "m.room.create", "", creation_content);
        let create = build_create(create, &version, &localpart, self.now(), &self.key)?;
        Ok(CreateRoom {
            room_id: create.room_id().to_owned(),
            version,
            create: SignedEvent(create),
            drafts,
        })
    }

    /// Decides all first events of a room, and appends them in one batch.
    pub(crate) async fn create_here(&self, new: &CreateRoom) -> Result<(), RoomError> {
        let (create, room_id) = (&new.create.0, new.room_id.clone());
        let slot = self.logs.slot_of(room_id.as_str());
        let mut hot = Hot::empty(room_id, slot, self.logs.basis(slot)?, &new.version)?;
        hanse_event::check_auth(create, hot.rules, |_, _| None)?;
        let mut entries = Vec::new();
        let first = Built {
            pdu: create.clone(),
            before: None,
        };
        let first = self.accept(&mut hot, first, None, Effect::Nothing).await?;
        entries.extend(submitted(first));
        for draft in new.drafts.clone() {
            let decided = self.decide_event(&mut hot, NewEvent::now(draft)).await?;
            entries.extend(submitted(decided));
        }
        let ticket = self.logs.submit(hot.slot, Some(hot.basis), entries)?;
        ticket.applied().await?;
        Ok(())
    }
}

fn submitted(decided: Decided) -> impl Iterator<Item = Entry> {
    let written = match decided {
        Decided::Submit(_, written) => written,
        Decided::Already(_) => Written::nothing(),
    };
    written.into_entries()
}
