//! Many at once: exactly one wins.

use super::{
    Subject,
    setup::{LOG, Place, all, create_head, insert, named},
};
use crate::{ConditionalBatch, ConditionalStep, Direction, Outcome, Range, StoreError};

const CONTENDERS: i64 = 16;
const ROUNDS: i64 = 12;

fn name(contender: i64) -> String {
    format!("contender {contender}")
}

/// Proposes until it is known whether the batch is in. A batch whose outcome was unknown, and that is
/// refused when it is proposed again, is in if the head names its contender.
async fn settle(place: &Place, batch: ConditionalBatch, holder: &str) -> bool {
    let mut unknown = false;
    for _ in 0..50 {
        match place.store.conditional(batch.clone()).await {
            Ok(Outcome::Applied) => return true,
            Ok(Outcome::Refused { .. }) if unknown => {
                let head = place.head(1).await.expect("the head");
                return head[2] == holder.into();
            }
            Ok(Outcome::Refused { .. }) => return false,
            Err(StoreError::Unknown { .. }) => unknown = true,
            Err(error) if error.retryable() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no outcome after 50 proposals");
}

/// Each round, all try to move the head from the same position.
pub(super) async fn one_of_many_appends_wins(subject: &mut dyn Subject) {
    let place = Place::new(subject, "contention");
    place.open_segment(1).await;
    for round in 0..ROUNDS {
        let rivals = (0..CONTENDERS).map(|contender| {
            let claim = ConditionalStep::UpdateStatics {
                set: named([
                    ("next_seq", (round + 1).into()),
                    ("holder", name(contender).into()),
                ]),
                conditions: named([("epoch", 1.into()), ("next_seq", round.into())]),
            };
            let row = insert(round, name(contender).as_bytes());
            let batch = place.batch(1, vec![claim, row]);
            let place = &place;
            async move { settle(place, batch, &name(contender)).await }
        });
        let won = all(rivals.collect()).await;
        let winners: Vec<_> = (0..).zip(won).filter(|(_, won)| *won).collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        let winner = name(winners[0].0);
        let head = place.head(1).await.expect("the head");
        assert_eq!(head[1..3], [(round + 1).into(), winner.as_str().into()]);
        let body = place.body(1, round).await.expect("the winner's row");
        assert_eq!(body.as_bytes().unwrap(), winner.as_bytes());
    }
    let rows = place.pages(
        &LOG,
        place.segment(1),
        Range::all(),
        Direction::Forward,
        100,
    );
    assert_eq!(rows.await.len() as i64, ROUNDS);
}

/// All try to create the same statics.
pub(super) async fn one_of_many_creates_wins(subject: &mut dyn Subject) {
    let place = Place::new(subject, "creation");
    let rivals = (0..CONTENDERS).map(|contender| {
        let mut create = create_head(contender, 0);
        if let ConditionalStep::InsertStaticsIfNotExists { set } = &mut create {
            set.push(("holder", name(contender).into()));
        }
        let batch = place.batch(1, vec![create]);
        let place = &place;
        async move { settle(place, batch, &name(contender)).await }
    });
    let won = all(rivals.collect()).await;
    let winners: Vec<_> = (0..).zip(won).filter(|(_, won)| *won).collect();
    assert_eq!(winners.len(), 1, "{winners:?}");
    let head = place.head(1).await.expect("the head");
    assert_eq!(
        (&head[0], &head[2]),
        (&winners[0].0.into(), &name(winners[0].0).into())
    );
}

/// Plain writes of one row from many sides: the greatest stamp is there in the end.
pub(super) async fn many_puts_of_a_row_converge(subject: &mut dyn Subject) {
    let place = Place::new(subject, "converge");
    let puts = (0..CONTENDERS).map(|stamp| {
        // Spread, so that the greatest is neither first nor last.
        let stamp = (stamp * 7) % CONTENDERS;
        place.put(place.flat_put(1, &format!("at {stamp}"), stamp))
    });
    all(puts.collect()).await;
    let greatest = format!("at {}", CONTENDERS - 1);
    assert_eq!(place.flat(1).await, Some(greatest));
}
