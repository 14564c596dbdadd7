//! A correct history passes every checker, and each way to break it turns its checker red.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

use hanse_checkers::{
    Attempt, Event, Outcome, Page, RoomPage, Timelines, Violation, acknowledged_once, check_sends,
    check_syncs, in_order, no_event_again, nothing_twice, only_what_was_asked, transactions_stable,
    union_is_timeline,
};
use proptest::{prelude::*, sample::Index};

/// What a server may do with a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    Refused,
    /// The answer is lost; the request may have landed.
    Lost {
        landed: bool,
    },
}

/// One step: which session, into which room, what becomes of it, and whether an unknown outcome is
/// tried again at once, or an acknowledged one repeated.
type Step = (usize, usize, Fate, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![
        5 => Just(Fate::Answered),
        1 => Just(Fate::Refused),
        1 => any::<bool>().prop_map(|landed| Fate::Lost { landed }),
    ];
    let step = (0..3usize, 0..2usize, fate, any::<bool>());
    // The last steps are plain, so that there is something to break in every history.
    let plain = (Just(0), Just(0), Just(Fate::Answered), Just(true));
    (
        prop::collection::vec(step, 0..40),
        prop::collection::vec(plain, 3),
    )
        .prop_map(|(mut steps, plain)| {
            steps.extend(plain);
            steps
        })
}

#[derive(Clone, Debug, Default)]
struct History {
    attempts: Vec<Attempt>,
    timelines: Timelines,
    pages: Vec<Page>,
}

impl History {
    /// What a correct server makes of these steps.
    fn of(steps: &[Step]) -> Self {
        let mut history = Self::default();
        for (number, &(session, room, fate, again)) in steps.iter().enumerate() {
            let attempt = Attempt {
                session: format!("session {session}"),
                room: format!("room {room}"),
                transaction: format!("transaction {number}"),
                mark: format!("mark {number}"),
                outcome: Outcome::Unknown,
            };
            history.attempt(attempt, number, fate, again);
        }
        history.sync();
        history
    }

    fn attempt(&mut self, attempt: Attempt, number: usize, fate: Fate, again: bool) {
        let event_id = format!("event {number}");
        let acknowledged = Outcome::Acknowledged(event_id.clone());
        let landed = !matches!(fate, Fate::Refused | Fate::Lost { landed: false });
        let outcome = match fate {
            Fate::Answered => acknowledged.clone(),
            Fate::Refused => Outcome::Refused,
            Fate::Lost { .. } => Outcome::Unknown,
        };
        let retried = again && !matches!(fate, Fate::Refused);
        if landed || retried {
            let mark = Some(attempt.mark.clone());
            let timeline = self.timelines.entry(attempt.room.clone()).or_default();
            timeline.push(Event { event_id, mark });
        }
        self.attempts.push(Attempt {
            outcome,
            ..attempt.clone()
        });
        if retried {
            self.attempts.push(Attempt {
                outcome: acknowledged,
                ..attempt
            });
        }
    }

    /// A reader's pages of two events for each room.
    fn sync(&mut self) {
        for (room, events) in &self.timelines {
            for chunk in events.chunks(2) {
                let number = self.pages.len();
                self.pages.push(Page {
                    since: (number > 0).then(|| format!("token {number}")),
                    next: format!("token {}", number + 1),
                    rooms: vec![RoomPage {
                        room: room.clone(),
                        events: chunk.iter().map(|event| event.event_id.clone()).collect(),
                        limited: false,
                    }],
                });
            }
        }
    }

    /// The numbers of the acknowledged attempts that are no repeats.
    fn acknowledged(&self) -> Vec<usize> {
        let first = |number: &usize| {
            let attempt = &self.attempts[*number];
            let before = &self.attempts[..*number];
            attempt.outcome.event_id().is_some() && before.iter().all(|b| b.mark != attempt.mark)
        };
        (0..self.attempts.len()).filter(first).collect()
    }

    /// Where the event of an acknowledged attempt stands.
    fn place(&self, number: usize) -> (String, usize) {
        let attempt = &self.attempts[number];
        let events = &self.timelines[&attempt.room];
        let place = events
            .iter()
            .position(|event| event.mark.as_ref() == Some(&attempt.mark));
        (attempt.room.clone(), place.unwrap())
    }

    fn some_acknowledged(&self, index: Index) -> (usize, String, usize) {
        let acknowledged = self.acknowledged();
        let number = acknowledged[index.index(acknowledged.len())];
        let (room, place) = self.place(number);
        (number, room, place)
    }
}

fn is_lost(violation: &Violation) -> bool {
    matches!(violation, Violation::Lost { .. })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_a_correct_server_does_passes(steps in steps()) {
        let history = History::of(&steps);
        prop_assert_eq!(check_sends(&history.attempts, &history.timelines), vec![]);
        prop_assert_eq!(check_syncs("reader", &history.pages, &history.timelines), vec![]);
    }

    #[test]
    fn a_lost_event_is_found(steps in steps(), index: Index) {
        let mut history = History::of(&steps);
        let (_, room, place) = history.some_acknowledged(index);
        history.timelines.get_mut(&room).unwrap().remove(place);
        let found = acknowledged_once(&history.attempts, &history.timelines);
        prop_assert!(found.iter().all(is_lost) && !found.is_empty(), "{:?}", found);
    }

    #[test]
    fn an_event_with_another_message_is_found(steps in steps(), index: Index) {
        let mut history = History::of(&steps);
        let (_, room, place) = history.some_acknowledged(index);
        history.timelines.get_mut(&room).unwrap()[place].mark = Some("other".to_owned());
        let found = acknowledged_once(&history.attempts, &history.timelines);
        prop_assert!(matches!(found[0], Violation::Swapped { .. }), "{:?}", found);
        let found = only_what_was_asked(&history.attempts, &history.timelines);
        prop_assert!(matches!(found[..], [Violation::Unasked { .. }]), "{:?}", found);
    }

    #[test]
    fn an_event_that_stands_twice_is_found(steps in steps(), index: Index) {
        let mut history = History::of(&steps);
        let (_, room, place) = history.some_acknowledged(index);
        let timeline = history.timelines.get_mut(&room).unwrap();
        timeline.push(timeline[place].clone());
        let found = nothing_twice(&history.timelines);
        prop_assert!(matches!(found[0], Violation::EventTwice { times: 2, .. }), "{:?}", found);
    }

    #[test]
    fn a_retry_that_became_a_second_event_is_found(steps in steps(), index: Index) {
        let mut history = History::of(&steps);
        let (_, room, place) = history.some_acknowledged(index);
        let timeline = history.timelines.get_mut(&room).unwrap();
        let event_id = "second".to_owned();
        timeline.push(Event { event_id, ..timeline[place].clone() });
        let found = nothing_twice(&history.timelines);
        prop_assert!(matches!(found[..], [Violation::MessageTwice { times: 2, .. }]), "{:?}", found);
    }

    #[test]
    fn a_refused_message_that_landed_is_found(steps in steps(), index: Index) {
        let mut history = History::of(&steps);
        let (number, ..) = history.some_acknowledged(index);
        let mark = history.attempts[number].mark.clone();
        for attempt in history.attempts.iter_mut().filter(|attempt| attempt.mark == mark) {
            attempt.outcome = Outcome::Refused;
        }
        let found = only_what_was_asked(&history.attempts, &history.timelines);
        prop_assert!(matches!(found[..], [Violation::Unasked { reason: "refused", .. }]), "{:?}", found);
    }

    #[test]
    fn two_messages_of_a_sender_in_the_wrong_order_are_found(steps in steps()) {
        let mut history = History::of(&steps);
        // The last two are of one session into one room, the first acknowledged before the second.
        let timeline = history.timelines.get_mut("room 0").unwrap();
        let last = timeline.len() - 1;
        timeline.swap(last - 1, last);
        let found = in_order(&history.attempts, &history.timelines);
        prop_assert!(matches!(found[..], [Violation::Reordered { .. }]), "{:?}", found);
    }

    #[test]
    fn a_repeat_with_another_event_id_is_found(steps in steps(), index: Index) {
        let mut history = History::of(&steps);
        let (number, ..) = history.some_acknowledged(index);
        let mut repeat = history.attempts[number].clone();
        repeat.outcome = Outcome::Acknowledged("another".to_owned());
        history.attempts.push(repeat);
        let found = transactions_stable(&history.attempts);
        prop_assert!(matches!(found[..], [Violation::TransactionForked { .. }]), "{:?}", found);
    }

    #[test]
    fn two_transactions_with_one_event_id_are_found(steps in steps(), index: Index) {
        let mut history = History::of(&steps);
        let (number, ..) = history.some_acknowledged(index);
        let mut other = history.attempts[number].clone();
        other.transaction = "another".to_owned();
        history.attempts.push(other);
        let found = transactions_stable(&history.attempts);
        prop_assert!(matches!(found[..], [Violation::TransactionsMerged { .. }]), "{:?}", found);
    }

    #[test]
    fn an_event_synced_again_is_found(steps in steps(), index: Index) {
        let mut history = History::of(&steps);
        let page = index.index(history.pages.len());
        let again = history.pages[page].rooms[0].events[0].clone();
        let last = history.pages.last_mut().unwrap();
        last.rooms[0].events.push(again);
        let found = no_event_again("reader", &history.pages);
        prop_assert!(matches!(found[..], [Violation::SyncedAgain { .. }]), "{:?}", found);
    }

    #[test]
    fn asking_again_with_an_old_token_is_no_repeat(steps in steps(), index: Index) {
        let mut history = History::of(&steps);
        let page = index.index(history.pages.len());
        history.pages.push(history.pages[page].clone());
        prop_assert_eq!(no_event_again("reader", &history.pages), vec![]);
    }

    #[test]
    fn an_event_that_no_sync_gave_is_found(steps in steps()) {
        let mut history = History::of(&steps);
        // Not the first of its room: before that, a reader may not have been there.
        let mut pages = history.pages.iter_mut();
        let page = pages.find(|page| page.rooms[0].room == "room 0").unwrap();
        page.rooms[0].events.remove(1);
        let found = union_is_timeline("reader", &history.pages, &history.timelines);
        prop_assert!(matches!(found[..], [Violation::NotSynced { .. }]), "{:?}", found);
    }

    #[test]
    fn an_event_that_no_room_holds_and_a_wrong_order_are_found(steps in steps()) {
        let mut history = History::of(&steps);
        let events = &mut history.pages[0].rooms[0].events;
        events.swap(0, 1);
        events.push("made up".to_owned());
        let found = union_is_timeline("reader", &history.pages, &history.timelines);
        prop_assert!(found.iter().any(|v| matches!(v, Violation::SyncedReordered { .. })), "{:?}", found);
        prop_assert!(found.iter().any(|v| matches!(v, Violation::SyncedUnheld { .. })), "{:?}", found);
    }
}

#[test]
fn only_a_limited_part_may_leave_events_out() {
    let event = |id: &str| Event {
        event_id: id.to_owned(),
        mark: None,
    };
    let timelines = Timelines::from([("r".to_owned(), ["a", "b", "c"].map(event).to_vec())]);
    let part = |id: &str, limited| RoomPage {
        room: "r".to_owned(),
        events: vec![id.to_owned()],
        limited,
    };
    let page = |limited| Page {
        since: None,
        next: "t".to_owned(),
        rooms: vec![part("a", false), part("c", limited)],
    };
    assert!(union_is_timeline("reader", &[page(true)], &timelines).is_empty());
    assert_eq!(
        union_is_timeline("reader", &[page(false)], &timelines).len(),
        1
    );
}
