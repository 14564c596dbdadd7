//! A writer's history under a random rain of faults: every position ends with exactly one batch, the
//! one that its writer was told of, and every batch is there once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use scylla::statement::Consistency;

use crate::{
    proof::{Answer, Log, Proposal},
    proxy::{Fault, Proxy, Served},
    server::{self, fresh_slot},
};

const BATCHES: i64 = 120;
const CLIENT_TIMEOUT: Duration = Duration::from_millis(250);
/// Longer than the client waits.
const DELAY_MS: u64 = 400;

/// How an append was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Settled {
    /// By the first answer.
    AtOnce,
    /// A later proposal of the same batch was applied.
    Reproposed,
    /// A later proposal was refused, and the row held the batch.
    FoundByRow,
}

/// A small generator (xorshift), so that a seed gives the same faults again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    /// Up to three faults for the proposals of one batch; none for half of them.
    fn faults(&mut self) -> Vec<Fault> {
        let count = [0, 0, 0, 1, 1, 2, 3][self.roll(7) as usize];
        let one = |dice: &mut Self| match dice.roll(5) {
            0 => Fault::CutLink,
            1 => Fault::DelayResponse(DELAY_MS),
            2 => Fault::WriteTimeout("CAS"),
            3 => Fault::DropRequest,
            _ => Fault::HoldRequest,
        };
        (0..count).map(|_| one(self)).collect()
    }
}

/// Appends a batch by law 3, and tells how it was settled and in how many proposals. `in_between` is
/// called before each further proposal.
async fn append(
    log: &Log,
    slot: i64,
    batch: &Proposal,
    mut in_between: impl FnMut(),
) -> anyhow::Result<(Settled, usize)> {
    for proposal in 1..=50 {
        match log.append(slot, 0, batch).await {
            Answer::Applied if proposal == 1 => return Ok((Settled::AtOnce, proposal)),
            Answer::Applied => return Ok((Settled::Reproposed, proposal)),
            Answer::Refused(_) => {
                let there = log
                    .row((slot, 0), batch.seq, Consistency::LocalSerial)
                    .await?;
                assert_eq!(there.as_ref(), Some(&batch.id), "another's batch is there");
                return Ok((Settled::FoundByRow, proposal));
            }
            Answer::Unknown(_) => tokio::time::sleep(Duration::from_millis(30)).await,
        }
        in_between();
    }
    anyhow::bail!("position {} stays undecided", batch.seq)
}

#[tokio::test]
async fn a_history_under_faults_has_each_batch_once_in_its_place() -> anyhow::Result<()> {
    let seed = std::env::var("HANSE_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let mut dice = Dice(seed.unwrap_or(0x9E37_79B9_7F4A_7C15));
    let proxy = Proxy::start(server::address()).await?;
    let hindered = Log::new(server::session_through(proxy.address, CLIENT_TIMEOUT).await?).await?;
    let (direct, slot) = (Log::direct().await?, fresh_slot());
    assert!(direct.create_head(slot, 0, (1, 0, 1_000)).await.applied());

    let mut settled: BTreeMap<(Vec<Fault>, Settled), usize> = BTreeMap::new();
    let mut proposals_all = 0;
    for seq in 0..BATCHES {
        let batch = Proposal::new(1, seq, &format!("slot {slot} batch {seq};"));
        let faults = dice.faults();
        for fault in &faults {
            proxy.inject(&batch.id, *fault);
        }
        let before = proxy.events().len();
        // Held requests arrive now and then: at once, racing the next proposal, or later.
        let mut now_and_then = || {
            if dice.roll(3) == 0 {
                proxy.release();
            }
        };
        let (how, proposals) = append(&hindered, slot, &batch, &mut now_and_then).await?;
        proposals_all += proposals;
        let befell = proxy
            .events()
            .split_off(before)
            .into_iter()
            .map(|(fault, _)| fault);
        *settled.entry((befell.collect(), how)).or_default() += 1;
    }
    proxy.release();
    tokio::time::sleep(Duration::from_millis(500)).await;

    check_history(&direct, slot).await?;
    report(&proxy.events(), &settled, proposals_all);
    Ok(())
}

async fn check_history(log: &Log, slot: i64) -> anyhow::Result<()> {
    let rows = log.rows(slot, 0).await?;
    let wanted = |seq: i64| (seq, format!("slot {slot} batch {seq};").into_bytes());
    assert_eq!(rows, (0..BATCHES).map(wanted).collect::<Vec<_>>());
    let head = log.head(slot, 0).await?.expect("a head");
    assert_eq!((head.epoch, head.next), (Some(1), Some(BATCHES)));
    Ok(())
}

/// Prints what really happened, and fails if a kind of fault or of settlement never did.
fn report(
    events: &[(Fault, Served)],
    settled: &BTreeMap<(Vec<Fault>, Settled), usize>,
    proposals: usize,
) {
    let mut served: BTreeMap<(Fault, Served), usize> = BTreeMap::new();
    for event in events {
        *served.entry(*event).or_default() += 1;
    }
    eprintln!(
        "history: {BATCHES} batches, {proposals} proposals, {} faults",
        events.len()
    );
    for ((fault, served), count) in &served {
        eprintln!("  fault {fault:?}, server answered {served:?}: {count}");
    }
    for how in [Settled::AtOnce, Settled::Reproposed, Settled::FoundByRow] {
        let count: usize = settled
            .iter()
            .filter(|((_, h), _)| *h == how)
            .map(|(_, n)| n)
            .sum();
        let after: BTreeSet<_> = settled
            .keys()
            .filter(|(_, h)| *h == how)
            .map(|(f, _)| f)
            .collect();
        eprintln!(
            "  settled {how:?}: {count}, after {} mixtures of faults",
            after.len()
        );
        assert!(count > 0, "no batch was settled {how:?}");
    }
    let kinds: BTreeSet<Fault> = events.iter().map(|(fault, _)| *fault).collect();
    assert_eq!(kinds.len(), 5, "a kind of fault never happened: {kinds:?}");
    for outcome in [Served::Applied, Served::Refused] {
        let count = served
            .get(&(Fault::HoldRequest, outcome))
            .copied()
            .unwrap_or(0);
        assert!(count > 0, "no held request arrived and was {outcome:?}");
    }
}
