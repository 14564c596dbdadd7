//! Whose devices a room's members are told about.

use hanse_log::Position;
use hanse_store::{Range, StoreError};
use ruma::{OwnedUserId, RoomId};

use super::RoomReader;
use crate::tables::{DeviceChangeRow, ROOM_DEVICE_CHANGES, corrupt};

/// Members up to which a room without encryption tells of its members' devices. In larger ones
/// nobody encrypts, and each change would concern everybody.
pub(crate) const UNENCRYPTED_MEMBERS_MAX: i64 = 500;

impl RoomReader {
    /// Whether a room's members are told of each other's devices: if it is encrypted, or not large.
    pub async fn tells_devices(&self, room_id: &RoomId) -> Result<bool, StoreError> {
        let Some(head) = self.head(room_id).await? else {
            return Ok(false);
        };
        if head.head.joined_members <= UNENCRYPTED_MEMBERS_MAX {
            return Ok(true);
        }
        let encryption = self
            .state(room_id, "m.room.encryption", "", Position::END)
            .await?;
        Ok(encryption.is_some())
    }

    /// The members whose devices or keys changed last in `(after, up_to]`, and where the room was told.
    /// Whoever left may be among them: their rooms were read before.
    pub async fn device_changes(
        &self,
        room_id: &RoomId,
        after: Position,
        up_to: Position,
    ) -> Result<Vec<(OwnedUserId, Position)>, StoreError> {
        let range = Range::after(vec![after.packed().into()]).up_to(vec![up_to.packed().into()]);
        let partition = DeviceChangeRow::partition(room_id.as_str());
        let rows = self.all(&ROOM_DEVICE_CHANGES, partition, range).await?;
        let user = |row| {
            let row = DeviceChangeRow::read(row)?;
            let user_id = OwnedUserId::try_from(row.user_id);
            let user_id = user_id.map_err(|e| corrupt(&ROOM_DEVICE_CHANGES, e))?;
            Ok((user_id, row.position))
        };
        rows.iter().map(user).collect()
    }
}
