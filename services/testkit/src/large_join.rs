//! The join of a large room through another server: how long it takes, how much memory, how many rows,
//! and how long those wait meanwhile who send into another room of the same slot.
//!
//! The room is generated, with real signatures of many servers; that is not counted. Counted are reading
//! and verifying the events as they would come over the wire, staging, and installing them.

mod checks;
mod counted;
mod elsewhere;
mod neighbour;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::ensure;
use hanse_cluster::Router;
use hanse_event::{Pdu, Received, ServerKey};
use hanse_loadtest::Watched;
use hanse_log::{Applier, LogParts, Position, Rows, SlotLogs, SlotMap};
use hanse_proto::log::{Entry, entry::Kind};
use hanse_room::{Installed, RECEIVED_MAX, RoomParts, Rooms, Staging, room_rows};
use hanse_runtime::{SystemClock, SystemRandom, Tasks};
use hanse_store::Table;
use tokio::time::Instant;

use self::{
    counted::{Count, Counted},
    elsewhere::{Elsewhere, OUR_SERVER},
    neighbour::Neighbour,
};
use crate::MeasuredCluster;

/// Rooms whose memory is kept.
const ROOMS_HELD_MAX: u64 = 100;
/// How long the neighbour sends before anything else happens.
const QUIET: Duration = Duration::from_secs(3);

/// What to measure.
#[derive(Clone, Debug)]
pub struct LargeJoin {
    /// The cluster; none: the embedded engine in `directory`.
    pub cluster: MeasuredCluster,
    /// Where the embedded engine writes.
    pub directory: PathBuf,
    /// Members of the room.
    pub members: u32,
    /// Servers that they are of.
    pub servers: u32,
    /// Pause between two sends into another room.
    pub pause: Duration,
    /// The longest that it may take, in seconds.
    pub within_s: Option<f64>,
}

struct RoomDomain;

impl Applier for RoomDomain {
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows) {
        if let Some(Kind::Room(room)) = &entry.kind {
            room_rows(room, position, rows);
        }
    }

    fn tables(&self) -> Vec<&'static Table> {
        hanse_room::tables()
    }
}

/// A server, all of whose rooms are in one slot.
struct World {
    rooms: Rooms,
    store: Arc<Counted>,
    logs: SlotLogs,
    tasks: Tasks,
}

/// What staging and installing took.
#[derive(Default)]
struct Taken {
    staging: Duration,
    installing: Duration,
}

impl LargeJoin {
    /// Installs the room, says what it took, and sees that it is whole.
    pub async fn run(&self, mut say: impl FnMut(String)) -> anyhow::Result<()> {
        let world = self.world().await?;
        let neighbour = Neighbour::moves_in(&world.rooms, self.pause).await?;
        let quiet = neighbour.send_for(QUIET).await?;
        say(format!(
            "sends into another room of the slot before: {quiet}"
        ));

        let mut there = Elsewhere::new(self.servers)?;
        let base = Watched::own().usage()?.rss_bytes;
        let rows_before = world.store.count();
        let sending = neighbour.starts_sending();
        let (taken, installed) = self.install(&world, &mut there).await?;
        let meanwhile = sending.stops().await?;
        let rows = world.store.count().since(rows_before);
        let peak = Watched::own().usage()?.rss_peak_bytes;
        let Installed::Now { sent, counts } = installed else {
            anyhow::bail!("not installed: {installed:?}");
        };
        say(self.result(&taken, rows, peak.saturating_sub(base)));
        say(format!("counts: {counts:?}"));
        say(format!("sends into that other room meanwhile: {meanwhile}"));

        checks::whole(&world.rooms, &there, &sent).await?;
        say(checks::a_member_leaves(&world.rooms, &mut there).await?);
        say(checks::sends(&world, &there).await?);
        world.logs.hang_up();
        world.tasks.finish().await;
        let seconds = (taken.staging + taken.installing).as_secs_f64();
        let in_time = self.within_s.is_none_or(|within| seconds <= within);
        ensure!(in_time, "it took {seconds:.1} s");
        Ok(())
    }

    fn result(&self, taken: &Taken, rows: Count, bytes: u64) -> String {
        let (staging, installing) = (taken.staging.as_secs_f64(), taken.installing.as_secs_f64());
        format!(
            "{} members in {:.1} s: {staging:.1} s verified and staged, {installing:.1} s installed; \
             {} rows written, {} read; {} MiB at the peak over the base",
            self.members,
            staging + installing,
            rows.written,
            rows.read,
            bytes >> 20
        )
    }

    /// Generates the room, as it comes over the wire, and joins it.
    async fn install(
        &self,
        world: &World,
        there: &mut Elsewhere,
    ) -> anyhow::Result<(Taken, Installed)> {
        let mut taken = Taken::default();
        let mut staging = world.rooms.stage(there.room_id(), Elsewhere::version());
        let outline = there.outline()?;
        stage(&mut staging, there, &outline, &mut taken).await?;
        let mut left = self.members.saturating_sub(1);
        while left > 0 {
            let some = left.min(RECEIVED_MAX as u32);
            let members = there.next_members(some)?;
            stage(&mut staging, there, &members, &mut taken).await?;
            left -= some;
        }
        let (staged, join) = (staging.done(), there.joined()?);
        let began = Instant::now();
        let installed = world.rooms.install(&staged, join).await?;
        taken.installing = began.elapsed();
        Ok((taken, installed))
    }

    async fn world(&self) -> anyhow::Result<World> {
        let (clock, random) = (SystemClock::shared(), SystemRandom::shared());
        let store = self.cluster.open_or_embedded(&self.directory, "large_join");
        let store = Counted::new(store.await?);
        let tasks = Tasks::new();
        let logs = SlotLogs::open(LogParts {
            store: store.clone(),
            applier: Arc::new(RoomDomain),
            clock: clock.clone(),
            owner: random.alphanumeric(8),
            random: random.clone(),
            tasks: tasks.clone(),
            map: SlotMap::initial(1),
            segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
            consumers: Vec::new(),
            cluster: None,
        });
        let logs = logs.await?;
        let rooms = Rooms::new(RoomParts {
            store: store.clone(),
            logs: logs.clone(),
            clock,
            random,
            server_name: OUR_SERVER.try_into()?,
            key: Arc::new(ServerKey::generate([9; 32], "a")?),
            rooms_held_max: ROOMS_HELD_MAX,
            portion_bytes_max: RoomParts::PORTION_BYTES_MAX,
            router: Router::alone(),
        });
        Ok(World {
            rooms,
            store,
            logs,
            tasks,
        })
    }
}

/// Reads, verifies and stages some events.
async fn stage(
    staging: &mut Staging,
    there: &Elsewhere,
    events: &[Pdu],
    taken: &mut Taken,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let received = events.iter().map(|pdu| there.received(pdu));
    let received: Result<Vec<Received>, _> = received.collect();
    staging.add_state(received?).await?;
    taken.staging += began.elapsed();
    Ok(())
}
