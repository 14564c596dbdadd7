//! The way to the owner of a slot.

use std::{sync::Arc, time::Duration};

use hanse_log::{AppendError, LogPoint, Position, Slot, SlotLogs};
use hanse_proto::cluster::{NotServed, Ran, RunRequest, RunResponse, run_response::Answer};
use hanse_runtime::{Clock, Random, trace};
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::{Request, metadata::AsciiMetadataValue};

use super::{Elsewhere, Routed, RouterParts, breaker::Breaker, here, refused, tries::Tries};
use crate::{
    Command, Refusal,
    grpc::{COMMAND_BYTES_MAX, COMMAND_TIMEOUT, CallError, Owners, Peers, Retries, with_deadline},
};

/// From one look at who serves a slot to the next, while nobody does; longer by up to a half.
const PAUSE: Duration = Duration::from_millis(100);
/// A command that takes longer is worth a line in the log.
const SLOW: Duration = Duration::from_secs(3);
/// Commands that may wait for an owner at once.
const WAITING_MAX: usize = 1_024;
/// A position of a slot that another process has applied is mostly heard of within so long; past it,
/// its word is taken.
const HEARD_WITHIN: Duration = Duration::from_millis(100);

/// What a process of a cluster knows of where slots are served.
pub(super) struct Remote {
    me: String,
    peers: Peers,
    logs: SlotLogs,
    owners: Owners,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    retries: Retries,
    breaker: Breaker,
    waiting: Semaphore,
}

/// Where a command is run next.
enum Place {
    Here,
    At(String),
}

/// What came of one try, which gives a `T` if it is the last.
enum Called<T> {
    /// It is done, or refused.
    Decided(T),
    /// It is not known whether it was done; what to say if it is not tried again.
    InDoubt(T),
    /// It was not begun, and the process that is named may.
    Redirected,
    /// It was begun, and the slot is given away.
    Moved,
    /// It was not begun: too early, or there is nobody.
    TooEarly,
    /// There was no way to the process. Not a try: it bore nothing, and is left alone for a while.
    NotSent,
}

/// What came of one call, for whoever tries a command.
type CalledFor<D, C> = Called<RoutedOf<D, C>>;
type RoutedOf<D, C> = Routed<Result<<C as Command<D>>::Done, <C as Command<D>>::Refused>>;

impl Remote {
    pub(super) fn new(parts: RouterParts) -> Self {
        Self {
            me: parts.me,
            peers: parts.peers,
            logs: parts.logs,
            owners: Owners::new(parts.store),
            clock: parts.clock,
            random: parts.random,
            retries: Retries::of("command"),
            breaker: Breaker::default(),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    pub(super) async fn run<D, C>(&self, domain: &D, command: &C) -> RoutedOf<D, C>
    where
        D: Sync,
        C: Command<D>,
    {
        let begun = self.clock.monotonic();
        let mut tries = Tries::of(&self.retries);
        let by = begun + COMMAND_TIMEOUT;
        let routed = self.decide(domain, command, by, &mut tries).await;
        let took = self.clock.monotonic().saturating_sub(begun);
        if took >= SLOW {
            let slot = self.logs.slot_of(command.key()).0;
            let took_ms = took.as_millis();
            tracing::info!(command = C::NAME, slot, took_ms, %tries, "a command took long");
        }
        routed
    }

    async fn decide<D, C>(
        &self,
        domain: &D,
        command: &C,
        by: Duration,
        tries: &mut Tries<'_>,
    ) -> RoutedOf<D, C>
    where
        D: Sync,
        C: Command<D>,
    {
        let slot = self.logs.slot_of(command.key());
        let mut doubt = false;
        loop {
            let place = match self.place(slot, by).await {
                Ok(place) if tries.another() => place,
                _ if doubt => return refused(AppendError::SlotLost { slot }),
                Ok(_) => return refused(AppendError::NotServed { slot }),
                Err(error) => return refused(error),
            };
            let called = match place {
                Place::Here => self.here(domain, command).await,
                Place::At(owner) => self.call(command, slot, &owner, by).await,
            };
            tries.note(called.name());
            match called {
                Called::Decided(routed) => return routed,
                Called::InDoubt(routed) if !command.repeats_safely() => return routed,
                Called::InDoubt(_) => doubt = true,
                Called::Redirected => {
                    tries.follow();
                    continue;
                }
                Called::Moved => tries.follow(),
                Called::TooEarly => {}
                Called::NotSent => tries.take_back(),
            }
            self.pause(by).await;
        }
    }

    async fn here<D, C>(&self, domain: &D, command: &C) -> CalledFor<D, C>
    where
        D: Sync,
        C: Command<D>,
    {
        match command.run(domain).await {
            Err(error) if error.decides_anew() => Called::Moved,
            decided => Called::of(here(decided)),
        }
    }

    /// Who serves the slot. Waits until somebody does.
    async fn place(&self, slot: Slot, by: Duration) -> Result<Place, AppendError> {
        let mut waits: Option<SemaphorePermit<'_>> = None;
        loop {
            if self.logs.serves(slot) {
                return Ok(Place::Here);
            }
            let owner = self.owners.find(slot, self.clock.as_ref()).await;
            if let Some(owner) = owner {
                if self.may_call(&owner) {
                    return Ok(Place::At(owner));
                }
                self.owners.forget_that(slot, &owner);
            }
            if self.clock.monotonic() >= by {
                return Err(AppendError::NotServed { slot });
            }
            if waits.is_none() {
                let waiting = self.waiting.try_acquire();
                waits = Some(waiting.map_err(|_| AppendError::Overloaded { slot })?);
            }
            self.pause(by).await;
        }
    }

    fn may_call(&self, owner: &str) -> bool {
        let now = self.clock.monotonic();
        owner != self.me && self.peers.lives(owner) && self.breaker.lets(owner, now)
    }

    /// A moment, or until a slot begins to be served here.
    async fn pause(&self, by: Duration) {
        let jitter = self.random.below(PAUSE.as_millis() as u64 / 2);
        let pause = PAUSE + Duration::from_millis(jitter);
        let left = by.saturating_sub(self.clock.monotonic());
        let mut changes = self.logs.served_changes();
        let _ = tokio::time::timeout(pause.min(left), changes.changed()).await;
    }

    /// One call.
    async fn call<D, C>(
        &self,
        command: &C,
        slot: Slot,
        owner: &str,
        by: Duration,
    ) -> CalledFor<D, C>
    where
        C: Command<D>,
    {
        let body = match encoded::<D, C>(command) {
            Ok(body) => body,
            Err(error) => return Called::Decided(refused(error)),
        };
        let within = by.saturating_sub(self.clock.monotonic());
        let request = RunRequest {
            to: owner.to_owned(),
            slot: slot.0,
            command: C::NAME.to_owned(),
            body,
        };
        let sent = self.peers.command(owner, within, |mut client| {
            // Having waited for its turn.
            let within = by.saturating_sub(self.clock.monotonic());
            let request = in_context(with_deadline(request, within));
            async move { client.run(request).await }
        });
        match sent.await {
            Ok(response) => {
                self.breaker.answered(owner);
                self.answered::<D, C>(slot, owner, response).await
            }
            Err(error) => self.not_answered::<D, C>(slot, owner, &error),
        }
    }

    async fn answered<D, C: Command<D>>(
        &self,
        slot: Slot,
        owner: &str,
        response: RunResponse,
    ) -> CalledFor<D, C> {
        match response.answer {
            Some(Answer::Done(ran)) => Called::of(self.ran::<D, C>(slot, ran, false).await),
            Some(Answer::Refused(ran)) => Called::of(self.ran::<D, C>(slot, ran, true).await),
            Some(Answer::NotServed(NotServed { owner: named })) => {
                let elsewhere = !named.is_empty() && named != owner;
                if !elsewhere {
                    self.owners.forget(slot);
                    return Called::TooEarly;
                }
                self.owners.learn(slot, &named);
                Called::Redirected
            }
            None => {
                tracing::warn!(owner, "the answer to a command is of another version");
                Called::in_doubt(slot)
            }
        }
    }

    fn not_answered<D, C: Command<D>>(
        &self,
        slot: Slot,
        owner: &str,
        error: &CallError,
    ) -> CalledFor<D, C> {
        let now = self.clock.monotonic();
        self.owners.forget_that(slot, owner);
        match error {
            CallError::Full => Called::Decided(refused(AppendError::Overloaded { slot })),
            CallError::NotAMember { .. } => Called::TooEarly,
            CallError::NotSent { .. } => {
                self.breaker.unreachable(owner, now);
                Called::NotSent
            }
            // Its address may be another's by now, or it is of another version.
            CallError::Refused { reason } => {
                tracing::warn!(owner, command = C::NAME, reason, "a command was refused");
                Called::TooEarly
            }
            CallError::NoAnswer { .. } => {
                self.breaker.silent(owner, now);
                Called::in_doubt(slot)
            }
        }
    }

    /// What the owner says, once this process shows the slot up to there.
    async fn ran<D, C: Command<D>>(&self, slot: Slot, ran: Ran, refused: bool) -> RoutedOf<D, C> {
        let applied = LogPoint {
            segment: ran.segment,
            seq: ran.seq,
        };
        let outcome = heard::<C::Done, C::Refused>(slot, C::NAME, &ran.body, refused);
        if !Position::is_seq(applied.seq) {
            tracing::error!(command = C::NAME, seq = applied.seq, "no position");
            return super::refused(AppendError::SlotLost { slot });
        }
        self.show(slot, applied).await;
        Routed {
            outcome,
            elsewhere: Some(Elsewhere { slot, applied }),
        }
    }

    async fn show(&self, slot: Slot, applied: LogPoint) {
        let position = Position::end_of(applied.seq);
        let shown = self.logs.wait_applied(slot, position);
        if tokio::time::timeout(HEARD_WITHIN, shown).await.is_err() {
            metrics::counter!("hanse_cluster_positions_learnt_total").increment(1);
            self.logs.learn_applied(slot, applied);
        }
    }
}

impl<Done, E: Refusal> Called<Routed<Result<Done, E>>> {
    /// As the command itself says.
    fn of(routed: Routed<Result<Done, E>>) -> Self {
        let said = routed.outcome.as_ref().err().and_then(Refusal::append);
        if matches!(said, Some(AppendError::SlotLost { .. })) {
            Self::InDoubt(routed)
        } else {
            Self::Decided(routed)
        }
    }

    fn in_doubt(slot: Slot) -> Self {
        Self::InDoubt(refused(AppendError::SlotLost { slot }))
    }
}

impl<T> Called<T> {
    /// For the log.
    fn name(&self) -> &'static str {
        match self {
            Self::Decided(_) => "decided",
            Self::InDoubt(_) => "in doubt",
            Self::Redirected => "redirected",
            Self::Moved => "moved",
            Self::TooEarly => "too early",
            Self::NotSent => "not sent",
        }
    }
}

fn encoded<D, C: Command<D>>(command: &C) -> Result<Vec<u8>, AppendError> {
    let encoded = serde_json::to_vec(command).map_err(|error| {
        let reason = format!("the command {}: {error}", C::NAME);
        let error = hanse_store::StoreError::Misuse {
            table: "none",
            reason,
        };
        AppendError::Store(Arc::new(error))
    })?;
    if encoded.len() > COMMAND_BYTES_MAX {
        return Err(AppendError::TooLarge {
            bytes: encoded.len(),
            bytes_max: COMMAND_BYTES_MAX,
        });
    }
    Ok(encoded)
}

fn heard<Done, Refused>(
    slot: Slot,
    command: &'static str,
    body: &[u8],
    refused: bool,
) -> Result<Done, Refused>
where
    Done: DeserializeOwned,
    Refused: Refusal,
{
    let heard = if refused {
        serde_json::from_slice(body).map(Err)
    } else {
        serde_json::from_slice(body).map(Ok)
    };
    heard.unwrap_or_else(|error| {
        tracing::error!(command, %error, "the answer to a command is not understood");
        Err(AppendError::SlotLost { slot }.into())
    })
}

/// With the trace that it belongs to, if that one is sampled.
fn in_context<T>(mut request: Request<T>) -> Request<T> {
    if let Ok(context) = trace::present().parse::<AsciiMetadataValue>()
        && !context.is_empty()
    {
        request.metadata_mut().insert(trace::TRACEPARENT, context);
    }
    request
}
