//! What one subscription to the server gives to the subscribers of this process.

use hanse_log::Heard;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::{
    channels::Channels,
    wire::{Carried, Undecodable},
};

/// Notices that wait for a subscriber; with the next one, all that it has not read by then counts
/// as missed.
pub(crate) const SUBSCRIBER_LEN_MAX: usize = 2_048;

/// Names one connection's subscription, so that what an old connection still says is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session(u64);

/// The subscribers, and whether the subscription stands at present.
#[derive(Debug)]
pub(crate) struct Fanout<C> {
    channels: Channels,
    state: Mutex<State<C>>,
    /// Told when the first subscriber comes and when the last has gone.
    changed: Notify,
}

#[derive(Debug)]
struct State<C> {
    begun: u64,
    standing: Option<Session>,
    subscribers: Vec<Subscriber<C>>,
}

impl<C: Carried> Fanout<C> {
    pub(crate) fn new(channels: Channels) -> Self {
        let state = State {
            begun: 0,
            standing: None,
            subscribers: Vec::new(),
        };
        Self {
            channels,
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// What is to be subscribed to.
    pub(crate) fn channels(&self) -> Vec<String> {
        C::channels(&self.channels)
    }

    /// Adds a subscriber. It hears `Subscribed` now if the subscription stands, else when it does.
    pub(crate) fn subscribe(&self) -> mpsc::Receiver<Heard<C>> {
        let (mut subscriber, heard) = Subscriber::new();
        let mut state = self.state.lock();
        if state.standing.is_some() {
            subscriber.offer(Heard::Subscribed);
        }
        state.subscribers.push(subscriber);
        self.changed.notify_one();
        heard
    }

    /// Returns when somebody subscribes. Cancel-safe.
    pub(crate) async fn wanted(&self) {
        while !self.is_wanted() {
            self.changed.notified().await;
        }
    }

    /// Returns when nobody subscribes any longer, which is found out when a notice comes or by
    /// [`Self::is_wanted`]. Cancel-safe.
    pub(crate) async fn unwanted(&self) {
        while self.is_wanted() {
            self.changed.notified().await;
        }
    }

    pub(crate) fn is_wanted(&self) -> bool {
        let mut state = self.state.lock();
        state.subscribers.retain(Subscriber::is_there);
        !state.subscribers.is_empty()
    }

    /// A connection is about to subscribe.
    pub(crate) fn begin(&self) -> Session {
        let mut state = self.state.lock();
        state.begun += 1;
        Session(state.begun)
    }

    /// The server has confirmed every channel. Notices that came before are not passed on: whoever
    /// hears `Subscribed` reads the store, which has them.
    pub(crate) fn stand(&self, session: Session) {
        let mut state = self.state.lock();
        state.standing = Some(session);
        state.offer(&Heard::Subscribed);
        metrics::counter!("hanse_bus_subscriptions_total", "of" => C::KIND).increment(1);
        metrics::gauge!("hanse_bus_standing", "of" => C::KIND).set(1.0);
    }

    /// The connection is lost.
    pub(crate) fn fall(&self) {
        self.state.lock().standing = None;
        metrics::gauge!("hanse_bus_standing", "of" => C::KIND).set(0.0);
    }

    /// Passes on a message of a session.
    pub(crate) fn hear(&self, session: Session, channel: &[u8], message: &[u8]) {
        match self.read(channel, message) {
            Ok(notice) => {
                let mut state = self.state.lock();
                if state.standing == Some(session) {
                    metrics::counter!("hanse_bus_heard_total", "of" => C::KIND).increment(1);
                    state.offer(&Heard::Notice(notice));
                    if state.subscribers.is_empty() {
                        self.changed.notify_one();
                    }
                }
            }
            Err(reason) => {
                metrics::counter!("hanse_bus_undecodable_total", "reason" => reason).increment(1);
            }
        }
    }

    fn read(&self, channel: &[u8], message: &[u8]) -> Result<C, &'static str> {
        let notice = C::decode(message).map_err(Undecodable::reason)?;
        if notice.is_of(&self.channels, channel) {
            Ok(notice)
        } else {
            Err("channel")
        }
    }
}

impl<C: Carried> State<C> {
    fn offer(&mut self, heard: &Heard<C>) {
        self.subscribers
            .retain_mut(|subscriber| subscriber.offer(heard.clone()));
    }
}

/// A subscriber with its bounded queue.
///
/// The last place of the queue is kept for the `Subscribed` that says "you missed something". While
/// that one has not been read, dropping more is covered by it; it has surely not been read as long
/// as the queue is not half empty again, because nothing was put behind it.
#[derive(Debug)]
struct Subscriber<C> {
    queue: mpsc::Sender<Heard<C>>,
    missed: bool,
}

impl<C: Carried> Subscriber<C> {
    fn new() -> (Self, mpsc::Receiver<Heard<C>>) {
        let (queue, heard) = mpsc::channel(SUBSCRIBER_LEN_MAX + 1);
        let missed = false;
        (Self { queue, missed }, heard)
    }

    fn is_there(&self) -> bool {
        !self.queue.is_closed()
    }

    /// False when the subscriber is gone.
    fn offer(&mut self, heard: Heard<C>) -> bool {
        if self.missed && self.queue.capacity() <= SUBSCRIBER_LEN_MAX / 2 {
            return self.pass_over();
        }
        self.missed = false;
        if self.queue.capacity() > 1 {
            return self.queue.try_send(heard).is_ok();
        }
        self.missed = true;
        let _ = self.queue.try_send(Heard::Subscribed);
        self.pass_over()
    }

    fn pass_over(&self) -> bool {
        metrics::counter!("hanse_bus_dropped_total", "reason" => "slow_subscriber").increment(1);
        self.is_there()
    }
}

#[cfg(test)]
mod tests {
    use hanse_log::{LogPoint, Notice, Slot, SlotMap};

    use super::*;
    use crate::wire;

    fn fanout() -> Fanout<Notice> {
        Fanout::new(Channels::new("test", SlotMap::initial(4)).unwrap())
    }

    fn notice(seq: i64) -> Notice {
        Notice {
            slot: Slot(1),
            epoch: 1,
            prev: seq - 1,
            point: LogPoint { segment: 0, seq },
            entries: None,
        }
    }

    fn say(fanout: &Fanout<Notice>, session: Session, seq: i64) {
        fanout.hear(session, b"hanse:test:1", &wire::encode(notice(seq)));
    }

    fn read(heard: &mut mpsc::Receiver<Heard>) -> Vec<Option<i64>> {
        let mut read = Vec::new();
        while let Ok(heard) = heard.try_recv() {
            read.push(match heard {
                Heard::Notice(notice) => Some(notice.point.seq),
                Heard::Subscribed => None,
            });
        }
        read
    }

    #[test]
    fn nothing_is_heard_before_the_subscription_stands_nor_of_an_old_connection() {
        let fanout = fanout();
        let mut early = fanout.subscribe();
        let old = fanout.begin();
        say(&fanout, old, 1);
        assert_eq!(read(&mut early), []);
        fanout.stand(old);
        say(&fanout, old, 2);
        let mut late = fanout.subscribe();
        say(&fanout, old, 3);
        assert_eq!(read(&mut early), [None, Some(2), Some(3)]);
        assert_eq!(read(&mut late), [None, Some(3)]);

        fanout.fall();
        let new = fanout.begin();
        fanout.stand(new);
        say(&fanout, old, 4);
        say(&fanout, new, 5);
        assert_eq!(read(&mut early), [None, Some(5)]);
    }

    #[test]
    fn a_message_on_another_slots_channel_is_not_heard() {
        let fanout = fanout();
        let mut heard = fanout.subscribe();
        let session = fanout.begin();
        fanout.stand(session);
        fanout.hear(session, b"hanse:test:2", &wire::encode(notice(1)));
        fanout.hear(session, b"hanse:test:1", b"\xff\xff");
        assert_eq!(read(&mut heard), [None]);
    }

    #[test]
    fn a_slow_subscriber_hears_its_bound_then_that_it_missed_something_and_goes_on() {
        let fanout = fanout();
        let (mut slow, mut quick) = (fanout.subscribe(), fanout.subscribe());
        let session = fanout.begin();
        fanout.stand(session);
        let bound = SUBSCRIBER_LEN_MAX as i64;
        for seq in 1..=2 * bound {
            say(&fanout, session, seq);
            if seq % 1_000 == 0 {
                read(&mut quick);
            }
        }
        let heard = read(&mut slow);
        // `Subscribed` of the beginning, then notices, then one `Subscribed`.
        assert_eq!(heard.len(), SUBSCRIBER_LEN_MAX + 1);
        assert_eq!(heard.last(), Some(&None));
        assert_eq!(heard[SUBSCRIBER_LEN_MAX - 1], Some(bound - 1));
        say(&fanout, session, 9_999);
        assert_eq!(read(&mut slow), [Some(9_999)]);
        assert!(read(&mut quick).contains(&Some(2 * bound)));
    }

    /// The one thing that matters: after a subscriber has read all, what it did not hear was
    /// followed by a `Subscribed`, however it interleaves its reading.
    #[test]
    fn whatever_is_dropped_is_followed_by_subscribed() {
        let random = hanse_runtime::SeededRandom::new(5);
        let fanout = fanout();
        let mut slow = fanout.subscribe();
        let session = fanout.begin();
        fanout.stand(session);
        let (mut said, mut next, mut markers) = (0, 1, 0);
        for _ in 0..200 {
            for _ in 0..hanse_runtime::Random::below(&random, 1_500) {
                said += 1;
                say(&fanout, session, said);
            }
            for _ in 0..hanse_runtime::Random::below(&random, 1_400) {
                match slow.try_recv() {
                    Ok(Heard::Notice(notice)) => {
                        assert!(notice.point.seq <= next, "a silent gap before {next}");
                        next = next.max(notice.point.seq + 1);
                    }
                    // Reads the store: everything said so far is known.
                    Ok(Heard::Subscribed) => {
                        markers += 1;
                        next = said + 1;
                    }
                    Err(_) => {
                        assert_eq!(next, said + 1, "an empty queue, and something missed");
                    }
                }
            }
        }
        assert!(markers > 5, "the queue was never full: {markers}");
    }

    #[tokio::test]
    async fn it_is_wanted_from_the_first_subscriber_to_the_last() {
        let fanout = fanout();
        assert!(!fanout.is_wanted());
        let heard = fanout.subscribe();
        fanout.wanted().await;
        let session = fanout.begin();
        fanout.stand(session);
        drop(heard);
        say(&fanout, session, 1);
        fanout.unwanted().await;
    }
}
