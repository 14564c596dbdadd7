//! What every part of a run shares.

use std::fmt;

use crate::{
    executor::{Executor, ProcessId},
    journal::Journal,
    tally::Tally,
    verdict::Verdict,
};

/// Clones are of the same run.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) executor: Executor,
    pub(crate) journal: Journal,
    pub(crate) tally: Tally,
    pub(crate) verdict: Verdict,
}

impl Scene {
    pub(crate) fn note(&self, who: ProcessId, what: fmt::Arguments<'_>) {
        self.journal.note(who, what);
    }

    /// A breach of what the log promises.
    pub(crate) fn violated(&self, check: &'static str, detail: fmt::Arguments<'_>) {
        let at_ms = self.journal.now_ms();
        self.journal.note(
            crate::executor::WORLD,
            format_args!("VIOLATION of {check}: {detail}"),
        );
        self.verdict.add(at_ms, check, detail.to_string());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{dice::Dice, journal::Keep};

    /// Runs a part of the simulation alone, in virtual time.
    pub(crate) fn staged<T, F>(part: impl FnOnce(Scene) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let journal = Journal::new(Keep::Tail);
            let scene = Scene {
                executor: Executor::new(Dice::new(1, "turns"), journal.clone()),
                journal,
                tally: Tally::default(),
                verdict: Verdict::default(),
            };
            scene.executor.run(part(scene.clone())).await.unwrap()
        })
    }
}
