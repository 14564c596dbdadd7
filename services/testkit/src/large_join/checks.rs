//! Whether the room that was installed is the one that the other servers have, and goes on as any.

use anyhow::{Context, ensure};
use hanse_event::{Draft, content_of};
use hanse_log::Position;
use hanse_room::{Fate, NewEvent, Rooms, Sent};
use serde_json::json;
use tokio::time::Instant;

use super::{
    World,
    elsewhere::{Elsewhere, our_user},
};

/// Rows that a send may read, whatever the room's size: the first loads the room.
const READS_MAX: [u64; 2] = [60, 10];
/// Of the members' bodies each so many-th is looked at.
const LOOKED_AT: usize = 50;

/// The state at the join is the one that was given, and all members are there, with their events.
pub(super) async fn whole(rooms: &Rooms, there: &Elsewhere, join: &Sent) -> anyhow::Result<()> {
    let (reader, room_id) = (rooms.reader(), there.room_id());
    let before = reader.state_before(room_id, &join.event_id).await?;
    let before = before.context("the join has no state before it")?;
    ensure!(
        before.len() == there.size,
        "{} keys of {}",
        before.len(),
        there.size
    );
    let hash = Elsewhere::hash_of(before.values());
    ensure!(hash == there.hash(), "the state before the join is another");
    let members = reader.members(room_id, Position::END).await?;
    let head = reader.head(room_id).await?.context("no head")?.head;
    let joined = i64::try_from(members.len())?;
    ensure!(
        head.joined_members == joined,
        "{} of {joined}",
        head.joined_members
    );
    for member in members.iter().step_by(LOOKED_AT) {
        let event = reader.state_body(room_id, member).await?;
        let event = event.with_context(|| format!("{} has no event", member.state_key))?;
        ensure!(event.pdu.event_id() == member.event_id, "another's event");
    }
    Ok(())
}

/// Sends read as much as in any room.
pub(super) async fn sends(world: &World, there: &Elsewhere) -> anyhow::Result<String> {
    let mut reads = Vec::new();
    for bound in READS_MAX {
        let before = world.store.count();
        let content = content_of(&json!({ "msgtype": "m.text", "body": "hello" }))?;
        let draft = Draft::message(our_user()?, "m.room.message", content);
        let began = Instant::now();
        world
            .rooms
            .send(there.room_id(), NewEvent::now(draft))
            .await?;
        let read = world.store.count().since(before).read;
        ensure!(read <= bound, "a send read {read} rows");
        reads.push(format!(
            "{read} rows in {:.1} ms",
            began.elapsed().as_secs_f64() * 1e3
        ));
    }
    Ok(format!(
        "sends into the room read: {}",
        reads.join(", then ")
    ))
}

/// A leave of somebody elsewhere takes its place.
pub(super) async fn a_member_leaves(
    rooms: &Rooms,
    there: &mut Elsewhere,
) -> anyhow::Result<String> {
    let leave = there.leaves()?;
    let room_id = there.room_id().to_owned();
    let head = rooms
        .reader()
        .head(&room_id)
        .await?
        .context("no head")?
        .head;
    let arrived = rooms
        .receive(&room_id, vec![there.received(&leave)?])
        .await?;
    let fate = arrived.first().map(|arrived| &arrived.fate);
    ensure!(fate == Some(&Fate::Accepted), "the leave is {fate:?}");
    let after = rooms
        .reader()
        .head(&room_id)
        .await?
        .context("no head")?
        .head;
    ensure!(
        after.joined_members == head.joined_members - 1,
        "nobody left"
    );
    Ok(format!("a member left; {} are there", after.joined_members))
}
