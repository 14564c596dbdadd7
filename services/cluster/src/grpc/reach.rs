//! Asking other processes for slots, and telling them of slots.

use std::time::Duration;

use async_trait::async_trait;
use hanse_log::Slot;
use hanse_proto::cluster::{HandOverRequest, HandedRequest};
use tonic::Request;

use super::{ASK_TIMEOUT, Peers, TELL_TIMEOUT, answer::handed_over};
use crate::{HandOver, HandOverError, Member};

/// [`HandOver`] between processes.
#[derive(Clone, Debug)]
pub struct Remote {
    peers: Peers,
}

impl Remote {
    /// By these channels.
    pub fn new(peers: Peers) -> Self {
        Self { peers }
    }
}

#[async_trait]
impl HandOver for Remote {
    async fn ask(&self, owner: &Member, slot: Slot, successor: &str) -> Result<(), HandOverError> {
        let request = HandOverRequest {
            to: owner.id.clone(),
            slot: slot.0,
            successor: successor.to_owned(),
        };
        let request = with_deadline(request, ASK_TIMEOUT);
        let call = self.peers.call(
            "HandOver",
            &owner.id,
            ASK_TIMEOUT,
            |mut client| async move { client.hand_over(request).await },
        );
        handed_over(call.await)
    }

    async fn tell(&self, successor: &Member, slots: &[Slot]) {
        let request = HandedRequest {
            to: successor.id.clone(),
            slots: slots.iter().map(|slot| slot.0).collect(),
        };
        let request = with_deadline(request, TELL_TIMEOUT);
        let call = self.peers.call(
            "Handed",
            &successor.id,
            TELL_TIMEOUT,
            |mut client| async move { client.handed(request).await },
        );
        if let Err(error) = call.await {
            tracing::warn!(member = successor.id, %error, "was not told of its slots");
        }
    }
}

pub(crate) fn with_deadline<T>(message: T, within: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(within);
    request
}
