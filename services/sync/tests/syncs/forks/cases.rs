//! The cases: what happens, what a client asks, what it is told, and why.

use serde_json::{Value, json};

use super::{
    Answer, Asks, BEN, CAI, Case, JOIN,
    Step::{Fork, Merge, On, SoftFailed},
    What::{InviteOnly, Member, ModLevel, Says, Topic},
};
use crate::elsewhere::{MOD, REM};

/// All of them.
pub(super) fn cases() -> Vec<Case> {
    [overruled(), in_gaps(), memberships(), whole(), lazy()]
        .into_iter()
        .flatten()
        .collect()
}

/// Topics on forks.
fn overruled() -> Vec<Case> {
    vec![
        Case {
            // The topic is F in the end, and was T1. F is in the timeline: before it the topic was T1,
            // which the client has.
            name: "a topic on a fork arrives late and wins",
            before: &[JOIN, Fork("f", "main"), On("main", "T1", Topic(REM), 100)],
            then: &[On("f", "F", Topic(MOD), 200)],
            asks: Asks::Since,
            filter: ten,
            says: Some(says("join", &["F"], &[], &["F"])),
        },
        Case {
            // The topic stays T1. A client of `state` takes F from the timeline and is wrong: the
            // second example of MSC4222, for which there is nothing to be put into `state`.
            name: "a topic on a fork arrives late and loses",
            before: &[JOIN, Fork("f", "main"), On("main", "T1", Topic(REM), 100)],
            then: &[On("f", "F", Topic(MOD), 50)],
            asks: Asks::Since,
            filter: ten,
            says: Some(says("join", &["F"], &[], &[])),
        },
        Case {
            // F is in the gap and became the topic there.
            name: "it wins in a gap",
            before: &[JOIN, Fork("f", "main"), On("main", "T1", Topic(REM), 100)],
            then: &[
                On("f", "F", Topic(MOD), 200),
                Merge("main", "f", &["F"]),
                On("main", "M", Says(REM), 300),
            ],
            asks: Asks::Since,
            filter: one,
            says: Some(limited(&["M"], &["F"], &["F"])),
        },
        Case {
            // F is in the gap and never was the topic.
            name: "it loses in a gap",
            before: &[JOIN, Fork("f", "main"), On("main", "T1", Topic(REM), 100)],
            then: &[
                On("f", "F", Topic(MOD), 50),
                Merge("main", "f", &[]),
                On("main", "M", Says(REM), 300),
            ],
            asks: Asks::Since,
            filter: one,
            says: Some(limited(&["M"], &[], &[])),
        },
        Case {
            // D takes the moderator's level away on a branch that does not know T2. It goes first, T2 is
            // not allowed under it, and the topic is T1 again: what the client had all along.
            name: "a topic that was overruled in the same stretch",
            before: &[JOIN, On("main", "T1", Topic(REM), 50), Fork("f", "main")],
            then: &[
                On("main", "T2", Topic(MOD), 100),
                On("f", "D", ModLevel(0), 90),
            ],
            asks: Asks::Since,
            filter: ten,
            says: Some(says("join", &["T2", "D"], &[], &["D"])),
        },
        Case {
            // The same, but the client has T2. No event of the timeline sets the topic: its value in the
            // end belongs into `state`, too, though it is older than the timeline's start.
            name: "a topic that the client has is set back to an older one",
            before: &[
                JOIN,
                On("main", "T1", Topic(REM), 50),
                Fork("f", "main"),
                On("main", "T2", Topic(MOD), 100),
            ],
            then: &[On("f", "D", ModLevel(0), 90)],
            asks: Asks::Since,
            filter: ten,
            says: Some(says("join", &["D"], &["T1"], &["D", "T1"])),
        },
        Case {
            // Without T1 the topic has no value. That cannot be said.
            name: "a topic vanishes",
            before: &[JOIN, Fork("f", "main"), On("main", "T2", Topic(MOD), 100)],
            then: &[On("f", "D", ModLevel(0), 90)],
            asks: Asks::Since,
            filter: ten,
            says: Some(says("join", &["D"], &[], &["D"])),
        },
    ]
}

/// Gaps.
fn in_gaps() -> Vec<Case> {
    vec![
        Case {
            // No fork. T2 was the topic at the start of the timeline, T3 is at its end.
            name: "a topic is set in the gap and again in the timeline",
            before: &[JOIN, On("main", "T1", Topic(REM), 50)],
            then: &[
                On("main", "T2", Topic(MOD), 100),
                On("main", "M", Says(MOD), 110),
                On("main", "T3", Topic(REM), 120),
            ],
            asks: Asks::Since,
            filter: one,
            says: Some(limited(&["T3"], &["T2"], &["T3"])),
        },
        Case {
            // The same, but the timeline's topic stands on a fork from before the one in the gap.
            name: "a topic is set in the gap and by a fork in the timeline",
            before: &[JOIN, On("main", "T1", Topic(REM), 50), Fork("f", "main")],
            then: &[
                On("main", "T2", Topic(MOD), 100),
                On("f", "F", Topic(MOD), 200),
            ],
            asks: Asks::Since,
            filter: one,
            says: Some(limited(&["F"], &["T2"], &["F"])),
        },
        Case {
            // And if that one loses, T2 is the topic at both ends.
            name: "a topic is set in the gap and the fork in the timeline loses",
            before: &[JOIN, On("main", "T1", Topic(REM), 50), Fork("f", "main")],
            then: &[
                On("main", "T2", Topic(MOD), 100),
                On("f", "F", Topic(MOD), 80),
            ],
            asks: Asks::Since,
            filter: one,
            says: Some(limited(&["F"], &["T2"], &["T2"])),
        },
        Case {
            // T2 came and went in the gap: before T4 the topic was T1, which the client has. D changed
            // the power levels in the gap.
            name: "a topic is set back in the gap and set again in the timeline",
            before: &[JOIN, On("main", "T1", Topic(REM), 50), Fork("f", "main")],
            then: &[
                On("main", "T2", Topic(MOD), 100),
                On("f", "D", ModLevel(0), 90),
                Merge("f", "main", &[]),
                On("f", "T4", Topic(REM), 400),
            ],
            asks: Asks::Since,
            filter: one,
            says: Some(limited(&["T4"], &["D"], &["D", "T4"])),
        },
        Case {
            // Two forks tell one key each; both win, and neither branch knows the other.
            name: "two forks in one stretch",
            before: &[
                JOIN,
                On("main", "T1", Topic(REM), 50),
                Fork("f", "main"),
                Fork("g", "main"),
                On("main", "M", Says(REM), 60),
            ],
            then: &[
                On("f", "F", Topic(MOD), 100),
                On("g", "C", Member(CAI, CAI, "join"), 110),
            ],
            asks: Asks::Since,
            filter: one,
            says: Some(limited(&["C"], &["F"], &["C", "F"])),
        },
        Case {
            // Allowed where it stands, not by the current state: kept, and shown to nobody.
            name: "a soft-failed topic",
            before: &[JOIN, Fork("f", "main"), On("main", "D", ModLevel(0), 90)],
            then: &[SoftFailed("f", "F", Topic(MOD), 100)],
            asks: Asks::Since,
            filter: ten,
            says: None,
        },
        Case {
            // The timeline's filter takes T2 out of the timeline: then `state` is where it is told.
            name: "a topic that the timeline's filter leaves out",
            before: &[JOIN, On("main", "T1", Topic(REM), 50)],
            then: &[
                On("main", "T2", Topic(MOD), 100),
                On("main", "M", Says(MOD), 110),
            ],
            asks: Asks::Since,
            filter: messages_alone,
            says: Some(says("join", &["M"], &["T2"], &["T2"])),
        },
    ]
}

/// What the filter left out; the user's own membership.
fn memberships() -> Vec<Case> {
    vec![
        Case {
            // The room is ended by nothing but resolution: D is left out, the topic is T1 again.
            name: "only resolution has news",
            before: &[
                JOIN,
                On("main", "T1", Topic(REM), 50),
                Fork("f", "main"),
                On("main", "T2", Topic(MOD), 100),
            ],
            then: &[On("f", "D", ModLevel(0), 90)],
            asks: Asks::Since,
            filter: messages_alone,
            says: Some(says("join", &[], &["D", "T1"], &["D", "T1"])),
        },
        Case {
            // A ban goes first, and a join does not outlast it. The ban is the room's last event for Ben.
            name: "banned on a fork",
            before: &[JOIN, Fork("f", "main"), On("main", "M", Says(REM), 50)],
            then: &[On("f", "B", Member(MOD, BEN, "ban"), 100)],
            asks: Asks::Since,
            filter: ten,
            says: Some(says("leave", &["B"], &[], &["B"])),
        },
        Case {
            // R makes the room invite-only on a branch that does not know of J2, and goes first. J2 is
            // not allowed under it; what is left is L. Nothing in the timeline says so.
            name: "a join is set back to an older leave",
            before: &[
                JOIN,
                On("main", "L", Member(BEN, BEN, "leave"), 50),
                Fork("f", "main"),
                On("main", "J2", Member(BEN, BEN, "join"), 100),
            ],
            then: &[On("f", "R", InviteOnly, 90)],
            asks: Asks::Since,
            filter: ten,
            says: Some(says("leave", &["R"], &["L"], &["L", "R"])),
        },
        Case {
            // The same without an older membership: Ben was never there. The room is left all the same.
            name: "a join vanishes",
            before: &[Fork("f", "main"), JOIN],
            then: &[On("f", "R", InviteOnly, 10)],
            asks: Asks::Since,
            filter: ten,
            says: Some(says("leave", &["R"], &[], &["R"])),
        },
        Case {
            // The moderator who banned Ben had no level any more, as a fork tells: the ban is gone, and
            // J holds again. The client forgot the room when it was banned, so the room comes whole:
            // before B the membership was J, before D the levels were the first ones.
            name: "a ban is set back to an older join",
            before: &[
                JOIN,
                Fork("f", "main"),
                On("main", "B", Member(MOD, BEN, "ban"), 100),
            ],
            then: &[On("f", "D", ModLevel(0), 90)],
            asks: Asks::Since,
            filter: two,
            says: Some(limited(
                &["B", "D"],
                &["create", "rem", "power", "rules", "name", "mod", "J"],
                &["create", "rem", "D", "rules", "name", "mod", "J"],
            )),
        },
    ]
}

/// Whole states.
fn whole() -> Vec<Case> {
    vec![
        Case {
            // Before D arrived the topic was T2, in the end it is T1, and only `state` can tell.
            name: "the first sync of a forked room",
            before: &[],
            then: &[
                JOIN,
                On("main", "T1", Topic(REM), 50),
                Fork("f", "main"),
                On("main", "T2", Topic(MOD), 100),
                On("f", "D", ModLevel(0), 90),
            ],
            asks: Asks::AtFirst,
            filter: one,
            says: Some(limited(
                &["D"],
                &["create", "rem", "power", "rules", "name", "mod", "J", "T1"],
                &["create", "rem", "D", "rules", "name", "mod", "J", "T1"],
            )),
        },
        Case {
            // With T2 in the timeline, T1 is what was before it, and what is in the end.
            name: "the same with the overruled topic in the timeline",
            before: &[],
            then: &[
                JOIN,
                On("main", "T1", Topic(REM), 50),
                Fork("f", "main"),
                On("main", "T2", Topic(MOD), 100),
                On("f", "D", ModLevel(0), 90),
            ],
            asks: Asks::AtFirst,
            filter: two,
            says: Some(limited(
                &["T2", "D"],
                &["create", "rem", "power", "rules", "name", "mod", "J", "T1"],
                &["create", "rem", "D", "rules", "name", "mod", "J", "T1"],
            )),
        },
        Case {
            // "all state events will be returned, even if `since` is non-empty. The timeline will still
            // be limited by the `since` parameter."
            name: "full_state",
            before: &[
                JOIN,
                On("main", "T1", Topic(REM), 50),
                Fork("f", "main"),
                On("main", "T2", Topic(MOD), 100),
            ],
            then: &[On("f", "D", ModLevel(0), 90)],
            asks: Asks::FullState,
            filter: ten,
            says: Some(says(
                "join",
                &["D"],
                &["create", "rem", "power", "rules", "name", "mod", "J", "T1"],
                &["create", "rem", "D", "rules", "name", "mod", "J", "T1"],
            )),
        },
        Case {
            // A key without a value is in no whole state.
            name: "full_state without what vanished",
            before: &[JOIN, Fork("f", "main"), On("main", "T2", Topic(MOD), 100)],
            then: &[On("f", "D", ModLevel(0), 90)],
            asks: Asks::FullState,
            filter: ten,
            says: Some(says(
                "join",
                &["D"],
                &["create", "rem", "power", "rules", "name", "mod", "J"],
                &["create", "rem", "D", "rules", "name", "mod", "J"],
            )),
        },
    ]
}

/// Lazy loading.
fn lazy() -> Vec<Case> {
    vec![
        Case {
            // "When a sync is `limited`, the server MUST return membership events for events in the gap":
            // Cai came there, and has not spoken. Rem speaks.
            name: "lazy members: somebody joins in a gap",
            before: &[JOIN],
            then: &[
                On("main", "C", Member(CAI, CAI, "join"), 50),
                On("main", "M", Says(REM), 60),
            ],
            asks: Asks::Since,
            filter: lazily_one,
            says: Some(limited(&["M"], &["C", "rem"], &["C", "rem"])),
        },
        Case {
            // Cai's second join falls to R, and nothing but `state` tells. Rem speaks.
            name: "lazy members: a join is set back to an older leave",
            before: &[
                JOIN,
                On("main", "C", Member(CAI, CAI, "join"), 30),
                On("main", "CL", Member(CAI, CAI, "leave"), 40),
                Fork("f", "main"),
                On("main", "C2", Member(CAI, CAI, "join"), 100),
            ],
            then: &[On("f", "R", InviteOnly, 90)],
            asks: Asks::Since,
            filter: lazily_ten,
            says: Some(says("join", &["R"], &["CL", "rem"], &["CL", "R", "rem"])),
        },
        Case {
            // Cai came on a fork, in the gap, and speaks there.
            name: "lazy members: somebody speaks on a fork",
            before: &[JOIN, Fork("f", "main"), On("main", "M", Says(REM), 50)],
            then: &[
                On("f", "C", Member(CAI, CAI, "join"), 60),
                On("f", "N", Says(CAI), 70),
            ],
            asks: Asks::Since,
            filter: lazily_one,
            says: Some(limited(&["N"], &["C"], &["C"])),
        },
        Case {
            // Cai is banned by another; with `state_after` the timeline's ban is no update by itself.
            name: "lazy members: somebody is banned",
            before: &[JOIN, On("main", "C", Member(CAI, CAI, "join"), 30)],
            then: &[On("main", "CB", Member(MOD, CAI, "ban"), 50)],
            asks: Asks::Since,
            filter: lazily_ten,
            says: Some(says("join", &["CB"], &["mod"], &["CB", "mod"])),
        },
    ]
}

fn says(
    section: &'static str,
    timeline: &'static [&'static str],
    state: &'static [&'static str],
    state_after: &'static [&'static str],
) -> Answer {
    Answer {
        section,
        limited: false,
        timeline,
        state,
        state_after,
    }
}

fn limited(
    timeline: &'static [&'static str],
    state: &'static [&'static str],
    state_after: &'static [&'static str],
) -> Answer {
    Answer {
        limited: true,
        ..says("join", timeline, state, state_after)
    }
}

fn ten() -> Value {
    json!({ "room": { "timeline": { "limit": 10 } } })
}

fn two() -> Value {
    json!({ "room": { "timeline": { "limit": 2 } } })
}

fn one() -> Value {
    json!({ "room": { "timeline": { "limit": 1 } } })
}

pub(super) fn messages_alone() -> Value {
    json!({ "room": { "timeline": { "types": ["m.room.message"] } } })
}

fn lazily(limit: u32) -> Value {
    // What is redundant depends on what a worker remembers.
    let state = json!({ "lazy_load_members": true, "include_redundant_members": true });
    json!({ "room": { "state": state, "timeline": { "limit": limit } } })
}

fn lazily_ten() -> Value {
    lazily(10)
}

fn lazily_one() -> Value {
    lazily(1)
}
