//! Kills a server under writing load, again and again, and looks for what was lost.
//!
//! Senders write unique messages under transaction ids, one at a time, each written down before the
//! next is sent. A reader follows in /sync over all kills. After each restart some of what was left
//! open is sent again, and some of what was acknowledged. At the end everything is read back, in
//! both directions, and checked.

pub(crate) mod reader;
mod sender;
pub(crate) mod timeline;
mod verdict;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use futures::future::try_join_all;
use hanse_checkers::Attempt;
use hanse_loadtest::{User, http::Connection};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

pub use self::verdict::Verdict;
use self::{
    reader::Reader,
    sender::{Load, Sender},
    verdict::{Counts, Evidence},
};
use crate::HanseProcess;

/// Rooms that the senders write into.
const ROOMS: usize = 4;
/// The load runs between these before each kill, in milliseconds.
const LOAD_MS: std::ops::Range<u64> = 200..1_200;
const PASSWORD: &str = "correct horse battery staple";

/// What to run.
#[derive(Clone, Debug)]
pub struct KillLoop {
    /// The server.
    pub binary: PathBuf,
    /// How often it is killed.
    pub rounds: u32,
    /// How many write at the same time.
    pub senders: usize,
    /// Decides the moments of the kills and what is sent again.
    pub seed: u64,
    /// Puts the data back once to what it was a kill earlier, which the checks must find.
    pub sabotage: bool,
}

/// Senders, reader and rooms of a run.
struct Cast {
    senders: Vec<Sender>,
    reader: Reader,
    rooms: Arc<Vec<String>>,
}

impl KillLoop {
    /// Runs it, in a directory of its own.
    pub async fn run(&self) -> anyhow::Result<Verdict> {
        let directory = tempfile::tempdir()?;
        let mut server = HanseProcess::new(self.binary.clone(), directory.path())?;
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let mut counts = Counts::default();
        counts.started(server.start().await?);
        let mut cast = self.cast(&server).await?;
        for round in 0..self.rounds {
            let delay = Duration::from_millis(random.random_range(LOAD_MS));
            cast = load_and_kill(cast, &mut server, delay, &mut counts).await?;
            if self.sabotage {
                roll_back(&server.data(), &directory.path().join("copy"), round)?;
            }
            counts.started(server.start().await?);
        }
        self.settle(cast, counts).await
    }

    async fn cast(&self, server: &HanseProcess) -> anyhow::Result<Cast> {
        let names = (0..self.senders).map(|number| format!("sender{number}"));
        let names: Vec<String> = names.chain(["reader".to_owned()]).collect();
        let mut users = try_join_all(names.iter().map(|name| register(server, name))).await?;
        let mut rooms = Vec::new();
        for number in 0..ROOMS.min(self.senders) {
            rooms.push(room_for_all(&mut users, number).await?);
        }
        let mut reader = Reader::new(users.pop().context("there is no reader")?);
        reader.read(Duration::ZERO).await?;
        let rooms = Arc::new(rooms);
        let senders = users.into_iter().enumerate().map(|(number, user)| {
            let seed = self.seed.wrapping_add(number as u64 + 1);
            Sender::new(user, Arc::clone(&rooms), ChaCha8Rng::seed_from_u64(seed))
        });
        Ok(Cast {
            senders: senders.collect(),
            reader,
            rooms,
        })
    }

    /// After the last restart: sends the last retries, reads everything back, and checks.
    async fn settle(&self, mut cast: Cast, mut counts: Counts) -> anyhow::Result<Verdict> {
        for sender in &mut cast.senders {
            sender.send_again().await;
        }
        cast.reader.read_to_the_end().await?;
        let mut attempts: Vec<Attempt> = Vec::new();
        for sender in &mut cast.senders {
            attempts.append(&mut sender.attempts);
            counts.add(&sender.tally);
        }
        let user = cast.senders.first_mut().context("there is no sender")?;
        let evidence = Evidence::collect(&mut user.user, &cast.rooms, cast.reader, attempts);
        Ok(Verdict::of(&evidence.await?, &counts, self.rounds))
    }
}

async fn register(server: &HanseProcess, name: &str) -> anyhow::Result<User> {
    let connection = Connection::to(server.address());
    let user = User::register(connection, name, PASSWORD).await;
    user.with_context(|| format!("cannot register {name}"))
}

/// A room made by the user of this number, with everybody in it.
async fn room_for_all(users: &mut [User], creator: usize) -> anyhow::Result<String> {
    let user = users.get_mut(creator).context("there is no creator")?;
    let room = user.create_room(r#"{"preset":"public_chat"}"#).await?;
    let joins = users.iter_mut().map(|user| user.join(&room));
    try_join_all(joins).await.context("cannot join")?;
    Ok(room)
}

/// Lets everybody work for a while, kills the server under them, and waits until all have seen it.
async fn load_and_kill(
    cast: Cast,
    server: &mut HanseProcess,
    delay: Duration,
    counts: &mut Counts,
) -> anyhow::Result<Cast> {
    let load = Arc::new(Load::default());
    let mut senders = JoinSet::new();
    for sender in cast.senders {
        senders.spawn(sender.work(Arc::clone(&load)));
    }
    let mut readers = JoinSet::new();
    readers.spawn(cast.reader.follow(Arc::clone(&load)));
    tokio::time::sleep(delay).await;
    // Counted as late as can be: those of this moment, or of microseconds later, are cut off.
    counts.killed(load.in_flight());
    server.kill()?;
    load.stop();
    let senders = senders.join_all().await;
    let reader = readers
        .join_all()
        .await
        .pop()
        .context("the reader is lost")?;
    Ok(Cast {
        senders,
        reader,
        rooms: cast.rooms,
    })
}

/// Keeps a copy of the data after the first kill, and puts it back after the second.
fn roll_back(data: &Path, copy: &Path, round: u32) -> anyhow::Result<()> {
    match round {
        0 => copy_directory(data, copy),
        1 => {
            std::fs::remove_dir_all(data)?;
            copy_directory(copy, data)
        }
        _ => Ok(()),
    }
}

fn copy_directory(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
