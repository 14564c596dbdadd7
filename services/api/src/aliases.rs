//! Aliases, as the alias's slot and the room's slot know them.

use std::time::Duration;

use hanse_room::RoomReader;
use hanse_user::{Alias, CreateAliasError, RemoveAliasError, Users};
use ruma::{RoomAliasId, RoomId, UserId};

use crate::error::ApiError;

/// How long a request waits for the room's list of aliases, and how often it looks.
const WAIT_MAX: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Makes and removes aliases. The room's list follows through the relay; a short wait for it lets
/// the user's next request find what this one did.
#[derive(Clone, Debug)]
pub(crate) struct Aliases {
    pub(crate) users: Users,
    pub(crate) reader: RoomReader,
}

impl Aliases {
    /// Points an alias to a room.
    pub(crate) async fn create(
        &self,
        alias: &RoomAliasId,
        room_id: &RoomId,
        creator: &UserId,
    ) -> Result<(), CreateAliasError> {
        self.users.create_alias(alias, room_id, creator).await?;
        self.settle(alias, room_id, true).await;
        Ok(())
    }

    /// Removes an alias as it was looked up.
    pub(crate) async fn remove(&self, seen: &Alias) -> Result<(), RemoveAliasError> {
        self.users.remove_alias(seen).await?;
        self.settle(&seen.alias, &seen.room_id, false).await;
        Ok(())
    }

    /// An alias that must be there.
    pub(crate) async fn get(&self, alias: &RoomAliasId) -> Result<Alias, ApiError> {
        let found = self.users.alias(alias).await?;
        found.ok_or_else(|| ApiError::not_found("there is no such alias"))
    }

    /// Waits until the room's list agrees. One that does not in time, or cannot be read, is behind:
    /// that is no failure of what was asked for.
    async fn settle(&self, alias: &RoomAliasId, room_id: &RoomId, listed: bool) {
        let agrees = async {
            while let Ok(aliases) = self.reader.aliases(room_id).await
                && aliases.iter().any(|one| one == alias) != listed
            {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if tokio::time::timeout(WAIT_MAX, agrees).await.is_err() {
            tracing::warn!(room.id = %room_id, "a room's list of aliases is behind");
        }
    }
}
