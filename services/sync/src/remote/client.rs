//! The end that asks.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use hanse_cluster::{View, grpc::Peers, ranked};
use hanse_log::{Position, SlotMap};
use hanse_proto::sync::syncs_client::SyncsClient;
use hanse_runtime::{Clock, Tasks};
use ruma::{
    DeviceId, RoomId, UserId,
    api::client::sync::sync_events::{
        DeviceLists,
        v3::{Request, Response},
    },
};
use tokio::sync::watch;
use tonic::{Code, Status};

use super::{
    PIECE_BYTES, Pieces, QUESTION_BYTES_MAX, ROLE, SLACK,
    pieces::{gathered, received},
    question::{self, Asked, Whom},
};
use crate::{SyncError, SyncWorker, TokenKey};

/// Workers that are asked one after the other. No budget bounds the second and third tries: they are
/// made only where a worker is gone, once for each client that waited on it.
const WORKERS_TRIED_MAX: usize = 3;
/// How long a client waits for a worker where there is none: as long as a restart takes.
const WORKER_WITHIN: Duration = Duration::from_secs(10);
/// For a status to arrive after its deadline.
const STATUS_WITHIN: Duration = Duration::from_secs(1);

/// What a client in a cluster is built from.
pub struct SyncClientParts {
    /// This process, by its id.
    pub member: String,
    /// Its worker, if it has the role.
    pub worker: Option<SyncWorker>,
    /// The ways to the others.
    pub peers: Peers,
    /// Who lives.
    pub members: watch::Receiver<View>,
    /// Which keys belong to which slot.
    pub map: SlotMap,
    /// The deployment's secret for tokens.
    pub token_key: TokenKey,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Once they are asked to finish, nobody waits any more.
    pub tasks: Tasks,
}

/// The sync role, wherever it is. Clones are the same.
#[derive(Clone)]
pub struct SyncClient {
    way: Arc<Way>,
}

enum Way {
    Alone(SyncWorker),
    Clustered(SyncClientParts),
}

/// What a worker answered to `/sync`.
pub enum Answered {
    /// In this process.
    Here(Box<Response>),
    /// In another one: the JSON text, as it comes.
    Elsewhere(Pieces),
}

/// Where to ask.
enum Place {
    Here(SyncWorker),
    There(String),
}

impl fmt::Debug for SyncClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncClient").finish_non_exhaustive()
    }
}

impl SyncClient {
    /// For a process that is alone: a plain call.
    pub fn alone(worker: SyncWorker) -> Self {
        let way = Arc::new(Way::Alone(worker));
        Self { way }
    }

    /// For a process of a cluster.
    pub fn clustered(parts: SyncClientParts) -> Self {
        let way = Arc::new(Way::Clustered(parts));
        Self { way }
    }

    /// `GET /_matrix/client/v3/sync` ([spec]) for one device.
    ///
    /// [spec]: https://spec.matrix.org/v1.16/client-server-api/#get_matrixclientv3sync
    pub async fn sync(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        request: Request,
    ) -> Result<Answered, SyncError> {
        match self.way.as_ref() {
            Way::Alone(worker) => worker.sync(user_id, device_id, request).await.map(here),
            Way::Clustered(parts) => parts.sync(whom(user_id, device_id), request).await,
        }
    }

    /// Whose devices changed between two tokens of this user, for `/keys/changes`.
    pub async fn device_lists(
        &self,
        user_id: &UserId,
        from: &str,
        to: &str,
    ) -> Result<DeviceLists, SyncError> {
        match self.way.as_ref() {
            Way::Alone(worker) => worker.device_lists(user_id, from, to).await,
            Way::Clustered(parts) => parts.device_lists(user_id, from, to).await,
        }
    }

    /// The position in a room at which a sync token of this user stands: the token tells it.
    pub fn position_of(
        &self,
        user_id: &UserId,
        token: &str,
        room_id: &RoomId,
    ) -> Result<Position, SyncError> {
        match self.way.as_ref() {
            Way::Alone(worker) => worker.position_of(user_id, token, room_id),
            Way::Clustered(SyncClientParts { token_key, map, .. }) => {
                Ok(token_key.read(token, user_id)?.position_in(map, room_id))
            }
        }
    }
}

impl SyncClientParts {
    async fn sync(&self, whom: Whom, request: Request) -> Result<Answered, SyncError> {
        let Some(since) = request.since.clone().filter(|_| !request.full_state) else {
            return self.poll(&whom, request).await;
        };
        tokio::select! {
            biased;
            answered = self.poll(&whom, request) => answered,
            // This process drains: nothing new, the same token.
            () = self.tasks.soft().cancelled() => Ok(here(Response::new(since))),
        }
    }

    async fn poll(&self, whom: &Whom, mut request: Request) -> Result<Answered, SyncError> {
        let by = self.clock.monotonic() + request.timeout.unwrap_or_default();
        let mut tried = Vec::new();
        loop {
            let place = self.place(&whom.user_id, &mut tried).await?;
            let left = by.saturating_sub(self.clock.monotonic());
            request.timeout = Some(left);
            let there = match place {
                Place::Here(worker) => {
                    let Whom { user_id, device_id } = whom;
                    return worker.sync(user_id, device_id, request).await.map(here);
                }
                Place::There(there) => there,
            };
            let asked = Asked::Poll(Box::new(request.clone()));
            if let Some(pieces) = self.call(&there, whom, &asked, left + SLACK).await? {
                return Ok(Answered::Elsewhere(pieces));
            }
        }
    }

    async fn device_lists(
        &self,
        user_id: &UserId,
        from: &str,
        to: &str,
    ) -> Result<DeviceLists, SyncError> {
        // The device does not matter to what is asked.
        let whom = whom(user_id, "".into());
        let asked = Asked::DeviceLists {
            from: from.to_owned(),
            to: to.to_owned(),
        };
        let mut tried = Vec::new();
        loop {
            let there = match self.place(user_id, &mut tried).await? {
                Place::Here(worker) => return worker.device_lists(user_id, from, to).await,
                Place::There(there) => there,
            };
            let Some(pieces) = self.call(&there, &whom, &asked, SLACK).await? else {
                continue;
            };
            let text = gathered(pieces).await.map_err(|error| unanswered(&error))?;
            return serde_json::from_slice(&text).map_err(|error| unanswered(&error));
        }
    }

    /// The user's worker, or the first in rank that was not tried. Waits for one to come.
    async fn place(&self, user_id: &UserId, tried: &mut Vec<String>) -> Result<Place, SyncError> {
        if tried.len() >= WORKERS_TRIED_MAX {
            return Err(unanswered(&"several workers did not answer"));
        }
        let mut members = self.members.clone();
        let is_there = |view: &View| first(view, user_id, tried).is_some();
        let came = tokio::time::timeout(WORKER_WITHIN, members.wait_for(is_there));
        let first = match came.await {
            Ok(Ok(view)) => first(&view, user_id, tried),
            _ => None,
        };
        let first = first.ok_or_else(|| unanswered(&"no sync worker lives"))?;
        tried.push(first.clone());
        Ok(match &self.worker {
            Some(worker) if first == self.member => Place::Here(worker.clone()),
            _ => Place::There(first),
        })
    }

    /// `None`: another worker may be asked.
    async fn call(
        &self,
        there: &str,
        whom: &Whom,
        asked: &Asked,
        within: Duration,
    ) -> Result<Option<Pieces>, SyncError> {
        let mut request = tonic::Request::new(question::write(there, whom, asked));
        request.set_timeout(within);
        let called = async {
            let channel = self.peers.long(there);
            let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
            SyncsClient::new(channel)
                .max_encoding_message_size(QUESTION_BYTES_MAX)
                .max_decoding_message_size(2 * PIECE_BYTES)
                .answer(request)
                .await
        };
        let (answered, outcome) = outcome(in_time(called, within + STATUS_WITHIN).await);
        metrics::counter!("hanse_sync_asked_total", "outcome" => outcome).increment(1);
        answered.map(|answered| answered.map(|answer| received(answer.into_inner())))
    }
}

fn first(view: &View, user_id: &UserId, tried: &[String]) -> Option<String> {
    let ranked = ranked(user_id.as_str(), view.taking(ROLE));
    let mut untried = ranked
        .into_iter()
        .filter(|id| !tried.iter().any(|t| t == id));
    untried.next().map(str::to_owned)
}

async fn in_time<T>(
    called: impl Future<Output = Result<T, Status>>,
    within: Duration,
) -> Result<T, Status> {
    let late = |_| Err(Status::deadline_exceeded("time-out"));
    tokio::time::timeout(within, called)
        .await
        .unwrap_or_else(late)
}

/// What a call came to, and its name as a label.
fn outcome<T>(called: Result<T, Status>) -> (Result<Option<T>, SyncError>, &'static str) {
    let status = match called {
        Ok(answer) => return (Ok(Some(answer)), "answered"),
        Err(status) => status,
    };
    match status.code() {
        Code::InvalidArgument => {
            let reason = status.message().to_owned();
            (Err(SyncError::Refused { reason }), "refused")
        }
        Code::ResourceExhausted => (Err(SyncError::Full), "full"),
        Code::Aborted | Code::DeadlineExceeded => (Err(unanswered(&status)), "failed"),
        // It drains, is another process, or is gone: what the transport says of that has many codes.
        _ => {
            tracing::debug!(%status, "a sync worker did not answer");
            (Ok(None), "elsewhere")
        }
    }
}

fn unanswered(reason: &dyn fmt::Display) -> SyncError {
    let reason = reason.to_string();
    SyncError::Unanswered { reason }
}

fn whom(user_id: &UserId, device_id: &DeviceId) -> Whom {
    Whom {
        user_id: user_id.to_owned(),
        device_id: device_id.to_owned(),
    }
}

fn here(response: Response) -> Answered {
    Answered::Here(Box::new(response))
}
