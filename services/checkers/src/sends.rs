//! Sends against what the rooms hold.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{Attempt, Event, Outcome, Timelines, Violation};

/// Everything acknowledged is in its room, with the message that was sent. (That it is there no
/// more than once is the matter of [`nothing_twice`].)
pub fn acknowledged_once(attempts: &[Attempt], timelines: &Timelines) -> Vec<Violation> {
    let mut held = HashMap::new();
    for (room, event) in all_events(timelines) {
        held.insert((room, event.event_id.as_str()), event);
    }
    let acknowledged = attempts
        .iter()
        .filter_map(|attempt| Some((attempt, attempt.outcome.event_id()?)));
    acknowledged
        .filter_map(|(attempt, event_id)| {
            let event = held.get(&(attempt.room.as_str(), event_id));
            broken_promise(attempt, event_id, event.copied())
        })
        .collect()
}

fn broken_promise(attempt: &Attempt, event_id: &str, held: Option<&Event>) -> Option<Violation> {
    match held {
        None => Some(Violation::Lost {
            room: attempt.room.clone(),
            event_id: event_id.to_owned(),
            mark: attempt.mark.clone(),
        }),
        Some(event) if event.mark.as_ref() == Some(&attempt.mark) => None,
        Some(event) => Some(Violation::Swapped {
            event_id: event_id.to_owned(),
            mark: attempt.mark.clone(),
            found: event.mark.clone(),
        }),
    }
}

/// No event stands twice, and no message became two events.
pub fn nothing_twice(timelines: &Timelines) -> Vec<Violation> {
    let mut events = BTreeMap::<&str, usize>::new();
    let mut messages = BTreeMap::<(&str, &str), usize>::new();
    for (room, event) in all_events(timelines) {
        *events.entry(&event.event_id).or_default() += 1;
        if let Some(mark) = &event.mark {
            *messages.entry((room, mark)).or_default() += 1;
        }
    }
    let events = events.into_iter().filter(|(_, times)| *times > 1);
    let events = events.map(|(event_id, times)| Violation::EventTwice {
        event_id: event_id.to_owned(),
        times,
    });
    let messages = messages.into_iter().filter(|(_, times)| *times > 1);
    let messages = messages.map(|((room, mark), times)| Violation::MessageTwice {
        room: room.to_owned(),
        mark: mark.to_owned(),
        times,
    });
    events.chain(messages).collect()
}

/// Every message in a room was sent into it, and not refused each time.
pub fn only_what_was_asked(attempts: &[Attempt], timelines: &Timelines) -> Vec<Violation> {
    let (mut sent, mut possible) = (HashSet::new(), HashSet::new());
    for attempt in attempts {
        let key = (attempt.room.as_str(), attempt.mark.as_str());
        sent.insert(key);
        if attempt.outcome != Outcome::Refused {
            possible.insert(key);
        }
    }
    let marked = all_events(timelines)
        .filter_map(|(room, event)| Some((room, event.mark.as_deref()?)))
        .filter(|key| !possible.contains(key));
    marked
        .map(|(room, mark)| Violation::Unasked {
            room: room.to_owned(),
            mark: mark.to_owned(),
            reason: if sent.contains(&(room, mark)) {
                "refused"
            } else {
                "never sent"
            },
        })
        .collect()
}

/// When a message was first sent and first acknowledged, as numbers of its session's attempts.
struct Span<'a> {
    session: &'a str,
    sent: usize,
    acknowledged: Option<usize>,
}

/// Messages stand in each sender's order: what was acknowledged before another was first sent
/// stands before it.
pub fn in_order(attempts: &[Attempt], timelines: &Timelines) -> Vec<Violation> {
    let spans = spans(attempts);
    let mut found = Vec::new();
    for (room, events) in timelines {
        // By session: the message sent last of those that stand further up.
        let mut latest = HashMap::<&str, (usize, &str)>::new();
        for mark in events.iter().filter_map(|event| event.mark.as_deref()) {
            let Some(span) = spans.get(&(room.as_str(), mark)) else {
                continue;
            };
            let last = latest.entry(span.session).or_insert((span.sent, mark));
            if span
                .acknowledged
                .is_some_and(|acknowledged| acknowledged < last.0)
            {
                found.push(Violation::Reordered {
                    room: room.clone(),
                    session: span.session.to_owned(),
                    earlier: mark.to_owned(),
                    later: last.1.to_owned(),
                });
            }
            if span.sent > last.0 {
                *last = (span.sent, mark);
            }
        }
    }
    found
}

fn spans(attempts: &[Attempt]) -> HashMap<(&str, &str), Span<'_>> {
    let mut spans = HashMap::new();
    for (number, attempt) in attempts.iter().enumerate() {
        let key = (attempt.room.as_str(), attempt.mark.as_str());
        let span = spans.entry(key).or_insert(Span {
            session: &attempt.session,
            sent: number,
            acknowledged: None,
        });
        if attempt.outcome.event_id().is_some() {
            span.acknowledged.get_or_insert(number);
        }
    }
    spans
}

/// The same transaction of a session always gives the same event id, and another one another.
pub fn transactions_stable(attempts: &[Attempt]) -> Vec<Violation> {
    let mut ids = HashMap::<(&str, &str, &str), &str>::new();
    let mut transactions = HashMap::<&str, &Attempt>::new();
    let mut found = Vec::new();
    for attempt in attempts {
        let Some(event_id) = attempt.outcome.event_id() else {
            continue;
        };
        let key = (
            attempt.session.as_str(),
            attempt.room.as_str(),
            attempt.transaction.as_str(),
        );
        let first = ids.entry(key).or_insert(event_id);
        if *first != event_id {
            found.push(forked(attempt, first, event_id));
        }
        let other = transactions.entry(event_id).or_insert(attempt);
        if (&other.session, &other.room, &other.transaction)
            != (&attempt.session, &attempt.room, &attempt.transaction)
        {
            found.push(Violation::TransactionsMerged {
                session: attempt.session.clone(),
                first: other.transaction.clone(),
                second: attempt.transaction.clone(),
                event_id: event_id.to_owned(),
            });
        }
    }
    found
}

fn forked(attempt: &Attempt, first: &str, second: &str) -> Violation {
    Violation::TransactionForked {
        session: attempt.session.clone(),
        room: attempt.room.clone(),
        transaction: attempt.transaction.clone(),
        first: first.to_owned(),
        second: second.to_owned(),
    }
}

fn all_events(timelines: &Timelines) -> impl Iterator<Item = (&str, &Event)> {
    timelines
        .iter()
        .flat_map(|(room, events)| events.iter().map(move |event| (room.as_str(), event)))
}
