//! alice and bob, both syncing, and the encrypted room they share.

use anyhow::Result;
use matrix_sdk::ruma::OwnedRoomId;
use matrix_sdk::ruma::api::client::room::create_room;
use matrix_sdk::ruma::events::InitialStateEvent;
use matrix_sdk::ruma::events::room::encryption::RoomEncryptionEventContent;
use matrix_sdk::ruma::events::room::member::MembershipState;

use crate::device::Device;

pub(crate) struct World {
    urls: Vec<String>,
    turns: usize,
    pub(crate) alice: Device,
    pub(crate) bob: Device,
    pub(crate) room_id: OwnedRoomId,
}

impl World {
    pub(crate) async fn open(urls: Vec<String>) -> Result<Self> {
        let alice = Device::register(&urls[0], "alice").await?;
        let bob = Device::register(&urls[1 % urls.len()], "bob").await?;
        let room_id = share_room(&alice, &bob).await?;
        Ok(Self {
            urls,
            turns: 1,
            alice,
            bob,
            room_id,
        })
    }

    /// Another process each time.
    fn url(&mut self) -> &str {
        self.turns += 1;
        &self.urls[self.turns % self.urls.len()]
    }

    /// A user whom alice has invited, and who has joined.
    pub(crate) async fn guest(&mut self) -> Result<Device> {
        let guest = Device::register(self.url(), "guest").await?;
        let (alice, room_id) = (&self.alice, &self.room_id);
        alice.room(room_id)?.invite_user_by_id(guest.id()).await?;
        guest.join(room_id).await?;
        let joined = MembershipState::Join;
        alice.until_member(room_id, &guest, joined).await?;
        alice.until_knows(&guest).await?;
        guest.until_knows(alice).await?;
        Ok(guest)
    }

    /// Another device of alice's.
    pub(crate) async fn another_device(&mut self) -> Result<Device> {
        let alice = self.alice.id().to_owned();
        let device = Device::log_in(self.url(), &alice).await?;
        device.until_in(&self.room_id).await?;
        Ok(device)
    }
}

/// An encrypted room of alice's that bob has joined, both seen by sync.
async fn share_room(alice: &Device, bob: &Device) -> Result<OwnedRoomId> {
    let encryption = RoomEncryptionEventContent::with_recommended_defaults();
    let mut request = create_room::v3::Request::new();
    request.preset = Some(create_room::v3::RoomPreset::PrivateChat);
    request.invite = vec![bob.id().to_owned()];
    request.initial_state = vec![InitialStateEvent::with_empty_state_key(encryption).to_raw_any()];
    let created = alice.client.create_room(request).await?;
    let room_id = created.room_id().to_owned();

    bob.join(&room_id).await?;
    let joined = MembershipState::Join;
    alice.until_member(&room_id, bob, joined).await?;
    alice.until_knows(bob).await?;
    bob.until_knows(alice).await?;
    Ok(room_id)
}
