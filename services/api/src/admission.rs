//! How many requests of each class run at once, and how long others wait for a place.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::error::ApiError;

/// What kind of work a request is. Classes do not take each other's places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A long poll: parked most of the time.
    Sync,
    /// Changes something.
    Write,
    /// Reads.
    Read,
    /// Moves files.
    Media,
}

impl Class {
    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Write => "write",
            Self::Read => "read",
            Self::Media => "media",
        }
    }
}

/// The bounds of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassLimits {
    /// Most requests that run at once.
    pub running_max: usize,
    /// Most requests that wait; further ones are refused at once.
    pub waiting_max: usize,
    /// How long one waits before it is refused.
    pub wait_max: Duration,
}

/// The bounds of all classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Long polls.
    pub sync: ClassLimits,
    /// Changes.
    pub write: ClassLimits,
    /// Reads.
    pub read: ClassLimits,
    /// Files.
    pub media: ClassLimits,
}

impl Default for AdmissionLimits {
    /// For one process: a parked sync costs little, a running write waits for the disk.
    fn default() -> Self {
        let wait_max = Duration::from_secs(5);
        let limits = |running_max, waiting_max| ClassLimits {
            running_max,
            waiting_max,
            wait_max,
        };
        Self {
            sync: limits(20_000, 1_000),
            write: limits(512, 2_048),
            read: limits(256, 2_048),
            media: limits(64, 256),
        }
    }
}

/// The places of one class.
#[derive(Debug)]
pub(crate) struct Gate {
    class: Class,
    limits: ClassLimits,
    running: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Gate {
    pub(crate) fn new(class: Class, limits: ClassLimits) -> Self {
        Self {
            class,
            limits,
            running: Arc::new(Semaphore::new(limits.running_max)),
            waiting: Semaphore::new(limits.waiting_max),
        }
    }

    /// A place, at once or after a bounded wait; else 429.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        match Arc::clone(&self.running).try_acquire_owned() {
            Ok(place) => Ok(place),
            Err(_) => self.wait().await,
        }
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let _waiting = self
            .waiting
            .try_acquire()
            .map_err(|_| self.refused("queue_full"))?;
        let place = timeout(
            self.limits.wait_max,
            Arc::clone(&self.running).acquire_owned(),
        );
        match place.await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(self.refused("deadline")),
        }
    }

    fn refused(&self, reason: &'static str) -> ApiError {
        let class = self.class.name();
        metrics::counter!("hanse_api_refused_total", "class" => class, "reason" => reason)
            .increment(1);
        ApiError::limit_exceeded(Duration::from_secs(1), "the server is busy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(running_max: usize, waiting_max: usize) -> Gate {
        let wait_max = Duration::from_millis(20);
        Gate::new(
            Class::Write,
            ClassLimits {
                running_max,
                waiting_max,
                wait_max,
            },
        )
    }

    #[tokio::test]
    async fn a_place_is_free_again_after_its_request() {
        let gate = gate(1, 1);
        let first = gate.enter().await.unwrap();
        let (second, ()) = tokio::join!(gate.enter(), async { drop(first) });
        drop(second.unwrap());
    }

    /// Sabotage: waiting without the deadline hangs this test.
    #[tokio::test]
    async fn a_wait_has_an_end() {
        let gate = gate(1, 1);
        let _first = gate.enter().await.unwrap();
        assert_eq!(gate.enter().await.unwrap_err().status().as_u16(), 429);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let gate = gate(1, 0);
        let _first = gate.enter().await.unwrap();
        let refused = timeout(Duration::from_millis(5), gate.enter());
        assert_eq!(refused.await.unwrap().unwrap_err().status().as_u16(), 429);
    }
}
