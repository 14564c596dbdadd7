use proptest::prelude::*;

use super::*;

fn closure(events: &[(&str, bool, &[&str])]) -> Closure {
    let mut closure = Closure::default();
    for (number, (id, in_state, named)) in (0..).zip(events) {
        closure.add((number, *in_state), id, named.iter().copied());
    }
    closure
}

fn turn(number: u32, in_state: bool) -> Turn {
    Turn { number, in_state }
}

/// Sabotage: give what waits for something missing a turn all the same.
#[test]
fn what_cannot_be_judged_is_left_out_with_what_it_stands_behind() {
    let events: &[(&str, bool, &[&str])] = &[
        ("$join", true, &["$create", "$rules"]),
        ("$orphan", true, &["$create", "$gone"]),
        ("$behind_orphan", true, &["$orphan"]),
        ("$rules", true, &["$create"]),
        ("$create", false, &[]),
    ];
    let expected = Turns {
        turns: vec![turn(4, false), turn(3, true), turn(0, true)],
        left_out: 2,
    };
    assert_eq!(closure(events).turns(), expected);
}

/// Sabotage: give a repeated event two turns, or let it wait twice for what it names.
#[test]
fn a_repeated_event_counts_once_and_as_state() {
    let events: &[(&str, bool, &[&str])] = &[
        ("$a", false, &[]),
        ("$b", false, &["$a", "$a"]),
        ("$a", true, &[]),
        ("$b", false, &["$a"]),
    ];
    let turns = vec![turn(0, true), turn(1, false)];
    let expected = Turns { turns, left_out: 0 };
    assert_eq!(closure(events).turns(), expected);
}

#[test]
fn a_circle_has_no_turn() {
    let events: &[(&str, bool, &[&str])] = &[("$a", true, &["$b"]), ("$b", true, &["$a"])];
    assert_eq!(closure(events).turns().left_out, 2);
}

proptest! {
    /// Sabotage: hand the events out as they were staged.
    #[test]
    fn whatever_the_order_each_comes_after_what_it_names(
        named in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..200),
        shuffled in any::<u64>(),
    ) {
        let count = named.len();
        let mut staged: Vec<usize> = (0..count).collect();
        staged.sort_by_key(|event| xxh3_128(&[event.to_le_bytes(), shuffled.to_le_bytes()].concat()));
        let name = |event: usize| format!("${event}");
        let behind = |event: usize| -> Vec<usize> {
            if event == 0 {
                return Vec::new();
            }
            named[event].iter().map(|other| other.index(event)).collect()
        };
        let mut closure = Closure::default();
        for (number, event) in (0..).zip(&staged) {
            let named: Vec<String> = behind(*event).into_iter().map(name).collect();
            closure.add((number, true), &name(*event), named.iter().map(String::as_str));
        }
        let Turns { turns, left_out } = closure.turns();
        prop_assert_eq!((turns.len(), left_out), (count, 0));
        let mut seen = vec![false; count];
        for turn in turns {
            let event = staged[turn.number as usize];
            prop_assert!(behind(event).iter().all(|other| seen[*other]));
            seen[event] = true;
        }
    }
}
