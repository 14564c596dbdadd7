//! Panics of the run on this thread: tasks catch them, the verdict must not miss them.

use std::cell::RefCell;

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Collects panics from now on instead of printing them. Once for each process.
pub fn collect() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.with_borrow_mut(|panics| panics.push(panic.to_string()));
    }));
}

/// What panicked on this thread since the last call.
pub(crate) fn take() -> Vec<String> {
    PANICS.take()
}
