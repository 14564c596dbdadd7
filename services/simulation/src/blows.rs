//! Whoever freezes, kills and cuts off processes.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::{
    dice::Dice,
    executor::WORLD,
    node::Node,
    plan::Blow,
    store::{Moment, Step, Trap},
    world::World,
};

/// The longest that a process is frozen or cut off, in milliseconds.
const LONGEST_MS: u64 = 40_000;
/// How wrong a clock may be, in milliseconds.
const SKEW_MS: i64 = 60_000;

/// Deals blows until the troubled time ends.
pub(crate) async fn deal(world: Arc<World>) {
    let dice = Dice::new(world.ground.seed, "blows");
    let plan = &world.ground.plan.blows;
    loop {
        sleep(dice.long_tailed_ms(50..=plan.every_ms_max)).await;
        if !world.ground.is_troubled() {
            return;
        }
        let (Some(blow), Some(node)) = (dice.pick(&plan.kinds), dice.pick(&world.nodes)) else {
            return;
        };
        strike(&world, *blow, node, &dice);
    }
}

fn strike(world: &Arc<World>, blow: Blow, node: &Arc<Node>, dice: &Dice) {
    let lasts = duration(dice);
    match blow {
        Blow::Freeze => freeze(world, node, lasts),
        Blow::Kill => node.kill("at a drawn moment"),
        Blow::Doom => node.doom(trap(&Step::ALL, dice)),
        Blow::Trip => trip(node, dice),
        Blow::Cut => cut(world, node, lasts),
        Blow::Deafen => deafen(world, node, lasts),
        Blow::Clock => {
            let skew = dice.between(0..=2 * SKEW_MS as u64) as i64 - SKEW_MS;
            world.ground.scene.note(
                WORLD,
                format_args!("node {} is off by {skew} ms", node.index),
            );
            world.ground.scene.tally.count("clock jumps");
            node.clock.set_skew_ms(skew);
        }
        Blow::Power => lose_power(world, dice),
    }
}

/// Where a process that goes on later, on what it knew, does most harm.
const PITFALLS: [Step; 8] = [
    Step::Claim,
    Step::TakeOver,
    Step::CreateSegment,
    Step::Seal,
    Step::Append,
    Step::Checkpoint,
    Step::Trim,
    Step::Rows,
];

/// The process shall stand still at some step, in half of the cases beyond its lease and a trim.
pub(crate) fn trip(node: &Node, dice: &Dice) {
    let steps: &[Step] = if dice.chance(500) {
        &PITFALLS
    } else {
        &Step::ALL
    };
    let lasts = if dice.chance(500) {
        dice.ms(LONGEST_MS / 4..=LONGEST_MS)
    } else {
        duration(dice)
    };
    node.trip(trap(steps, dice), lasts);
}

/// Somewhere among these steps.
fn trap(steps: &[Step], dice: &Dice) -> Trap {
    let step = dice.pick(steps).copied().unwrap_or(Step::Append);
    let moment = if dice.chance(500) {
        Moment::Before
    } else {
        Moment::After
    };
    let skip = dice.below(5) as u64;
    Trap { moment, step, skip }
}

/// How long a process is frozen or cut off.
fn duration(dice: &Dice) -> Duration {
    dice.long_tailed_ms(100..=LONGEST_MS)
}

fn freeze(world: &Arc<World>, node: &Arc<Node>, lasts: Duration) {
    let Some(life) = node.life() else {
        return;
    };
    let scene = world.ground.scene.clone();
    let process = life.process;
    scene.note(process, format_args!("freezes for {lasts:?}"));
    scene.tally.count("freezes");
    scene.executor.freeze(process);
    let executor = scene.executor.clone();
    executor.spawn(WORLD, async move {
        sleep(lasts).await;
        scene.note(process, format_args!("thaws"));
        scene.executor.thaw(process);
    });
}

fn cut(world: &Arc<World>, node: &Arc<Node>, lasts: Duration) {
    let Some(life) = node.life() else {
        return;
    };
    let scene = world.ground.scene.clone();
    scene.note(
        life.process,
        format_args!("is cut from the store for {lasts:?}"),
    );
    scene.tally.count("cuts from the store");
    life.link.cut(true);
    let executor = scene.executor.clone();
    executor.spawn(WORLD, async move {
        sleep(lasts).await;
        scene.note(life.process, format_args!("reaches the store again"));
        life.link.cut(false);
    });
}

fn deafen(world: &Arc<World>, node: &Arc<Node>, lasts: Duration) {
    let Some(life) = node.life() else {
        return;
    };
    let (scene, bus) = (world.ground.scene.clone(), world.ground.bus.clone());
    scene.note(
        life.process,
        format_args!("is cut from the bus for {lasts:?}"),
    );
    scene.tally.count("cuts from the bus");
    bus.cut(life.process);
    let executor = scene.executor.clone();
    executor.spawn(WORLD, async move {
        sleep(lasts).await;
        scene.note(life.process, format_args!("reaches the bus again"));
        bus.heal(life.process);
    });
}

/// Every process dies, and the store forgets a part of what it was not told to sync.
fn lose_power(world: &Arc<World>, dice: &Dice) {
    let scene = &world.ground.scene;
    scene.note(WORLD, format_args!("power is lost"));
    scene.tally.count("power losses");
    for node in &world.nodes {
        node.kill("without power");
    }
    match world.ground.store.lose_power(dice) {
        Ok(lost) => scene.tally.add("rows lost with the power", lost),
        Err(error) => scene.violated("the simulation works", format_args!("{error}")),
    }
    world.ground.truth.power_lost();
}
