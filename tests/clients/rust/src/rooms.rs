//! Messages in an encrypted room, and who gets their keys.

use std::collections::{BTreeSet, HashSet};
use std::io;

use anyhow::{Context, Result, ensure};
use matrix_sdk::ruma::events::room::member::MembershipState;
use tokio::task::spawn_blocking;

use crate::waiting::{until, until_so};
use crate::world::World;

/// What one encrypts the other reads, and the server cannot.
pub(crate) async fn encrypted_both_ways(world: &mut World) -> Result<()> {
    let World {
        alice,
        bob,
        room_id,
        ..
    } = world;
    for (sender, reader) in [(&*alice, &*bob), (bob, alice)] {
        let body = "a secret, ünïcode 🦀";
        let event_id = sender.say(room_id, body).await?;
        let message = reader.until_heard(&event_id).await?;
        ensure!(message.body == body, "it reads {}", message.body);
        ensure!(message.sender == sender.id(), "it is of {}", message.sender);
        let encryption = message.encryption.context("it came in clear text")?;
        ensure!(encryption.sender_device.as_deref() == Some(sender.device_id()));

        let held = reader.held(room_id, &event_id).await?;
        let kind = held.get_field::<String>("type")?;
        ensure!(
            kind.as_deref() == Some("m.room.encrypted"),
            "it is {kind:?}"
        );
        ensure!(
            !held.json().get().contains("secret"),
            "the server has {held:?}"
        );
    }
    Ok(())
}

/// Each session's key is there when the first message of the session comes.
pub(crate) async fn keys_come_before_their_messages(world: &mut World) -> Result<()> {
    const SESSIONS: usize = 10;
    let World {
        alice,
        bob,
        room_id,
        ..
    } = world;
    let mut sessions = HashSet::new();
    for n in 0..SESSIONS {
        let body = format!("session {n}");
        let event_id = alice.say_anew(room_id, &body).await?;
        let message = bob.until_heard(&event_id).await?;
        ensure!(message.body == body, "it reads {}", message.body);
        let encryption = message.encryption.context("it came in clear text")?;
        sessions.insert(encryption.session_id().map(str::to_owned));
    }
    ensure!(
        sessions.len() == SESSIONS,
        "sessions were used again: {sessions:?}"
    );
    Ok(())
}

/// More keys than one `/sync` brings wait for a device that is offline.
pub(crate) async fn keys_wait_for_a_device(world: &mut World) -> Result<()> {
    const MANY: usize = 110;
    let World {
        alice,
        bob,
        room_id,
        ..
    } = world;
    bob.pause().await;
    let mut said = Vec::new();
    for n in 0..MANY {
        let body = format!("away {n}");
        said.push((alice.say_anew(room_id, &body).await?, body));
    }
    bob.resume();
    for (event_id, body) in said {
        // Its key may come with a later page.
        let read = until(&format!("bob has the key of {body}"), async || {
            bob.read(room_id, &event_id).await
        })
        .await?;
        ensure!(read == body, "it reads {read}");
    }
    Ok(())
}

/// Keys that were handed out are handed out once, and the device replaces them.
pub(crate) async fn one_time_keys_are_replaced(world: &mut World) -> Result<()> {
    const CLAIMS: usize = 10;
    let World {
        alice,
        bob,
        room_id,
        ..
    } = world;
    let had = alice.one_time_keys_left().await?;
    alice.pause().await;
    let mut claimed = BTreeSet::new();
    for _ in 0..CLAIMS {
        claimed.extend(bob.claim(alice).await?);
    }
    ensure!(
        claimed.len() == CLAIMS,
        "keys were given twice: {claimed:?}"
    );
    let left = alice.one_time_keys_left().await?;
    ensure!(left < had, "of {had} keys {left} are left");
    alice.resume();
    // The count need not end a wait: it comes with what does.
    bob.say(room_id, "here is news").await?;
    until_so("they are replaced", async || {
        Ok(alice.one_time_keys_left().await? >= had)
    })
    .await
}

/// Who comes later reads what is said then, and nothing older.
pub(crate) async fn newcomers_read_on(world: &mut World) -> Result<()> {
    const GUESTS: usize = 3;
    let early = world.alice.say(&world.room_id, "before they came").await?;
    world.bob.until_heard(&early).await?;
    for _ in 0..GUESTS {
        let guest = world.guest().await?;
        let (alice, room_id) = (&world.alice, &world.room_id);
        // It is the guest who begins the session of the two devices, with a key of alice's.
        let hello = guest.say(room_id, "hello").await?;
        ensure!(alice.until_heard(&hello).await?.body == "hello");
        let welcome = alice.say(room_id, "welcome").await?;
        ensure!(guest.until_heard(&welcome).await?.body == "welcome");
        let read = guest.read_of(alice, room_id, &early).await?;
        ensure!(read.is_none(), "a newcomer reads {read:?}");
    }
    Ok(())
}

/// Who leaves gets no keys.
pub(crate) async fn who_leaves_gets_no_keys(world: &mut World) -> Result<()> {
    let guest = world.guest().await?;
    let World {
        alice,
        bob,
        room_id,
        ..
    } = world;
    let heard = alice.say(room_id, "all of us").await?;
    guest.until_heard(&heard).await?;
    guest.room(room_id)?.leave().await?;
    let left = MembershipState::Leave;
    alice.until_member(room_id, &guest, left).await?;
    let unheard = alice.say(room_id, "without the guest").await?;
    bob.until_heard(&unheard).await?;
    let read = guest.read_of(alice, room_id, &heard).await?;
    ensure!(read.as_deref() == Some("all of us"), "it reads {read:?}");
    let read = guest.read_of(alice, room_id, &unheard).await?;
    ensure!(read.is_none(), "who left reads {read:?}");
    Ok(())
}

/// Sessions go on after the server was killed, which whoever runs this does when it says so.
pub(crate) async fn encryption_goes_on(world: &mut World) -> Result<()> {
    let before = world.alice.say(&world.room_id, "before the kill").await?;
    world.bob.until_heard(&before).await?;
    spawn_blocking(|| {
        println!("kill the server, start it, and say so");
        io::stdin().read_line(&mut String::new())
    })
    .await??;
    let read = world.bob.read(&world.room_id, &before).await?;
    ensure!(
        read.as_deref() == Some("before the kill"),
        "it reads {read:?}"
    );
    encrypted_both_ways(world).await
}

/// A device that is removed is logged out, others forget it, and it gets no keys from then on.
pub(crate) async fn removed_device_gets_no_keys(world: &mut World) -> Result<()> {
    let mut phone = world.another_device().await?;
    let World {
        alice,
        bob,
        room_id,
        ..
    } = world;
    bob.until_knows(&phone).await?;
    let heard = bob.say(room_id, "for all devices").await?;
    phone.until_heard(&heard).await?;

    alice.remove(&phone).await?;
    phone.until_logged_out().await?;
    bob.until_forgets(&phone).await?;

    let unheard = bob.say(room_id, "not for the phone").await?;
    alice.until_heard(&unheard).await?;
    let read = phone.read_of(alice, room_id, &heard).await?;
    ensure!(
        read.as_deref() == Some("for all devices"),
        "it reads {read:?}"
    );
    let read = phone.read_of(alice, room_id, &unheard).await?;
    ensure!(read.is_none(), "a removed device reads {read:?}");
    Ok(())
}
