//! Which domain writes the rows of which entry.

use hanse_log::{Applier, Position, Rows};
use hanse_proto::log::{Entry, entry::Kind};
use hanse_store::Table;

/// Hands each entry to its domain.
pub(crate) struct Domains;

impl Applier for Domains {
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows) {
        match &entry.kind {
            Some(Kind::Room(room)) => hanse_room::room_rows(room, position, rows),
            Some(Kind::User(user)) => hanse_user::user_rows(user, position, rows),
            Some(Kind::Name(name)) => hanse_user::name_rows(name, position, rows),
            // Written by a newer version: its rows are that version's to write.
            None => {}
        }
    }

    fn tables(&self) -> Vec<&'static Table> {
        [hanse_room::tables(), hanse_user::tables()].concat()
    }
}
