//! The task that subscribes, for all subscribers of this process to what one fanout carries.

use std::{sync::Arc, time::Duration};

use redis::{FromRedisValue, PushInfo, PushKind, Value};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::Backoff,
    fanout::{Fanout, Session},
    link::{LinkError, Servers},
    wire::Carried,
};

/// How often a connection is tried that says nothing: a server that vanished without a word is
/// noticed within this and the time allowed for an answer.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Keeps a subscription to every channel of the fanout as long as anybody subscribes here.
pub(crate) struct Listener<C> {
    pub(crate) servers: Arc<Servers>,
    pub(crate) fanout: Arc<Fanout<C>>,
    pub(crate) backoff: Backoff,
    pub(crate) soft: CancellationToken,
}

impl<C: Carried> Listener<C> {
    /// Until the process drains.
    pub(crate) async fn run(mut self) {
        let soft = self.soft.clone();
        tokio::select! {
            biased;
            () = soft.cancelled() => {}
            () = self.listen() => {}
        }
        self.fanout.fall();
    }

    async fn listen(&mut self) {
        loop {
            self.fanout.wanted().await;
            let ended = self.session().await;
            self.fanout.fall();
            if let Err(error) = ended {
                let wait = self.backoff.next();
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    of = C::KIND,
                    wait_ms = wait.as_millis() as u64,
                    "the bus is not heard at present"
                );
                sleep(wait).await;
            }
        }
    }

    /// One connection: subscribe, wait for the confirmation, say so, and stay until it is cut or
    /// nobody listens any more.
    async fn session(&mut self) -> Result<(), LinkError> {
        let session = self.fanout.begin();
        let (cut, mut is_cut) = watch::channel(false);
        let push = pushes(Arc::clone(&self.fanout), session, cut);
        let mut link = self.servers.connect_with(Some(push)).await?;
        link.subscribe(&self.fanout.channels()).await?;
        self.fanout.stand(session);
        tracing::info!(of = C::KIND, "the bus is heard");
        loop {
            tokio::select! {
                biased;
                _ = is_cut.wait_for(|cut| *cut) => return Err(LinkError::Cut),
                () = self.fanout.unwanted() => return Ok(()),
                () = sleep(PING_EVERY) => {}
            }
            if !self.fanout.is_wanted() {
                return Ok(());
            }
            link.ping().await?;
            self.backoff.reset();
        }
    }
}

/// What becomes of what the server says unasked. Runs where the connection is read, and is quick.
fn pushes<C: Carried>(
    fanout: Arc<Fanout<C>>,
    session: Session,
    cut: watch::Sender<bool>,
) -> impl Fn(PushInfo) -> Result<(), ()> {
    move |push| {
        match push.kind {
            PushKind::Message | PushKind::SMessage => {
                if let Some((channel, message)) = message(push.data) {
                    fanout.hear(session, &channel, &message);
                }
            }
            // A cluster takes a channel back when its hash slot moves.
            PushKind::Disconnection | PushKind::Unsubscribe | PushKind::SUnsubscribe => {
                cut.send_replace(true);
            }
            _ => {}
        }
        Ok(())
    }
}

fn message(data: Vec<Value>) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut parts = data.into_iter().map(Vec::<u8>::from_redis_value);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}
