//! Account data that is changed by what it was.

use ruma::{RoomId, UserId};
use serde_json::value::RawValue;

use super::PutAccountDataError;
use crate::Users;

/// Edits that came too late before one is given up: each of them means that another was written.
const EDITS_MAX: usize = 32;

impl Users {
    /// Changes account data: of two edits at the same time none is lost. `edit` gets the content as it
    /// is and gives the new one, `None`: it may stay; it is called again when another edit came first.
    pub async fn edit_account_data<E: From<PutAccountDataError>>(
        &self,
        user_id: &UserId,
        room_id: Option<&RoomId>,
        data_type: &str,
        edit: impl Fn(Option<&RawValue>) -> Result<Option<Box<RawValue>>, E>,
    ) -> Result<(), E> {
        for _ in 0..EDITS_MAX {
            let now = self.account_data(user_id, room_id, data_type).await;
            let now = now.map_err(PutAccountDataError::from)?;
            let Some(content) = edit(now.as_ref().map(|datum| &*datum.content))? else {
                return Ok(());
            };
            let over = now.map_or(0, |datum| datum.position.packed());
            let put = self.put_over(user_id, room_id, data_type, &content, Some(over));
            match put.await {
                Err(PutAccountDataError::Changed) => {}
                done => return Ok(done.map(drop)?),
            }
        }
        Err(PutAccountDataError::Changed.into())
    }
}
