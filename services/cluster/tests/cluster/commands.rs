//! Writes that are called anywhere, and run where their slot is served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hanse_cluster::grpc::COMMAND_BYTES_MAX;
use hanse_log::{AppendError, Slot};
use hanse_proto::cluster::{RunRequest, commands_client::CommandsClient, run_response::Answer};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tonic::{Code, Request, body::Body};

use crate::{
    notes::{NoteError, Notes, REPEATS},
    relays::move_over,
    wire::Wire,
    world::{Process, World, eventually, now},
};

impl Process {
    /// As one of its tasks.
    async fn note(&self, key: &str, ballast: &str) -> Result<(), NoteError> {
        let (notes, key, ballast) = (self.notes.clone(), key.to_owned(), ballast.to_owned());
        let noting = async move { notes.note_with(&key, &ballast).await.outcome };
        self.run(noting).await.map(drop)
    }
}

/// Distinct keys of one slot.
fn keys_of(process: &Process, slot: Slot, count: usize) -> Vec<String> {
    let keys = (0..).map(|i| format!("note-{i}"));
    keys.filter(|key| process.logs.slot_of(key) == slot)
        .take(count)
        .collect()
}

fn log_says(error: &NoteError) -> &AppendError {
    match error {
        NoteError::Append(error) => error,
        NoteError::Unfit { .. } => panic!("{error}"),
    }
}

/// Red if a command is not sent, runs here, or comes back without its slot being shown here; or if
/// one whose slot is served here is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_runs_where_its_slot_is_served() {
    let world = World::over_grpc(8);
    let (a, b) = tokio::join!(world.start("a"), world.start("b"));
    world.shared_out(&[&a, &b]).await;
    let (own, theirs) = (a.logs.served()[0], b.logs.served()[0]);
    let (here, there) = (a.key_of(own), a.key_of(theirs));

    let (notes, key) = (a.notes.clone(), here.clone());
    let done = a.run(async move { notes.note(&key).await }).await;
    assert!(done.outcome.is_ok() && done.elsewhere.is_none());
    assert_eq!((a.notes.runs(), b.notes.runs()), (1, 0));

    let (notes, key) = (a.notes.clone(), there.clone());
    let done = a.run(async move { notes.note(&key).await }).await;
    let position = done.outcome.unwrap().position;
    assert_eq!(done.elsewhere.unwrap().slot, theirs);
    assert_eq!((a.notes.runs(), b.notes.runs()), (1, 1));
    assert!(
        a.logs.applied(theirs) >= position,
        "what was written is shown"
    );
    assert_eq!(world.logged(theirs).await, std::slice::from_ref(&there));

    let refused = a.note(&there, "unfit").await.unwrap_err();
    assert_eq!(refused.to_string(), format!("{there} is unfit"));
    for process in [a, b] {
        process.drain().await;
    }
}

/// Red if what a process has written elsewhere is not to be seen by it while the bus is dead: the
/// next poll of the heads would come up to two seconds later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_elsewhere_is_shown_without_the_bus() {
    let world = World::over_grpc(8);
    let (a, b) = tokio::join!(world.start("a"), world.start("b"));
    world.all_served(&[&a, &b]).await;
    world.cut_the_bus();
    let theirs = b.logs.served()[0];
    for key in keys_of(&a, theirs, 5) {
        let notes = a.notes.clone();
        let done = a.run(async move { notes.note(&key).await }).await;
        let position = done.outcome.unwrap().position;
        assert!(a.logs.applied(theirs) >= position);
    }
    for process in [a, b] {
        process.drain().await;
    }
}

/// Red if a command fails, or is done twice, because its slot changes hands in an orderly way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_fails_when_a_slot_is_handed_over() {
    let world = World::over_grpc(9);
    let (a, b, c) = tokio::join!(world.start("a"), world.start("b"), world.start("c"));
    world.all_served(&[&a, &b, &c]).await;
    let slot = b.logs.served()[0];
    let stop = Arc::new(AtomicBool::new(false));
    let writing = {
        let (notes, stop) = (a.notes.clone(), Arc::clone(&stop));
        let keys = keys_of(&a, slot, 2_000);
        a.run(async move { write(&notes, keys, &stop).await })
    };
    let moving = async {
        for _ in 0..3 {
            move_over(&b, &c, slot).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            move_over(&c, &b, slot).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        stop.store(true, Ordering::SeqCst);
    };
    let (written, ()) = tokio::join!(writing, moving);
    println!("{} commands, six moves, none failed", written.len());
    assert!(written.len() > 20, "{}", written.len());
    let logged = world.logged(slot).await;
    assert_eq!(logged, written);
    assert!(b.notes.runs() > 0 && c.notes.runs() > 0);
    for process in [a, b, c] {
        process.drain().await;
    }
}

/// Red if a command that was begun fails because its slot is handed over before anything is written:
/// here, or at another process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_begun_before_its_slot_went_is_run_by_the_next_owner() {
    let world = World::over_grpc(9);
    let (a, b, c) = tokio::join!(world.start("a"), world.start("b"), world.start("c"));
    world.all_served(&[&a, &b, &c]).await;
    let slot = b.logs.served()[0];
    let keys = keys_of(&a, slot, 2);
    let going = async {
        eventually("both are begun", async || b.notes.runs() == 2).await;
        move_over(&b, &c, slot).await;
    };
    let (here, there) = (b.note(&keys[0], "slow"), a.note(&keys[1], "slow"));
    let (here, there, ()) = tokio::join!(here, there, going);
    here.unwrap();
    there.unwrap();
    assert_eq!(c.notes.runs(), 2);
    let logged = world.logged(slot).await;
    assert!(logged.len() == 2 && keys.iter().all(|key| logged.contains(key)));
    for process in [a, b, c] {
        process.drain().await;
    }
}

async fn write(notes: &Notes, keys: Vec<String>, stop: &AtomicBool) -> Vec<String> {
    let mut written = Vec::new();
    for key in keys {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let done = notes.note(&key).await.outcome;
        done.unwrap_or_else(|error| panic!("{key}: {error}"));
        written.push(key);
    }
    written
}

/// Red if a command does not wait for the next owner, or is done twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_waits_for_the_next_owner_of_a_dead_ones_slot() {
    let world = World::over_grpc(16);
    let (a, b, c) = tokio::join!(world.start("a"), world.start("b"), world.start("c"));
    world.all_served(&[&a, &b, &c]).await;
    let slots = b.logs.served();
    for slot in &slots {
        a.note(&keys_of(&a, *slot, 1)[0], "").await.unwrap();
    }
    b.kill();
    let killed = now();
    // A call on a connection whose end is not noticed yet is in doubt.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for slot in &slots {
        a.note(&keys_of(&a, *slot, 2)[1], "").await.unwrap();
    }
    let took = killed.elapsed();
    println!(
        "{} slots of a dead owner: written to after {took:?}",
        slots.len()
    );
    for slot in &slots {
        assert_eq!(world.logged(*slot).await, keys_of(&a, *slot, 2));
    }
    for process in [a, c] {
        process.drain().await;
    }
}

/// Red if a command is sent again although it may have been done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_answer_is_lost_is_not_sent_again() {
    let world = World::by(Wire::proxied(), 8);
    let a = world.start("a").await;
    let b = world.start("b").await;
    world.all_served(&[&a, &b]).await;
    let before_b = world.wire.proxies.lock()[1].clone();
    let theirs = b.logs.served()[0];
    let keys = keys_of(&a, theirs, 2);
    a.note(&keys[0], "").await.unwrap();
    before_b.deaf.store(true, Ordering::SeqCst);
    let begun = now();
    let lost = a.note(&keys[1], "").await.unwrap_err();
    println!("given up after {:?}: {lost}", begun.elapsed());
    assert!(matches!(log_says(&lost), AppendError::SlotLost { slot } if *slot == theirs));
    assert_eq!(b.notes.runs(), 2);
    assert_eq!(world.logged(theirs).await, keys);
    before_b.deaf.store(false, Ordering::SeqCst);
    before_b.cut();
    // A command on a connection whose end is not noticed yet is in doubt, too: clients ask again.
    eventually("commands are answered again", async || {
        a.note(&keys[0], "").await.is_ok()
    })
    .await;
    for process in [a, b] {
        process.drain().await;
    }
}

/// Red if a command whose repeat is safe fails because an answer was lost: on the way, or with the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_whose_repeat_is_safe_is_sent_again() {
    let world = World::by(Wire::proxied(), 8);
    let a = world.start("a").await;
    let b = world.start("b").await;
    world.all_served(&[&a, &b]).await;
    let before_b = world.wire.proxies.lock()[1].clone();
    let theirs = b.logs.served()[0];
    let keys = keys_of(&a, theirs, 2);
    a.note(&keys[0], "").await.unwrap();

    before_b.deaf.store(true, Ordering::SeqCst);
    let cutting = async {
        eventually("it is done", async || b.notes.runs() == 2).await;
        before_b.deaf.store(false, Ordering::SeqCst);
        before_b.cut();
    };
    let (sent, ()) = tokio::join!(a.note(&keys[1], REPEATS), cutting);
    sent.unwrap();
    assert_eq!(b.notes.runs(), 3, "sent again");

    before_b.deaf.store(true, Ordering::SeqCst);
    let killing = async {
        eventually("it is done", async || b.notes.runs() == 4).await;
        b.kill();
        before_b.cut();
    };
    let (sent, ()) = tokio::join!(a.note(&keys[1], REPEATS), killing);
    sent.unwrap();
    assert_eq!(a.notes.runs(), 1, "by the next owner");
    a.drain().await;
}

/// Red if a command fails because the process that it is for ends in order: its calls come just when the
/// connection is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_command_fails_when_a_process_drains() {
    const WRITERS: usize = 16;
    let world = World::over_grpc(16);
    let a = world.start("a").await;
    let mut written = 0;
    for round in 0..4 {
        let b = world.start(&format!("b{round}")).await;
        world.all_served(&[&a, &b]).await;
        let stop = Arc::new(AtomicBool::new(false));
        let slots = b.logs.served();
        let writers = (0..WRITERS).map(|writer| {
            let (notes, stop) = (a.notes.clone(), Arc::clone(&stop));
            let keys = keys_of(&a, slots[writer % slots.len()], 5_000);
            a.run(async move { write(&notes, keys, &stop).await })
        });
        let draining = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            b.drain().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            stop.store(true, Ordering::SeqCst);
        };
        let (all, ()) = tokio::join!(futures::future::join_all(writers), draining);
        written += all.iter().map(Vec::len).sum::<usize>();
    }
    println!("{written} commands, four drains, none failed");
    assert!(written > 4 * WRITERS, "{written}");
    a.drain().await;
}

/// Red if a command for which nobody is there waits for ever, or is said to be in doubt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_nobody_serves_was_not_begun() {
    let world = World::over_grpc(4);
    let a = world.start("a").await;
    world.all_served(&[&a]).await;
    let slot = a.logs.served()[0];
    let key = a.key_of(slot);
    let notes = a.notes.clone();
    // It cannot renew, and nobody else is there to take over.
    a.way.mute.store(true, Ordering::SeqCst);
    eventually("the lease is lost", async || !a.logs.serves(slot)).await;
    let begun = now();
    let late = a.run(async move { notes.note(&key).await.outcome }).await;
    let late = late.unwrap_err();
    assert!(
        matches!(log_says(&late), AppendError::NotServed { .. }),
        "{late}"
    );
    println!("said after {:?}", begun.elapsed());
    assert_eq!(a.notes.runs(), 0);
    a.way.mute.store(false, Ordering::SeqCst);
    a.drain().await;
}

/// Red if what is too large is sent, or is refused as something else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_not_sent() {
    let world = World::over_grpc(8);
    let (a, b) = tokio::join!(world.start("a"), world.start("b"));
    world.all_served(&[&a, &b]).await;
    let key = a.key_of(b.logs.served()[0]);
    let frame = serde_json::json!({ "key": key, "ballast": "" }).to_string();
    let fits = "x".repeat(COMMAND_BYTES_MAX - frame.len());
    a.note(&key, &fits).await.unwrap();
    let more = a.note(&key, &format!("{fits}x")).await.unwrap_err();
    assert!(
        matches!(log_says(&more), AppendError::TooLarge { bytes, bytes_max }
            if *bytes == COMMAND_BYTES_MAX + 1 && *bytes_max == COMMAND_BYTES_MAX),
        "{more}"
    );
    assert_eq!(b.notes.runs(), 1);
    for process in [a, b] {
        process.drain().await;
    }
}

/// Red if a process does what is late, for another, unknown, malformed or of another slot; or what is
/// not its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_late_or_wrong_is_not_run() {
    let world = World::over_grpc(32);
    let (a, b) = tokio::join!(world.start("a"), world.start("b"));
    world.shared_out(&[&a, &b]).await;
    let (own, theirs) = (a.logs.served()[0], b.logs.served()[0]);
    let mut caller = caller(&a);
    let right = || RunRequest {
        to: a.id.clone(),
        slot: own.0,
        command: "test.note".to_owned(),
        body: serde_json::to_vec(&serde_json::json!({ "key": a.key_of(own) })).unwrap(),
    };
    let wrong = [
        (
            RunRequest {
                to: "another".to_owned(),
                ..right()
            },
            Code::FailedPrecondition,
        ),
        (
            RunRequest {
                slot: 32,
                ..right()
            },
            Code::InvalidArgument,
        ),
        (
            RunRequest {
                slot: a.logs.served()[1].0,
                ..right()
            },
            Code::InvalidArgument,
        ),
        (
            RunRequest {
                command: "test.other".to_owned(),
                ..right()
            },
            Code::Unimplemented,
        ),
        (
            RunRequest {
                body: b"{".to_vec(),
                ..right()
            },
            Code::InvalidArgument,
        ),
        (
            RunRequest {
                body: vec![b'x'; 2 * COMMAND_BYTES_MAX],
                ..right()
            },
            Code::OutOfRange,
        ),
    ];
    for (request, code) in wrong {
        let refused = caller.run(in_time(request)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    let refused = caller.run(Request::new(right())).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "no deadline");
    let elsewhere = RunRequest {
        slot: theirs.0,
        body: serde_json::to_vec(&serde_json::json!({ "key": a.key_of(theirs) })).unwrap(),
        ..right()
    };
    let answer = caller.run(in_time(elsewhere)).await.unwrap().into_inner();
    assert!(matches!(answer.answer, Some(Answer::NotServed(named)) if named.owner == b.id));
    assert_eq!((a.notes.runs(), b.notes.runs()), (0, 0));

    // Fields of a later version are passed over.
    let later = serde_json::json!({ "key": a.key_of(own), "since_later": [1] });
    let later = RunRequest {
        body: serde_json::to_vec(&later).unwrap(),
        ..right()
    };
    let answer = caller.run(in_time(later)).await.unwrap().into_inner();
    assert!(matches!(answer.answer, Some(Answer::Done(_))), "{answer:?}");
    for process in [a, b] {
        process.drain().await;
    }
}

fn in_time(request: RunRequest) -> Request<RunRequest> {
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_secs(5));
    request
}

fn caller(process: &Process) -> CommandsClient<Client<HttpConnector, Body>> {
    let address = process.live().live[&process.id].address.clone();
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    CommandsClient::with_origin(client, format!("http://{address}").parse().unwrap())
}
