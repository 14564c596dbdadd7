//! The simulated bus: it drops, repeats, delays and reorders what it carries, separately for each
//! subscriber, and is cut off for a while.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hanse_log::{Bus, Heard, Notice};
use parking_lot::Mutex;
use tokio::{sync::mpsc, time::sleep};

use crate::{
    dice::Dice,
    executor::{ProcessId, WORLD},
    scene::Scene,
};

/// What a subscriber may have waiting; past it, notices are dropped.
const EAR_LEN_MAX: usize = 256;
/// The longest that a notice is under way, in milliseconds.
const DELAY_MS_MAX: u64 = 10_000;

/// How often what happens, in a thousand deliveries.
#[derive(Clone, Debug, Default)]
pub(crate) struct BusRates {
    pub(crate) dropped: u64,
    pub(crate) repeated: u64,
    pub(crate) delayed: u64,
    /// A subscription breaks and stands again: what was shown meanwhile is lost.
    pub(crate) broken: u64,
}

impl BusRates {
    /// Each fault in half of the runs; in some, hardly anything comes through.
    pub(crate) fn drawn(dice: &Dice) -> Self {
        let rate = || {
            if dice.chance(500) {
                dice.between(5..=200)
            } else {
                0
            }
        };
        Self {
            dropped: if dice.chance(100) { 950 } else { rate() },
            repeated: rate(),
            delayed: rate(),
            broken: rate() / 10,
        }
    }
}

/// The bus of a run. Clones are the same bus.
#[derive(Clone)]
pub(crate) struct SimBus {
    scene: Scene,
    dice: Dice,
    state: Arc<Mutex<State>>,
}

/// Is told what is shown.
pub(crate) type Witness = Arc<dyn Fn(&Notice) + Send + Sync>;

#[derive(Default)]
struct State {
    rates: BusRates,
    ears: BTreeMap<u64, Ear>,
    next: u64,
    cut: BTreeSet<ProcessId>,
}

#[derive(Clone)]
struct Ear {
    process: ProcessId,
    sender: mpsc::Sender<Heard>,
}

impl SimBus {
    pub(crate) fn new(scene: Scene, dice: Dice, rates: BusRates) -> Self {
        let state = State {
            rates,
            ..State::default()
        };
        Self {
            scene,
            dice,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// No fault begins any more.
    pub(crate) fn calm_down(&self) {
        self.state.lock().rates = BusRates::default();
        let cut: Vec<_> = self.state.lock().cut.iter().copied().collect();
        for process in cut {
            self.heal(process);
        }
    }

    /// A process's way to the bus.
    pub(crate) fn of(&self, process: ProcessId, witness: Witness) -> Arc<dyn Bus> {
        let bus = self.clone();
        Arc::new(ProcessBus {
            bus,
            process,
            witness,
        })
    }

    /// Nothing goes to or from the process.
    pub(crate) fn cut(&self, process: ProcessId) {
        self.state.lock().cut.insert(process);
    }

    /// The process reaches the bus again, and is told that it may have missed something.
    pub(crate) fn heal(&self, process: ProcessId) {
        self.state.lock().cut.remove(&process);
        self.resubscribe(process);
    }

    fn resubscribe(&self, process: ProcessId) {
        let ears = self.ears();
        for ear in ears.values().filter(|ear| ear.process == process) {
            self.hand(ear, Heard::Subscribed);
        }
    }

    /// A subscription is confirmed: from here on it hears what is shown.
    fn subscribed(&self, ear: Ear) {
        self.hand(&ear, Heard::Subscribed);
        let mut state = self.state.lock();
        state.next += 1;
        let number = state.next;
        state.ears.insert(number, ear);
    }

    fn ears(&self) -> BTreeMap<u64, Ear> {
        let mut state = self.state.lock();
        state.ears.retain(|_, ear| !ear.sender.is_closed());
        state.ears.clone()
    }

    fn is_cut(&self, process: ProcessId) -> bool {
        self.state.lock().cut.contains(&process)
    }

    fn publish(&self, from: ProcessId, notice: &Notice) {
        let rates = self.state.lock().rates.clone();
        for ear in self.ears().into_values() {
            if self.is_cut(from) || self.is_cut(ear.process) {
                self.scene.tally.count("bus: cut off");
                continue;
            }
            if self.dice.chance(rates.dropped) {
                self.scene.tally.count("bus: dropped");
                continue;
            }
            self.send(&rates, ear.clone(), notice.clone());
            if self.dice.chance(rates.repeated) {
                self.scene.tally.count("bus: repeated");
                self.send(&rates, ear.clone(), notice.clone());
            }
            if self.dice.chance(rates.broken) {
                self.scene.tally.count("bus: subscription broken");
                self.hand(&ear, Heard::Subscribed);
            }
        }
    }

    /// Delivers a notice after a while; later ones may overtake it.
    fn send(&self, rates: &BusRates, ear: Ear, notice: Notice) {
        let mut delay = self.dice.ms(0..=3);
        if self.dice.chance(rates.delayed) {
            self.scene.tally.count("bus: delayed");
            delay = self.dice.long_tailed_ms(10..=DELAY_MS_MAX);
        }
        let bus = self.clone();
        self.scene.executor.spawn(WORLD, async move {
            sleep(delay).await;
            bus.hand(&ear, Heard::Notice(notice));
        });
    }

    fn hand(&self, ear: &Ear, heard: Heard) {
        let what = match &heard {
            Heard::Subscribed => "subscribed".to_owned(),
            Heard::Notice(notice) => {
                let Notice {
                    slot,
                    epoch,
                    prev,
                    point,
                    ..
                } = notice;
                format!("slot {slot} epoch {epoch} prev {prev} seq {}", point.seq)
            }
        };
        if ear.sender.try_send(heard).is_ok() {
            self.scene.note(ear.process, format_args!("hears {what}"));
            self.scene.tally.count("bus: heard");
        } else {
            self.scene.tally.count("bus: ear full or gone");
        }
    }
}

struct ProcessBus {
    bus: SimBus,
    process: ProcessId,
    witness: Witness,
}

impl Bus for ProcessBus {
    fn publish(&self, notice: Notice) {
        (self.witness)(&notice);
        self.bus.publish(self.process, &notice);
    }

    fn subscribe(&self) -> mpsc::Receiver<Heard> {
        let (sender, ear) = mpsc::channel(EAR_LEN_MAX);
        let (bus, process) = (self.bus.clone(), self.process);
        self.bus.scene.executor.spawn(WORLD, async move {
            sleep(bus.dice.ms(0..=20)).await;
            while bus.is_cut(process) {
                sleep(Duration::from_millis(50)).await;
            }
            bus.subscribed(Ear { process, sender });
        });
        ear
    }
}

#[cfg(test)]
mod tests {
    use hanse_log::{LogPoint, Slot};
    use tokio::time::timeout;

    use super::*;
    use crate::scene::tests::staged;

    fn notice(seq: i64) -> Notice {
        Notice {
            slot: Slot(0),
            epoch: 1,
            prev: seq - 1,
            point: LogPoint { segment: 0, seq },
            entries: None,
        }
    }

    fn unseen() -> Witness {
        Arc::new(|_| {})
    }

    /// What a subscriber hears of 500 notices, `Subscribed` left out.
    async fn heard(scene: Scene, rates: BusRates) -> Vec<i64> {
        let bus = SimBus::new(scene, Dice::new(1, "bus"), rates);
        let mut ear = bus.of(ProcessId(2), unseen()).subscribe();
        assert_eq!(ear.recv().await, Some(Heard::Subscribed));
        let owner = bus.of(ProcessId(1), unseen());
        let mut seqs = Vec::new();
        for seq in 1..=500 {
            owner.publish(notice(seq));
            sleep(Duration::from_millis(5)).await;
            while let Ok(heard) = ear.try_recv() {
                if let Heard::Notice(notice) = heard {
                    seqs.push(notice.point.seq);
                }
            }
        }
        while let Ok(Some(heard)) = timeout(Duration::from_secs(20), ear.recv()).await {
            if let Heard::Notice(notice) = heard {
                seqs.push(notice.point.seq);
            }
        }
        seqs
    }

    #[test]
    fn a_calm_bus_carries_everything_in_order() {
        let seqs = staged(|scene| heard(scene, BusRates::default()));
        assert!(seqs.iter().copied().eq(1..=500));
    }

    #[test]
    fn a_faulty_bus_drops_repeats_and_reorders() {
        let rates = BusRates {
            dropped: 100,
            repeated: 100,
            delayed: 100,
            broken: 10,
        };
        let seqs = staged(|scene| heard(scene, rates));
        let times = |seq: i64| seqs.iter().filter(|heard| **heard == seq).count();
        assert!((1..=500).any(|seq| times(seq) == 0), "dropped");
        assert!((1..=500).any(|seq| times(seq) == 2), "repeated");
        assert!(!seqs.is_sorted(), "reordered");
    }

    #[test]
    fn whoever_is_cut_off_hears_nothing_and_is_told_afterwards() {
        staged(|scene| async move {
            let bus = SimBus::new(scene, Dice::new(1, "bus"), BusRates::default());
            let mut ear = bus.of(ProcessId(2), unseen()).subscribe();
            assert_eq!(ear.recv().await, Some(Heard::Subscribed));
            bus.cut(ProcessId(2));
            bus.of(ProcessId(1), unseen()).publish(notice(1));
            let silence = timeout(Duration::from_secs(30), ear.recv()).await;
            assert!(silence.is_err());
            bus.heal(ProcessId(2));
            assert_eq!(ear.recv().await, Some(Heard::Subscribed));
        });
    }
}
