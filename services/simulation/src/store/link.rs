//! A process's line to the store, as whoever stages the faults sees it: it can be cut, and it knows
//! at which step its process is to die.

use parking_lot::Mutex;

use super::Step;

/// When a process dies: before a call is sent, or after it has landed and before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    Before,
    After,
}

/// Where a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dies {
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
    dies: Option<Dies>,
}

impl Link {
    pub(crate) fn cut(&self, cut: bool) {
        self.state.lock().cut = cut;
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.state.lock().cut
    }

    /// The process shall die there; `None`: it shall live.
    pub(crate) fn doom(&self, dies: Option<Dies>) {
        self.state.lock().dies = dies;
    }

    /// Whether the process dies at this step.
    pub(crate) fn is_fatal(&self, moment: Moment, step: Step) -> bool {
        let mut state = self.state.lock();
        let Some(dies) = &mut state.dies else {
            return false;
        };
        if (dies.moment, dies.step) != (moment, step) {
            return false;
        }
        if dies.skip > 0 {
            dies.skip -= 1;
            return false;
        }
        state.dies = None;
        true
    }
}
