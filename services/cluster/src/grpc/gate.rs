//! What every call passes before anything is begun.

use std::sync::Arc;

use hanse_runtime::Clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Extensions, Request, Status};

use super::deadline::Deadline;

/// What each call passes before its message is read.
#[derive(Clone)]
pub(super) struct Gate {
    clock: Arc<dyn Clock>,
    places: Arc<Semaphore>,
    /// The bound's name, for its metric.
    bound: &'static str,
}

/// A call's place; goes with the request, and is to be kept until it is answered.
#[derive(Clone)]
pub(super) struct Place(#[expect(dead_code, reason = "held")] Arc<OwnedSemaphorePermit>);

impl Gate {
    /// Lets `calls_max` in at once, of all processes: so many messages may be in memory.
    pub(super) fn new(clock: &Arc<dyn Clock>, bound: &'static str, calls_max: usize) -> Self {
        Self {
            clock: Arc::clone(clock),
            places: Arc::new(Semaphore::new(calls_max)),
            bound,
        }
    }

    pub(super) fn enter(&self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let deadline = Deadline::read(request.metadata(), self.clock.as_ref())?;
        let place = place(&self.places, self.bound)?;
        let extensions = request.extensions_mut();
        extensions.insert(deadline);
        extensions.insert(Place(Arc::new(place)));
        Ok(request)
    }
}

/// Whether a call that passed the gate and whose message is here may begin; until when it may go on.
pub(super) async fn begin(
    call: &Extensions,
    (to, member): (&str, &str),
    clock: &dyn Clock,
) -> Result<(Place, Deadline), Status> {
    // A call that was given up while this process did not run is dropped here: the transport
    // looks only when a call waits.
    tokio::task::yield_now().await;
    let deadline = call.get::<Deadline>().copied();
    let place = call.get::<Place>().cloned();
    let (Some(deadline), Some(place)) = (deadline, place) else {
        return Err(Status::internal("the call did not pass the gate"));
    };
    if to != member {
        return Err(Status::failed_precondition("not the process it is for"));
    }
    deadline.check(clock)?;
    Ok((place, deadline))
}

/// A place, if there is one.
pub(super) fn place(
    places: &Arc<Semaphore>,
    bound: &'static str,
) -> Result<OwnedSemaphorePermit, Status> {
    Arc::clone(places).try_acquire_owned().map_err(|_| {
        metrics::counter!("hanse_cluster_calls_full_total", "bound" => bound).increment(1);
        Status::resource_exhausted("too many calls at once")
    })
}
