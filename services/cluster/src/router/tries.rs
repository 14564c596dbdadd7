//! How often one command is tried.

use std::fmt;

use crate::grpc::Retries;

/// Most tries of one command: at whom it is believed to be, at whom that one names, and twice more
/// while a slot is being taken.
const TRIES_MAX: u32 = 4;
/// So many are remembered, of which some bore nothing.
const NOTED_MAX: usize = 16;

/// The tries of one command.
pub(super) struct Tries<'a> {
    made: u32,
    /// The slot has moved, which nobody is to blame for: once, going after it is no retry.
    followed: Followed,
    retries: &'a Retries,
    /// What came of each, for the log.
    came: Vec<&'static str>,
}

/// Whether a command has gone after its slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Followed {
    NotYet,
    Next,
    Once,
}

impl fmt::Display for Tries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.came.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.came.join(", "))
    }
}

impl<'a> Tries<'a> {
    /// None yet.
    pub(super) fn of(retries: &'a Retries) -> Self {
        Self {
            made: 0,
            followed: Followed::NotYet,
            retries,
            came: Vec::new(),
        }
    }

    /// What came of the last one. Of many, only the first are remembered.
    pub(super) fn note(&mut self, came: &'static str) {
        if self.came.len() < NOTED_MAX {
            self.came.push(came);
        }
    }

    /// The slot has moved since the last one.
    pub(super) fn follow(&mut self) {
        if self.followed == Followed::NotYet {
            self.followed = Followed::Next;
        }
    }

    /// The last was none.
    pub(super) fn take_back(&mut self) {
        self.made = self.made.saturating_sub(1);
    }

    /// Whether there may be another.
    pub(super) fn another(&mut self) -> bool {
        self.made += 1;
        match self.made {
            1 => {
                self.retries.first();
                true
            }
            2..=TRIES_MAX if self.followed == Followed::Next => {
                self.followed = Followed::Once;
                true
            }
            2..=TRIES_MAX => self.retries.again(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red if commands that fail are tried without bound: whoever comes for a process in trouble would
    /// multiply what it has to bear.
    #[test]
    fn tries_are_bounded_for_each_and_for_all() {
        const COMMANDS: u32 = 200;
        let retries = Retries::of("test");
        let mut made = 0;
        for _ in 0..COMMANDS {
            let mut tries = Tries::of(&retries);
            let before = made;
            while tries.another() {
                made += 1;
            }
            assert!((1..=TRIES_MAX).contains(&(made - before)));
        }
        assert!(!retries.again(), "spent");
        // A tenth of them, and one a second over ten seconds.
        let bound = COMMANDS + COMMANDS / 10 + 10;
        assert!(made > COMMANDS && made <= bound, "{made}");
        // Going after a slot is free, but once: whoever is sent in circles does not go on.
        let mut tries = Tries::of(&retries);
        assert!(tries.another());
        tries.follow();
        assert!(tries.another());
        tries.follow();
        let circles = (0..20).filter(|_| tries.another()).count();
        assert!(circles <= 2, "{circles}");
    }
}
