//! Which slots this process looks at, takes, asks for and gives up: decided here, without a clock or
//! a store; carried out by the keeper.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hanse_log::{Slot, SlotOwner};
use hanse_runtime::Random;

use crate::{HandOverError, Member, View, assignee, timing::SETTLE};

mod place;
mod sweep;
#[cfg(test)]
mod tests;

use place::{Look, Place, Stand};
use sweep::Sweep;

/// Rows that are read at once.
const LOOKS_AT_ONCE: usize = 16;
/// Slots that are taken at once.
const TAKES_AT_ONCE: usize = 32;
/// What the members' change calls for is spread over this time.
const SPREAD: Duration = Duration::from_millis(200);
/// The first pause after a refused claim or a lost slot; each is twice the one before …
const BACKOFF: Duration = Duration::from_millis(200);
/// … up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// From one slot moved for balance to the next, and before one that moves another slot is asked again.
const TURN: Duration = Duration::from_millis(250);
/// Before a process that did not answer, or had nothing to give, is asked for the slot again.
const ASK_RETRY: Duration = Duration::from_secs(5);
/// Whatever an owner says, it is asked again after this.
const ASK_WAIT_MAX: Duration = Duration::from_mins(1);

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read the slot's row.
    Look(Slot),
    /// Claim the slot, whose row was read like this.
    Take(Slot, SlotOwner),
    /// Ask its owner for it.
    Ask(Slot, Member),
    /// Stop serving it: its row names another.
    GiveUp(Slot),
}

/// What this process knows, and what follows from it.
pub(crate) struct Plan {
    me: String,
    random: Arc<dyn Random>,
    /// How long a slot stays before it is given away for balance.
    stay: Duration,
    settled_at: Duration,
    view: View,
    places: BTreeMap<Slot, Place>,
    /// The slots that we should have.
    mine: BTreeSet<Slot>,
    /// By a member that lapsed: those of its slots that are ours to take. They may go on to one that came
    /// since, in order, when everybody knows of it.
    estates: BTreeMap<String, BTreeSet<Slot>>,
    ask_at: Duration,
    sweep: Sweep,
}

impl Plan {
    pub(crate) fn new(
        me: &str,
        slots: Vec<Slot>,
        stay: Duration,
        random: Arc<dyn Random>,
        now: Duration,
    ) -> Self {
        let place = |slot| {
            let place = Place {
                stand: Stand::Elsewhere,
                look: Look::No,
                tries: 0,
                ask_at: Duration::ZERO,
            };
            (slot, place)
        };
        let sweep = Sweep::new(random.as_ref(), now + SETTLE);
        Self {
            me: me.to_owned(),
            random,
            stay,
            settled_at: now + SETTLE,
            view: View::default(),
            places: slots.into_iter().map(place).collect(),
            mine: BTreeSet::new(),
            estates: BTreeMap::new(),
            ask_at: Duration::ZERO,
            sweep,
        }
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// What is due; each step must be begun before this is asked again.
    pub(crate) fn due(&self, now: Duration) -> Vec<Step> {
        if now < self.settled_at {
            return Vec::new();
        }
        let mut looks = LOOKS_AT_ONCE.saturating_sub(self.count(|p| p.look == Look::Running));
        let mut takes = TAKES_AT_ONCE.saturating_sub(self.count(|p| p.stand == Stand::Taking));
        let mut has_room = |step: &Step| {
            let room = match step {
                Step::Look(_) => &mut looks,
                Step::Take(..) => &mut takes,
                Step::Ask(..) | Step::GiveUp(_) => return true,
            };
            let has_room = *room > 0;
            *room = room.saturating_sub(1);
            has_room
        };
        let next = |(slot, place): (&Slot, &Place)| self.next(*slot, place, now);
        let steps = self.places.iter().filter_map(next);
        let mut steps: Vec<Step> = steps.filter(|step| has_room(step)).collect();
        if !steps.iter().any(|step| matches!(step, Step::Take(..))) {
            steps.extend(self.ask(now));
        }
        steps
    }

    /// When something gets due that is not due now. What is due and finds no room waits for an end.
    pub(crate) fn wake_at(&self, now: Duration) -> Option<Duration> {
        let looks = self.places.values().filter_map(|place| match place.look {
            Look::Due(at) if place.may_be_looked_at() => Some(at),
            _ => None,
        });
        let asks = self.places.iter().filter_map(|(slot, place)| {
            let at = place.ask_at.max(self.ask_at);
            self.owner_to_ask(*slot, place).map(|_| at)
        });
        let others = [self.settled_at, self.sweep.at()];
        looks.chain(asks).chain(others).filter(|at| *at > now).min()
    }

    /// A step is being carried out.
    pub(crate) fn begin(&mut self, step: &Step) {
        let (Step::Look(slot) | Step::Take(slot, _) | Step::Ask(slot, _) | Step::GiveUp(slot)) =
            step;
        let Some(place) = self.places.get_mut(slot) else {
            return;
        };
        match step {
            Step::Look(_) => place.look = Look::Running,
            Step::Take(..) => place.stand = Stand::Taking,
            Step::GiveUp(_) => place.stand = Stand::Releasing,
            Step::Ask(..) => {
                if let Stand::Known(row) = &place.stand {
                    place.stand = Stand::Asking(row.clone());
                }
            }
        }
    }

    fn next(&self, slot: Slot, place: &Place, now: Duration) -> Option<Step> {
        match (&place.stand, place.look) {
            (Stand::Fenced, _) => Some(Step::GiveUp(slot)),
            (_, Look::Due(at)) if at <= now && place.may_be_looked_at() => Some(Step::Look(slot)),
            (Stand::Known(row), Look::No) if self.may_take(slot, row) => {
                Some(Step::Take(slot, row.clone()))
            }
            _ => None,
        }
    }

    /// Ours by name, or ours by assignment with nobody there who lives.
    fn may_take(&self, slot: Slot, row: &SlotOwner) -> bool {
        row.owner == self.me
            || self.inherits(slot, &row.owner) && !self.view.live.contains_key(&row.owner)
    }

    /// Whether the slot is ours once this owner is gone.
    fn inherits(&self, slot: Slot, owner: &str) -> bool {
        let slots = self.estates.get(owner).unwrap_or(&self.mine);
        slots.contains(&slot)
    }

    /// One slot for balance, if none is on its way.
    fn ask(&self, now: Duration) -> Option<Step> {
        let moving = |place: &Place| matches!(place.stand, Stand::Asking(_) | Stand::Taking);
        if now < self.ask_at || self.count(moving) > 0 {
            return None;
        }
        self.places.iter().find_map(|(slot, place)| {
            let owner = self.owner_to_ask(*slot, place)?;
            (place.ask_at <= now).then(|| Step::Ask(*slot, owner.clone()))
        })
    }

    fn owner_to_ask(&self, slot: Slot, place: &Place) -> Option<&Member> {
        match (&place.stand, place.look) {
            (Stand::Known(row), Look::No) if row.owner != self.me && self.mine.contains(&slot) => {
                self.view.live.get(&row.owner)
            }
            _ => None,
        }
    }

    fn count(&self, so: impl Fn(&Place) -> bool) -> usize {
        self.places.values().filter(|place| so(place)).count()
    }

    fn spread(&self, over: Duration) -> Duration {
        Duration::from_micros(self.random.below(over.as_micros() as u64))
    }

    /// Who lives is not as before.
    pub(crate) fn members(&mut self, view: View, now: Duration) {
        let regained = view.tenure != self.view.tenure;
        self.view = view;
        self.mine = self.assigned_among(self.view.persisters());
        self.estates = self.inherited();
        for slot in self.places.keys().copied().collect::<Vec<_>>() {
            let due = now + self.spread(SPREAD);
            let mut shares = self.estates.values().chain([&self.mine]);
            let mine = shares.any(|slots| slots.contains(&slot));
            if let Some(place) = self.places.get_mut(&slot) {
                place.expect_no_answer(&self.view);
                place.reconsider(mine, regained, due);
            }
        }
    }

    /// What is ours if these share the slots.
    fn assigned_among<'a>(&self, persisters: impl Iterator<Item = &'a str>) -> BTreeSet<Slot> {
        let persisters: Vec<&str> = persisters.collect();
        let assigned = |slot: &Slot| assignee(*slot, persisters.iter().copied()) == Some(&self.me);
        self.places.keys().copied().filter(assigned).collect()
    }

    fn inherited(&self) -> BTreeMap<String, BTreeSet<Slot>> {
        let heirs = self.view.heirs.iter().filter_map(|(dead, heirs)| {
            let mut takers = self
                .view
                .persisters()
                .filter(|id| heirs.contains(*id))
                .peekable();
            // Without an heir whoever there is takes them.
            takers.peek()?;
            Some((dead.clone(), self.assigned_among(takers)))
        });
        heirs.collect()
    }

    /// What is served according to the logs.
    pub(crate) fn served(&mut self, served: &BTreeSet<Slot>, now: Duration) {
        let is_served = |slot| served.contains(slot);
        let lost: Vec<(Slot, u32)> = self
            .places
            .iter()
            .filter(|(slot, place)| place.is_served() && !is_served(slot))
            .map(|(slot, place)| (*slot, place.tries_when_lost(now)))
            .collect();
        for (slot, tries) in lost {
            self.again(slot, tries, now);
        }
    }

    /// A slot's row was read; `None`: it could not be.
    pub(crate) fn looked(&mut self, slot: Slot, row: Option<SlotOwner>, now: Duration) {
        let owner = row.as_ref().map(|row| row.owner.as_str());
        let inherits = owner.is_some_and(|owner| self.inherits(slot, owner));
        let mine = inherits || self.mine.contains(&slot);
        let Some(place) = self.places.get_mut(&slot) else {
            return;
        };
        place.look = Look::No;
        let Some(row) = row else {
            let tries = place.tries + 1;
            place.tries = tries;
            let pause = self.backoff(tries);
            self.look_at(slot, now + pause);
            return;
        };
        match place.stand {
            Stand::Elsewhere | Stand::Known(_) if mine || row.owner == self.me => {
                place.stand = Stand::Known(row);
            }
            Stand::Known(_) => place.stand = Stand::Elsewhere,
            Stand::Served { .. } if row.owner != self.me => place.stand = Stand::Fenced,
            _ => {}
        }
    }

    /// A claim was carried out, or not.
    pub(crate) fn taken(&mut self, slot: Slot, served: bool, now: Duration) {
        let Some(place) = self.places.get_mut(&slot) else {
            return;
        };
        if served {
            place.stand = Stand::Served { since: now };
        } else {
            let tries = place.tries + 1;
            self.again(slot, tries, now);
        }
    }

    /// An owner answered.
    pub(crate) fn asked(&mut self, slot: Slot, answer: &Result<(), HandOverError>, now: Duration) {
        self.ask_at = now + TURN / 2 + self.spread(TURN);
        let Some(place) = self.places.get_mut(&slot) else {
            return;
        };
        let Stand::Asking(row) = &place.stand else {
            return;
        };
        let mut row = row.clone();
        match answer {
            Ok(()) => row.owner.clone_from(&self.me),
            Err(HandOverError::NotYet { wait }) => {
                place.ask_at = now + (*wait).clamp(TURN, ASK_WAIT_MAX);
            }
            // It may have let go of it all the same.
            Err(HandOverError::NotServed | HandOverError::Unreachable { .. }) => {
                place.ask_at = now + ASK_RETRY;
                place.look = Look::Due(now + TURN);
            }
        }
        place.stand = Stand::Known(row);
    }

    /// Another process asks for a slot. `Ok`: it is to be released to it.
    pub(crate) fn requested(
        &mut self,
        slot: Slot,
        successor: &str,
        now: Duration,
    ) -> Result<(), HandOverError> {
        let releasing = self.count(|place| place.stand == Stand::Releasing) > 0;
        let agreed = assignee(slot, self.view.persisters()) == Some(successor);
        let Some(place) = self.places.get_mut(&slot) else {
            return Err(HandOverError::NotServed);
        };
        let Stand::Served { since } = place.stand else {
            if place.stand == Stand::Elsewhere && place.look == Look::No {
                place.look = Look::Due(now);
            }
            return Err(HandOverError::NotServed);
        };
        let stays = (since + self.stay).saturating_sub(now);
        if !stays.is_zero() {
            return Err(HandOverError::NotYet { wait: stays });
        }
        if releasing || !agreed {
            return Err(HandOverError::NotYet { wait: TURN });
        }
        place.stand = Stand::Releasing;
        Ok(())
    }

    /// A slot is not served here any more, as we wanted it.
    pub(crate) fn released(&mut self, slot: Slot, now: Duration) {
        // Whether the row names the successor, or still us, is to be seen.
        self.again(slot, 0, now);
    }

    /// Slots were handed to us.
    pub(crate) fn handed(&mut self, slots: &[Slot], now: Duration) {
        for slot in slots {
            self.look_at(*slot, now);
        }
    }

    /// Once in a while, looks at what nothing called for.
    pub(crate) fn tick(&mut self, now: Duration) {
        if now < self.sweep.at() {
            return;
        }
        let slots = self.sweep.next(&self.places, &self.mine);
        for slot in slots {
            self.look_at(slot, now);
        }
        self.sweep.wait(self.random.as_ref(), now);
    }

    /// For a drain: what may be served here, and whom it goes to; empty: whoever wants it.
    pub(crate) fn successors(&self) -> BTreeMap<Slot, String> {
        let others: Vec<&str> = self.view.persisters().filter(|id| *id != self.me).collect();
        let here = self.places.iter().filter(|(_, place)| {
            matches!(place.stand, Stand::Taking | Stand::Releasing) || place.is_served()
        });
        let successor = |slot| assignee(slot, others.iter().copied()).unwrap_or_default();
        here.map(|(slot, _)| (*slot, successor(*slot).to_owned()))
            .collect()
    }

    fn look_at(&mut self, slot: Slot, at: Duration) {
        if let Some(place) = self.places.get_mut(&slot)
            && place.look != Look::Running
        {
            place.look = Look::Due(at);
        }
    }

    /// Whatever was known of the slot is void; it is looked at again after a pause.
    fn again(&mut self, slot: Slot, tries: u32, now: Duration) {
        let pause = self.backoff(tries);
        if let Some(place) = self.places.get_mut(&slot) {
            place.stand = Stand::Elsewhere;
            place.tries = tries;
        }
        self.look_at(slot, now + pause);
    }

    /// Grows with the tries, and is never the same for two who contend.
    fn backoff(&self, tries: u32) -> Duration {
        let bound = match tries.checked_sub(1) {
            None => BACKOFF / 4,
            Some(doublings) => (BACKOFF * 2_u32.pow(doublings.min(10))).min(BACKOFF_MAX),
        };
        bound / 2 + self.spread(bound / 2)
    }
}
