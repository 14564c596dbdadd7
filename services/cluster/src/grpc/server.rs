//! The end that answers.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hanse_log::{Slot, SlotLogs, SlotOwner};
use hanse_proto::{
    cluster::{
        AppendRequest, AppendResponse, HandOverRequest, HandOverResponse, HandedRequest,
        HandedResponse,
        slots_server::{Slots as SlotsService, SlotsServer},
    },
    log::Entry,
};
use hanse_runtime::{Clock, Tasks};
use hanse_store::Store;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{
    Request, Response, Status, service::interceptor::InterceptedService, transport::Server,
};

use super::{
    CALL_TIMEOUT_MAX, MESSAGE_BYTES_MAX, SLOTS_TOLD_MAX, SlotListener,
    answer::{append_response, hand_over_response},
    deadline::Deadline,
};
use crate::Keeper;

/// Calls at once, of all processes; so many messages may be in memory.
const CALLS_MAX: usize = 320;
/// Appends at once: the rest of the calls stays for slots that change hands.
const APPENDS_MAX: usize = 256;
/// Calls at once on one connection.
const STREAMS_MAX: u32 = 128;
/// A silent connection is asked so often whether it lives …
const PING_EVERY: Duration = Duration::from_secs(20);
/// … and has so long to say so.
const PONG_WITHIN: Duration = Duration::from_secs(10);

/// What answers the other processes.
pub struct ServerParts {
    /// This process.
    pub member: String,
    /// Takes appends.
    pub logs: SlotLogs,
    /// Hands slots over.
    pub keeper: Keeper,
    /// Where the slots' rows are.
    pub store: Arc<dyn Store>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it runs: to be asked to finish after the keeper's, so that whoever comes for a slot
    /// that is handed on is told where it went, and before the logs'.
    pub tasks: Tasks,
}

impl ServerParts {
    /// Answers at the listener until the tasks are asked to finish; calls under way are still
    /// answered.
    pub fn serve(self, listener: SlotListener) {
        let tasks = self.tasks.clone();
        let soft = tasks.soft().clone();
        let gate = Gate {
            clock: Arc::clone(&self.clock),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
        };
        let service = SlotsServer::new(Service::new(self))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let service = InterceptedService::new(service, move |request| gate.enter(request));
        // Certificates will be named here.
        let server = Server::builder()
            .timeout(CALL_TIMEOUT_MAX)
            .max_concurrent_streams(STREAMS_MAX)
            .http2_keepalive_interval(Some(PING_EVERY))
            .http2_keepalive_timeout(Some(PONG_WITHIN));
        tasks.spawn_critical("slot-calls", async move {
            let connections = listener.connections();
            let ended = soft.cancelled_owned();
            let end = server.serve_with_incoming_shutdown(service, connections, ended);
            if let Err(error) = end.await {
                tracing::error!(%error, "other processes are not answered any more");
            }
        });
    }
}

/// What each call passes before its message is read.
#[derive(Clone)]
struct Gate {
    clock: Arc<dyn Clock>,
    calls: Arc<Semaphore>,
}

/// A call's place among the [`CALLS_MAX`]; goes with the request.
#[derive(Clone)]
struct Place(#[expect(dead_code, reason = "held")] Arc<OwnedSemaphorePermit>);

impl Gate {
    fn enter(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let deadline = Deadline::read(request.metadata(), self.clock.as_ref())?;
        let place = place(&self.calls, "calls")?;
        let extensions = request.extensions_mut();
        extensions.insert(deadline);
        extensions.insert(Place(Arc::new(place)));
        Ok(request)
    }
}

fn place(places: &Arc<Semaphore>, bound: &'static str) -> Result<OwnedSemaphorePermit, Status> {
    Arc::clone(places).try_acquire_owned().map_err(|_| {
        metrics::counter!("hanse_cluster_calls_full_total", "bound" => bound).increment(1);
        Status::resource_exhausted("too many calls at once")
    })
}

struct Service {
    member: String,
    slots: BTreeSet<Slot>,
    logs: SlotLogs,
    keeper: Keeper,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    appends: Arc<Semaphore>,
}

impl Service {
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
        // A call that was given up while this process did not run is dropped here: the transport
        // looks only when a call waits.
        tokio::task::yield_now().await;
        let deadline = call.get::<Deadline>();
        let place = call.get::<Place>().cloned();
        let (Some(deadline), Some(place)) = (deadline, place) else {
            return Err(Status::internal("the call did not pass the gate"));
        };
        if to != self.member {
            return Err(Status::failed_precondition("not the process it is for"));
        }
        deadline.check(self.clock.as_ref())?;
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
impl SlotsService for Service {
    async fn hand_over(
        &self,
        request: Request<HandOverRequest>,
    ) -> Result<Response<HandOverResponse>, Status> {
        let (_, call, request) = request.into_parts();
        let _place = self.begin(&call, &request.to).await?;
        let slot = self.slot(request.slot)?;
        let handed = self.keeper.hand_over(slot, &request.successor).await;
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
        self.keeper.handed(slots).await;
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
