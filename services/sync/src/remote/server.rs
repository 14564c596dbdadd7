//! The end that answers.

use std::sync::Arc;

use futures::{StreamExt, stream::BoxStream};
use hanse_proto::sync::{
    Piece, Question,
    syncs_server::{Syncs, SyncsServer},
};
use hanse_runtime::Tasks;
use ruma::api::OutgoingResponseExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status, service::Routes};

use super::{
    QUESTION_BYTES_MAX,
    pieces::sent,
    question::{self, Asked, Whom},
};
use crate::{SyncError, SyncWorker};

/// Clients that wait on this worker at once, or are being sent their answers, by way of all processes.
const ANSWERS_MAX: usize = 20_000;

/// Answers other processes with this one's worker.
pub struct SyncServer {
    /// This process, by its id.
    pub member: String,
    /// The worker.
    pub worker: SyncWorker,
    /// The worker's: once they are asked to finish, nothing new is answered.
    pub tasks: Tasks,
}

impl SyncServer {
    /// As one of the services at the process's address.
    pub fn routes(self) -> Routes {
        let service = Service {
            member: self.member,
            worker: self.worker,
            tasks: self.tasks,
            places: Arc::new(Semaphore::new(ANSWERS_MAX)),
        };
        let service = SyncsServer::new(service).max_decoding_message_size(QUESTION_BYTES_MAX);
        Routes::new(service)
    }
}

struct Service {
    member: String,
    worker: SyncWorker,
    tasks: Tasks,
    places: Arc<Semaphore>,
}

impl Service {
    fn begin(&self, request: &Request<Question>) -> Result<OwnedSemaphorePermit, Status> {
        if request.metadata().get("grpc-timeout").is_none() {
            return Err(Status::invalid_argument("no grpc-timeout"));
        }
        if request.get_ref().to != self.member {
            return Err(Status::failed_precondition("not the process it is for"));
        }
        if self.tasks.soft().is_cancelled() {
            return Err(Status::unavailable("the process drains"));
        }
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            metrics::counter!("hanse_sync_answers_full_total").increment(1);
            Status::resource_exhausted("too many clients wait here")
        })
    }

    async fn json(&self, whom: &Whom, asked: Asked) -> Result<Vec<u8>, Status> {
        let Whom { user_id, device_id } = whom;
        match asked {
            Asked::Poll(request) => {
                let answer = self.worker.sync(user_id, device_id, *request).await;
                let answer = answer.map_err(|error| refusal(&error))?;
                let answer = answer.try_into_http_response::<Vec<u8>>();
                Ok(answer.map_err(|error| unwritable(&error))?.into_body())
            }
            Asked::DeviceLists { from, to } => {
                let lists = self.worker.device_lists(user_id, &from, &to).await;
                let lists = lists.map_err(|error| refusal(&error))?;
                serde_json::to_vec(&lists).map_err(|error| unwritable(&error))
            }
        }
    }
}

#[tonic::async_trait]
impl Syncs for Service {
    type AnswerStream = BoxStream<'static, Result<Piece, Status>>;

    async fn answer(
        &self,
        request: Request<Question>,
    ) -> Result<Response<Self::AnswerStream>, Status> {
        let place = self.begin(&request)?;
        let question = question::read(request.into_inner());
        let (whom, asked) = question.ok_or_else(|| Status::unimplemented("not understood"))?;
        let waiting = Waiting::begin();
        let json = self.json(&whom, asked).await?;
        drop(waiting);
        // The place is given back when the last piece is on its way, or nobody wants it.
        let held = sent(json).map(move |piece| {
            let _held = &place;
            piece
        });
        Ok(Response::new(held.boxed()))
    }
}

/// Counts a client that waits; ends, too, when the other end goes away.
struct Waiting;

impl Waiting {
    fn begin() -> Self {
        metrics::gauge!("hanse_sync_answers_waiting").increment(1.0);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        metrics::gauge!("hanse_sync_answers_waiting").decrement(1.0);
    }
}

fn refusal(error: &SyncError) -> Status {
    match error {
        SyncError::BadToken(_) | SyncError::UnknownFilter { .. } | SyncError::Refused { .. } => {
            Status::invalid_argument(error.to_string())
        }
        error => {
            tracing::warn!(%error, "a client that another process serves got no answer");
            Status::aborted(error.to_string())
        }
    }
}

fn unwritable(error: &dyn std::error::Error) -> Status {
    tracing::error!(%error, "an answer cannot be written");
    Status::aborted("the answer cannot be written")
}
