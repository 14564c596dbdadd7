//! A process of the cluster, and what one of them knows of all.

use std::collections::{BTreeMap, BTreeSet};

use hanse_store::{Row, Value};

/// The role that serves slots.
pub const PERSISTER: &str = "persister";

/// A process of the cluster, as its row describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name, also in the slots' rows; drawn anew at each start, never used again.
    pub id: String,
    /// Where the others reach it.
    pub address: String,
    /// What it does; names that this version does not know are kept.
    pub roles: Vec<String>,
    /// When it started, by its own clock. For people.
    pub started_at_ms: i64,
    /// It gives its slots up and takes none.
    pub draining: bool,
}

impl Member {
    /// Whether slots may be assigned to it.
    pub fn takes_slots(&self) -> bool {
        self.takes(PERSISTER)
    }

    /// Whether it has a role, and takes new work of it.
    pub fn takes(&self, role: &str) -> bool {
        !self.draining && self.roles.iter().any(|its| its == role)
    }
}

/// The members that live, as read last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The tenure of this process's lease in which they were read; 0: before it had one.
    pub tenure: u64,
    /// By id. Draining ones are among them.
    pub live: BTreeMap<String, Member>,
    /// Of members that lapsed, by id: those who live and had come before it was last heard of. Who came
    /// later cannot know yet that it lapsed, and is not to be waited for.
    pub heirs: BTreeMap<String, BTreeSet<String>>,
}

impl View {
    /// The members that slots are assigned to, in order.
    pub fn persisters(&self) -> impl Iterator<Item = &str> {
        self.taking(PERSISTER)
    }

    /// The members that have a role and take new work of it, in order.
    pub fn taking<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a str> {
        let members = self.live.values().filter(move |member| member.takes(role));
        members.map(|member| member.id.as_str())
    }
}

/// A member's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberRow {
    pub(crate) member: Member,
    pub(crate) renewals: i64,
}

impl MemberRow {
    /// All columns but the key.
    pub(crate) fn columns(&self) -> Vec<(&'static str, Value)> {
        let member = &self.member;
        vec![
            ("renewals", self.renewals.into()),
            ("address", member.address.as_str().into()),
            ("roles", member.roles.join(",").into()),
            ("started_at_ms", member.started_at_ms.into()),
            ("draining", Value::Boolean(member.draining)),
        ]
    }

    /// `None`: not a row as any version writes it.
    pub(crate) fn read(row: &Row) -> Option<Self> {
        let value = |index: usize| row.values.get(index);
        let text = |index| value(index).and_then(Value::as_str);
        let roles = text(2)?.split(',').filter(|role| !role.is_empty());
        let member = Member {
            id: row.clustering.first().and_then(Value::as_str)?.to_owned(),
            address: text(1)?.to_owned(),
            roles: roles.map(str::to_owned).collect(),
            started_at_ms: value(3).and_then(Value::as_i64)?,
            draining: value(4).and_then(Value::as_bool).unwrap_or_default(),
        };
        Some(Self {
            member,
            renewals: value(0).and_then(Value::as_i64)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tables::MEMBERS;

    proptest! {
        #[test]
        fn a_row_reads_back(
            id in "[0-9a-z-]{1,20}",
            address in "[0-9a-z.:]{0,20}",
            roles in proptest::collection::vec("[a-z]{1,10}", 0..4),
            started_at_ms: i64,
            draining: bool,
            renewals: i64,
        ) {
            let member = Member { id, address, roles, started_at_ms, draining };
            let written = MemberRow { member, renewals };
            let columns = written.columns();
            let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
            let expected: Vec<_> = MEMBERS.values.iter().map(|column| column.name).collect();
            prop_assert_eq!(names, expected);
            let row = Row {
                clustering: vec![written.member.id.as_str().into()],
                statics: Vec::new(),
                values: columns.into_iter().map(|(_, value)| value).collect(),
            };
            prop_assert_eq!(MemberRow::read(&row), Some(written));
        }
    }
}
