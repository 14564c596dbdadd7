//! [Ignored users](https://spec.matrix.org/v1.16/client-server-api/#ignoring-users): their invites
//! are not shown.

use hanse_room::UserRoom;
use ruma::{
    OwnedUserId,
    events::{AnyStrippedStateEvent, ignored_user_list::IgnoredUserListEventContent},
    serde::Raw,
};

use crate::{SyncError, answer::stripped, ask::Ask, worker::Inner};

const IGNORED_USER_LIST: &str = "m.ignored_user_list";

impl Inner {
    /// Whether an invite is from somebody whom the user ignores now.
    pub(crate) async fn is_ignored(&self, ask: &Ask, invite: &UserRoom) -> Result<bool, SyncError> {
        let list = self
            .users
            .account_data(&ask.user_id, None, IGNORED_USER_LIST)
            .await?;
        let Some(list) = list else { return Ok(false) };
        // A list that is none ignores nobody.
        let list: Option<IgnoredUserListEventContent> =
            serde_json::from_str(list.content.get()).ok();
        let ignored = |sender| list.is_some_and(|list| list.ignored_users.contains_key(&sender));
        Ok(inviter(ask, invite).is_some_and(ignored))
    }
}

/// Who sent an invite, by the stripped state that came with it.
fn inviter(ask: &Ask, invite: &UserRoom) -> Option<OwnedUserId> {
    let events: Vec<Raw<AnyStrippedStateEvent>> = stripped(invite);
    let own = events.iter().find(|event| {
        let is = |name: &str, wanted: &str| {
            let value = event.get_field::<String>(name);
            value.ok().flatten().is_some_and(|value| value == wanted)
        };
        is("type", "m.room.member") && is("state_key", ask.user_id.as_str())
    })?;
    own.get_field("sender").ok().flatten()
}
