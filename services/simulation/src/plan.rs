//! How large a run is and what goes wrong in it, drawn from its seed.

use std::time::Duration;

use hanse_log::SlotMap;

use crate::{bus::BusRates, dice::Dice, store::Rates};

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) slots: u32,
    pub(crate) rooms: Vec<String>,
    pub(crate) clients: usize,
    /// A client rests up to this long between two writes.
    pub(crate) think_ms_max: u64,
    pub(crate) entry_bytes_max: u64,
    pub(crate) segment_bytes_max: usize,
    /// One entry in a thousand …
    pub(crate) relays: u64,
    /// How long faults happen.
    pub(crate) troubled: Duration,
    pub(crate) rates: Rates,
    pub(crate) bus: BusRates,
    pub(crate) habits: Habits,
    pub(crate) blows: Blows,
}

/// How processes treat each other's slots.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// One look in a thousand takes a slot whose owner lives.
    pub(crate) greed: u64,
    /// One look in a thousand hands an own slot on.
    pub(crate) restless: u64,
    /// Processes write on without a lease.
    pub(crate) lax: bool,
}

impl Habits {
    /// Nobody takes or gives a slot without need.
    pub(crate) const ORDERLY: Self = Self {
        greed: 0,
        restless: 0,
        lax: false,
    };

    fn drawn(dice: &Dice) -> Self {
        let rate = || {
            if dice.chance(500) {
                dice.between(5..=200)
            } else {
                0
            }
        };
        Self {
            greed: rate(),
            restless: rate(),
            lax: dice.chance(500),
        }
    }
}

/// What is done to processes, each in some of the runs, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Blows {
    /// Milliseconds between two of them, at most.
    pub(crate) every_ms_max: u64,
    pub(crate) kinds: Vec<Blow>,
    /// One process in a thousand stands still at one of its first steps.
    pub(crate) stumbles: u64,
}

/// Something done to a process, or to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blow {
    Freeze,
    Kill,
    /// It dies at a drawn step.
    Doom,
    /// It stands still at a drawn step.
    Trip,
    /// It does not reach the store for a while.
    Cut,
    /// It does not reach the bus for a while.
    Deafen,
    /// Its wall clock jumps.
    Clock,
    /// Every process dies, and the store loses what was not synced.
    Power,
}

impl Plan {
    pub(crate) fn drawn(dice: &Dice) -> Self {
        let slots = dice.between(1..=4) as u32;
        Self {
            nodes: dice.between(1..=4) as usize,
            slots,
            rooms: rooms(slots, dice),
            clients: dice.between(1..=6) as usize,
            think_ms_max: dice.between(10..=400),
            entry_bytes_max: dice.between(20..=2_000),
            segment_bytes_max: dice.between(1_000..=60_000) as usize,
            relays: dice.between(0..=400),
            troubled: dice.ms(20_000..=90_000),
            rates: Rates::drawn(dice),
            bus: BusRates::drawn(dice),
            habits: Habits::drawn(dice),
            blows: Blows::drawn(dice),
        }
    }
}

/// One to three rooms for each slot.
fn rooms(slots: u32, dice: &Dice) -> Vec<String> {
    let map = SlotMap::initial(slots);
    let mut rooms = Vec::new();
    for slot in map.slots() {
        let wanted = dice.between(1..=3) as usize;
        let names = (0..).map(|number: u32| format!("r{number}"));
        rooms.extend(names.filter(|name| map.slot_of(name) == slot).take(wanted));
    }
    rooms
}

impl Blows {
    fn drawn(dice: &Dice) -> Self {
        let often = [
            (Blow::Freeze, 500),
            (Blow::Kill, 500),
            (Blow::Doom, 600),
            (Blow::Trip, 500),
            (Blow::Cut, 500),
            (Blow::Deafen, 500),
            (Blow::Clock, 500),
            (Blow::Power, 200),
        ];
        let every_ms_max = dice.between(500..=20_000);
        let kinds = often
            .iter()
            .filter(|(_, per_mille)| dice.chance(*per_mille));
        Self {
            every_ms_max,
            kinds: kinds.map(|(blow, _)| *blow).collect(),
            stumbles: if dice.chance(500) {
                dice.between(50..=500)
            } else {
                0
            },
        }
    }
}
