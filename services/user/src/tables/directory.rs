//! `user_directory`: by which words users are found, for a search by the beginning of a word.
//! Derived. A partition is a word's first letter; each row belongs to the slot of its user.

use hanse_store::{Column, Key, Kind, StoreError, Table, Value};
use ruma::OwnedUserId;

use crate::archive::{Cells, StoredRow};

pub(crate) static USER_DIRECTORY: Table = Table {
    name: "user_directory",
    kind: Kind::Stamped,
    partition: &[Column::text("initial")],
    clustering: &[
        Column::text("word"),
        Column::text("user_id"),
        // What the word stands in, so that one source does not delete another's row.
        Column::text("source"),
    ],
    statics: &[],
    values: &[Column::bigint("position")],
};

/// Where a word comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Localpart,
    DisplayName,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Self::Localpart => "localpart",
            Self::DisplayName => "displayname",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DirectoryRow {
    pub(crate) word: String,
    pub(crate) user_id: OwnedUserId,
}

/// The partition of a word.
pub(crate) fn initial(word: &str) -> String {
    word.chars().take(1).collect()
}

pub(crate) fn key(word: &str, user_id: &str, source: Source) -> Key {
    let clustering: [Value; 3] = [word.into(), user_id.into(), source.name().into()];
    Key::new([initial(word).into()], clustering)
}

impl StoredRow for DirectoryRow {
    fn table() -> &'static Table {
        &USER_DIRECTORY
    }

    fn decode(cells: &Cells<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            word: cells.text("word")?,
            user_id: cells.id("user_id")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tables::read_back;

    proptest! {
        #[test]
        fn reads_back(word in ".*", user in "[a-z]{1,9}", position: i64) {
            let user_id: OwnedUserId = format!("@{user}:b").try_into().unwrap();
            let key = key(&word, user_id.as_str(), Source::DisplayName);
            let row = DirectoryRow { word, user_id };
            prop_assert_eq!(read_back::<DirectoryRow>(&key, vec![position.into()]), row);
        }
    }
}
