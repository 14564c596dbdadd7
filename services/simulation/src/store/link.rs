//! A process's line to the store, as whoever stages the faults sees it: it can be cut, and it knows
//! at which step its process is to die or to stand still.

use std::time::Duration;

use parking_lot::Mutex;

use super::Step;

/// When something befalls a process: before a call is sent, or after it has landed and before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    Before,
    After,
}

/// Where something befalls a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trap {
    pub(crate) moment: Moment,
    pub(crate) step: Step,
    /// After so many of these steps.
    pub(crate) skip: u64,
}

/// The line of one process.
#[derive(Debug, Default)]
pub(crate) struct Link {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cut: bool,
    dies: Option<Trap>,
    stalls: Option<(Trap, Duration)>,
}

impl Link {
    pub(crate) fn cut(&self, cut: bool) {
        self.state.lock().cut = cut;
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.state.lock().cut
    }

    /// The process shall die there; `None`: it shall live.
    pub(crate) fn doom(&self, dies: Option<Trap>) {
        self.state.lock().dies = dies;
    }

    /// The process shall stand still there for so long; `None`: it shall not.
    pub(crate) fn trip(&self, stalls: Option<(Trap, Duration)>) {
        self.state.lock().stalls = stalls;
    }

    /// Whether the process dies at this step.
    pub(crate) fn is_fatal(&self, moment: Moment, step: Step) -> bool {
        let mut state = self.state.lock();
        let sprung = state
            .dies
            .as_mut()
            .is_some_and(|trap| trap.springs(moment, step));
        if sprung {
            state.dies = None;
        }
        sprung
    }

    /// For how long the process stands still at this step.
    pub(crate) fn stall(&self, moment: Moment, step: Step) -> Option<Duration> {
        let mut state = self.state.lock();
        let (trap, _) = state.stalls.as_mut()?;
        if !trap.springs(moment, step) {
            return None;
        }
        state.stalls.take().map(|(_, lasts)| lasts)
    }
}

impl Trap {
    /// Whether it is this time.
    fn springs(&mut self, moment: Moment, step: Step) -> bool {
        if (self.moment, self.step) != (moment, step) {
            return false;
        }
        let skips = self.skip > 0;
        self.skip = self.skip.saturating_sub(1);
        !skips
    }
}
