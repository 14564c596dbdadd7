//! Syncs against what the rooms hold.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{Page, Timelines, Violation};

/// No event is given twice to a reader who goes on from each answer's token; nor twice in one
/// answer. A reader who asks with an older token again starts again from there.
pub fn no_event_again(reader: &str, pages: &[Page]) -> Vec<Violation> {
    // What had been given before each token, while somebody will still ask with it: mostly once.
    let mut before = HashMap::<Option<&str>, HashSet<&str>>::new();
    let mut asks = HashMap::<Option<&str>, usize>::new();
    for page in pages {
        *asks.entry(page.since.as_deref()).or_default() += 1;
    }
    let mut found = Vec::new();
    for page in pages {
        let since = page.since.as_deref();
        let left = asks.entry(since).or_default();
        *left -= 1;
        let given = match *left {
            0 => before.remove(&since),
            _ => before.get(&since).cloned(),
        };
        let mut given = given.unwrap_or_default();
        for event_id in page.rooms.iter().flat_map(|room| &room.events) {
            if !given.insert(event_id) {
                found.push(Violation::SyncedAgain {
                    reader: reader.to_owned(),
                    event_id: event_id.clone(),
                    since: page.since.clone(),
                });
            }
        }
        before.insert(Some(&page.next), given);
    }
    found
}

/// For each room, what the pages gave together is the room's timeline from the first event given to
/// the last one that the room holds, in its order; only before a `limited` part may events be
/// missing. The pages are one chain, each asked with the token of the one before.
pub fn union_is_timeline(reader: &str, pages: &[Page], timelines: &Timelines) -> Vec<Violation> {
    let mut chains = BTreeMap::<&str, Vec<(&str, bool)>>::new();
    for part in pages.iter().flat_map(|page| &page.rooms) {
        let chain = chains.entry(&part.room).or_default();
        for (index, event_id) in part.events.iter().enumerate() {
            chain.push((event_id, part.limited && index == 0));
        }
    }
    let mut found = Vec::new();
    for (room, chain) in chains {
        let reading = Reading::new(reader, room, timelines);
        reading.follow(&chain, &mut found);
    }
    found
}

/// A room as one reader got it.
struct Reading<'a> {
    reader: &'a str,
    room: &'a str,
    events: Vec<&'a str>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Reading<'a> {
    fn new(reader: &'a str, room: &'a str, timelines: &'a Timelines) -> Self {
        let events = timelines.get(room).into_iter().flatten();
        let events: Vec<&str> = events.map(|event| event.event_id.as_str()).collect();
        let places = events.iter().enumerate().map(|(place, id)| (*id, place));
        Self {
            reader,
            room,
            places: places.collect(),
            events,
        }
    }

    /// Follows what was given, each event with whether some may be missing before it.
    fn follow(&self, chain: &[(&str, bool)], found: &mut Vec<Violation>) {
        let mut expected = None;
        for &(event_id, after_gap) in chain {
            let Some(&place) = self.places.get(event_id) else {
                found.push(self.unheld(event_id));
                continue;
            };
            let next = expected.unwrap_or(place);
            if place < next {
                found.push(self.reordered(event_id));
                continue;
            }
            if !after_gap {
                self.missing(next, place, found);
            }
            expected = Some(place + 1);
        }
        if let Some(next) = expected {
            self.missing(next, self.events.len(), found);
        }
    }

    fn missing(&self, from: usize, until: usize, found: &mut Vec<Violation>) {
        let skipped = self.events.get(from..until).unwrap_or_default();
        found.extend(skipped.iter().map(|&event_id| Violation::NotSynced {
            reader: self.reader.to_owned(),
            room: self.room.to_owned(),
            event_id: event_id.to_owned(),
        }));
    }

    fn unheld(&self, event_id: &str) -> Violation {
        Violation::SyncedUnheld {
            reader: self.reader.to_owned(),
            room: self.room.to_owned(),
            event_id: event_id.to_owned(),
        }
    }

    fn reordered(&self, event_id: &str) -> Violation {
        Violation::SyncedReordered {
            reader: self.reader.to_owned(),
            room: self.room.to_owned(),
            event_id: event_id.to_owned(),
        }
    }
}
