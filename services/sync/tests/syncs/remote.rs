//! Workers of other processes, over real sockets.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use futures::TryStreamExt;
use hanse_cluster::{
    Member, View,
    grpc::{Peers, SlotListener, serve},
    ranked,
};
use hanse_proto::sync::{Poll, Question, question, syncs_client::SyncsClient};
use hanse_runtime::{Clock, SystemClock, Tasks};
use hanse_sync::{
    Answered, ROLE, SyncClient, SyncClientParts, SyncError, SyncServer, SyncWorker, TokenKey,
};
use ruma::{OwnedUserId, UserId, api::client::sync::sync_events::v3::Request, device_id};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};
use tonic::Code;

use crate::world::{SOON, World, content, limit, request, sync};

/// Longer than any test may take.
const LONG: Duration = Duration::from_secs(30);

/// A process with the API and no worker, and the workers that it sees.
struct Front {
    world: World,
    ada: OwnedUserId,
    client: SyncClient,
    members: watch::Sender<View>,
    /// The API's.
    tasks: Tasks,
    /// The servers'.
    serving: Tasks,
}

impl Front {
    async fn new() -> Self {
        let world = World::new().await;
        let ada = world.register("ada").await;
        let members = watch::Sender::new(View::default());
        let (tasks, serving) = (Tasks::new(), Tasks::new());
        let client = SyncClient::clustered(SyncClientParts {
            member: "front".to_owned(),
            worker: None,
            peers: Peers::new(members.subscribe(), None, &serving),
            members: members.subscribe(),
            map: world.map(),
            token_key: TokenKey::new([9; 32]),
            clock: SystemClock::shared(),
            tasks: tasks.clone(),
        });
        Self {
            world,
            ada,
            client,
            members,
            tasks,
            serving,
        }
    }

    /// A member of the role, wherever it may be.
    fn member(&self, id: &str, address: SocketAddr) {
        let member = Member {
            id: id.to_owned(),
            address: address.to_string(),
            roles: vec![ROLE.to_owned()],
            ..Member::default()
        };
        self.members
            .send_modify(|view| drop(view.live.insert(id.to_owned(), member)));
    }

    async fn worker(&self, id: &str) {
        let address = self.listening(id, &self.world.worker).await;
        self.member(id, address);
    }

    async fn listening(&self, id: &str, worker: &SyncWorker) -> SocketAddr {
        let listener = SlotListener::bind((Ipv4Addr::LOCALHOST, 0).into())
            .await
            .unwrap();
        let address = listener.address();
        let server = SyncServer {
            member: id.to_owned(),
            worker: worker.clone(),
            tasks: self.world.worker_tasks.clone(),
        };
        let clock = SystemClock::shared();
        serve(listener, server.routes(), &self.serving, clock);
        address
    }

    async fn ask(&self, request: Request) -> Result<Answered, SyncError> {
        let asked = self.client.sync(&self.ada, device_id!("DEVICE"), request);
        tokio::time::timeout(LONG, Box::pin(asked))
            .await
            .expect("it ends")
    }

    async fn json(&self, request: Request) -> Value {
        match self.ask(request).await.unwrap() {
            Answered::Elsewhere(pieces) => whole(pieces).await,
            Answered::Here(_) => panic!("there is no worker here"),
        }
    }

    async fn close(self) {
        self.tasks.finish().await;
        self.serving.finish().await;
        self.world.close().await;
    }
}

async fn whole(pieces: hanse_sync::Pieces) -> Value {
    let pieces: Vec<bytes::Bytes> = pieces.try_collect().await.unwrap();
    serde_json::from_slice(&pieces.concat()).unwrap()
}

/// Which of these ids is asked first, and which second.
fn in_rank(user: &UserId) -> [&'static str; 2] {
    let ranked = ranked(user.as_str(), ["a", "b"]);
    if ranked[0] == "a" {
        ["a", "b"]
    } else {
        ["b", "a"]
    }
}

/// Red if a part of a request or of an answer is lost on its way, however large.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_elsewhere_is_the_workers() {
    let front = Front::new().await;
    front.worker("a").await;
    let room = front.world.public_room(&front.ada).await;
    let text = "x".repeat(20_000);
    for _ in 0..20 {
        front.world.say(&room, &front.ada, &text).await;
    }
    tokio::time::sleep(SOON).await;
    let asked = || request(None, limit(50), Duration::ZERO);
    let there = front.json(asked()).await;
    let here = sync(&front.world.worker, &front.ada, asked())
        .await
        .unwrap();
    let mut rooms = there["rooms"].clone();
    crate::world::drop_ages(&mut rooms);
    assert_eq!(rooms, content(&here)["rooms"]);
    assert!(there.to_string().len() > 400_000);

    let since = there["next_batch"].as_str().unwrap();
    let room_id = &room;
    let position = front
        .client
        .position_of(&front.ada, since, room_id)
        .unwrap();
    let known = front.world.worker.position_of(&front.ada, since, room_id);
    assert_eq!(position, known.unwrap());
    let lists = front
        .client
        .device_lists(&front.ada, since, since)
        .await
        .unwrap();
    assert!(lists.is_empty());
    front.close().await;
}

/// Red if what a client did wrong is tried elsewhere, or answered as the server's fault.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_did_wrong_it_is_told() {
    let front = Front::new().await;
    front.worker("a").await;
    let bad = request(Some("snonsense"), json!({}), Duration::ZERO);
    let refused = front.ask(bad).await.err().unwrap();
    assert!(matches!(&refused, SyncError::Refused { reason } if reason.contains("token")));
    let refused = front.client.device_lists(&front.ada, "x", "y").await;
    assert!(matches!(refused, Err(SyncError::Refused { .. })));
    front.close().await;
}

/// Red if a worker that is dead, frozen or another process by now keeps its users from being answered.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_is_passed_over() {
    let front = Front::new().await;
    let [first, second] = in_rank(&front.ada);
    front.worker(second).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = front
        .listening("of another cluster", &front.world.worker)
        .await;
    let gone = nobody.local_addr().unwrap();
    drop(nobody);
    for address in [gone, silent.local_addr().unwrap(), other] {
        front.member(first, address);
        let clock = SystemClock::new();
        let begun = clock.monotonic();
        let answer = front.json(request(None, json!({}), LONG)).await;
        assert!(answer["next_batch"].is_string());
        let took = clock.monotonic().saturating_sub(begun);
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
    front.close().await;
}

/// Red if a worker answers for a process that had its address before, for ever, or after its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_answers_only_what_is_for_it_and_has_a_deadline() {
    let front = Front::new().await;
    let address = front.listening("a", &front.world.worker).await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = SyncsClient::new(endpoint.connect().await.unwrap());
    let mut ask = async |to: &str, within: Option<Duration>| {
        let mut request = tonic::Request::new(Question {
            to: to.to_owned(),
            user_id: front.ada.to_string(),
            device_id: "DEVICE".to_owned(),
            kind: Some(question::Kind::Poll(Poll::default())),
        });
        if let Some(within) = within {
            request.set_timeout(within);
        }
        client
            .answer(request)
            .await
            .map(drop)
            .map_err(|status| status.code())
    };
    assert_eq!(ask("a", Some(LONG)).await, Ok(()));
    assert_eq!(ask("b", Some(LONG)).await, Err(Code::FailedPrecondition));
    assert_eq!(ask("a", None).await, Err(Code::InvalidArgument));
    front.world.worker_tasks.soft().cancel();
    assert_eq!(ask("a", Some(LONG)).await, Err(Code::Unavailable));
    front.close().await;
}

/// Red if a client is refused while a worker is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_waited_for() {
    let front = Front::new().await;
    let coming = async {
        tokio::time::sleep(SOON).await;
        front.worker("a").await;
    };
    let asked = front.json(request(None, json!({}), Duration::ZERO));
    let (answer, ()) = tokio::join!(asked, coming);
    assert!(answer["next_batch"].is_string());
    front.close().await;
}

/// Red if a long poll outlives the drain of the process that its client is connected to, or of its
/// worker, or a drained worker is asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_at_either_end_ends_long_polls_with_the_same_token() {
    for at_the_worker in [true, false] {
        let front = Front::new().await;
        front.worker("a").await;
        let first = front.json(request(None, json!({}), Duration::ZERO)).await;
        tokio::time::sleep(SOON).await;
        let since = first["next_batch"].as_str().unwrap();
        let settled = front
            .json(request(Some(since), json!({}), Duration::ZERO))
            .await;
        let since = settled["next_batch"].as_str().unwrap();
        let drain = async {
            tokio::time::sleep(SOON).await;
            let tasks = [&front.tasks, &front.world.worker_tasks];
            tasks[usize::from(at_the_worker)].soft().cancel();
        };
        let asked = front.ask(request(Some(since), json!({}), LONG));
        let (answered, ()) = tokio::join!(asked, drain);
        let token = match answered.unwrap() {
            Answered::Here(response) => response.next_batch,
            Answered::Elsewhere(pieces) => whole(pieces).await["next_batch"]
                .as_str()
                .unwrap()
                .to_owned(),
        };
        assert_eq!(token, since);
        front.close().await;
    }
}
