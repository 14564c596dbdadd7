//! Which persister a slot should be with.

use hanse_log::Slot;
use xxhash_rust::xxh3::xxh3_64;

/// Rendezvous hashing: each persister bids for each slot, and the highest bid has it. Whoever comes
/// gets its share from everybody; of whoever goes, only its own slots move. `None`: there is nobody.
pub fn assignee<'a>(slot: Slot, persisters: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bids = persisters.into_iter().map(|id| (bid(slot, id), id));
    bids.max().map(|(_, id)| id)
}

/// The same for whatever else has a key: the members by their bids for it, the highest first. Who is
/// asked for a key asks in this order.
pub fn ranked<'a>(key: &str, members: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let bids = members.into_iter();
    let mut bids: Vec<_> = bids.map(|id| (bid_for(key.as_bytes(), id), id)).collect();
    bids.sort_unstable_by(|a, b| b.cmp(a));
    bids.into_iter().map(|(_, id)| id).collect()
}

/// The same in every process and every version: two that disagree would move slots to and fro.
fn bid(slot: Slot, persister: &str) -> u64 {
    bid_for(&slot.0.to_be_bytes(), persister)
}

fn bid_for(key: &[u8], member: &str) -> u64 {
    xxh3_64(&[key, member.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const SLOTS: u32 = 256;

    fn assigned(persisters: &BTreeSet<String>) -> BTreeMap<u32, &str> {
        let of = |slot| assignee(Slot(slot), persisters.iter().map(String::as_str));
        (0..SLOTS).map(|slot| (slot, of(slot).unwrap())).collect()
    }

    /// Beyond six standard deviations of a fair draw, and some.
    fn about(persisters: usize, moved: u32) -> bool {
        let share = 1.0 / f64::from(u32::try_from(persisters).unwrap());
        let expected = share * f64::from(SLOTS);
        let spread = (expected * (1.0 - share)).sqrt();
        (f64::from(moved) - expected).abs() <= 6.0 * spread + 2.0
    }

    fn ids() -> impl Strategy<Value = BTreeSet<String>> {
        proptest::collection::btree_set("[0-9a-zA-Z]{8}|hanse-[0-9]", 2..20)
    }

    proptest! {
        /// Red if the slots are dealt by number modulo N, or a bid does not depend on the slot.
        #[test]
        fn who_comes_gets_its_share_and_nothing_else_moves(mut persisters in ids()) {
            let new = persisters.pop_last().unwrap();
            let before = persisters.clone();
            let before = assigned(&before);
            persisters.insert(new.clone());
            let after = assigned(&persisters);
            let mut moved = 0;
            for (slot, owner) in &after {
                if before[slot] != *owner {
                    prop_assert_eq!(*owner, new.as_str());
                    moved += 1;
                }
            }
            prop_assert!(about(persisters.len(), moved), "{moved} moved");
        }

        /// Red if one who goes drags along what was not its own.
        #[test]
        fn who_goes_moves_only_its_own(persisters in ids(), gone in 0_usize..20) {
            let gone = persisters.iter().nth(gone % persisters.len()).unwrap().clone();
            let before = assigned(&persisters);
            let mut left = persisters.clone();
            left.remove(&gone);
            for (slot, owner) in assigned(&left) {
                prop_assert!(before[&slot] == owner || before[&slot] == gone);
            }
        }

        /// Red if the answer depends on the order of asking.
        #[test]
        fn all_agree(persisters in ids(), slot in 0..SLOTS) {
            let forward = assignee(Slot(slot), persisters.iter().map(String::as_str));
            let backward = assignee(Slot(slot), persisters.iter().rev().map(String::as_str));
            prop_assert_eq!(forward, backward);
        }

        /// Red if a key's first member changes when another goes, or its second is not next.
        #[test]
        fn the_next_in_rank_follows_who_goes(mut members in ids(), key in "@[a-z]{1,8}:x") {
            let all = members.clone();
            let before = ranked(&key, all.iter().map(String::as_str));
            prop_assert_eq!(before.len(), all.len());
            members.remove(before[0]);
            let after = ranked(&key, members.iter().map(String::as_str));
            prop_assert_eq!(&after[..], &before[1..]);
        }
    }

    /// Red if who is first does not depend on the key: one worker would have every user.
    #[test]
    fn keys_spread_over_the_members() {
        let members = ["worker-1", "worker-2", "worker-3", "worker-4"];
        let mut firsts = BTreeMap::new();
        for user in 0..1_000 {
            let ranked = ranked(&format!("@user{user}:localhost"), members);
            *firsts.entry(ranked[0]).or_insert(0) += 1;
        }
        // Six standard deviations of a fair draw.
        assert!(
            firsts.len() == 4 && firsts.values().all(|n| (168..=332).contains(n)),
            "{firsts:?}"
        );
    }

    /// Pinned: during a rolling upgrade both versions must agree.
    #[test]
    fn bids_stay_what_they_are() {
        assert_eq!(bid(Slot(7), "persister-1"), 12_226_762_565_999_421_180);
        assert_eq!(assignee(Slot(0), []), None);
    }
}
