//! A session that finds its way: by an API that is ready, and by another one after a failure.

use std::{sync::Arc, time::Duration};

use hanse_loadtest::{
    Refused, User,
    http::{Answer, Call},
};
use tokio::time::{Instant, sleep};

use super::{sender::Surroundings, tally::Tally};

/// How long one request may take before it is made again.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long a client insists on one request.
pub(super) const INSISTS_FOR: Duration = Duration::from_mins(2);
/// Before a request is made again.
const REST: Duration = Duration::from_millis(20);

/// A session of a user.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) user: User,
    pub(super) shared: Arc<Surroundings>,
    pub(super) tally: Tally,
    door: usize,
}

impl Client {
    /// A session that begins by way of the API of this number.
    pub(super) fn new(user: &User, door: usize, shared: Arc<Surroundings>) -> anyhow::Result<Self> {
        let connection = shared.chooser.connection(door)?;
        Ok(Self {
            user: User::resume(connection, user.credentials().clone())?,
            shared,
            tally: Tally::default(),
            door,
        })
    }

    pub(super) fn user_id(&self) -> &str {
        &self.user.credentials().user_id
    }

    pub(super) fn device_id(&self) -> &str {
        &self.user.credentials().device_id
    }

    /// One request; only a 200 is an answer. Failures are counted.
    pub(super) async fn ask(&mut self, call: Call) -> anyhow::Result<Result<Answer, Refused>> {
        if !self.shared.chooser.is_ready(self.door) {
            self.move_on()?;
        }
        let answer = self.user.ok(call).await;
        if let Err(refused) = &answer {
            self.tally.failed(refused);
        }
        Ok(answer)
    }

    /// The same request until it is answered 200; nothing if it never is.
    pub(super) async fn insist(&mut self, call: &Call) -> anyhow::Result<Option<Answer>> {
        let began = Instant::now();
        loop {
            if let Ok(answer) = self.ask(call.clone()).await? {
                return Ok(Some(answer));
            }
            if began.elapsed() > INSISTS_FOR {
                self.tally.undelivered += 1;
                return Ok(None);
            }
            self.rest_and_move_on().await?;
            self.tally.repeated += 1;
        }
    }

    /// After a failure: a moment later, by way of another API.
    pub(super) async fn rest_and_move_on(&mut self) -> anyhow::Result<()> {
        sleep(REST).await;
        self.move_on()
    }

    fn move_on(&mut self) -> anyhow::Result<()> {
        let door = self.shared.chooser.another(self.door);
        if door != self.door {
            let connection = self.shared.chooser.connection(door)?;
            self.user = User::resume(connection, self.user.credentials().clone())?;
            self.door = door;
        }
        Ok(())
    }
}
