//! A user's push rules: account data that the server understands, and fills up with its defaults.

use hanse_log::Position;
use ruma::{UserId, events::push_rules::PushRulesEventContent, push::Ruleset};
use serde_json::value::{RawValue, to_raw_value};

use super::{PutAccountDataError, corrupt};
use crate::{Unavailable, Users};

/// Their type.
const PUSH_RULES: &str = "m.push_rules";

/// A user's push rules.
#[derive(Clone, Debug)]
pub struct PushRules {
    /// The rules.
    pub ruleset: Ruleset,
    /// Where they were last set, in the user's slot; none: they are the server's defaults.
    pub position: Option<Position>,
}

impl Users {
    /// The user's push rules: those that were set, brought up to the server's defaults of today, or
    /// these.
    pub async fn push_rules(&self, user_id: &UserId) -> Result<PushRules, Unavailable> {
        let datum = self.account_data(user_id, None, PUSH_RULES).await?;
        let content = datum.as_ref().map(|datum| &*datum.content);
        Ok(PushRules {
            ruleset: ruleset_of(user_id, content)?,
            position: datum.as_ref().map(|datum| datum.position),
        })
    }

    /// Changes the user's push rules, as [`Users::edit_account_data`] does. Nothing is written if they
    /// stay the same.
    pub async fn edit_push_rules<E: From<PutAccountDataError>>(
        &self,
        user_id: &UserId,
        edit: impl Fn(&mut Ruleset) -> Result<(), E>,
    ) -> Result<(), E> {
        self.edit_account_data(user_id, None, PUSH_RULES, |content| {
            let mut rules = ruleset_of(user_id, content).map_err(PutAccountDataError::from)?;
            let before = content_of(&rules)?;
            edit(&mut rules)?;
            let after = content_of(&rules)?;
            Ok((after.get() != before.get()).then_some(after))
        })
        .await
    }
}

fn content_of(ruleset: &Ruleset) -> Result<Box<RawValue>, PutAccountDataError> {
    let content = to_raw_value(&PushRulesEventContent::new(ruleset.clone()));
    content.map_err(|error| PutAccountDataError::from(corrupt(&error)))
}

fn ruleset_of(user_id: &UserId, content: Option<&RawValue>) -> Result<Ruleset, Unavailable> {
    let defaults = Ruleset::server_default(user_id);
    let Some(content) = content else {
        return Ok(defaults);
    };
    let stored: PushRulesEventContent =
        serde_json::from_str(content.get()).map_err(|error| corrupt(&error))?;
    let mut ruleset = stored.global;
    ruleset.update_with_server_default(defaults);
    Ok(ruleset)
}
