//! Room aliases of this server: names that point to rooms. The room hears of it by the relay.
//!
//! [Specification](https://spec.matrix.org/v1.16/client-server-api/#room-aliases).

use hanse_cluster::travelling;
use hanse_log::Position;
use hanse_proto::{
    log::{Entry, Relay, entry},
    room::{AliasOfRoom, RoomEntry, room_entry},
    user::{self as proto, name_entry::Kind},
};
use ruma::{OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomAliasId, RoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    Unavailable, Users,
    commands::command,
    error::{from_unavailable, refusals},
    tables::alias::{self, AliasRow},
    turn::Turn,
};

/// An alias and where it points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The alias.
    pub alias: OwnedRoomAliasId,
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who made it: may remove it.
    pub creator: OwnedUserId,
    /// Where it was made, in the alias's slot.
    #[serde(with = "travelling::position")]
    pub position: Position,
}

/// Why an alias was not made.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum CreateAliasError {
    /// It is another server's (`M_INVALID_PARAM`).
    #[error("the alias is not of this server")]
    Foreign,
    /// It points somewhere already (HTTP 409).
    #[error("the alias is taken")]
    Taken,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why an alias was not removed.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum RemoveAliasError {
    /// It is gone, or was made again since it was looked up (`M_NOT_FOUND`).
    #[error("there is no such alias")]
    Unknown,
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

from_unavailable!(CreateAliasError, RemoveAliasError);
refusals!(CreateAliasError, RemoveAliasError);

/// Makes an alias, if it is free; gives its position, packed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CreateAlias {
    alias: OwnedRoomAliasId,
    room_id: OwnedRoomId,
    creator: OwnedUserId,
}
command!(CreateAlias, "name.create_alias", of alias,
    Users::create_alias_here => i64, CreateAliasError);

/// Removes an alias, if it still is as it was seen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemoveAlias {
    alias: OwnedRoomAliasId,
    seen: Alias,
}
command!(RemoveAlias, "name.remove_alias", of alias,
    Users::remove_alias_here => (), RemoveAliasError);

impl Users {
    /// Makes an alias of this server; of many that ask for one at once, one gets it.
    pub async fn create_alias(
        &self,
        alias: &RoomAliasId,
        room_id: &RoomId,
        creator: &UserId,
    ) -> Result<Alias, CreateAliasError> {
        if alias.server_name() != self.inner.server_name {
            return Err(CreateAliasError::Foreign);
        }
        let (alias, room_id, creator) = (alias.to_owned(), room_id.to_owned(), creator.to_owned());
        let create = CreateAlias {
            alias: alias.clone(),
            room_id: room_id.clone(),
            creator: creator.clone(),
        };
        let position = Position::from_packed(self.routed(create).await?);
        Ok(Alias {
            alias,
            room_id,
            creator,
            position,
        })
    }

    async fn create_alias_here(&self, create: &CreateAlias) -> Result<i64, CreateAliasError> {
        let CreateAlias {
            alias,
            room_id,
            creator,
        } = create;
        let turn = self.name_turn(alias.as_str()).await?;
        if self.alias(alias).await?.is_some() {
            return Err(CreateAliasError::Taken);
        }
        let position = self
            .write_alias(&turn, alias, room_id, creator, false)
            .await?;
        Ok(position.packed())
    }

    /// Where an alias points.
    pub async fn alias(&self, alias: &RoomAliasId) -> Result<Option<Alias>, Unavailable> {
        let row: Option<AliasRow> = self.archive().get(alias::key(alias.as_str())).await?;
        Ok(row.map(|row| Alias {
            alias: alias.to_owned(),
            room_id: row.room_id,
            creator: row.creator,
            position: row.position,
        }))
    }

    /// Removes an alias as it was looked up; whoever decided that it may go looked at that one.
    pub async fn remove_alias(&self, seen: &Alias) -> Result<(), RemoveAliasError> {
        let (alias, seen) = (seen.alias.clone(), seen.clone());
        self.routed(RemoveAlias { alias, seen }).await
    }

    async fn remove_alias_here(&self, remove: &RemoveAlias) -> Result<(), RemoveAliasError> {
        let seen = &remove.seen;
        let turn = self.name_turn(seen.alias.as_str()).await?;
        if self.alias(&seen.alias).await?.as_ref() != Some(seen) {
            return Err(RemoveAliasError::Unknown);
        }
        self.write_alias(&turn, &seen.alias, &seen.room_id, &seen.creator, true)
            .await?;
        Ok(())
    }

    async fn write_alias(
        &self,
        turn: &Turn,
        alias: &RoomAliasId,
        room_id: &RoomId,
        creator: &UserId,
        removed: bool,
    ) -> Result<Position, Unavailable> {
        let kind = Kind::Alias(proto::Alias {
            room_id: room_id.to_string(),
            creator: creator.to_string(),
            removed,
        });
        let mut entry = self.name_entry(turn, kind);
        entry.relays.push(to_room(alias, room_id, removed));
        self.commit(turn, vec![entry]).await
    }
}

fn to_room(alias: &RoomAliasId, room_id: &RoomId, removed: bool) -> Relay {
    let of_room = AliasOfRoom {
        alias: alias.to_string(),
        removed,
    };
    let room = RoomEntry {
        room_id: room_id.to_string(),
        kind: Some(room_entry::Kind::Alias(of_room)),
    };
    let entry = Entry {
        kind: Some(entry::Kind::Room(room)),
        ..Entry::default()
    };
    Relay {
        key: room_id.to_string(),
        entry: Some(entry),
    }
}
