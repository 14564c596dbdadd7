//! A user who syncs, by way of one API after the other.

use std::{sync::Arc, time::Duration};

use hanse_loadtest::Refused;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{sender::Surroundings, tally::Tally};
use crate::kill_loop::reader::Reader;

/// How long a sync waits for news.
const LONG_POLL: Duration = Duration::from_secs(5);
/// After a sync that failed.
const REST: Duration = Duration::from_millis(50);
/// How long nothing must have come at the end.
const QUIET: Duration = Duration::from_secs(4);
/// How long the end may take.
const ENDS_WITHIN: Duration = Duration::from_mins(2);

/// One who syncs.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) reader: Reader,
    pub(super) tally: Tally,
    door: usize,
    shared: Arc<Surroundings>,
}

impl Follower {
    pub(super) fn new(reader: Reader, door: usize, shared: Arc<Surroundings>) -> Self {
        Self {
            reader,
            tally: Tally::default(),
            door,
            shared,
        }
    }

    /// Follows until told to stop.
    pub(super) async fn follow(mut self, stop: watch::Receiver<bool>) -> anyhow::Result<Self> {
        while !*stop.borrow() {
            self.read(LONG_POLL).await?;
        }
        Ok(self)
    }

    /// Reads on until nothing comes any more.
    pub(super) async fn catch_up(mut self) -> anyhow::Result<Self> {
        let (begun, mut last) = (Instant::now(), Instant::now());
        while last.elapsed() < QUIET {
            if self.read(Duration::from_secs(1)).await? > 0 {
                last = Instant::now();
            }
            let name = &self.reader.name;
            anyhow::ensure!(begun.elapsed() < ENDS_WITHIN, "{name}'s syncs do not end");
        }
        Ok(self)
    }

    /// One sync; gives how many events came.
    async fn read(&mut self, wait: Duration) -> anyhow::Result<usize> {
        let chooser = &self.shared.chooser;
        if !chooser.is_ready(self.door) {
            self.door = chooser.another(self.door);
            self.reader.move_to(chooser.connection(self.door)?)?;
        }
        let error = match self.reader.read(wait).await {
            Ok(events) => return Ok(events),
            Err(error) => error,
        };
        match error.downcast_ref::<Refused>() {
            Some(refused) => self.tally.failed(refused),
            None => return Err(error),
        }
        sleep(REST).await;
        self.door = chooser.another(self.door);
        self.reader.move_to(chooser.connection(self.door)?)?;
        // What it would have given is still to come.
        Ok(1)
    }
}
