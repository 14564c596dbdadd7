//! A client: writes keys, one at a time, each until it is acknowledged.

use std::{sync::Arc, time::Duration};

use hanse_log::{Position, SlotMap};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::{dice::Dice, executor::WORLD, ledger::Wish, node::Request, world::World};

/// A client gives up waiting for an answer after this, and asks again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    number: usize,
    world: Arc<World>,
    dice: Dice,
    written: u64,
}

impl Client {
    pub(crate) fn new(world: Arc<World>, number: usize) -> Self {
        let dice = Dice::new(world.ground.seed, &format!("client {number}"));
        Self {
            number,
            dice,
            written: 0,
            world,
        }
    }

    /// Writes for as long as faults happen; then has its last key acknowledged.
    pub(crate) async fn run(mut self) {
        let plan = self.world.ground.plan.clone();
        while self.world.ground.is_troubled() {
            let Some(wish) = self.wish() else {
                return;
            };
            let position = self.insist(&wish).await;
            self.world.ground.scene.tally.count("entries acknowledged");
            self.world.acknowledged(&wish, position);
            sleep(self.dice.ms(0..=plan.think_ms_max)).await;
        }
    }

    /// Writes once into every room: after that, everything goes on.
    pub(crate) async fn probe(mut self) {
        for room in self.world.ground.plan.rooms.clone() {
            self.written += 1;
            let wish = Wish {
                key: format!("probe.{}", self.written),
                room,
                bytes: 0,
                targets: Vec::new(),
            };
            let position = self.insist(&wish).await;
            self.world.acknowledged(&wish, position);
        }
    }

    fn wish(&mut self) -> Option<Wish> {
        let plan = &self.world.ground.plan;
        self.written += 1;
        let room = self.dice.pick(&plan.rooms)?.clone();
        let mut targets = Vec::new();
        if self.dice.chance(plan.relays) {
            let wanted = self.dice.between(1..=3);
            targets.extend((0..wanted).filter_map(|_| self.dice.pick(&plan.rooms).cloned()));
            targets.sort_unstable();
            targets.dedup();
        }
        Some(Wish {
            room,
            key: format!("c{}.{}", self.number, self.written),
            bytes: self.dice.between(0..=plan.entry_bytes_max) as usize,
            targets,
        })
    }

    /// Asks again and again.
    async fn insist(&self, wish: &Wish) -> Position {
        loop {
            match self.ask(wish).await {
                Ok(position) => return position,
                Err(why) => {
                    let scene = &self.world.ground.scene;
                    scene.note(WORLD, format_args!("{}: {why}", wish.key));
                    sleep(self.dice.long_tailed_ms(10..=2_000)).await;
                }
            }
        }
    }

    async fn ask(&self, wish: &Wish) -> Result<Position, String> {
        let ground = &self.world.ground;
        let slot = SlotMap::initial(ground.plan.slots).slot_of(&wish.room);
        let life = ground.route(slot, &self.dice);
        let life = life.ok_or_else(|| "nobody is there".to_owned())?;
        sleep(self.dice.ms(0..=3)).await;
        let (answer, answered) = oneshot::channel();
        let request = Request::Write {
            wish: wish.clone(),
            answer,
        };
        life.requests
            .try_send(request)
            .map_err(|_| "not taken".to_owned())?;
        match timeout(ANSWER_TIMEOUT, answered).await {
            Ok(Ok(granted)) => granted.map_err(|error| error.to_string()),
            Ok(Err(_)) => Err("the line broke".to_owned()),
            Err(_) => Err("no answer".to_owned()),
        }
    }
}
