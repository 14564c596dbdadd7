//! What `/sync` says of rooms with forks, worked out by hand from the specification.
//!
//! `state`: "Updates to the state, between the time indicated by the `since` parameter, and the start
//! of the timeline"; `state_after`: the same up to its end. "If this field is not set, clients MUST
//! update their local state with events in `state` and `timeline`." So beside `state`, a key that the
//! timeline sets is told as of before it, and a key that state resolution changed as it is in the end,
//! for nothing else would tell it. A value that did not change since `since` is no update.
//!
//! Of two events for one key, neither about power, on two branches with the same power levels, the
//! resolution takes the later by `origin_server_ts`. Power levels, join rules, and memberships given to
//! others go first, and what they do not allow is gone.

mod cases;

use std::{collections::BTreeMap, time::Duration};

use hanse_event::Draft;
use hanse_log::Position;
use hanse_room::Fate;
use hanse_store::Direction;
use ruma::{OwnedEventId, RoomVersionId, UserId, api::client::sync::sync_events::v3::Request};
use serde_json::{Value, json};

use crate::{
    elsewhere::{Elsewhere, MOD, REM, message, state},
    world::{World, content, request, sync},
};

const BEN: &str = "@ben:hanse.test";
const CAI: &str = "@cai:c.test";

/// One thing that happens.
#[derive(Clone, Copy)]
enum Step {
    /// An event is built on a branch and arrives: branch, label, what, `origin_server_ts`.
    On(&'static str, &'static str, What, u32),
    /// The same; it is soft-failed.
    SoftFailed(&'static str, &'static str, What, u32),
    /// A branch begins where another one is now.
    Fork(&'static str, &'static str),
    /// The first branch follows the second, too, which gave it these events.
    Merge(&'static str, &'static str, &'static [&'static str]),
}

#[derive(Clone, Copy)]
enum What {
    Says(&'static str),
    Topic(&'static str),
    Name,
    /// The moderator has this level from here on.
    ModLevel(i64),
    InviteOnly,
    Open,
    /// Sender, whose membership, and which.
    Member(&'static str, &'static str, &'static str),
}

use Step::{Fork, Merge, On, SoftFailed};
use What::{InviteOnly, Member, ModLevel, Name, Open, Says, Topic};

/// What a client asks with.
#[derive(Clone, Copy, PartialEq)]
enum Asks {
    Since,
    FullState,
    AtFirst,
}

struct Case {
    name: &'static str,
    /// What the client knows.
    before: &'static [Step],
    then: &'static [Step],
    asks: Asks,
    filter: fn() -> Value,
    says: Option<Answer>,
}

/// What the room's part of the answer holds, by label.
struct Answer {
    section: &'static str,
    limited: bool,
    timeline: &'static [&'static str],
    state: &'static [&'static str],
    state_after: &'static [&'static str],
}

/// Ben joins.
const JOIN: Step = On("main", "J", Member(BEN, BEN, "join"), 20);

/// A case as it goes on.
struct Play {
    elsewhere: Elsewhere,
    labels: BTreeMap<OwnedEventId, &'static str>,
}

impl Play {
    async fn begin(world: &World, version: &RoomVersionId) -> Self {
        let mut elsewhere = Elsewhere::begin(version);
        let create = elsewhere.send_create(&world.rooms).await;
        let mut play = Self {
            elsewhere,
            labels: BTreeMap::from([(create, "create")]),
        };
        let furniture = [
            ("rem", Member(REM, REM, "join")),
            ("power", ModLevel(50)),
            ("rules", Open),
            // Else a summary would name heroes, and lazy loading bring their memberships.
            ("name", Name),
            ("mod", Member(MOD, MOD, "join")),
        ];
        for (label, what) in furniture {
            play.step(world, &On("main", label, what, 1)).await;
        }
        play
    }

    async fn step(&mut self, world: &World, step: &Step) {
        match *step {
            On(branch, label, what, ts) => {
                let fate = self.send(world, branch, label, what, ts).await;
                assert_eq!(fate, Fate::Accepted, "{label}");
            }
            SoftFailed(branch, label, what, ts) => {
                let fate = self.send(world, branch, label, what, ts).await;
                assert!(matches!(fate, Fate::SoftFailed { .. }), "{label}: {fate:?}");
            }
            Fork(new, from) => {
                let branch = self.elsewhere.branches[from].clone();
                self.elsewhere.branches.insert(new, branch);
            }
            Merge(into, from, over) => {
                let labelled = |(id, label)| over.contains(label).then_some(id);
                let over: Vec<_> = self.labels.iter().filter_map(labelled).collect();
                let branches = &mut self.elsewhere.branches;
                let merged = branches[into].merged(&branches[from], &over);
                branches.insert(into, merged);
            }
        }
    }

    async fn send(
        &mut self,
        world: &World,
        branch: &'static str,
        label: &'static str,
        what: What,
        ts: u32,
    ) -> Fate {
        let draft = self.draft(what, label);
        let (id, fate) = self.elsewhere.send(&world.rooms, branch, draft, ts).await;
        self.labels.insert(id, label);
        fate
    }

    fn draft(&self, what: What, label: &str) -> Draft {
        match what {
            Says(sender) => message(sender),
            Name => state(REM, "m.room.name", "", &json!({ "name": "a room" })),
            Topic(sender) => state(sender, "m.room.topic", "", &json!({ "topic": label })),
            ModLevel(level) => {
                let mut users = json!({ MOD: level });
                if !self.elsewhere.creators_are_above() {
                    users[REM] = 100.into();
                }
                state(REM, "m.room.power_levels", "", &json!({ "users": users }))
            }
            Open => state(
                REM,
                "m.room.join_rules",
                "",
                &json!({ "join_rule": "public" }),
            ),
            InviteOnly => state(
                REM,
                "m.room.join_rules",
                "",
                &json!({ "join_rule": "invite" }),
            ),
            Member(sender, target, membership) => {
                let content = json!({ "membership": membership, "of": label });
                state(sender, "m.room.member", target, &content)
            }
        }
    }

    /// What an answer says of the room: section, limited, timeline, state; by label.
    fn told(&self, answer: &Value) -> Option<Told> {
        let room_id = self.elsewhere.room_id.as_str();
        let sections = ["join", "leave", "invite", "knock"];
        let found = sections.map(|s| answer["rooms"][s].get(room_id).map(|part| (s, part)));
        let (section, part) = found.into_iter().flatten().next()?;
        let state = match (part.get("state"), part.get("state_after")) {
            (Some(_), Some(_)) => panic!("both state and state_after"),
            (before, after) => before.or(after),
        };
        let mut state = state.map_or(Vec::new(), |state| self.labelled(state));
        state.sort_unstable();
        let timeline = &part["timeline"];
        Some(Told {
            section,
            limited: timeline["limited"] == json!(true),
            timeline: self.labelled(timeline),
            state,
        })
    }

    fn labelled(&self, list: &Value) -> Vec<&'static str> {
        let events = list["events"].as_array().map_or(&[][..], Vec::as_slice);
        let label = |event: &Value| {
            let id: OwnedEventId = event["event_id"].as_str().unwrap().try_into().unwrap();
            self.labels[&id]
        };
        events.iter().map(label).collect()
    }
}

#[derive(Debug, PartialEq)]
struct Told {
    section: &'static str,
    limited: bool,
    timeline: Vec<&'static str>,
    state: Vec<&'static str>,
}

impl Case {
    fn expected(&self, after: bool) -> Option<Told> {
        let says = self.says.as_ref()?;
        let state = if after { says.state_after } else { says.state };
        let mut state = state.to_vec();
        state.sort_unstable();
        Some(Told {
            section: says.section,
            limited: says.limited,
            timeline: says.timeline.to_vec(),
            state,
        })
    }

    fn request(&self, since: &str, after: bool) -> Request {
        let since = (self.asks != Asks::AtFirst).then_some(since);
        let mut ask = request(since, (self.filter)(), Duration::ZERO);
        ask.full_state = self.asks == Asks::FullState;
        ask.use_state_after = after;
        ask
    }

    async fn check(&self, world: &World, ben: &UserId, version: &RoomVersionId) {
        let mut play = Play::begin(world, version).await;
        for step in self.before {
            play.step(world, step).await;
        }
        tokio::time::sleep(Duration::from_millis(60)).await;
        let first = request(None, (self.filter)(), Duration::ZERO);
        let since = sync(&world.worker, ben, first).await.unwrap().next_batch;
        for step in self.then {
            play.step(world, step).await;
        }
        for after in [false, true] {
            let expected = self.expected(after);
            for (memory, worker) in [(true, world.worker.clone()), (false, world.fresh_worker())] {
                let ask = async || {
                    let asked = self.request(&since, after);
                    let answer = content(&sync(&worker, ben, asked).await.unwrap());
                    play.told(&answer)
                };
                // The worker hears of the last event a moment after it arrived.
                let mut told = ask().await;
                for _ in 0..100 {
                    if told == expected {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    told = ask().await;
                }
                let how = format!(
                    "{} in {version}, state_after {after}, memory {memory}",
                    self.name
                );
                assert_eq!(told, expected, "{how}");
            }
        }
    }
}

/// Sabotage: take the state at the timeline's start for the whole of what changed; or at its end for
/// every key; follow events alone; take a value that is older than `since` for none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_case_says_what_was_worked_out() {
    let world = World::new().await;
    let ben = world.register("ben").await;
    for version in [RoomVersionId::V11, RoomVersionId::V12] {
        for case in cases::cases() {
            case.check(&world, &ben, &version).await;
        }
    }
    world.close().await;
}

/// Sabotage: wake for events alone, or wake for what nobody is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_resolution_changes_wakes_and_what_is_hidden_does_not() {
    let world = World::new().await;
    let ben = world.register("ben").await;
    let mut play = Play::begin(&world, &RoomVersionId::V11).await;
    for step in [
        JOIN,
        On("main", "T1", Topic(REM), 50),
        Fork("f", "main"),
        Fork("g", "main"),
        On("main", "T2", Topic(MOD), 100),
    ] {
        play.step(&world, &step).await;
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    let first = request(None, cases::messages_alone(), Duration::ZERO);
    let since = sync(&world.worker, &ben, first).await.unwrap().next_batch;
    let poll = |since: String, wait: u64| {
        let (worker, ben) = (world.worker.clone(), ben.clone());
        let asked = request(
            Some(&since),
            cases::messages_alone(),
            Duration::from_millis(wait),
        );
        async move { sync(&worker, &ben, asked).await.unwrap() }
    };
    let fork = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        play.step(&world, &On("f", "D", ModLevel(0), 90)).await;
    };
    let (answer, ()) = tokio::join!(poll(since, 20_000), fork);
    let told = play.told(&content(&answer)).unwrap();
    assert_eq!((told.section, told.state), ("join", vec!["D", "T1"]));

    let hidden = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let topic = SoftFailed("g", "F", Topic(MOD), 300);
        play.step(&world, &topic).await;
    };
    let started = tokio::time::Instant::now();
    let (answer, ()) = tokio::join!(poll(answer.next_batch, 600), hidden);
    assert!(play.told(&content(&answer)).is_none());
    assert!(started.elapsed() >= Duration::from_millis(600));
    world.close().await;
}

/// A late event of a fork from far back begins the timeline: in the order of history everything that
/// arrived in the gap comes after it. Sabotage: have `prev_batch` stand in that order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_on_from_a_late_event_is_given_the_gap() {
    let world = World::new().await;
    let ben = world.register("ben").await;
    let mut play = Play::begin(&world, &RoomVersionId::V11).await;
    play.step(&world, &JOIN).await;
    play.step(&world, &Fork("late", "main")).await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    let limited = || json!({ "room": { "timeline": { "limit": 1 } } });
    let first = request(None, limited(), Duration::ZERO);
    let since = sync(&world.worker, &ben, first).await.unwrap().next_batch;
    for label in ["gap 1", "gap 2", "gap 3", "gap 4"] {
        play.step(&world, &On("main", label, Says(REM), 30)).await;
    }
    play.step(&world, &On("late", "shallow", Says(MOD), 31))
        .await;
    tokio::time::sleep(Duration::from_millis(60)).await;

    let asked = request(Some(&since), limited(), Duration::ZERO);
    let answer = content(&sync(&world.fresh_worker(), &ben, asked).await.unwrap());
    let part = &answer["rooms"]["join"][play.elsewhere.room_id.as_str()];
    assert_eq!(play.labelled(&part["timeline"]), ["shallow"]);
    let prev_batch = part["timeline"]["prev_batch"].as_str().unwrap();
    let mut next = Some(prev_batch.parse().unwrap());
    let mut given = Vec::new();
    while let Some(from) = next {
        let page = world.rooms.reader().timeline(
            &play.elsewhere.room_id,
            from,
            Direction::Backward,
            Position::END,
            3,
        );
        let page = page.await.unwrap();
        let labels = page.events.iter();
        given.extend(labels.map(|event| play.labels[event.pdu.event_id()]));
        next = page.next;
    }
    let gap = ["gap 4", "gap 3", "gap 2", "gap 1", "J"];
    assert_eq!(given[..5], gap);
    assert_eq!(given.last(), Some(&"create"));
    world.close().await;
}
