//! Identical reads that wait at the same time share one query.
//!
//! Invariant: a read is answered by a query that began after the read was asked for. Whoever asks
//! while an equal query is under way would miss what was written since that began, so that all who
//! do so share the next one, which begins when the first ends.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;

/// The newest query for each question, for as long as somebody waits for it.
type Open<Q, A> = Arc<Mutex<HashMap<Q, Query<A>>>>;

struct Query<A> {
    /// Set when it is sent: nobody may join any more.
    begun: Arc<AtomicBool>,
    answer: WeakShared<BoxFuture<'static, A>>,
}

/// Queries that may be shared, by what they ask for. As many as there are callers, at most.
pub(crate) struct SharedQueries<Q, A> {
    verb: &'static str,
    open: Open<Q, A>,
}

impl<Q, A> SharedQueries<Q, A>
where
    Q: Clone + Eq + Hash + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(verb: &'static str) -> Self {
        Self {
            verb,
            open: Arc::default(),
        }
    }

    /// Joins a query that has not begun, or makes one. Cancel-safe: a query goes on as long as
    /// anybody waits for it.
    pub(crate) async fn ask(&self, question: Q, run: impl FnOnce() -> BoxFuture<'static, A>) -> A {
        self.join_or_begin(question, run).await
    }

    fn join_or_begin(
        &self,
        question: Q,
        run: impl FnOnce() -> BoxFuture<'static, A>,
    ) -> Shared<BoxFuture<'static, A>> {
        let mut open = self.open.lock();
        let newest = open.get(&question);
        let newest = newest.and_then(|query| Some((query.answer.upgrade()?, &query.begun)));
        let before = match newest {
            Some((answer, begun)) if !begun.load(Ordering::Acquire) => {
                metrics::counter!("hanse_store_shared_reads_total", "verb" => self.verb)
                    .increment(1);
                return answer;
            }
            other => other.map(|(answer, _)| answer),
        };
        let begun = Arc::new(AtomicBool::new(false));
        let leave = Leave {
            open: Arc::clone(&self.open),
            question: question.clone(),
            begun: Arc::clone(&begun),
        };
        let query = run();
        let answer = async move {
            if let Some(before) = before {
                before.await;
            }
            leave.begun.store(true, Ordering::Release);
            let answer = query.await;
            drop(leave);
            answer
        };
        let answer = answer.boxed().shared();
        if let Some(answer) = answer.downgrade() {
            open.insert(question, Query { begun, answer });
        }
        answer
    }
}

/// Takes a query off the map when it has ended, or when nobody waits for it any more.
struct Leave<Q: Eq + Hash, A> {
    open: Open<Q, A>,
    question: Q,
    begun: Arc<AtomicBool>,
}

impl<Q: Eq + Hash, A> Drop for Leave<Q, A> {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        let newest = open.get(&self.question);
        if newest.is_some_and(|query| Arc::ptr_eq(&query.begun, &self.begun)) {
            open.remove(&self.question);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::atomic::AtomicU32,
        task::{Context, Poll, Waker},
    };

    use tokio::sync::Semaphore;

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = u32>>>;

    /// A value that is read only once the query has begun and was let through.
    struct World {
        shared: Arc<SharedQueries<&'static str, u32>>,
        value: Arc<AtomicU32>,
        queries: Arc<AtomicU32>,
        door: Arc<Semaphore>,
    }

    impl World {
        fn new() -> Self {
            Self {
                shared: Arc::new(SharedQueries::new("get")),
                value: Arc::default(),
                queries: Arc::default(),
                door: Arc::new(Semaphore::new(0)),
            }
        }

        /// Asks for the value as it is when the query begins, which is at its first poll.
        fn ask(&self) -> Waiting {
            let shared = Arc::clone(&self.shared);
            let (value, queries) = (Arc::clone(&self.value), Arc::clone(&self.queries));
            let door = Arc::clone(&self.door);
            Box::pin(async move {
                let run = || {
                    async move {
                        queries.fetch_add(1, Ordering::SeqCst);
                        let read = value.load(Ordering::SeqCst);
                        door.acquire().await.unwrap().forget();
                        read
                    }
                    .boxed()
                };
                shared.ask("question", run).await
            })
        }

        fn queries(&self) -> u32 {
            self.queries.load(Ordering::SeqCst)
        }
    }

    fn poll(waiting: &mut Waiting) -> Poll<u32> {
        waiting
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Sabotage: join a query that has begun.
    #[test]
    fn who_asks_after_a_write_does_not_get_what_was_read_before_it() {
        let world = World::new();
        let mut early = world.ask();
        assert!(poll(&mut early).is_pending());
        world.value.store(1, Ordering::SeqCst);
        let mut late = [world.ask(), world.ask(), world.ask()];
        for waiting in &mut late {
            assert!(poll(waiting).is_pending());
        }
        assert_eq!(world.queries(), 1, "the next one waits for the first");
        world.door.add_permits(2);
        assert_eq!(poll(&mut early), Poll::Ready(0));
        for waiting in &mut late {
            assert_eq!(poll(waiting), Poll::Ready(1));
        }
        assert_eq!(world.queries(), 2, "three late readers share one query");
        assert!(world.shared.open.lock().is_empty());
    }

    #[test]
    fn a_query_goes_on_when_who_began_it_gives_up() {
        let world = World::new();
        let (mut first, mut second) = (world.ask(), world.ask());
        assert!(poll(&mut first).is_pending());
        assert!(poll(&mut second).is_pending());
        drop(first);
        world.door.add_permits(2);
        assert_eq!(poll(&mut second), Poll::Ready(0));
        assert_eq!(world.queries(), 2);
    }

    #[test]
    fn nothing_stays_behind_when_everybody_gives_up() {
        let world = World::new();
        let mut waiting = [world.ask(), world.ask(), world.ask()];
        for waiting in &mut waiting {
            assert!(poll(waiting).is_pending());
        }
        drop(waiting);
        assert!(world.shared.open.lock().is_empty());
        world.door.add_permits(1);
        assert_eq!(poll(&mut world.ask()), Poll::Ready(0));
    }
}
