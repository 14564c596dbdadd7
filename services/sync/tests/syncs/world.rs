//! Rooms, users and sync workers over an embedded store in a directory of their own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hanse_cluster::Router;
use hanse_event::{Draft, ServerKey, content_of};
use hanse_log::{Applier, LogParts, Position, Rows, SlotLogs, SlotMap};
use hanse_proto::log::{Entry, entry::Kind};
use hanse_room::{
    MembershipAction, MembershipChange, NewEvent, NewRoom, RoomParts, Rooms, Sent, Typing,
    room_rows,
};
use hanse_runtime::{SystemClock, SystemRandom, Tasks};
use hanse_store::{Store, Table};
use hanse_store_embedded::{Durability, EmbeddedStore, Options};
use hanse_sync::{SyncError, SyncParts, SyncWorker, TokenKey};
use hanse_user::{Registration, UserConfig, UserParts, Users, name_rows, user_rows};
use ruma::{
    CanonicalJsonObject, OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::client::{
        room::create_room::v3::{Request as CreateRoom, RoomPreset},
        sync::sync_events::v3::{Filter, Request, Response},
    },
    device_id, server_name,
};
use serde_json::{Value, json};

use crate::reads::CountedStore;
use tempfile::TempDir;

/// Few, so that rooms share slots.
const SLOTS: u32 = 4;
/// Long enough for whatever is under way to arrive.
pub(crate) const SOON: Duration = Duration::from_millis(300);

struct Domains;

impl Applier for Domains {
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows) {
        match &entry.kind {
            Some(Kind::Room(room)) => room_rows(room, position, rows),
            Some(Kind::User(user)) => user_rows(user, position, rows),
            Some(Kind::Name(name)) => name_rows(name, position, rows),
            None => {}
        }
    }

    fn tables(&self) -> Vec<&'static Table> {
        [hanse_room::tables(), hanse_user::tables()].concat()
    }
}

pub(crate) struct World {
    pub(crate) rooms: Rooms,
    pub(crate) users: Users,
    pub(crate) typing: Typing,
    pub(crate) store: Arc<CountedStore>,
    pub(crate) worker: SyncWorker,
    /// The worker's own, so that it can drain alone.
    pub(crate) worker_tasks: Tasks,
    logs: SlotLogs,
    tasks: Tasks,
    _directory: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = SystemClock::shared();
        let mut options = Options::new(Arc::new(move || clock.now_ms()));
        options.durability = Durability::Os;
        let counted = CountedStore::new(EmbeddedStore::open(directory.path(), options).unwrap());
        let store: Arc<dyn Store> = counted.clone();
        let (tasks, clock, random) = (Tasks::new(), SystemClock::shared(), SystemRandom::shared());
        let logs = SlotLogs::open(LogParts {
            store: Arc::clone(&store),
            applier: Arc::new(Domains),
            clock: clock.clone(),
            random: random.clone(),
            tasks: tasks.clone(),
            map: SlotMap::initial(SLOTS),
            owner: "a test".to_owned(),
            segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
            consumers: vec![hanse_room::DEVICE_CHANGES],
            cluster: None,
        });
        let logs = logs.await.unwrap();
        let rooms = Rooms::new(RoomParts {
            store: Arc::clone(&store),
            logs: logs.clone(),
            clock: clock.clone(),
            random: random.clone(),
            server_name: server_name!("hanse.test").to_owned(),
            key: Arc::new(ServerKey::generate([7; 32], "a").unwrap()),
            rooms_held_max: 100,
            portion_bytes_max: RoomParts::PORTION_BYTES_MAX,
            router: Router::alone(),
        });
        let users = Users::new(UserParts {
            store,
            logs: logs.clone(),
            clock: clock.clone(),
            random: random.clone(),
            passwords: tasks.blocking_pool("passwords", 1, 64),
            tasks: tasks.clone(),
            server_name: server_name!("hanse.test").to_owned(),
            config: UserConfig {
                argon2_memory_kib: 64,
                argon2_iterations: 1,
                ..UserConfig::default()
            },
            router: Router::alone(),
        });
        let (users, typing) = (users.unwrap(), Typing::alone(clock, random.as_ref()));
        let worker_tasks = Tasks::new();
        let worker = start(&logs, &rooms, &users, &typing, &worker_tasks);
        Self {
            rooms,
            users,
            typing,
            store: counted,
            worker,
            worker_tasks,
            logs,
            tasks,
            _directory: directory,
        }
    }

    /// Another worker, which remembers nothing: it answers from the store.
    pub(crate) fn fresh_worker(&self) -> SyncWorker {
        self.worker_with(&self.typing)
    }

    /// Another worker that heard of typing by itself.
    pub(crate) fn worker_with(&self, typing: &Typing) -> SyncWorker {
        start(&self.logs, &self.rooms, &self.users, typing, &self.tasks)
    }

    pub(crate) fn map(&self) -> SlotMap {
        *self.logs.map()
    }

    pub(crate) async fn close(self) {
        self.logs.hang_up();
        self.worker_tasks.finish().await;
        self.tasks.finish().await;
    }

    pub(crate) async fn register(&self, name: &str) -> OwnedUserId {
        let registration = Registration {
            localpart: Some(name.to_owned()),
            ..Registration::default()
        };
        self.users.register(registration).await.unwrap();
        user(name)
    }

    pub(crate) async fn public_room(&self, creator: &UserId) -> OwnedRoomId {
        let mut request = CreateRoom::new();
        request.preset = Some(RoomPreset::PublicChat);
        let room = NewRoom {
            creator: creator.to_owned(),
            profile: CanonicalJsonObject::new(),
            alias: None,
            request,
        };
        Box::pin(self.rooms.create(room)).await.unwrap()
    }

    pub(crate) async fn say(&self, room: &RoomId, sender: &UserId, text: &str) -> Sent {
        let content = content_of(&json!({ "msgtype": "m.text", "body": text })).unwrap();
        let draft = Draft::message(sender.to_owned(), "m.room.message", content);
        Box::pin(self.rooms.send(room, NewEvent::now(draft)))
            .await
            .unwrap()
    }

    pub(crate) async fn name(&self, room: &RoomId, sender: &UserId) {
        let content = content_of(&json!({ "name": "a room" })).unwrap();
        let draft = Draft::state(sender.to_owned(), "m.room.name", "", content);
        let named = self.rooms.send(room, NewEvent::now(draft));
        Box::pin(named).await.unwrap();
    }

    pub(crate) async fn set(&self, room: &RoomId, sender: &UserId, key: &str, value: i64) -> Sent {
        let content = content_of(&json!({ "value": value })).unwrap();
        let draft = Draft::state(sender.to_owned(), "org.hanse.state", key, content);
        Box::pin(self.rooms.send(room, NewEvent::now(draft)))
            .await
            .unwrap()
    }

    pub(crate) async fn member(
        &self,
        room: &RoomId,
        sender: &UserId,
        target: &UserId,
        action: MembershipAction,
    ) -> Sent {
        let change = MembershipChange {
            sender: sender.to_owned(),
            target: target.to_owned(),
            action,
            content: CanonicalJsonObject::new(),
            transaction: None,
        };
        Box::pin(self.rooms.change_membership(room, change))
            .await
            .unwrap()
    }

    /// The same, where it may be refused.
    pub(crate) async fn try_member(
        &self,
        room: &RoomId,
        sender: &UserId,
        target: &UserId,
        action: MembershipAction,
    ) {
        let change = MembershipChange {
            sender: sender.to_owned(),
            target: target.to_owned(),
            action,
            content: CanonicalJsonObject::new(),
            transaction: None,
        };
        let _ = Box::pin(self.rooms.change_membership(room, change)).await;
    }

    pub(crate) async fn join(&self, room: &RoomId, user: &UserId) -> Sent {
        self.member(room, user, user, MembershipAction::Join).await
    }

    /// The ids of a room's timeline, oldest first.
    pub(crate) async fn timeline(&self, room: &RoomId) -> Vec<String> {
        let (first, last) = (Position::BEGINNING, Position::END);
        let all = self.rooms.reader().arrivals(room, first, last, 9_000).await;
        let all = all.unwrap().events;
        all.iter().map(|e| e.pdu.event_id().to_string()).collect()
    }

    /// The ids of a room's state now.
    pub(crate) async fn state(&self, room: &RoomId) -> State {
        let reader = self.rooms.reader();
        let mut state = reader.plain_state(room, Position::END).await.unwrap();
        state.extend(reader.members(room, Position::END).await.unwrap());
        let pair = |at: hanse_room::StateAt| {
            let key = (at.event_type, at.state_key);
            (key, at.event_id.to_string())
        };
        state.into_iter().map(pair).collect()
    }
}

/// Returns when it holds, which takes a moment.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

fn start(
    logs: &SlotLogs,
    rooms: &Rooms,
    users: &Users,
    typing: &Typing,
    tasks: &Tasks,
) -> SyncWorker {
    SyncWorker::start(SyncParts {
        logs: logs.clone(),
        rooms: rooms.reader().clone(),
        users: users.clone(),
        typing: typing.clone(),
        clock: SystemClock::shared(),
        tasks: tasks.clone(),
        token_key: TokenKey::new([9; 32]),
    })
}

/// Type and state key to event id.
pub(crate) type State = BTreeMap<(String, String), String>;

pub(crate) fn user(name: &str) -> OwnedUserId {
    format!("@{name}:hanse.test").try_into().unwrap()
}

/// A request: since, with a filter, waiting so long.
pub(crate) fn request(since: Option<&str>, filter: Value, wait: Duration) -> Request {
    let mut request = Request::new();
    request.since = since.map(ToOwned::to_owned);
    request.timeout = Some(wait);
    let filter = serde_json::from_value(filter).unwrap();
    request.filter = Some(Filter::FilterDefinition(filter));
    request
}

pub(crate) fn limit(limit: u32) -> Value {
    json!({ "room": { "timeline": { "limit": limit } } })
}

pub(crate) async fn sync(
    worker: &SyncWorker,
    user: &UserId,
    request: Request,
) -> Result<Response, SyncError> {
    Box::pin(worker.sync(user, device_id!("DEVICE"), request)).await
}

/// What an answer says, without what depends on when it is asked: tokens and ages.
pub(crate) fn content(response: &Response) -> Value {
    let mut rooms = serde_json::to_value(&response.rooms).unwrap();
    drop_ages(&mut rooms);
    json!({ "rooms": rooms, "account_data": response.account_data })
}

pub(crate) fn drop_ages(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove("age");
            object.values_mut().for_each(drop_ages);
        }
        Value::Array(array) => array.iter_mut().for_each(drop_ages),
        _ => {}
    }
}

fn list<'a>(room: &'a Value, part: &str) -> &'a [Value] {
    room[part]["events"].as_array().map_or(&[], Vec::as_slice)
}

/// The ids of a room's part in an answer's section.
pub(crate) fn ids(content: &Value, section: &str, room: &RoomId, part: &str) -> Vec<String> {
    let events = list(&content["rooms"][section][room.as_str()], part);
    let id = |event: &Value| event["event_id"].as_str().unwrap().to_owned();
    events.iter().map(id).collect()
}

/// What a client knows, from its answers alone.
#[derive(Default)]
pub(crate) struct Client {
    pub(crate) token: Option<String>,
    pub(crate) timelines: BTreeMap<String, Vec<String>>,
    pub(crate) states: BTreeMap<String, State>,
}

impl Client {
    pub(crate) async fn sync(
        &mut self,
        worker: &SyncWorker,
        user: &UserId,
        filter: Value,
        wait: Duration,
    ) -> Value {
        let asked = request(self.token.as_deref(), filter, wait);
        let response = sync(worker, user, asked).await.unwrap();
        let content = content(&response);
        self.take(&content);
        self.token = Some(response.next_batch);
        content
    }

    fn take(&mut self, content: &Value) {
        for section in ["join", "leave"] {
            for (room_id, room) in content["rooms"][section].as_object().into_iter().flatten() {
                let state = self.states.entry(room_id.clone()).or_default();
                let timeline = self.timelines.entry(room_id.clone()).or_default();
                for event in list(room, "state").iter().chain(list(room, "timeline")) {
                    let text = |field: &str| event[field].as_str().map(ToOwned::to_owned);
                    if let Some(key) = text("state_key") {
                        let key = (text("type").unwrap(), key);
                        state.insert(key, text("event_id").unwrap());
                    }
                }
                let ids = list(room, "timeline").iter();
                timeline.extend(ids.map(|event| event["event_id"].as_str().unwrap().to_owned()));
            }
        }
    }
}
