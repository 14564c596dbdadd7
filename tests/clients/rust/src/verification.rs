//! Cross-signing, and what a new device reads of the time before it once it is verified.

use anyhow::{Context, Result, bail, ensure};
use matrix_sdk::deserialized_responses::VerificationState;
use matrix_sdk::encryption::backups::BackupState;
use matrix_sdk::encryption::verification::{Verification, VerificationRequest};
use matrix_sdk::encryption::{CrossSigningResetAuthType, VerificationState as Own};
use matrix_sdk::ruma::api::client::uiaa::AuthData;
use matrix_sdk::ruma::{OwnedEventId, UserId};

use crate::device::{Device, Message};
use crate::waiting::{until, until_so};
use crate::world::World;

/// Keys of rooms that alice has before she sets up her backup.
const SESSIONS: usize = 5;

/// What was said before a device was there.
type History = Vec<(OwnedEventId, String)>;

/// A second device that is told the recovery key.
pub(crate) async fn by_recovery_key(world: &mut World) -> Result<()> {
    let history = speak(world).await?;
    let key = secure(&world.alice).await?;
    let phone = new_device(world, &history).await?;
    phone.encryption().recovery().recover(&key).await?;
    trusted_and_reading(world, &phone, &history).await
}

/// A second device that is compared with the first, which then hands it the secrets.
pub(crate) async fn by_emoji(world: &mut World) -> Result<()> {
    let history = speak(world).await?;
    secure(&world.alice).await?;
    let phone = new_device(world, &history).await?;
    let request = request_from(&phone, phone.id()).await?;
    compare_emoji(&phone, &request, &world.alice).await?;
    // Asked for and sent by encrypted messages between the devices.
    until_so("the backup's key comes", async || {
        Ok(phone.encryption().backups().state() == BackupState::Enabled)
    })
    .await?;
    trusted_and_reading(world, &phone, &history).await
}

/// What is said after the set-up is in the backup, too.
pub(crate) async fn later_keys_are_backed_up(world: &mut World) -> Result<()> {
    let key = secure(&world.alice).await?;
    let history = speak(world).await?;
    let backups = world.alice.encryption().backups();
    backups.wait_for_steady_state().await?;
    let phone = new_device(world, &history).await?;
    phone.encryption().recovery().recover(&key).await?;
    read_backed_up(world, &phone, &history).await
}

/// Two users compare emoji in messages of a room that is made for them, and trust each other from then on.
pub(crate) async fn users_verify_each_other(world: &mut World) -> Result<()> {
    let World {
        alice,
        bob,
        room_id,
        ..
    } = world;
    for (user, other) in [(&*alice, &*bob), (bob, alice)] {
        secure(user).await?;
        other.until_signed(user).await?;
    }
    let request = request_from(alice, bob.id()).await?;
    bob.join(request.room_id().context("asked outside of a room")?)
        .await?;
    compare_emoji(alice, &request, bob).await?;
    for (here, there) in [(&*alice, &*bob), (bob, alice)] {
        until_so(
            &format!("{} trusts {}", here.id(), there.id()),
            async || {
                let identity = here.encryption().get_user_identity(there.id()).await?;
                Ok(identity.is_some_and(|identity| identity.is_verified()))
            },
        )
        .await?;
        let said = there.say_anew(room_id, "signed").await?;
        ensure_trusted(&here.until_heard(&said).await?)?;
    }
    Ok(())
}

/// Keys that replace others are taken with the password only, and others see that they changed.
pub(crate) async fn cross_signing_is_replaced(world: &mut World) -> Result<()> {
    let World { alice, bob, .. } = world;
    secure(alice).await?;
    bob.until_signed(alice).await?;
    let master = async || {
        let identity = bob.encryption().get_user_identity(alice.id()).await?;
        let identity = identity.context("bob has no keys of alice's")?;
        anyhow::Ok(identity.master_key().get_first_key())
    };
    let before = master().await?;
    let reset = alice.encryption().reset_cross_signing().await?;
    let reset = reset.context("replaced without the password")?;
    let CrossSigningResetAuthType::Uiaa(asked) = reset.auth_type() else {
        bail!("the password was not asked for");
    };
    let mut password = alice.password();
    password.session.clone_from(&asked.session);
    reset.auth(Some(AuthData::Password(password))).await?;
    until_so(
        "bob has the new key",
        async || Ok(master().await? != before),
    )
    .await?;
    bob.until_signed(alice).await
}

/// Messages of both, each in a session of its own.
async fn speak(world: &World) -> Result<History> {
    let World {
        alice,
        bob,
        room_id,
        ..
    } = world;
    let mut history = History::new();
    for n in 0..SESSIONS {
        let (sender, reader) = if n % 2 == 0 {
            (alice, bob)
        } else {
            (bob, alice)
        };
        let body = format!("long ago {n}");
        let event_id = sender.say_anew(room_id, &body).await?;
        reader.until_heard(&event_id).await?;
        history.push((event_id, body));
    }
    Ok(history)
}

/// Sets up all that an account has against loss; the recovery key.
async fn secure(device: &Device) -> Result<String> {
    let encryption = device.encryption();
    // The first keys of an account may be taken without the password.
    device
        .with_password(async |auth| encryption.bootstrap_cross_signing(auth).await)
        .await?;
    let status = encryption.cross_signing_status().await;
    ensure!(
        status.is_some_and(|status| status.is_complete()),
        "no cross-signing"
    );
    let recovery = encryption.recovery();
    let key = recovery.enable().wait_for_backups_to_upload().await?;
    ensure!(encryption.backups().are_enabled().await, "no backup");
    Ok(key)
}

/// A device without keys: what was said before it came is closed to it.
async fn new_device(world: &mut World, history: &History) -> Result<Device> {
    let device = world.another_device().await?;
    for (event_id, _) in history {
        let read = device.read(&world.room_id, event_id).await?;
        ensure!(read.is_none(), "a new device reads {read:?}");
    }
    let state = device.encryption().verification_state().get();
    ensure!(state != Own::Verified, "a new device is verified");
    world.alice.until_knows(&device).await?;
    Ok(device)
}

/// Asks a user, who may be its own, to be verified.
async fn request_from(device: &Device, user_id: &UserId) -> Result<VerificationRequest> {
    let identity = until("the user's keys", async || {
        Ok(device.encryption().get_user_identity(user_id).await?)
    });
    Ok(identity.await?.request_verification().await?)
}

/// Both compare emoji, and see that they are the same.
async fn compare_emoji(
    asks: &Device,
    request: &VerificationRequest,
    answers: &Device,
) -> Result<()> {
    let (user_id, id) = (asks.id(), request.flow_id());
    let there = answers.encryption();
    let theirs = until("the request", async || {
        Ok(there.get_verification_request(user_id, id).await)
    })
    .await?;
    theirs.accept().await?;
    until_so("it is accepted", async || Ok(request.is_ready())).await?;
    let ours = request.start_sas().await?.context("it cannot be started")?;
    let theirs = until("the start", async || {
        let started = there.get_verification(user_id, id).await;
        Ok(started.and_then(Verification::sas))
    })
    .await?;
    theirs.accept().await?;
    for sas in [&ours, &theirs] {
        until_so("the other's key", async || Ok(sas.can_be_presented())).await?;
    }
    let emoji = ours.emoji().context("no emoji")?;
    ensure!(theirs.emoji().as_ref() == Some(&emoji), "they differ");
    for sas in [&ours, &theirs] {
        sas.confirm().await?;
    }
    for sas in [&ours, &theirs] {
        until_so("the other has confirmed", async || Ok(sas.is_done())).await?;
    }
    Ok(())
}

/// The device is trusted by its owner's others, and by others for its owner's sake; and it reads history.
async fn trusted_and_reading(world: &World, device: &Device, history: &History) -> Result<()> {
    let World {
        alice,
        bob,
        room_id,
        ..
    } = world;
    let verified = device.encryption().verification_state();
    until_so("it is verified", async || {
        Ok(verified.get() == Own::Verified)
    })
    .await?;
    for other in [alice, bob] {
        other.until_signed(device).await?;
    }
    let said = device.say(room_id, "from a verified device").await?;
    ensure_trusted(&alice.until_heard(&said).await?)?;
    read_backed_up(world, device, history).await
}

/// The message is of a device that its reader trusts.
fn ensure_trusted(message: &Message) -> Result<()> {
    let encryption = message.encryption.as_ref();
    let encryption = encryption.context("it came in clear text")?;
    let state = &encryption.verification_state;
    ensure!(
        *state == VerificationState::Verified,
        "its message is {state:?}"
    );
    Ok(())
}

/// The device reads what it could not read before.
async fn read_backed_up(world: &World, device: &Device, history: &History) -> Result<()> {
    let room_id = &world.room_id;
    let backups = device.encryption().backups();
    backups.download_room_keys_for_room(room_id).await?;
    for (event_id, body) in history {
        let read = device.read(room_id, event_id).await?;
        ensure!(read.as_ref() == Some(body), "{body}: it reads {read:?}");
    }
    Ok(())
}
