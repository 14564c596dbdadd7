//! The end that answers.

use std::{collections::BTreeSet, sync::Arc};

use hanse_log::{Slot, SlotLogs, SlotOwner};
use hanse_proto::{
    cluster::{
        AppendRequest, AppendResponse, HandOverRequest, HandOverResponse, HandedRequest,
        HandedResponse,
        commands_server::CommandsServer,
        slots_server::{Slots as SlotsService, SlotsServer},
    },
    log::Entry,
};
use hanse_runtime::{Clock, Tasks};
use hanse_store::Store;
use tokio::sync::Semaphore;
use tonic::{
    Request, Response, Status,
    service::{Routes, interceptor::InterceptedService},
};

use super::{
    CALL_TIMEOUT_MAX, COMMAND_MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX, SLOTS_TOLD_MAX, SlotListener,
    answer::{append_response, hand_over_response},
    commands::Runner,
    gate::{Gate, Place, begin, place},
    serve::serve,
    within::Within,
};
use crate::{Commands, HandOverError, Keeper};

/// Calls at once but commands, of all processes; so many messages may be in memory.
const CALLS_MAX: usize = 320;
/// Appends at once: the rest of the calls stays for slots that change hands.
const APPENDS_MAX: usize = 256;
/// Commands at once: their messages are larger, and they may wait for a slot that is being taken.
const COMMANDS_MAX: usize = 256;

/// What answers the other processes.
pub struct ServerParts {
    /// This process.
    pub member: String,
    /// Takes appends.
    pub logs: SlotLogs,
    /// Hands slots over, where they are kept.
    pub keeper: Option<Keeper>,
    /// The writes that this process runs for the others.
    pub commands: Commands,
    /// Where the slots' rows are.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it runs: to be asked to finish after the keeper's, so that whoever comes for a slot
    /// that is handed on is told where it went, and before the logs'.
    pub tasks: Tasks,
}

impl ServerParts {
    /// Answers at the listener, beside `others`, until the tasks are asked to finish; calls under
    /// way are still answered.
    pub fn serve(self, listener: SlotListener, others: Routes) {
        let (tasks, clock) = (self.tasks.clone(), Arc::clone(&self.clock));
        let calls = Gate::new(&self.clock, "calls", CALLS_MAX);
        let commands = Gate::new(&self.clock, "commands", COMMANDS_MAX);
        let runner = CommandsServer::new(self.runner())
            .max_decoding_message_size(COMMAND_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(COMMAND_MESSAGE_BYTES_MAX);
        let runner = Within::new(CALL_TIMEOUT_MAX, runner);
        let runner = InterceptedService::new(runner, move |request| commands.enter(request));
        let service = SlotsServer::new(SlotService::new(self))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let service = Within::new(CALL_TIMEOUT_MAX, service);
        let service = InterceptedService::new(service, move |request| calls.enter(request));
        let services = others.add_service(service).add_service(runner);
        serve(listener, services, &tasks, clock);
    }

    fn runner(&self) -> Runner {
        Runner {
            member: self.member.clone(),
            logs: self.logs.clone(),
            slots: self.logs.map().slots().collect(),
            commands: self.commands.clone(),
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
        }
    }
}

struct SlotService {
    member: String,
    slots: BTreeSet<Slot>,
    logs: SlotLogs,
    keeper: Option<Keeper>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    appends: Arc<Semaphore>,
}

impl SlotService {
    fn new(parts: ServerParts) -> Self {
        Self {
            member: parts.member,
            slots: parts.logs.map().slots().collect(),
            logs: parts.logs,
            keeper: parts.keeper,
            store: parts.store,
            clock: parts.clock,
            appends: Arc::new(Semaphore::new(APPENDS_MAX)),
        }
    }

    /// What must hold of every call before anything is begun. The place is to be kept.
    async fn begin(&self, call: &tonic::Extensions, to: &str) -> Result<Place, Status> {
        let to = (to, self.member.as_str());
        let (place, _) = begin(call, to, self.clock.as_ref()).await?;
        Ok(place)
    }

    fn slot(&self, number: u32) -> Result<Slot, Status> {
        let slot = self.slots.get(&Slot(number)).copied();
        slot.ok_or_else(|| Status::invalid_argument("no such slot"))
    }

    /// Who serves a slot that is not served here, by its row; empty: not known.
    async fn owner(&self, slot: Slot) -> String {
        let row = SlotOwner::glance(self.store.as_ref(), slot).await;
        row.ok().flatten().unwrap_or_default().owner
    }
}

#[tonic::async_trait]
impl SlotsService for SlotService {
    async fn hand_over(
        &self,
        request: Request<HandOverRequest>,
    ) -> Result<Response<HandOverResponse>, Status> {
        let (_, call, request) = request.into_parts();
        let _place = self.begin(&call, &request.to).await?;
        let slot = self.slot(request.slot)?;
        let handed = match &self.keeper {
            Some(keeper) => keeper.hand_over(slot, &request.successor).await,
            None => Err(HandOverError::NotServed),
        };
        hand_over_response(handed).map(Response::new)
    }

    async fn handed(
        &self,
        request: Request<HandedRequest>,
    ) -> Result<Response<HandedResponse>, Status> {
        let (_, call, request) = request.into_parts();
        let _place = self.begin(&call, &request.to).await?;
        if request.slots.len() > SLOTS_TOLD_MAX {
            return Err(Status::invalid_argument("too many slots at once"));
        }
        let slots = request.slots.iter().map(|number| self.slot(*number));
        let slots = slots.collect::<Result<_, _>>()?;
        if let Some(keeper) = &self.keeper {
            keeper.handed(slots).await;
        }
        Ok(Response::new(HandedResponse {}))
    }

    async fn append(
        &self,
        request: Request<AppendRequest>,
    ) -> Result<Response<AppendResponse>, Status> {
        let (_, call, request) = request.into_parts();
        let _place = self.begin(&call, &request.to).await?;
        let _append = place(&self.appends, "appends")?;
        let slot = self.slot(request.slot)?;
        check_source(&request.entries)?;
        let appended = match self.logs.submit(slot, None, request.entries) {
            Ok(ticket) => ticket.applied().await,
            Err(error) => Err(error),
        };
        let owner = match &appended {
            Ok(_) => String::new(),
            Err(_) => self.owner(slot).await,
        };
        Ok(Response::new(append_response(appended, owner)))
    }
}

/// Only what a relay brings can be told from its repeat, and only as a whole.
fn check_source(entries: &[Entry]) -> Result<(), Status> {
    let mut sources = entries.iter().map(|entry| entry.relay_source.as_ref());
    let first = sources.next().flatten();
    if first.is_some() && sources.all(|source| source == first) {
        Ok(())
    } else {
        Err(Status::invalid_argument("not the entries of one relay"))
    }
}
