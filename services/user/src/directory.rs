//! The user directory: local users by the beginnings of the words of their names.
//!
//! [Specification](https://spec.matrix.org/v1.16/client-server-api/#user-directory).

use std::collections::BTreeSet;

use hanse_store::Range;
use ruma::{
    OwnedUserId, UserId,
    api::client::user_directory::search_users::v3::User,
    profile::{AvatarUrl, DisplayName},
};

use crate::{
    Unavailable, Users,
    tables::directory::{DirectoryRow, initial},
};

/// Words of a display name by which its user is found.
const WORDS_MAX: usize = 8;
/// Longest word, in characters; the rest is cut off.
const WORD_CHARS_MAX: usize = 32;
/// Rows that one search reads.
const ROWS_READ_MAX: usize = 500;
/// Most results of a search.
const RESULTS_MAX: usize = 50;

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct FoundUsers {
    /// The users, by the word that was found and then by id.
    pub users: Vec<User>,
    /// Whether there are more.
    pub limited: bool,
}

impl Users {
    /// Local users who have, for each word of `term`, a word in their display name (or their
    /// localpart) that begins with it; at most `limit`, and at most 50. Which of them the caller
    /// may see is the caller's to decide.
    pub async fn search_users(&self, term: &str, limit: usize) -> Result<FoundUsers, Unavailable> {
        let asked = words(term.trim_start_matches('@'));
        let Some(first) = asked.first() else {
            return Ok(FoundUsers::default());
        };
        let rows = self.directory_rows(first).await?;
        let limit = limit.min(RESULTS_MAX);
        let mut found = FoundUsers {
            limited: rows.len() >= ROWS_READ_MAX,
            ..Default::default()
        };
        let mut seen = BTreeSet::<OwnedUserId>::new();
        for row in rows {
            if !seen.insert(row.user_id.clone()) {
                continue;
            }
            let Some(user) = self.found(&row.user_id, &asked).await? else {
                continue;
            };
            if found.users.len() >= limit {
                found.limited = true;
                break;
            }
            found.users.push(user);
        }
        Ok(found)
    }

    async fn directory_rows(&self, prefix: &str) -> Result<Vec<DirectoryRow>, Unavailable> {
        // The greatest character closes the range over every word that begins so.
        let last = format!("{prefix}{}", char::MAX);
        let range = Range::at_least([prefix.into()]).up_to([last.as_str().into()]);
        Ok(self
            .archive()
            .range([initial(prefix).into()], range, ROWS_READ_MAX)
            .await?)
    }

    /// The user, if the account is open and every word fits.
    async fn found(&self, user_id: &UserId, asked: &[String]) -> Result<Option<User>, Unavailable> {
        let account = self.account_row(user_id).await?;
        if account.is_none_or(|account| account.deactivated) {
            return Ok(None);
        }
        let profile = self.profile(user_id).await?.unwrap_or_default();
        let display_name = profile.get_static::<DisplayName>().ok().flatten();
        let mut known = words(display_name.as_deref().unwrap_or_default());
        known.extend(words(user_id.localpart()));
        let fits = |word: &String| known.iter().any(|known| known.starts_with(word.as_str()));
        if !asked.iter().all(fits) {
            return Ok(None);
        }
        let mut user = User::new(user_id.to_owned());
        user.display_name = display_name;
        user.avatar_url = profile.get_static::<AvatarUrl>().ok().flatten();
        Ok(Some(user))
    }
}

/// The words by which a name is found: in lower case, bounded, each once, in order.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in name.split_whitespace() {
        let word: String = word.to_lowercase().chars().take(WORD_CHARS_MAX).collect();
        if words.len() < WORDS_MAX && !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lowered_bounded_and_distinct() {
        assert_eq!(words("  Ada  LOVELACE ada "), ["ada", "lovelace"]);
        assert_eq!(words(&"x".repeat(99)), ["x".repeat(32)]);
        let many: Vec<String> = (0..20).map(|n| n.to_string()).collect();
        assert_eq!(words(&many.join(" ")).len(), 8);
        assert!(words(" \t ").is_empty());
    }
}
