//! How processes and clients reach each other: who serves a slot, as far as one hears, and messages
//! that are slow, lost, or delivered twice.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use hanse_log::{AppendError, Forward, Position, Slot};
use hanse_proto::log::Entry;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{
    dice::Dice,
    executor::WORLD,
    node::{Life, Node, Request},
    world::Ground,
};

/// A relay waits for its answer so long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

impl Ground {
    /// The process that serves a slot, or, now and then, another.
    pub(crate) fn route(&self, slot: Slot, dice: &Dice) -> Option<Life> {
        let nodes = self.nodes();
        let lives: Vec<Life> = nodes.iter().filter_map(|node| node.life()).collect();
        let serving = |life: &&Life| {
            let logs = life.serves.lock();
            logs.as_ref()
                .is_some_and(|logs| logs.served().contains(&slot))
        };
        let serving: Vec<&Life> = lives.iter().filter(serving).collect();
        let astray = self.is_troubled() && dice.chance(100);
        match dice.pick(&serving) {
            Some(life) if !astray => Some((*life).clone()),
            _ => dice.pick(&lives).cloned(),
        }
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        let nodes = self.nodes.lock();
        nodes.iter().filter_map(std::sync::Weak::upgrade).collect()
    }
}

/// A relay's way to the owners of other slots.
pub(crate) struct Exchange {
    pub(crate) ground: Arc<Ground>,
    pub(crate) dice: Dice,
}

impl Exchange {
    async fn deliver(ground: Arc<Ground>, life: Life, request: Request, delay: Duration) {
        sleep(delay).await;
        if life.requests.try_send(request).is_err() {
            ground.scene.tally.count("relays not taken");
        }
    }
}

#[async_trait]
impl Forward for Exchange {
    async fn append(&self, target: Slot, entries: Vec<Entry>) -> Result<Position, AppendError> {
        let (ground, dice) = (&self.ground, &self.dice);
        let lost = AppendError::SlotLost { slot: target };
        let life = ground.route(target, dice).ok_or_else(|| lost.clone())?;
        let troubled = ground.is_troubled();
        ground.scene.tally.count("relays to other processes");
        let (answer, answered) = oneshot::channel();
        let send = |answer| {
            let request = Request::Relay {
                target,
                entries: entries.clone(),
                answer,
            };
            let delay = if troubled && dice.chance(50) {
                dice.long_tailed_ms(5..=30_000)
            } else {
                dice.ms(0..=5)
            };
            let delivery = Self::deliver(Arc::clone(ground), life.clone(), request, delay);
            ground.scene.executor.spawn(WORLD, delivery);
        };
        if troubled && dice.chance(100) {
            ground.scene.tally.count("relays delivered twice");
            send(oneshot::channel().0);
        }
        send(answer);
        let answered = timeout(ANSWER_TIMEOUT, answered).await;
        if troubled && dice.chance(50) {
            ground.scene.tally.count("relay answers lost");
            return Err(lost);
        }
        answered.ok().and_then(Result::ok).unwrap_or(Err(lost))
    }
}
