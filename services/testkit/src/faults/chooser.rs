//! Which API a client talks to, as a load balancer would choose.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::future::join_all;
use hanse_loadtest::http::{Call, Connection};
use rand::Rng;
use tokio::time::sleep;

/// How often each API is asked whether it wants traffic. A drain's readiness delay must be longer.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long it may take to say so.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The APIs, and which of them are ready.
#[derive(Debug)]
pub(super) struct Chooser {
    doors: Vec<Door>,
}

#[derive(Debug)]
struct Door {
    address: SocketAddr,
    ready: AtomicBool,
}

impl Chooser {
    pub(super) fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let doors = addresses.into_iter().map(|address| Door {
            address,
            ready: AtomicBool::new(true),
        });
        Self {
            doors: doors.collect(),
        }
    }

    /// Asks each one's `/ready` over and over; never ends.
    pub(super) async fn watch(&self) {
        join_all(self.doors.iter().map(Door::watch)).await;
    }

    pub(super) fn is_ready(&self, door: usize) -> bool {
        let door = self.doors.get(door);
        door.is_some_and(|door| door.ready.load(Ordering::Acquire))
    }

    /// A connection by way of the API of this number.
    pub(super) fn connection(&self, door: usize) -> anyhow::Result<Connection> {
        let door = self.doors.get(door);
        let door = door.ok_or_else(|| anyhow::anyhow!("there is no such API"))?;
        Ok(Connection::to(door.address))
    }

    /// Any.
    pub(super) fn any(&self, random: &mut impl Rng) -> usize {
        random.random_range(0..self.doors.len().max(1))
    }

    /// Another than this: the next one that is ready, or just the next.
    pub(super) fn another(&self, than: usize) -> usize {
        let count = self.doors.len().max(1);
        let mut others = (1..count).map(|step| (than + step) % count);
        let ready = others.find(|door| self.is_ready(*door));
        ready.unwrap_or((than + 1) % count)
    }
}

impl Door {
    async fn watch(&self) {
        loop {
            let call = Call::get("/ready").within(ANSWER_WITHIN);
            let answer = Connection::to(self.address).call(call, None).await;
            let ready = answer.is_ok_and(|answer| answer.status == 200);
            self.ready.store(ready, Ordering::Release);
            sleep(LOOK_EVERY).await;
        }
    }
}
