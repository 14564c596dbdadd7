//! A reader who follows in /sync over all kills, with the tokens from before them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use hanse_checkers::{Page, RoomPage};
use hanse_loadtest::{Refused, User, http::Connection};
use serde::Deserialize;

use super::{
    sender::Load,
    timeline::{WireEvent, fill_gap},
};

/// How long a sync waits for news.
const LONG_POLL: Duration = Duration::from_secs(2);
/// Looks at the end until nothing comes.
const LAST_READS_MAX: usize = 10_000;
const FILTER: &str = r#"{"room":{"timeline":{"limit":200}}}"#;

/// One who reads.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) name: String,
    pub(crate) pages: Vec<Page>,
    /// Gaps that were filled over /messages.
    pub(crate) gaps: u64,
    user: User,
    seen: HashSet<String>,
}

#[derive(Debug, Deserialize)]
struct WireSync {
    next_batch: String,
    #[serde(default)]
    rooms: WireRooms,
}

#[derive(Debug, Default, Deserialize)]
struct WireRooms {
    #[serde(default)]
    join: BTreeMap<String, WireRoom>,
}

#[derive(Debug, Deserialize)]
struct WireRoom {
    timeline: Option<WireTimeline>,
}

#[derive(Debug, Deserialize)]
struct WireTimeline {
    events: Vec<WireEvent>,
    #[serde(default)]
    limited: bool,
    prev_batch: Option<String>,
}

impl Reader {
    pub(crate) fn new(user: User) -> Self {
        Self {
            name: user.credentials().user_id.clone(),
            pages: Vec::new(),
            gaps: 0,
            user,
            seen: HashSet::new(),
        }
    }

    /// Goes on by way of another connection.
    pub(crate) fn move_to(&mut self, connection: Connection) -> anyhow::Result<()> {
        self.user = User::resume(connection, self.user.credentials().clone())?;
        Ok(())
    }

    /// Follows until the server is gone.
    pub(super) async fn follow(mut self, load: Arc<Load>) -> Self {
        while !load.stopped() {
            if self.read(LONG_POLL).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        self
    }

    /// One sync; gives how many events came. Nothing is written down unless all of it worked.
    pub(crate) async fn read(&mut self, wait: Duration) -> anyhow::Result<usize> {
        let since = self.pages.last().map(|page| page.next.clone());
        let sync = sync(&mut self.user, since.as_deref(), wait, FILTER).await?;
        let mut rooms = Vec::new();
        for (room, part) in sync.rooms.join {
            if let Some(timeline) = part.timeline {
                rooms.push(self.room_page(room, timeline, since.is_none()).await?);
            }
        }
        let events: usize = rooms.iter().map(|room| room.events.len()).sum();
        let ids = rooms.iter().flat_map(|room| &room.events).cloned();
        self.seen.extend(ids);
        self.pages.push(Page {
            since,
            next: sync.next_batch,
            rooms,
        });
        Ok(events)
    }

    async fn room_page(
        &mut self,
        room: String,
        timeline: WireTimeline,
        first: bool,
    ) -> anyhow::Result<RoomPage> {
        let mut events = ids(timeline.events);
        let gap_end = timeline.prev_batch.filter(|_| timeline.limited && !first);
        if let Some(gap_end) = gap_end {
            self.gaps += 1;
            let known = |event_id: &str| self.seen.contains(event_id);
            let mut missed = fill_gap(&mut self.user, &room, &gap_end, known).await?;
            missed.reverse();
            missed.append(&mut events);
            events = missed;
        }
        Ok(RoomPage {
            room,
            events,
            limited: false,
        })
    }

    /// Reads on until nothing comes any more.
    pub(super) async fn read_to_the_end(&mut self) -> anyhow::Result<()> {
        for _ in 0..LAST_READS_MAX {
            if self.read(Duration::ZERO).await? == 0 {
                return Ok(());
            }
        }
        anyhow::bail!("the reader's syncs do not end")
    }
}

fn ids(events: Vec<WireEvent>) -> Vec<String> {
    let events = events.into_iter().map(hanse_checkers::Event::from);
    events.map(|event| event.event_id).collect()
}

async fn sync(
    user: &mut User,
    since: Option<&str>,
    wait: Duration,
    filter: &str,
) -> anyhow::Result<WireSync> {
    let answer = user.sync(since, wait, filter).await;
    let answer =
        answer.map_err(|refused: Refused| anyhow::Error::new(refused).context("cannot sync"))?;
    Ok(serde_json::from_slice(&answer.body)?)
}

/// An initial sync, as a client without a past makes it: the last events of each room.
pub(super) async fn initial_sync(user: &mut User) -> anyhow::Result<Page> {
    let sync = sync(user, None, Duration::ZERO, FILTER).await?;
    let rooms = sync.rooms.join.into_iter().map(|(room, part)| RoomPage {
        room,
        events: part
            .timeline
            .map(|timeline| ids(timeline.events))
            .unwrap_or_default(),
        limited: true,
    });
    Ok(Page {
        since: None,
        rooms: rooms.collect(),
        next: sync.next_batch,
    })
}
