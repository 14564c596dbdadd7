//! The end that runs commands for other processes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hanse_log::{LogPoint, Slot, SlotLogs, SlotOwner};
use hanse_proto::cluster::{
    NotServed, Ran, RunRequest, RunResponse, commands_server::Commands as CommandsService,
    run_response::Answer,
};
use hanse_runtime::{Clock, trace};
use hanse_store::Store;
use tonic::{Request, Response, Status, metadata::MetadataMap};
use tracing::{Instrument, Span};

use super::{COMMAND_BYTES_MAX, gate::begin};
use crate::command::{Commands, Ended, NotRun};

/// How long a command waits for a slot that is just being taken.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

/// Runs commands where the slot is served here.
pub(super) struct Runner {
    pub(super) member: String,
    pub(super) logs: SlotLogs,
    pub(super) slots: BTreeSet<Slot>,
    pub(super) commands: Commands,
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
}

#[tonic::async_trait]
impl CommandsService for Runner {
    async fn run(&self, request: Request<RunRequest>) -> Result<Response<RunResponse>, Status> {
        let (metadata, call, request) = request.into_parts();
        let to = (request.to.as_str(), self.member.as_str());
        let (_place, deadline) = begin(&call, to, self.clock.as_ref()).await?;
        let slot = Slot(request.slot);
        if !self.slots.contains(&slot) {
            return Err(Status::invalid_argument("no such slot"));
        }
        let command = self.commands.get(&request.command);
        let command = command.ok_or_else(|| Status::unimplemented("no such command"))?;
        if !self.serves(slot).await {
            return Ok(Response::new(self.not_served(slot).await));
        }
        deadline.check(self.clock.as_ref())?;
        let map = self.logs.map();
        let span = span(&metadata, &request.command, slot);
        let ended = command.run(slot, map, &request.body).instrument(span).await;
        let answer = match ended.map_err(|error| status(&request.command, &error))? {
            Ended::NotServed => return Ok(Response::new(self.not_served(slot).await)),
            Ended::Done(body) => Answer::Done(self.ran(slot, body)?),
            Ended::Refused(body) => Answer::Refused(self.ran(slot, body)?),
        };
        Ok(Response::new(answered(answer)))
    }
}

impl Runner {
    /// Whether the slot is served here, or will be in a moment.
    async fn serves(&self, slot: Slot) -> bool {
        let mut changes = self.logs.served_changes();
        let settled = async {
            // What ends to be taken without being served changes, too.
            while self.logs.takes(slot) && changes.changed().await.is_ok() {}
        };
        let _ = tokio::time::timeout(TAKEN_WITHIN, settled).await;
        self.logs.serves(slot)
    }

    fn ran(&self, slot: Slot, body: Vec<u8>) -> Result<Ran, Status> {
        if body.len() > COMMAND_BYTES_MAX {
            return Err(Status::internal("the answer is too large"));
        }
        let LogPoint { segment, seq } = self.logs.applied_point(slot);
        Ok(Ran { body, segment, seq })
    }

    async fn not_served(&self, slot: Slot) -> RunResponse {
        let row = SlotOwner::glance(self.store.as_ref(), slot).await;
        let owner = row.ok().flatten().unwrap_or_default().owner;
        answered(Answer::NotServed(NotServed { owner }))
    }
}

/// A part of the trace in which the command was sent, if that one is sampled.
fn span(metadata: &MetadataMap, command: &str, slot: Slot) -> Span {
    let span = tracing::info_span!("command", command, slot = slot.0);
    let context = metadata.get(trace::TRACEPARENT);
    let context = context.and_then(|context| context.to_str().ok());
    trace::adopt(&span, context.unwrap_or_default());
    span
}

fn answered(answer: Answer) -> RunResponse {
    RunResponse {
        answer: Some(answer),
    }
}

fn status(command: &str, error: &NotRun) -> Status {
    tracing::warn!(command, %error, "a command was not run, or not answered");
    match error {
        NotRun::Malformed(_) | NotRun::OtherSlot { .. } => {
            Status::invalid_argument(error.to_string())
        }
        NotRun::Unspeakable(_) => Status::internal(error.to_string()),
    }
}
