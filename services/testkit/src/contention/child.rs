//! The contenders as child processes: started, frozen, killed, listened to.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rand::{Rng, seq::IndexedRandom};
use tokio::time::{Instant, sleep};

use super::{
    ContenderOptions,
    evidence::{Evidence, Fault, Testimony, now_ms},
};

/// Who is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    /// Who has the slot, as far as it told.
    Owner,
    /// Mostly the same, sometimes any.
    Mostly,
}

/// All that run.
pub(super) struct Contenders {
    program: PathBuf,
    options: ContenderOptions,
    running: Vec<Contender>,
}

struct Contender {
    child: Child,
    /// Whether the slot was its own by the last that it told.
    serves: Arc<AtomicBool>,
    reader: Option<JoinHandle<Testimony>>,
    frozen: Vec<(i64, i64)>,
    killed: bool,
}

impl Contenders {
    pub(super) fn new(program: PathBuf, options: ContenderOptions) -> Self {
        Self {
            program,
            options,
            running: Vec::new(),
        }
    }

    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let ContenderOptions {
            cql,
            replication,
            keyspace,
            redis,
        } = &self.options;
        let mut child = Command::new(&self.program)
            .args(["contender", "--cql", cql, "--keyspace", keyspace])
            .args(["--redis", redis, "--replication", &replication.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log()?)
            .spawn()
            .context("cannot start a contender")?;
        let out = child.stdout.take().context("a contender has no output")?;
        let serves = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&serves);
        let reader = std::thread::Builder::new().spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            let mut testimony = Testimony::default();
            for line in lines {
                testimony.take(&line);
                heard.store(testimony.serves(), Ordering::Relaxed);
            }
            testimony
        })?;
        self.running.push(Contender {
            child,
            serves,
            reader: Some(reader),
            frozen: Vec::new(),
            killed: false,
        });
        Ok(())
    }

    /// Where the next one writes its log: a file in the directory that `HANSE_TEST_LOGS` names.
    fn log(&self) -> anyhow::Result<Stdio> {
        let Some(directory) = std::env::var_os("HANSE_TEST_LOGS").map(PathBuf::from) else {
            return Ok(Stdio::null());
        };
        let name = format!("contender-{}.log", self.running.len());
        Ok(File::create(directory.join(name))?.into())
    }

    /// Returns when one of them has the slot.
    pub(super) async fn serving_within(&self, limit: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < limit {
            let mut living = self.running.iter().filter(|one| !one.killed);
            if living.any(|one| one.serves.load(Ordering::Relaxed)) {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("nobody took the slot in time")
    }

    /// Stops one, and lets it go on after a while.
    pub(super) async fn freeze(
        &mut self,
        dice: &mut impl Rng,
        whom: Whom,
        lasts: Duration,
        evidence: &mut Evidence,
    ) -> anyhow::Result<()> {
        let Some(victim) = self.victim(dice, whom) else {
            return Ok(());
        };
        let owner = victim.serves.load(Ordering::Relaxed);
        let from = now_ms();
        victim.signal(Signal::SIGSTOP)?;
        sleep(lasts).await;
        victim.signal(Signal::SIGCONT)?;
        victim.frozen.push((from, now_ms()));
        evidence.fault(if owner {
            Fault::OwnerFrozen
        } else {
            Fault::ReaderFrozen
        });
        Ok(())
    }

    /// SIGKILL.
    pub(super) fn kill(
        &mut self,
        dice: &mut impl Rng,
        whom: Whom,
        evidence: &mut Evidence,
    ) -> anyhow::Result<()> {
        let Some(victim) = self.victim(dice, whom) else {
            return Ok(());
        };
        let owner = victim.serves.load(Ordering::Relaxed);
        victim.child.kill()?;
        victim.child.wait()?;
        victim.killed = true;
        evidence.fault(if owner {
            Fault::OwnerKilled
        } else {
            Fault::ReaderKilled
        });
        Ok(())
    }

    fn victim(&mut self, dice: &mut impl Rng, whom: Whom) -> Option<&mut Contender> {
        let alive = |index: &usize| self.running.get(*index).is_some_and(|one| !one.killed);
        let all: Vec<usize> = (0..self.running.len()).filter(alive).collect();
        let owns = |index: &&usize| {
            let one = self.running.get(**index);
            one.is_some_and(|one| one.serves.load(Ordering::Relaxed))
        };
        let owners: Vec<usize> = all.iter().filter(owns).copied().collect();
        let an_owner = whom == Whom::Owner || (dice.random_ratio(4, 5) && !owners.is_empty());
        let among = if an_owner { owners } else { all };
        let index = *among.choose(dice)?;
        self.running.get_mut(index)
    }

    /// Kills whoever is left, and takes down what all of them told.
    pub(super) fn end(&mut self, evidence: &mut Evidence) {
        for mut one in self.running.drain(..) {
            let _ = one.child.kill();
            let _ = one.child.wait();
            let testimony = one.reader.take().and_then(|reader| reader.join().ok());
            let mut testimony = testimony.unwrap_or_default();
            testimony.frozen = std::mem::take(&mut one.frozen);
            testimony.killed = one.killed;
            evidence.testimonies.push(testimony);
        }
    }
}

impl Contender {
    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(self.child.id() as i32), signal)?)
    }
}

impl Drop for Contenders {
    fn drop(&mut self) {
        for one in &mut self.running {
            let _ = one.child.kill();
            let _ = one.child.wait();
        }
    }
}
