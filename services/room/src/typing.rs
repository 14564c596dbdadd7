//! Who is typing: ephemeral, in memory, with a time-out; never in the log.
//!
//! Between processes it travels on the [`EphemeralBus`]: whoever takes the request tells, every sync
//! worker listens. A message says how long it is good for, not until when, since clocks differ; heard
//! twice it changes nothing. What is lost was lost: somebody appears as typing later, or until the
//! time-out.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use hanse_log::{EphemeralBus, Heard};
use hanse_proto::bus::{self, Ephemeral, ephemeral::What};
use hanse_runtime::{Clock, Random};
use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use tokio::sync::broadcast;

/// Longest that somebody is typing without saying so again.
const TYPING_MAX: Duration = Duration::from_mins(2);
/// Most users shown as typing in one room.
const USERS_MAX: usize = 100;
/// Rooms that are remembered; past it somebody who types in another one is not shown.
const ROOMS_MAX: usize = 50_000;
/// How long after its last change a room is remembered.
const REMEMBERED_MS: i64 = 10 * 60 * 1_000;
/// Notices that a listener may be behind.
const NOTICES_LEN_MAX: usize = 1_024;

/// Who is typing, by room. Clones are the same.
#[derive(Clone)]
pub struct Typing {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    notices: broadcast::Sender<OwnedRoomId>,
    bus: Option<Arc<dyn EphemeralBus>>,
}

/// Up to which change somebody knows who types, and whose numbering of the changes that is: each
/// process numbers them as it hears of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypingPoint(i64);

#[derive(Debug)]
struct State {
    rooms: HashMap<OwnedRoomId, RoomTyping>,
    /// The newest change; grows with every change.
    latest: TypingPoint,
}

#[derive(Debug, Default)]
struct RoomTyping {
    users: BTreeMap<OwnedUserId, Duration>,
    changed: TypingPoint,
}

impl TypingPoint {
    /// The time of the change, Unix milliseconds, in the lower bits; above it the numbering.
    const TIME_BITS: u32 = 48;
    const TIME_MAX: i64 = (1 << Self::TIME_BITS) - 1;
    /// Fits above the time, without the sign.
    const NUMBERINGS: u64 = 1 << 15;

    /// The start of a numbering of its own, as likely as not unlike any other's. 0 is nobody's: that
    /// is what tokens have that say a time alone.
    fn start(random: &dyn Random) -> Self {
        let numbering = 1 + random.below(Self::NUMBERINGS - 1);
        Self((numbering as i64) << Self::TIME_BITS)
    }

    fn next(self, now_ms: i64) -> Self {
        let time = now_ms.max(self.time_ms() + 1).min(Self::TIME_MAX);
        Self(self.0 & !Self::TIME_MAX | time)
    }

    fn time_ms(self) -> i64 {
        self.0 & Self::TIME_MAX
    }

    fn compares_with(self, other: Self) -> bool {
        self.0 & !Self::TIME_MAX == other.0 & !Self::TIME_MAX
    }

    /// As one number, for tokens.
    pub fn packed(self) -> i64 {
        self.0
    }

    /// What [`Self::packed`] made a number of.
    pub fn from_packed(packed: i64) -> Self {
        Self(packed)
    }
}

impl fmt::Debug for Typing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typing").finish_non_exhaustive()
    }
}

impl Typing {
    /// Nobody is typing, and everybody who will says so here.
    pub fn alone(clock: Arc<dyn Clock>, random: &dyn Random) -> Self {
        Self::new(clock, random, None)
    }

    /// Nobody is known to be typing; what is said here is heard by all processes on the bus, and
    /// this one knows what it hears there ([`Self::listen`]).
    pub fn shared(clock: Arc<dyn Clock>, random: &dyn Random, bus: Arc<dyn EphemeralBus>) -> Self {
        Self::new(clock, random, Some(bus))
    }

    fn new(clock: Arc<dyn Clock>, random: &dyn Random, bus: Option<Arc<dyn EphemeralBus>>) -> Self {
        let state = State {
            rooms: HashMap::new(),
            latest: TypingPoint::start(random),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            clock,
            notices: broadcast::channel(NOTICES_LEN_MAX).0,
            bus,
        }
    }

    /// A user started (`Some(how long)`) or stopped typing.
    pub fn set(&self, room_id: &RoomId, user_id: &UserId, typing: Option<Duration>) {
        match &self.bus {
            Some(bus) => bus.tell(message(room_id, user_id, typing)),
            None => self.note(room_id, user_id, typing),
        }
    }

    /// Notes what is told on the bus, until that ends; returns at once where there is none.
    pub async fn listen(&self) {
        let Some(bus) = &self.bus else { return };
        let mut heard = bus.listen();
        while let Some(heard) = heard.recv().await {
            // What was missed, if anything, nobody can tell.
            if let Heard::Notice(message) = heard {
                self.hear(message);
            }
        }
    }

    fn hear(&self, message: Ephemeral) {
        let Some(What::Typing(typing)) = message.what else {
            return;
        };
        let ids = (
            OwnedRoomId::try_from(typing.room_id),
            OwnedUserId::try_from(typing.user_id),
        );
        if let (Ok(room_id), Ok(user_id)) = ids {
            let lasts = Duration::from_millis(typing.lasts_ms.into());
            let lasts = Some(lasts).filter(|lasts| !lasts.is_zero());
            self.note(&room_id, &user_id, lasts);
        }
    }

    fn note(&self, room_id: &RoomId, user_id: &UserId, typing: Option<Duration>) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        if !state.rooms.contains_key(room_id) && (typing.is_none() || state.is_full()) {
            return;
        }
        let room = state.rooms.entry(room_id.to_owned()).or_default();
        let changed = match typing {
            Some(timeout) if room.has_place_for(user_id) => {
                let until = now + timeout.min(TYPING_MAX);
                room.users.insert(user_id.to_owned(), until).is_none()
            }
            Some(_) => false,
            None => room.users.remove(user_id).is_some(),
        };
        if changed {
            self.mark(&mut state, room_id);
        }
    }

    /// Who types in a room, if that is news to who knows all up to a point, or nothing (`None`).
    pub fn news(&self, room_id: &RoomId, seen: Option<TypingPoint>) -> Option<Vec<OwnedUserId>> {
        let state = self.state.lock();
        let room = state.rooms.get(room_id)?;
        let is_news = match seen {
            None => !room.users.is_empty(),
            Some(seen) if seen.compares_with(room.changed) => seen.0 < room.changed.0,
            // Somebody else's numbering: perhaps it is known, perhaps not.
            Some(_) => true,
        };
        is_news.then(|| room.users.keys().cloned().collect())
    }

    /// The newest change, for tokens.
    pub fn latest(&self) -> TypingPoint {
        self.state.lock().latest
    }

    /// Which rooms change, from here on; lossy.
    pub fn subscribe(&self) -> broadcast::Receiver<OwnedRoomId> {
        self.notices.subscribe()
    }

    /// Ends what has timed out, and forgets rooms that changed long ago. To be called each second.
    pub fn sweep(&self) {
        let now = self.clock.monotonic();
        let forget_before = self.clock.now_ms() - REMEMBERED_MS;
        let mut state = self.state.lock();
        let mut changed = Vec::new();
        for (room_id, room) in &mut state.rooms {
            let before = room.users.len();
            room.users.retain(|_, until| *until > now);
            if room.users.len() != before {
                changed.push(room_id.clone());
            }
        }
        for room_id in &changed {
            self.mark(&mut state, room_id);
        }
        state
            .rooms
            .retain(|_, room| !room.users.is_empty() || room.changed.time_ms() > forget_before);
    }

    fn mark(&self, state: &mut State, room_id: &RoomId) {
        state.latest = state.latest.next(self.clock.now_ms());
        let latest = state.latest;
        if let Some(room) = state.rooms.get_mut(room_id) {
            room.changed = latest;
        }
        let _ = self.notices.send(room_id.to_owned());
    }
}

impl State {
    fn is_full(&self) -> bool {
        let full = self.rooms.len() >= ROOMS_MAX;
        if full {
            metrics::counter!("hanse_room_typing_full_total").increment(1);
        }
        full
    }
}

impl RoomTyping {
    fn has_place_for(&self, user_id: &UserId) -> bool {
        self.users.len() < USERS_MAX || self.users.contains_key(user_id)
    }
}

fn message(room_id: &RoomId, user_id: &UserId, typing: Option<Duration>) -> Ephemeral {
    let lasts = typing.unwrap_or_default().min(TYPING_MAX);
    let typing = bus::Typing {
        room_id: room_id.to_string(),
        user_id: user_id.to_string(),
        lasts_ms: u32::try_from(lasts.as_millis()).unwrap_or(u32::MAX),
    };
    Ephemeral {
        what: Some(What::Typing(typing)),
        ..Ephemeral::default()
    }
}

#[cfg(test)]
mod tests {
    use hanse_runtime::{ManualClock, SeededRandom, Tasks};
    use ruma::{owned_room_id, owned_user_id, room_id, user_id};
    use tokio::sync::mpsc;

    use super::*;

    const LONG: Option<Duration> = Some(Duration::from_secs(30));

    fn alone(clock: &ManualClock, seed: u64) -> Typing {
        Typing::alone(Arc::new(clock.clone()), &SeededRandom::new(seed))
    }

    #[test]
    fn starts_ends_and_times_out() {
        let clock = ManualClock::at_ms(1_000_000);
        let typing = alone(&clock, 1);
        let (room, user) = (room_id!("!r:localhost"), user_id!("@a:localhost"));
        let start = typing.latest();
        typing.set(room, user, Some(Duration::from_secs(5)));
        let at = typing.latest();
        assert_eq!(typing.news(room, Some(start)), Some(vec![user.to_owned()]));
        assert_eq!(typing.news(room, None), Some(vec![user.to_owned()]));
        typing.set(room, user, Some(Duration::from_secs(5)));
        assert_eq!(typing.news(room, Some(at)), None, "typing on is no change");
        clock.advance(Duration::from_secs(6));
        typing.sweep();
        assert_eq!(typing.news(room, Some(at)), Some(vec![]));
        assert_eq!(
            typing.news(room, None),
            None,
            "that nobody types is no news"
        );
    }

    /// A point says nothing about another process's numbering, whichever clock is ahead. Sabotage:
    /// compare the times alone.
    #[test]
    fn who_comes_from_another_process_is_told_what_there_is() {
        let (early, late) = (ManualClock::at_ms(1_000_000), ManualClock::at_ms(9_000_000));
        let room = room_id!("!r:localhost");
        for (here, there) in [(&early, &late), (&late, &early)] {
            let (here, there) = (alone(here, 1), alone(there, 2));
            let user = owned_user_id!("@a:localhost");
            for typing in [&here, &there] {
                typing.set(room, &user, LONG);
            }
            assert_eq!(here.news(room, Some(here.latest())), None);
            assert_eq!(
                here.news(room, Some(there.latest())),
                Some(vec![user.clone()])
            );
            let time_alone = TypingPoint::from_packed(there.latest().time_ms());
            assert_eq!(here.news(room, Some(time_alone)), Some(vec![user]));
        }
    }

    #[test]
    fn rooms_and_users_are_bounded_and_rooms_forgotten() {
        let clock = ManualClock::at_ms(1_000_000);
        let typing = alone(&clock, 1);
        let user = |number| UserId::parse(format!("@u{number}:localhost")).unwrap();
        let room = owned_room_id!("!r:localhost");
        for number in 0..=USERS_MAX {
            typing.set(&room, &user(number), LONG);
        }
        assert_eq!(typing.news(&room, None).unwrap().len(), USERS_MAX);
        let kept = typing.latest();
        clock.advance(Duration::from_secs(20));
        typing.set(&room, &user(0), LONG);
        clock.advance(Duration::from_secs(20));
        typing.sweep();
        assert_eq!(
            typing.news(&room, Some(kept)),
            Some(vec![user(0)]),
            "who was there goes on"
        );

        for number in 0..ROOMS_MAX {
            let other = RoomId::parse(format!("!{number}:localhost")).unwrap();
            typing.set(&other, &user(0), LONG);
            typing.set(&other, &user(0), None);
        }
        assert_eq!(typing.state.lock().rooms.len(), ROOMS_MAX);
        clock.advance(Duration::from_millis(
            REMEMBERED_MS as u64 + 3 * ROOMS_MAX as u64,
        ));
        typing.sweep();
        assert!(typing.state.lock().rooms.len() <= 1);
        typing.sweep();
        typing.set(room_id!("!new:localhost"), &user(0), LONG);
        assert!(typing.news(room_id!("!new:localhost"), None).is_some());
    }

    /// Hears what it is told, twice, as a bus may.
    struct Echo(
        mpsc::Sender<Heard<Ephemeral>>,
        Mutex<Option<mpsc::Receiver<Heard<Ephemeral>>>>,
    );

    impl EphemeralBus for Echo {
        fn tell(&self, message: Ephemeral) {
            for _ in 0..2 {
                self.0.try_send(Heard::Notice(message.clone())).unwrap();
            }
        }

        fn listen(&self) -> mpsc::Receiver<Heard<Ephemeral>> {
            self.1.lock().take().unwrap()
        }
    }

    #[tokio::test]
    async fn what_is_said_on_a_bus_is_known_when_it_is_heard_there() {
        let (told, heard) = mpsc::channel(16);
        let bus = Arc::new(Echo(told.clone(), Mutex::new(Some(heard))));
        let clock = ManualClock::at_ms(1_000_000);
        let typing = Typing::shared(Arc::new(clock.clone()), &SeededRandom::new(1), bus);
        let (room, user) = (room_id!("!r:localhost"), user_id!("@a:localhost"));
        let start = typing.latest();
        let tasks = Tasks::new();
        let listener = typing.clone();
        tasks.spawn("typing-listen", async move { listener.listen().await });
        typing.set(room, user, Some(Duration::MAX));
        assert_eq!(typing.latest(), start, "not before it is heard");
        for junk in ["", "!r:localhost"] {
            let junk = bus::Typing {
                room_id: junk.to_owned(),
                user_id: "nobody".to_owned(),
                lasts_ms: 1,
            };
            let what = Some(What::Typing(junk));
            told.try_send(Heard::Notice(Ephemeral { version: 1, what }))
                .unwrap();
        }
        let mut notices = typing.subscribe();
        assert_eq!(notices.recv().await.unwrap(), room);
        assert_eq!(typing.news(room, Some(start)), Some(vec![user.to_owned()]));
        clock.advance(TYPING_MAX);
        typing.sweep();
        assert_eq!(
            notices.recv().await.unwrap(),
            room,
            "bounded, whatever was said"
        );
        assert!(notices.try_recv().is_err(), "a repeat is no change");
        typing.set(room, user, LONG);
        notices.recv().await.unwrap();
        typing.set(room, user, None);
        notices.recv().await.unwrap();
        assert_eq!(typing.news(room, Some(start)), Some(vec![]));
        tasks.hard().cancel();
    }
}
