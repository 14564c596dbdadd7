//! Who lives, told by nothing but counters and one's own monotonic clock.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    Member,
    member::MemberRow,
    timing::{LAPSED_KEPT, TTL},
};

/// What one process has seen of the others.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    row: MemberRow,
    /// When the counter was first seen like this.
    since: Duration,
    /// When it was first seen at all.
    first: Duration,
    lapsed: bool,
}

impl Observer {
    /// Takes a reading. A counter is *seen* when the answer is there, since it cannot have been
    /// written later; it *still stands* as of when the question was sent, since the answer may be
    /// as old as that.
    pub(crate) fn read(&mut self, rows: Vec<MemberRow>, sent: Duration, received: Duration) {
        let mut before = std::mem::take(&mut self.seen);
        for row in rows {
            let id = row.member.id.clone();
            let known = before.remove(&id);
            let first = known.as_ref().map_or(received, |seen| seen.first);
            let known = known.filter(|seen| seen.is_same(&row));
            let since = known.map_or(received, |seen| seen.since);
            let lapsed = sent.saturating_sub(since) >= TTL;
            let seen = Seen {
                row,
                since,
                first,
                lapsed,
            };
            self.seen.insert(id, seen);
        }
    }

    /// Those who live.
    pub(crate) fn live(&self) -> BTreeMap<String, Member> {
        let live = self.seen.iter().filter(|(_, seen)| !seen.lapsed);
        live.map(|(id, seen)| (id.clone(), seen.row.member.clone()))
            .collect()
    }

    /// Of each member that lapsed and was seen alive before: those who live and had come by then. (Of one that
    /// was dead when we came, nothing can be said.)
    pub(crate) fn heirs(&self) -> BTreeMap<String, BTreeSet<String>> {
        let moved = |seen: &Seen| seen.first < seen.since;
        let lapsed = self
            .seen
            .iter()
            .filter(|(_, dead)| dead.lapsed && moved(dead));
        let heirs = |dead: &Seen| {
            let live = self.seen.iter().filter(|(_, seen)| !seen.lapsed);
            let known = live.filter(|(_, seen)| seen.first <= dead.since);
            known.map(|(id, _)| id.clone()).collect()
        };
        lapsed.map(|(id, dead)| (id.clone(), heirs(dead))).collect()
    }

    /// When the next member lapses, if nothing is heard of it.
    pub(crate) fn next_lapse(&self) -> Option<Duration> {
        let waiting = self.seen.values().filter(|seen| !seen.lapsed);
        waiting.map(|seen| seen.since + TTL).min()
    }

    /// The rows that are of no use any more.
    pub(crate) fn long_lapsed(&self, now: Duration) -> impl Iterator<Item = &MemberRow> {
        let seen = self.seen.values();
        let old = move |seen: &&Seen| seen.lapsed && now >= seen.since + TTL + LAPSED_KEPT;
        seen.filter(old).map(|seen| &seen.row)
    }
}

impl Seen {
    fn is_same(&self, row: &MemberRow) -> bool {
        let of = |row: &MemberRow| (row.member.started_at_ms, row.renewals);
        of(&self.row) == of(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn row(id: &str, renewals: i64) -> MemberRow {
        let member = Member {
            id: id.to_owned(),
            ..Member::default()
        };
        MemberRow { member, renewals }
    }

    fn live(observer: &Observer) -> Vec<String> {
        observer.live().into_keys().collect()
    }

    /// Red if a counter that moves does not keep its member alive, or one that stands does.
    #[test]
    fn who_stands_still_for_the_ttl_has_lapsed_and_may_come_back() {
        let mut observer = Observer::default();
        for at in 0..=6 {
            observer.read(
                vec![row("dead", 1), row("well", i64::from(at))],
                S * at,
                S * at,
            );
            assert_eq!(
                live(&observer).len(),
                if at < 6 { 2 } else { 1 },
                "at {at} s"
            );
        }
        assert_eq!(live(&observer), ["well"]);
        assert_eq!(observer.next_lapse(), Some(S * 12));
        observer.read(vec![row("dead", 2), row("well", 6)], S * 7, S * 7);
        assert_eq!(live(&observer), ["dead", "well"]);
        observer.read(vec![row("well", 6)], S * 8, S * 8);
        assert_eq!(
            live(&observer),
            ["well"],
            "a row that is gone is gone at once"
        );
    }

    /// Red if one that came after a member was last heard of is its heir, or anybody of one that nobody saw alive.
    #[test]
    fn heirs_had_come_before_the_end() {
        let mut observer = Observer::default();
        for at in 0..=8 {
            let beat = i64::from(at);
            let mut rows = vec![
                row("dead", beat.min(1)),
                row("unknown", 1),
                row("well", beat),
            ];
            rows.extend((at >= 2).then(|| row("late", beat)));
            observer.read(rows, S * at, S * at);
        }
        assert_eq!(live(&observer), ["late", "well"]);
        let heirs = observer.heirs();
        assert_eq!(heirs.keys().collect::<Vec<_>>(), ["dead"]);
        assert!(heirs["dead"].iter().eq(["well"]), "{heirs:?}");
    }

    /// Red if a slow reading counts as of its end, or a counter as seen at the reading's start.
    #[test]
    fn a_slow_reading_lets_nobody_lapse_early() {
        let mut observer = Observer::default();
        observer.read(vec![row("slow", 1)], S, S * 3);
        observer.read(vec![row("slow", 1)], S * 8, S * 20);
        assert_eq!(live(&observer), ["slow"]);
        observer.read(vec![row("slow", 1)], S * 9, S * 20);
        assert_eq!(live(&observer), [""; 0]);
    }

    /// Red if an observer that did not read for long takes that for silence of the others.
    #[test]
    fn who_was_away_concludes_nothing_from_it() {
        let mut observer = Observer::default();
        observer.read(vec![row("well", 1)], S, S);
        observer.read(vec![row("well", 30)], S * 100, S * 100);
        assert_eq!(live(&observer), ["well"]);
    }

    /// Red if rows pile up, or the row of a member goes that only just lapsed.
    #[test]
    fn rows_are_removed_long_after() {
        let mut observer = Observer::default();
        observer.read(vec![row("dead", 1)], S, S);
        let lapsed_at = S + TTL;
        observer.read(vec![row("dead", 1)], lapsed_at, lapsed_at);
        let old = |at| observer.long_lapsed(at).count();
        assert_eq!(old(lapsed_at + LAPSED_KEPT / 2), 0);
        assert_eq!(old(lapsed_at + LAPSED_KEPT), 1);
    }
}
