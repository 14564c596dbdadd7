//! Somebody who sends into another room of the same slot.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hanse_event::{Draft, content_of};
use hanse_loadtest::Latency;
use hanse_room::{NewEvent, NewRoom, RoomError, Rooms};
use ruma::{
    CanonicalJsonObject, OwnedRoomId, OwnedUserId, api::client::room::create_room::v3::Request,
};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::elsewhere::our_user;

/// A room, and its only member.
#[derive(Clone)]
pub(super) struct Neighbour {
    rooms: Rooms,
    room_id: OwnedRoomId,
    user: OwnedUserId,
    pause: Duration,
}

/// How long sends took.
pub(super) struct Waited(Latency);

/// Sends until it is stopped.
pub(super) struct Sending {
    enough: Arc<AtomicBool>,
    task: JoinHandle<anyhow::Result<Waited>>,
}

impl Neighbour {
    pub(super) async fn moves_in(rooms: &Rooms, pause: Duration) -> anyhow::Result<Self> {
        let user = our_user()?;
        let room = NewRoom {
            creator: user.clone(),
            profile: CanonicalJsonObject::new(),
            alias: None,
            request: Request::new(),
        };
        let room_id = rooms.create(room).await?;
        let rooms = rooms.clone();
        Ok(Self {
            rooms,
            room_id,
            user,
            pause,
        })
    }

    pub(super) async fn send_for(&self, how_long: Duration) -> anyhow::Result<Waited> {
        let until = Instant::now() + how_long;
        self.send_while(|| Instant::now() < until).await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a client of its own, as far as the measured server is concerned"
    )]
    pub(super) fn starts_sending(&self) -> Sending {
        let enough = Arc::new(AtomicBool::new(false));
        let (neighbour, seen) = (self.clone(), Arc::clone(&enough));
        let more = move || !seen.load(Ordering::Relaxed);
        let task = tokio::spawn(async move { neighbour.send_while(more).await });
        Sending { enough, task }
    }

    async fn send_while(&self, more: impl Fn() -> bool) -> anyhow::Result<Waited> {
        let mut latency = Latency::new()?;
        while more() {
            let began = Instant::now();
            self.send().await?;
            latency.record(began.elapsed());
            sleep(self.pause).await;
        }
        Ok(Waited(latency))
    }

    async fn send(&self) -> Result<(), RoomError> {
        let content = content_of(&json!({ "msgtype": "m.text", "body": "are you there?" }));
        let content = content.map_err(|error| RoomError::BadContent {
            reason: error.to_string(),
        })?;
        let draft = Draft::message(self.user.clone(), "m.room.message", content);
        let sent = self.rooms.send(&self.room_id, NewEvent::now(draft)).await;
        sent.map(drop)
    }
}

impl Sending {
    pub(super) async fn stops(self) -> anyhow::Result<Waited> {
        self.enough.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

impl fmt::Display for Waited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = &self.0;
        write!(
            f,
            "{} sends, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
            latency.count(),
            latency.quantile_ms(0.5),
            latency.quantile_ms(0.99),
            latency.max_ms()
        )
    }
}
