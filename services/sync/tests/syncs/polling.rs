//! Long polls: what wakes them, and what does not.

use std::time::Duration;

use hanse_room::{MembershipAction, NewReceipt, Typing};
use hanse_runtime::{Clock, SeededRandom, SystemClock};
use ruma::{OwnedRoomId, OwnedUserId, RoomId, events::receipt::ReceiptType};
use serde_json::{Value, json, value::RawValue};

use crate::world::{SOON, World, content, request, sync};

/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(30);

struct Talk {
    world: World,
    ada: OwnedUserId,
    ben: OwnedUserId,
    room: OwnedRoomId,
    token: String,
}

/// A room of two, which `ben` has seen all of.
async fn quiet() -> Talk {
    let world = World::new().await;
    let (ada, ben) = (world.register("ada").await, world.register("ben").await);
    let room = world.public_room(&ada).await;
    world.join(&room, &ben).await;
    let mut since: Option<String> = None;
    // The relays, too, have told what they know.
    for _ in 0..2 {
        tokio::time::sleep(SOON).await;
        let now = request(since.as_deref(), json!({}), Duration::ZERO);
        since = Some(sync(&world.worker, &ben, now).await.unwrap().next_batch);
    }
    let token = since.unwrap();
    Talk {
        world,
        ada,
        ben,
        room,
        token,
    }
}

impl Talk {
    /// Polls while something happens; the answer, and how long it took.
    async fn poll(&self, wait: Duration, cause: impl Future<Output = ()>) -> (Value, Duration) {
        let cause = Box::pin(cause);
        let clock = SystemClock::new();
        let started = clock.monotonic();
        let asked = request(Some(&self.token), json!({}), wait);
        let polled = Box::pin(async {
            let answer = sync(&self.world.worker, &self.ben, asked).await.unwrap();
            (content(&answer), clock.monotonic().saturating_sub(started))
        });
        let later = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            cause.await;
        };
        let (polled, ()) = futures::join!(polled, later);
        polled
    }

    async fn wakes(&self, cause: impl Future<Output = ()>) -> Value {
        let (answer, took) = self.poll(LONG, cause).await;
        assert!(took < LONG / 2, "woken after {took:?}");
        answer
    }

    fn joined<'a>(&self, answer: &'a Value) -> &'a Value {
        &answer["rooms"]["join"][self.room.as_str()]
    }
}

/// Sabotage: do not wake listeners of the room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_wakes() {
    let talk = quiet().await;
    let say = async { drop(talk.world.say(&talk.room, &talk.ada, "hello").await) };
    let answer = talk.wakes(say).await;
    let events = &talk.joined(&answer)["timeline"]["events"];
    assert_eq!(events[0]["content"]["body"], "hello");
    talk.world.close().await;
}

/// Sabotage: wake for events alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receipt_wakes() {
    let talk = quiet().await;
    let newest = talk.world.timeline(&talk.room).await.pop().unwrap();
    let read = async {
        let receipt = NewReceipt {
            user_id: talk.ada.clone(),
            receipt_type: ReceiptType::Read,
            thread_id: String::new(),
            event_id: newest.clone().try_into().unwrap(),
        };
        talk.world.rooms.receipt(&talk.room, receipt).await.unwrap();
    };
    let answer = talk.wakes(read).await;
    let event = &talk.joined(&answer)["ephemeral"]["events"][0];
    assert_eq!(event["type"], "m.receipt");
    assert!(
        event["content"][&newest]["m.read"]
            .get(talk.ada.as_str())
            .is_some()
    );
    talk.world.close().await;
}

/// Sabotage: do not listen to typing, or leave its clock out of the token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_wakes() {
    let talk = quiet().await;
    let types = async { talk.world.typing.set(&talk.room, &talk.ada, Some(LONG)) };
    let answer = talk.wakes(types).await;
    let event = &talk.joined(&answer)["ephemeral"]["events"][0];
    assert_eq!(event["content"]["user_ids"], json!([talk.ada]));
    talk.world.close().await;
}

/// Two workers heard the same and numbered it each for itself. Sabotage: compare the times of
/// another worker's token with one's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_from_another_worker_learns_who_types_there() {
    let talk = quiet().await;
    let (ada, ben, room) = (&talk.ada, &talk.ben, &talk.room);
    let there = Typing::alone(SystemClock::shared(), &SeededRandom::new(99));
    let other = talk.world.worker_with(&there);
    there.set(room, ada, Some(LONG));
    // The first worker's token is younger, and that one has not heard of it.
    let elsewhere = talk.world.public_room(ben).await;
    talk.world.typing.set(&elsewhere, ben, Some(LONG));
    let ask = |since: &str| request(Some(since), json!({}), SOON);
    let here = sync(&talk.world.worker, ben, ask(&talk.token))
        .await
        .unwrap();
    let moved = sync(&other, ben, ask(&here.next_batch)).await.unwrap();
    let events = &content(&moved)["rooms"]["join"][room.as_str()]["ephemeral"]["events"];
    assert_eq!(events[0]["content"]["user_ids"], json!([ada]));
    let stays = sync(&other, ben, ask(&moved.next_batch)).await.unwrap();
    assert!(stays.rooms.join.is_empty(), "told once");
    there.set(room, ada, None);
    let stops = sync(&other, ben, ask(&stays.next_batch)).await.unwrap();
    let events = &content(&stops)["rooms"]["join"][room.as_str()]["ephemeral"]["events"];
    assert_eq!(events[0]["content"]["user_ids"], json!([]));
    talk.world.close().await;
}

/// Sabotage: wake for rooms alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn account_data_wakes() {
    let talk = quiet().await;
    let answer = talk.wakes(put(&talk, None)).await;
    assert_eq!(answer["account_data"]["events"][0]["type"], "org.hanse.a");
    talk.world.close().await;
    let talk = quiet().await;
    let answer = talk.wakes(put(&talk, Some(&talk.room))).await;
    let data = &talk.joined(&answer)["account_data"]["events"];
    assert_eq!(data[0]["type"], "org.hanse.a");
    talk.world.close().await;
}

async fn put(talk: &Talk, room: Option<&RoomId>) {
    let datum = RawValue::from_string(json!({ "a": 1 }).to_string()).unwrap();
    let users = &talk.world.users;
    let put = users.put_account_data(&talk.ben, room, "org.hanse.a", &datum);
    put.await.unwrap();
}

/// Sabotage: wake only who is in the room already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_wakes() {
    let talk = quiet().await;
    let other = talk.world.public_room(&talk.ada).await;
    let invite = async {
        let invite = MembershipAction::Invite;
        talk.world
            .member(&other, &talk.ada, &talk.ben, invite)
            .await;
    };
    let answer = talk.wakes(invite).await;
    assert!(answer["rooms"]["invite"].get(other.as_str()).is_some());
    talk.world.close().await;
}

/// Sabotage: answer whenever woken, with or without news, or wake everybody for everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_room_does_not() {
    let talk = quiet().await;
    let others = async {
        // More rooms than slots: some share one with the room that is waited for.
        for _ in 0..6 {
            let other = talk.world.public_room(&talk.ada).await;
            talk.world.say(&other, &talk.ada, "elsewhere").await;
            talk.world.typing.set(&other, &talk.ada, Some(LONG));
        }
    };
    let wait = Duration::from_secs(1);
    let (answer, took) = talk.poll(wait, others).await;
    assert!(took >= wait, "answered after {took:?}: {answer}");
    assert_eq!(answer["rooms"], json!({}));
    talk.world.close().await;
}

/// Sabotage: let a drain wait for polls, or answer with a token further on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_gives_the_same_token() {
    let talk = quiet().await;
    let asked = request(Some(&talk.token), json!({}), LONG);
    let poll = sync(&talk.world.worker, &talk.ben, asked);
    let drain = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        talk.world.worker_tasks.finish().await;
    };
    let both = async { futures::join!(poll, drain) };
    let (answer, ()) = tokio::time::timeout(LONG / 2, both).await.unwrap();
    assert_eq!(answer.unwrap().next_batch, talk.token);
    // Nothing is lost: another worker takes the token.
    talk.world.say(&talk.room, &talk.ada, "hello").await;
    let asked = request(Some(&talk.token), json!({}), SOON);
    let answer = sync(&talk.world.fresh_worker(), &talk.ben, asked).await;
    assert_eq!(
        answer.unwrap().rooms.join[&talk.room].timeline.events.len(),
        1
    );
    talk.world.close().await;
}
