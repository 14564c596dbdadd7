//! What a process does not do, whoever calls.

use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use futures::future::join_all;
use hanse_cluster::grpc::MESSAGE_BYTES_MAX;
use hanse_log::{BATCH_BYTES_MAX, Slot};
use hanse_proto::{
    cluster::{
        AppendRequest, HandOverRequest, HandedRequest, append_response::Answer, hand_over_response,
        slots_client::SlotsClient,
    },
    log::{Entry, RelaySource},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message;
use tonic::{Code, Request, Status, body::Body};

use crate::world::{Process, World, entry, eventually};

/// Sends what it is given, and enforces no deadline of its own.
type Caller = SlotsClient<Client<HttpConnector, Body>>;

fn caller(process: &Process) -> Caller {
    let address: SocketAddr = process.live().live[&process.id].address.parse().unwrap();
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    SlotsClient::with_origin(client, format!("http://{address}").parse().unwrap())
}

fn relayed(position: i64, key: &str) -> Entry {
    let source = RelaySource {
        slot: 3,
        position,
        part: 0,
    };
    Entry {
        relay_source: Some(source),
        ..entry(key)
    }
}

fn append(process: &Process, slot: Slot, entries: Vec<Entry>) -> Request<AppendRequest> {
    let mut request = Request::new(AppendRequest {
        to: process.id.clone(),
        slot: slot.0,
        entries,
    });
    request.set_timeout(Duration::from_secs(5));
    request
}

async fn alone() -> (World, Process, Caller, Slot) {
    let world = World::over_grpc(4);
    let a = world.start("a").await;
    world.all_served(&[&a]).await;
    let (caller, slot) = (caller(&a), a.logs.served()[0]);
    (world, a, caller, slot)
}

fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> Code {
    answer.unwrap_err().code()
}

/// Red if a call begins that is late, has no deadline, is another process's, or is for a slot or
/// of a kind that there is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_late_or_wrong_does_nothing() {
    let (world, a, mut caller, slot) = alone().await;
    let mut late = append(&a, slot, vec![relayed(1, "late")]);
    let past = "0n".parse().unwrap();
    late.metadata_mut().insert("grpc-timeout", past);
    // By the transport, or by us: whoever looks first.
    let late = code(caller.append(late).await);
    assert!(matches!(late, Code::DeadlineExceeded | Code::Cancelled));

    let mut endless = append(&a, slot, vec![relayed(1, "endless")]);
    endless.metadata_mut().remove("grpc-timeout");
    assert_eq!(code(caller.append(endless).await), Code::InvalidArgument);

    let mut strays = append(&a, slot, vec![relayed(1, "strays")]);
    strays.get_mut().to = "another".to_owned();
    assert_eq!(code(caller.append(strays).await), Code::FailedPrecondition);

    let nowhere = append(&a, Slot(4), vec![relayed(1, "nowhere")]);
    assert_eq!(code(caller.append(nowhere).await), Code::InvalidArgument);

    let mixed = vec![relayed(1, "one"), relayed(2, "other")];
    for unsourced in [Vec::new(), vec![entry("unsourced")], mixed] {
        let unsourced = append(&a, slot, unsourced);
        assert_eq!(code(caller.append(unsourced).await), Code::InvalidArgument);
    }
    assert_eq!(world.logged(slot).await, [""; 0]);
    assert!(world.row_of(Slot(4)).await.is_none(), "no row was made");

    let right = append(&a, slot, vec![relayed(1, "right")]);
    let right = caller.append(right).await.unwrap().into_inner().answer;
    assert!(matches!(right, Some(Answer::Applied(_))), "{right:?}");
    assert_eq!(world.logged(slot).await, ["right"]);
    a.drain().await;
}

/// Red if messages are not bounded, or what fits into a batch does not fit into a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_refused() {
    let (world, a, mut caller, slot) = alone().await;
    // One entry that fills a batch to its last byte, and one that has one byte more.
    let sized = |bytes: usize, position| {
        let frame = relayed(position, &"x".repeat(1 << 16)).encoded_len() + 8 - (1 << 16);
        relayed(position, &"x".repeat(bytes - frame))
    };
    let full = sized(BATCH_BYTES_MAX, 1);
    assert_eq!(full.encoded_len() + 8, BATCH_BYTES_MAX);
    let fits = caller.append(append(&a, slot, vec![full])).await;
    let fits = fits.unwrap().into_inner().answer;
    assert!(matches!(fits, Some(Answer::Applied(_))), "{fits:?}");
    let more = append(&a, slot, vec![sized(BATCH_BYTES_MAX + 1, 2)]);
    let more = caller.append(more).await.unwrap().into_inner().answer;
    assert!(matches!(more, Some(Answer::TooLarge(_))), "{more:?}");

    let long = "x".repeat(MESSAGE_BYTES_MAX);
    let far_more = append(&a, slot, vec![relayed(2, &long)]);
    assert_eq!(code(caller.append(far_more).await), Code::OutOfRange);
    let mut told = Request::new(HandedRequest {
        to: a.id.clone(),
        slots: vec![0; 1_025],
    });
    told.set_timeout(Duration::from_secs(5));
    assert_eq!(code(caller.handed(told).await), Code::InvalidArgument);
    assert_eq!(world.logged(slot).await.len(), 1);
    a.drain().await;
}

/// Red if calls are not bounded, or appends that wait keep slots from being asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_at_once_are_bounded_and_leave_room_for_hand_overs() {
    let (world, a, mut other, slot) = alone().await;
    let gate = a.way.hold_appends();
    let callers: Vec<Caller> = (0..4).map(|_| caller(&a)).collect();
    let calls = (0..300).map(|i| {
        let mut caller = callers[i as usize % callers.len()].clone();
        let request = append(&a, slot, vec![relayed(i + 1, "held")]);
        async move { caller.append(request).await }
    });
    let calls = async {
        let answers = join_all(calls).await;
        let refused = answers.into_iter().filter_map(Result::err);
        refused.map(|status| status.code()).collect::<Vec<_>>()
    };
    let asks = async {
        eventually("one is under way", async || {
            a.way.appends_held.load(Ordering::SeqCst) == 1
        })
        .await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut ask = Request::new(HandOverRequest {
            to: a.id.clone(),
            slot: slot.0,
            successor: "somebody".to_owned(),
        });
        ask.set_timeout(Duration::from_secs(1));
        let asked = other.hand_over(ask).await.unwrap().into_inner().answer;
        let not_yet = matches!(asked, Some(hand_over_response::Answer::NotYet(_)));
        assert!(not_yet, "{asked:?}");
        gate.add_permits(1_000);
    };
    let (refused, ()) = tokio::join!(calls, asks);
    assert_eq!(refused, [Code::ResourceExhausted; 300 - 256]);
    println!("{} of 300 appends at once were refused", refused.len());
    assert!(!world.logged(slot).await.is_empty());
    a.drain().await;
}

/// Red if a process that was frozen does what its caller has given up meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_up_while_the_process_was_frozen_is_not_begun() {
    let (world, a, mut caller, slot) = alone().await;
    let first = append(&a, slot, vec![relayed(1, "before")]);
    caller.append(first).await.unwrap();
    let thaw = a.freeze().await;
    let given_up = append(&a, slot, vec![relayed(2, "given up")]);
    let given_up = tokio::time::timeout(Duration::from_millis(300), caller.append(given_up));
    assert!(given_up.await.is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(thaw);
    let last = append(&a, slot, vec![relayed(3, "after")]);
    caller.append(last).await.unwrap();
    assert_eq!(world.logged(slot).await, ["before", "after"]);
    a.drain().await;
}
