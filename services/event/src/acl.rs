//! Server ACLs ([spec]): which servers may take part in a room.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#mroomserver_acl

use ruma::ServerName;
use serde::Deserialize;
use serde_json::Value;

use crate::{glob::Glob, pdu::Pdu};

/// The compiled content of an `m.room.server_acl` event; the default lets everybody in.
#[derive(Debug, Clone, Default)]
pub struct ServerAcl(Option<Lists>);

#[derive(Debug, Clone)]
struct Lists {
    allow_ip_literals: bool,
    allow: Vec<Glob>,
    deny: Vec<Glob>,
}

impl ServerAcl {
    /// Reads the room's ACL; `None` if it has none. Read leniently, since whatever stands there
    /// passed the auth rules: a list that is none is empty, an entry that is no string is left out.
    pub fn of(acl: Option<&Pdu>) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Content {
            allow_ip_literals: Value,
            allow: Value,
            deny: Value,
        }
        let Some(acl) = acl else {
            return Self::default();
        };
        let content: Content = acl.content_as().unwrap_or_default();
        Self(Some(Lists {
            allow_ip_literals: content.allow_ip_literals.as_bool().unwrap_or(true),
            allow: globs(&content.allow),
            deny: globs(&content.deny),
        }))
    }

    /// Whether this server may take part. The port does not count.
    pub fn allows(&self, server: &ServerName) -> bool {
        let Some(lists) = &self.0 else { return true };
        let listed = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(server.host()));
        if server.is_ip_literal() && !lists.allow_ip_literals {
            return false;
        }
        !listed(&lists.deny) && listed(&lists.allow)
    }
}

fn globs(list: &Value) -> Vec<Glob> {
    let entries = list.as_array().map(Vec::as_slice).unwrap_or_default();
    entries
        .iter()
        .filter_map(Value::as_str)
        .map(Glob::new)
        .collect()
}

#[cfg(test)]
mod tests {
    use ruma::RoomVersionId;
    use serde_json::json;

    use super::*;
    use crate::testing::{ALICE, Room, state};

    fn allows(content: Value, server: &str) -> bool {
        let room = Room::new(&RoomVersionId::V11);
        let pdu = room.build(state(ALICE, "m.room.server_acl", "", content));
        ServerAcl::of(Some(&pdu)).allows(server.try_into().unwrap())
    }

    #[test]
    fn follows_the_steps_of_the_spec() {
        let acl = || {
            json!({
                "allow": ["*"], "deny": ["*.evil.com", "evil.com", "1.1.1.1"],
                "allow_ip_literals": true,
            })
        };
        for (server, allowed) in [
            ("example.org", true),
            ("example.org:8448", true),
            ("evil.com", false),
            ("EVIL.com:8448", false),
            ("a.b.evil.com", false),
            ("notevil.com", true),
            ("1.1.1.1:8448", false),
            ("1.1.1.2", true),
            ("[::1]:8448", true),
        ] {
            assert_eq!(allows(acl(), server), allowed, "{server}");
        }
        for server in ["1.1.1.2", "1.1.1.2:1", "[::1]", "[2001:db8::1]:8448"] {
            assert!(!allows(
                json!({ "allow": ["*"], "allow_ip_literals": false }),
                server
            ));
        }
    }

    #[test]
    fn nothing_allowed_is_everybody_denied() {
        for content in [json!({}), json!({ "allow": [] }), json!({ "allow": "*" })] {
            assert!(!allows(content, "example.org"));
        }
        assert!(ServerAcl::of(None).allows("example.org".try_into().unwrap()));
    }

    #[test]
    fn malformed_entries_do_not_switch_the_acl_off() {
        let acl =
            json!({ "allow": ["*"], "deny": [7, "evil.com", null], "allow_ip_literals": "x" });
        assert!(!allows(acl.clone(), "evil.com"));
        assert!(allows(acl, "good.com"));
    }

    /// CVE-2023-45129: patterns that took exponential time stopped a server.
    #[test]
    fn ghsa_5chr_wjw5_3gq4_pathological_globs_are_cheap() {
        let pattern = "*a".repeat(250) + "b";
        let deny = vec![pattern; 100];
        let server = "a".repeat(200);
        assert!(allows(json!({ "allow": ["*"], "deny": deny }), &server));
    }
}
