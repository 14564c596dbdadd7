//! What is read of the store for one answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use hanse_room::{NewReceipt, Rooms};
use hanse_store::{
    ConditionalBatch, Consistency, Durability, Key, Mutation, Outcome, Page, Row, Scan, Store,
    StoreError, Table,
};
use parking_lot::Mutex;
use ruma::{OwnedRoomId, OwnedUserId, events::receipt::ReceiptType};
use serde_json::{Value, json};

use crate::world::{SOON, World, content, request, sync};

/// A store that counts what is read of each table.
pub(crate) struct CountedStore {
    store: Arc<dyn Store>,
    reads: Mutex<BTreeMap<&'static str, u64>>,
}

impl CountedStore {
    pub(crate) fn new(store: Arc<dyn Store>) -> Arc<Self> {
        let reads = Mutex::default();
        Arc::new(Self { store, reads })
    }

    /// Since the last time.
    fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut self.reads.lock())
    }

    fn count(&self, table: &'static Table) {
        *self.reads.lock().entry(table.name).or_default() += 1;
    }
}

#[async_trait]
impl Store for CountedStore {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        self.store.create_tables(tables).await
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        self.count(table);
        self.store.get(table, key, consistency).await
    }

    async fn scan(&self, scan: Scan) -> Result<Page, StoreError> {
        self.count(scan.table);
        self.store.scan(scan).await
    }

    async fn apply(
        &self,
        mutations: Vec<Mutation>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        self.store.apply(mutations, durability).await
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        self.store.conditional(batch).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.store.sync().await
    }
}

struct Reader {
    world: World,
    ada: OwnedUserId,
    ben: OwnedUserId,
    room: OwnedRoomId,
    token: String,
}

impl Reader {
    async fn new() -> Self {
        let world = World::new().await;
        let (ada, ben) = (world.register("ada").await, world.register("ben").await);
        let room = world.public_room(&ada).await;
        world.join(&room, &ben).await;
        tokio::time::sleep(SOON).await;
        let first = request(None, json!({}), Duration::ZERO);
        let token = sync(&world.worker, &ben, first).await.unwrap().next_batch;
        Self {
            world,
            ada,
            ben,
            room,
            token,
        }
    }

    /// What the next answer says of the room.
    async fn next(&mut self) -> Value {
        let wait = Duration::from_secs(10);
        let asked = request(Some(&self.token), json!({}), wait);
        let answer = sync(&self.world.worker, &self.ben, asked).await.unwrap();
        self.token.clone_from(&answer.next_batch);
        content(&answer)["rooms"]["join"][self.room.as_str()].clone()
    }

    fn unread(room: &Value) -> u64 {
        let counts = &room["unread_notifications"];
        counts["notification_count"].as_u64().unwrap_or_default()
    }

    async fn read(&self, rooms: &Rooms) {
        let newest = self.world.timeline(&self.room).await.pop().unwrap();
        let receipt = NewReceipt {
            user_id: self.ben.clone(),
            receipt_type: ReceiptType::Read,
            thread_id: String::new(),
            event_id: newest.try_into().unwrap(),
        };
        rooms.receipt(&self.room, receipt).await.unwrap();
    }
}

/// Red if an answer to an online user reads what did not change: on a cluster each reading is a round
/// trip. And red if what changed is not read again. Sabotage: keep facts in spite of changes, or never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_online_user_is_answered_from_memory() {
    let mut reader = Reader::new().await;
    let (room, ada) = (reader.room.clone(), reader.ada.clone());
    reader.world.say(&room, &ada, "one").await;
    assert_eq!(Reader::unread(&reader.next().await), 1);
    reader.world.store.take();

    reader.world.say(&room, &ada, "two").await;
    let answer = reader.next().await;
    assert_eq!(answer["timeline"]["events"][0]["content"]["body"], "two");
    assert_eq!(Reader::unread(&answer), 2);
    let mut reads = reader.world.store.take();
    // Of whoever sends.
    reads.remove("room_transactions");
    reads.remove("slots");
    assert_eq!(reads, BTreeMap::new());

    reader.read(&reader.world.rooms).await;
    assert_eq!(
        Reader::unread(&reader.next().await),
        0,
        "the receipt counts"
    );
    reader.world.say(&room, &ada, "three").await;
    assert_eq!(Reader::unread(&reader.next().await), 1);
    reader.world.set(&room, &ada, "k", 1).await;
    reader.world.say(&room, &ada, "@room four").await;
    let mut last = Value::Null;
    while !last.to_string().contains("four") {
        last = reader.next().await;
    }
    assert_eq!(Reader::unread(&last), 2);
    reader.world.close().await;
}
