//! Leases and who takes which slot: a stand-in for the cluster crate, which needs no sense to be
//! safe. It is as hasty, as restless and as lax as a run's plan says.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hanse_log::{Lease, Slot, SlotLogs};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::{dice::Dice, executor::ProcessId, node::Life, world::Ground};

/// A lease lasts so long after it was renewed.
const TTL: Duration = Duration::from_secs(6);
/// How often it is renewed.
const RENEW_PERIOD: Duration = Duration::from_secs(2);
/// How often a process looks at every slot, in milliseconds.
const LOOK_MS: std::ops::RangeInclusive<u64> = 200..=1_500;

/// When each process renewed its lease, by the name that stands in the slots' rows.
#[derive(Default)]
pub(crate) struct Leases {
    renewed: Mutex<BTreeMap<String, Instant>>,
}

impl Leases {
    fn renew(&self, owner: &str) {
        self.renewed.lock().insert(owner.to_owned(), Instant::now());
    }

    fn has_lapsed(&self, owner: &str) -> bool {
        let renewed = self.renewed.lock().get(owner).copied();
        renewed.is_none_or(|renewed| renewed.elapsed() > TTL)
    }

    /// A process other than this one that lives.
    fn another(&self, owner: &str, dice: &Dice) -> Option<String> {
        let renewed = self.renewed.lock();
        let others = renewed
            .iter()
            .filter(|(name, renewed)| name.as_str() != owner && renewed.elapsed() <= TTL);
        let others: Vec<&String> = others.map(|(name, _)| name).collect();
        dice.pick(&others).map(|name| (*name).clone())
    }
}

/// What a process believes of its own lease.
pub(crate) struct OwnLease {
    ground: Arc<Ground>,
    renewed: Mutex<Instant>,
}

impl OwnLease {
    pub(crate) fn new(ground: Arc<Ground>) -> Arc<Self> {
        let renewed = Mutex::new(Instant::now());
        Arc::new(Self { ground, renewed })
    }

    /// Renews it for as long as the process lives.
    pub(crate) async fn renew(self: Arc<Self>, life: Life) {
        let owner = owner_name(life.process);
        loop {
            if !life.link.is_cut() {
                *self.renewed.lock() = Instant::now();
                self.ground.leases.renew(&owner);
            }
            sleep(RENEW_PERIOD).await;
        }
    }
}

impl Lease for OwnLease {
    fn is_held(&self) -> bool {
        self.ground.habits().lax || self.renewed.lock().elapsed() < TTL
    }
}

/// As it stands in the slots' rows.
pub(crate) fn owner_name(process: ProcessId) -> String {
    format!("process-{}", process.0)
}

/// Takes and gives slots for as long as the process lives.
pub(crate) async fn keep(ground: Arc<Ground>, process: ProcessId, logs: SlotLogs, dice: Dice) {
    let own = owner_name(process);
    loop {
        for slot in logs.map().slots() {
            if logs.served().contains(&slot) {
                give(&ground, &own, &logs, slot, &dice).await;
            } else {
                take(&ground, &own, &logs, slot, &dice).await;
            }
        }
        sleep(dice.ms(LOOK_MS)).await;
    }
}

async fn give(ground: &Ground, own: &str, logs: &SlotLogs, slot: Slot, dice: &Dice) {
    if !dice.chance(ground.habits().restless) {
        return;
    }
    let successor = ground.leases.another(own, dice).unwrap_or_default();
    ground.scene.tally.count("slots released");
    logs.release(slot, &successor).await;
}

async fn take(ground: &Ground, own: &str, logs: &SlotLogs, slot: Slot, dice: &Dice) {
    let Ok(observed) = logs.owner(slot).await else {
        return;
    };
    let owner = observed.owner.as_str();
    let free = owner.is_empty() || owner == own || ground.leases.has_lapsed(owner);
    let greedy = dice.chance(ground.habits().greed);
    if !free && !greedy {
        return;
    }
    if !free {
        ground.scene.tally.count("slots taken from the living");
    }
    sleep(dice.ms(0..=100)).await;
    if let Err(error) = logs.serve(slot, &observed).await {
        ground.scene.tally.count("slots not taken");
        note_failure(ground, own, slot, &error.to_string());
    }
}

fn note_failure(ground: &Ground, own: &str, slot: Slot, error: &str) {
    let world = crate::executor::WORLD;
    ground.scene.note(
        world,
        format_args!("{own} does not get slot {slot}: {error}"),
    );
}
