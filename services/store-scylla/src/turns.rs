//! Work that is done one piece after the other, by whoever waits for any of it.
//!
//! Invariant: who waits drives whatever comes before, too. A lock would be held by a future that nobody
//! polls: one that stands in a queue of its caller's while the caller waits for a piece of its own.

use std::collections::HashMap;

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;

type Turn = Shared<BoxFuture<'static, ()>>;

/// Pieces of work by their names.
#[derive(Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Default)]
struct State {
    /// Those that somebody may still wait for.
    open: HashMap<String, Turn>,
    last: Option<Turn>,
}

impl Turns {
    /// Returns when the piece of this name is done. Who comes while it waits shares it.
    pub(crate) async fn take(&self, name: &str, work: impl FnOnce() -> BoxFuture<'static, ()>) {
        self.turn(name, work).await;
        self.0.lock().open.remove(name);
    }

    fn turn(&self, name: &str, work: impl FnOnce() -> BoxFuture<'static, ()>) -> Turn {
        let mut state = self.0.lock();
        if let Some(turn) = state.open.get(name) {
            return turn.clone();
        }
        let (before, work) = (state.last.take(), work());
        let turn = async move {
            if let Some(before) = before {
                before.await;
            }
            work.await;
        };
        let turn = turn.boxed().shared();
        state.open.insert(name.to_owned(), turn.clone());
        state.last = Some(turn.clone());
        turn
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
        task::{Context, Poll, Waker},
    };

    use tokio::sync::Semaphore;

    use super::*;

    /// Red if a piece that was begun and is not polled any more stands in the way of the next, or two are
    /// done at the same time, or one twice.
    #[test]
    fn who_waits_drives_what_comes_before() {
        let (turns, door) = (Turns::default(), Arc::new(Semaphore::new(0)));
        let (running, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let work = || {
            let (door, running, done) = (door.clone(), running.clone(), done.clone());
            move || {
                async move {
                    assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                    door.acquire().await.unwrap().forget();
                    running.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                }
                .boxed()
            }
        };
        let poll = |waiting: &mut BoxFuture<'_, ()>| {
            let mut context = Context::from_waker(Waker::noop());
            waiting.as_mut().poll(&mut context)
        };
        let mut begun = turns.take("a", work()).boxed();
        assert_eq!(poll(&mut begun), Poll::Pending);
        let mut shares = turns.take("a", work()).boxed();
        assert_eq!(poll(&mut shares), Poll::Pending);
        let mut next = turns.take("b", work()).boxed();
        assert_eq!(poll(&mut next), Poll::Pending);
        door.add_permits(2);
        assert_eq!(poll(&mut next), Poll::Ready(()));
        assert_eq!(done.load(Ordering::SeqCst), 2);
        assert_eq!(poll(&mut shares), Poll::Ready(()));
        assert_eq!(poll(&mut begun), Poll::Ready(()));
        assert_eq!(done.load(Ordering::SeqCst), 2, "shared");
    }
}
