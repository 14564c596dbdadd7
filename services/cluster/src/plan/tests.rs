use hanse_runtime::SeededRandom;
use proptest::prelude::*;

use super::*;
use crate::PERSISTER;

const S: Duration = Duration::from_secs(1);
const STAY: Duration = Duration::from_secs(30);
/// A time at which everybody has settled.
const T0: Duration = Duration::from_secs(100);
/// When a process started that has settled by then.
const START: Duration = Duration::from_secs(98);

fn view(tenure: u64, ids: &[&str]) -> View {
    let member = |id: &&str| {
        let member = Member {
            id: (*id).to_owned(),
            roles: vec![PERSISTER.to_owned()],
            ..Member::default()
        };
        ((*id).to_owned(), member)
    };
    View {
        tenure,
        live: ids.iter().map(member).collect(),
        ..View::default()
    }
}

fn row(owner: &str, epoch: i64) -> SlotOwner {
    SlotOwner {
        owner: owner.to_owned(),
        epoch,
    }
}

fn slots() -> Vec<Slot> {
    (0..64).map(Slot).collect()
}

fn plan_of(me: &str, ids: &[&str]) -> Plan {
    let random = Arc::new(SeededRandom::new(5));
    let mut plan = Plan::new(me, slots(), STAY, random, START);
    plan.members(view(1, ids), T0);
    plan
}

fn assigned(to: &str, ids: &[&str]) -> Vec<Slot> {
    let mine = |slot: &Slot| assignee(*slot, ids.iter().copied()) == Some(to);
    slots().into_iter().filter(mine).collect()
}

/// Carries out what is due at a time, rows being as given, until only time brings more.
fn settle(plan: &mut Plan, now: Duration, rows: impl Fn(Slot) -> SlotOwner) -> Vec<Step> {
    let mut all = Vec::new();
    loop {
        let steps = plan.due(now);
        if steps.is_empty() {
            return all;
        }
        for step in steps {
            plan.begin(&step);
            match &step {
                Step::Look(slot) => plan.looked(*slot, Some(rows(*slot)), now),
                Step::Take(slot, _) => plan.taken(*slot, true, now),
                Step::Ask(..) | Step::GiveUp(_) => {}
            }
            all.push(step);
        }
    }
}

fn taken(steps: &[Step]) -> Vec<Slot> {
    let take = |step: &Step| match step {
        Step::Take(slot, _) => Some(*slot),
        _ => None,
    };
    let mut taken: Vec<Slot> = steps.iter().filter_map(take).collect();
    taken.sort_unstable();
    taken
}

fn asked(steps: &[Step]) -> Vec<(Slot, String)> {
    let ask = |step: &Step| match step {
        Step::Ask(slot, owner) => Some((*slot, owner.id.clone())),
        _ => None,
    };
    steps.iter().filter_map(ask).collect()
}

/// Red if a dead owner's slots wait for one that came when it was dead already, and counts it as living for
/// another TTL (its restart, mostly); or if such a one gets nothing later.
#[test]
fn a_dead_owners_slots_wait_for_no_newcomer() {
    let mut plan = plan_of("a", &["a", "b", "dead"]);
    let of_dead = assigned("dead", &["a", "b", "dead"]);
    let rows = |slot: Slot| row(assignee(slot, ["a", "b", "dead"]).unwrap(), 1);
    settle(&mut plan, T0 + SPREAD, rows);
    let mut seen = view(1, &["a", "b", "new"]);
    let heirs = ["a", "b"].map(str::to_owned);
    seen.heirs.insert("dead".to_owned(), heirs.into());
    plan.members(seen, T0 + S);
    let mut expected = assigned("a", &["a", "b"]);
    expected.retain(|slot| of_dead.contains(slot));
    let newcomers = assigned("new", &["a", "b", "new"]);
    assert!(expected.iter().any(|slot| newcomers.contains(slot)));
    assert_eq!(taken(&settle(&mut plan, T0 + S * 2, rows)), expected);
    let slot = *expected
        .iter()
        .find(|slot| newcomers.contains(slot))
        .unwrap();
    let due = T0 + STAY + S * 3;
    assert!(
        plan.requested(slot, "new", due).is_ok(),
        "it moves on in order"
    );
}

/// Red if it takes what is another's, or acts before it has looked who else is there.
#[test]
fn empty_slots_are_taken_by_whom_they_are_assigned_to() {
    let mut plan = plan_of("a", &["a", "b"]);
    assert_eq!(plan.due(START + S), []);
    let steps = settle(&mut plan, T0 + SPREAD, |_| row("", 3));
    assert_eq!(taken(&steps), assigned("a", &["a", "b"]));
    let observed = steps.iter().find(|step| matches!(step, Step::Take(..)));
    assert!(matches!(observed, Some(Step::Take(_, observed)) if *observed == row("", 3)));
}

/// Red if an incumbent is driven out by force while it lives, or is not once it has lapsed: the slot
/// that it was just asked for is among those.
#[test]
fn an_incumbent_stays_while_it_lives() {
    let mut plan = plan_of("a", &["a", "b"]);
    let steps = settle(&mut plan, T0 + SPREAD, |_| row("b", 1));
    assert_eq!(taken(&steps), []);
    assert_eq!(asked(&steps).len(), 1);
    plan.members(view(1, &["a"]), T0 + S);
    let steps = settle(&mut plan, T0 + S * 2, |_| row("b", 1));
    assert_eq!(taken(&steps), slots());
}

/// Red if more than one is under way, if a refused one is asked for at once, or if the next waits
/// for the refused one.
#[test]
fn slots_are_asked_for_one_at_a_time() {
    let ids = ["a", "b", "c"];
    let mut plan = plan_of("a", &ids);
    let now = T0 + SPREAD;
    let owner = |slot: Slot| if slot.0.is_multiple_of(2) { "b" } else { "c" };
    let steps = settle(&mut plan, now, |slot| row(owner(slot), 1));
    let mine = assigned("a", &ids);
    assert_eq!(asked(&steps), [(mine[0], owner(mine[0]).to_owned())]);
    assert_eq!(plan.due(now + S), []);
    plan.asked(mine[0], &Err(HandOverError::NotYet { wait: STAY }), now);
    assert_eq!(plan.due(now), [], "not at once");
    let steps = settle(&mut plan, now + S, |_| row("b", 1));
    assert_eq!(asked(&steps).len(), 1);
    let second = asked(&steps)[0].0;
    assert_ne!(second, mine[0]);
    // The second is given: it is taken as known, and the next is asked for only then.
    plan.asked(second, &Ok(()), now + S);
    let steps = plan.due(now + S * 2);
    assert_eq!(steps, [Step::Take(second, row("a", 1))]);
    plan.begin(&steps[0]);
    assert_eq!(asked(&plan.due(now + S * 2)), []);
    plan.taken(second, true, now + S * 2);
    let third = asked(&settle(&mut plan, now + S * 2, |_| row("b", 1)));
    assert_eq!(third.len(), 1);
    assert!(third[0].0 != mine[0] && third[0].0 != second);
    plan.asked(
        third[0].0,
        &Err(HandOverError::NotYet { wait: STAY * 2 }),
        now + S * 2,
    );
    let mut now = now + S * 2;
    let mut again = Vec::new();
    while now < T0 + STAY + S * 10 {
        now += S;
        for (slot, _) in asked(&settle(&mut plan, now, |slot| row(owner(slot), 1))) {
            again.push((slot, now));
            plan.asked(slot, &Err(HandOverError::NotYet { wait: STAY * 2 }), now);
        }
    }
    let first_again = again.iter().find(|(slot, _)| *slot == mine[0]).unwrap();
    assert!(first_again.1 >= T0 + SPREAD + STAY);
}

/// Red if a slot is given away before its time, to whom it is not assigned, or two at once.
#[test]
fn an_owner_gives_only_after_the_stay_and_only_to_the_assignee() {
    let mut plan = plan_of("a", &["a"]);
    let now = T0 + SPREAD;
    settle(&mut plan, now, |_| row("", 0));
    let served: BTreeSet<Slot> = slots().into_iter().collect();
    plan.served(&served, now);
    plan.members(view(1, &["a", "b", "c"]), now);
    let to_b = assigned("b", &["a", "b", "c"]);
    let wait = S * 29;
    let request = |plan: &mut Plan, slot, to, now| plan.requested(slot, to, now);
    let early = request(&mut plan, to_b[0], "b", now + S);
    assert_eq!(early, Err(HandOverError::NotYet { wait }));
    let now = now + STAY;
    let not_yet = |answer| matches!(answer, Err(HandOverError::NotYet { wait }) if wait == TURN);
    assert!(not_yet(request(&mut plan, to_b[0], "c", now)));
    assert!(not_yet(request(&mut plan, to_b[0], "unknown", now)));
    assert_eq!(request(&mut plan, to_b[0], "b", now), Ok(()));
    assert!(not_yet(request(&mut plan, to_b[1], "b", now)));
    plan.released(to_b[0], now);
    assert_eq!(request(&mut plan, to_b[1], "b", now), Ok(()));
    assert_eq!(
        request(&mut plan, to_b[0], "b", now),
        Err(HandOverError::NotServed)
    );
}

/// Red if a slot that names us waits for its assignee, or for the sweep.
#[test]
fn a_slot_that_was_handed_to_us_is_taken_at_once() {
    let ids = ["a", "b"];
    let mut plan = plan_of("a", &ids);
    settle(&mut plan, T0 + SPREAD, |_| row("b", 1));
    let others = assigned("b", &ids);
    plan.handed(&others[..2], T0 + S);
    let steps = settle(&mut plan, T0 + S, |_| row("a", 7));
    assert_eq!(taken(&steps), others[..2]);
}

/// Red if a lost slot is not looked at, or if contention spins.
#[test]
fn refused_claims_and_lost_slots_back_off() {
    let mut plan = plan_of("a", &["a"]);
    let mut now = T0 + SPREAD;
    let mut claims = 0;
    while now < T0 + S * 60 {
        for step in plan.due(now) {
            plan.begin(&step);
            match step {
                Step::Look(slot) => plan.looked(slot, Some(row("", 0)), now),
                Step::Take(slot, _) if slot == Slot(0) => {
                    claims += 1;
                    plan.taken(slot, false, now);
                }
                Step::Take(slot, _) => plan.taken(slot, true, now),
                other => panic!("{other:?}"),
            }
        }
        now += Duration::from_millis(10);
    }
    assert!((8..=25).contains(&claims), "{claims} claims in a minute");
    let mut served: BTreeSet<Slot> = slots().into_iter().skip(1).collect();
    plan.served(&served, now);
    served.remove(&Slot(9));
    plan.served(&served, now);
    let steps = settle(&mut plan, now + BACKOFF, |_| row("a", 1));
    assert!(taken(&steps).contains(&Slot(9)), "{steps:?}");
}

/// Red if a process whose lease had lapsed goes on with slots that others took meanwhile.
#[test]
fn after_a_lapse_everything_served_is_looked_at() {
    let mut plan = plan_of("a", &["a"]);
    settle(&mut plan, T0 + SPREAD, |_| row("", 0));
    plan.members(view(2, &["a", "b"]), T0 + S);
    let lost = |slot: Slot| slot.0 < 3;
    let owner = |slot| if lost(slot) { row("b", 2) } else { row("a", 1) };
    let steps = settle(&mut plan, T0 + S * 2, owner);
    let given_up = steps.iter().filter_map(|step| match step {
        Step::GiveUp(slot) => Some(*slot),
        _ => None,
    });
    assert_eq!(given_up.collect::<Vec<_>>(), [Slot(0), Slot(1), Slot(2)]);
}

/// Red if the sweep leaves a slot out, or reads more than it may.
#[test]
fn the_sweep_is_slow_and_complete() {
    let mut plan = plan_of("a", &["a", "b"]);
    settle(&mut plan, T0 + SPREAD, |_| row("", 0));
    let (mut now, mut looks) = (T0 + S, Vec::new());
    for _ in 0..64 * 3 * 10 {
        now += S / 10;
        plan.tick(now);
        for step in settle(&mut plan, now, |slot| {
            let owner = assignee(slot, ["a", "b"]);
            row(owner.unwrap(), 1)
        }) {
            let Step::Look(slot) = step else {
                panic!("{step:?}")
            };
            looks.push(slot);
        }
    }
    let distinct: BTreeSet<_> = looks.iter().collect();
    assert_eq!(distinct.len(), 64);
    assert!(looks.len() <= 64 * 3 / 2, "{} looks in 192 s", looks.len());
}

/// Red if a drain names one that drains, too, itself, or forgets a slot.
#[test]
fn a_drain_names_those_who_stay() {
    let mut plan = plan_of("a", &["a"]);
    settle(&mut plan, T0 + SPREAD, |_| row("", 0));
    let mut all = view(1, &["a", "b", "c", "d"]);
    all.live.get_mut("c").unwrap().draining = true;
    plan.members(all, T0 + S);
    let successors = plan.successors();
    assert_eq!(successors.len(), 64);
    for (slot, successor) in successors {
        assert_eq!(Some(successor.as_str()), assignee(slot, ["b", "d"]));
    }
    plan.members(view(1, &["a"]), T0 + S);
    assert!(plan.successors().values().all(String::is_empty));
}

proptest! {
    /// Red if waiting for what cannot begin would be a busy loop: whatever is due now is begun, and
    /// the next wake-up lies ahead.
    #[test]
    fn wake_ups_lie_ahead(ids in 1_usize..5, empty: bool, seed: u64) {
        let names = ["a", "b", "c", "d"];
        let random = Arc::new(SeededRandom::new(seed));
        let mut plan = Plan::new("a", slots(), STAY, random, START);
        plan.members(view(1, &names[..ids.min(4)]), T0);
        let mut now = T0;
        for _ in 0..50 {
            plan.tick(now);
            let owner = if empty { "" } else { names[ids.min(4) - 1] };
            settle(&mut plan, now, |_| row(owner, 1));
            let wake_at = plan.wake_at(now).unwrap();
            prop_assert!(wake_at > now);
            now = wake_at;
        }
    }
}
