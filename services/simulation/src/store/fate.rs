//! What becomes of a call on its way, drawn before it is sent.

use std::time::Duration;

use crate::dice::Dice;

/// The longest that a write lands after its caller gave up on it, in milliseconds.
pub(crate) const LATE_MS_MAX: u64 = 60_000;

/// How often what happens, in a thousand calls; how long things take.
#[derive(Clone, Debug)]
pub(crate) struct Rates {
    /// One way, in milliseconds.
    pub(crate) leg_ms_max: u64,
    /// The caller gives up after this long.
    pub(crate) patience: Duration,
    /// A write lands, its answer is lost.
    pub(crate) answer_lost: u64,
    /// A write lands after its caller was told that nobody knows.
    pub(crate) late: u64,
    /// A write never lands, and its caller is told that nobody knows.
    pub(crate) lost: u64,
    /// A write lands twice, the second time later.
    pub(crate) twice: u64,
    /// A conditional write is decided, but plain reads do not see it yet; its caller is told that
    /// nobody knows.
    pub(crate) uncommitted: u64,
    /// A plain write lands row by row.
    pub(crate) piecewise: u64,
    /// A plain write lands in part and fails.
    pub(crate) partial: u64,
    /// A call is refused at once, and nothing was sent.
    pub(crate) unavailable: u64,
    /// A write is acknowledged although one of its rows is lost.
    pub(crate) forgotten: u64,
    /// A page is shorter than it could be.
    pub(crate) short_page: u64,
}

impl Rates {
    /// Only time passes.
    pub(crate) fn calm() -> Self {
        Self {
            leg_ms_max: 5,
            patience: Duration::from_secs(2),
            answer_lost: 0,
            late: 0,
            lost: 0,
            twice: 0,
            uncommitted: 0,
            piecewise: 0,
            partial: 0,
            unavailable: 0,
            forgotten: 0,
            short_page: 0,
        }
    }

    /// Each fault in half of the runs, at a rate of its own: what is rare together is often together
    /// in some run.
    pub(crate) fn drawn(dice: &Dice) -> Self {
        let rate = || {
            if dice.chance(500) {
                dice.between(2..=60)
            } else {
                0
            }
        };
        Self {
            leg_ms_max: dice.between(2..=20),
            patience: dice.ms(200..=5_000),
            answer_lost: rate(),
            late: rate(),
            lost: rate(),
            twice: rate(),
            uncommitted: rate(),
            piecewise: rate() * 4,
            partial: rate(),
            unavailable: rate(),
            forgotten: rate(),
            short_page: rate() * 4,
        }
    }
}

/// Whether a call lands, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landing {
    Once,
    Never,
    /// And again so much later.
    Twice(Duration),
    /// Decided, not committed.
    Uncommitted,
}

/// What becomes of a call that is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// For the journal and the tally; `None`: all went well.
    pub(crate) fault: Option<&'static str>,
    pub(crate) out: Duration,
    pub(crate) landing: Landing,
    pub(crate) back: Duration,
    /// When the caller is told that nobody knows, unless it has its answer by then.
    pub(crate) doubt: Duration,
    /// Whether the answer is lost.
    pub(crate) mute: bool,
}

impl Fate {
    /// All goes well.
    pub(crate) fn fair(rates: &Rates, dice: &Dice) -> Self {
        Self {
            fault: None,
            out: dice.ms(0..=rates.leg_ms_max),
            landing: Landing::Once,
            back: dice.ms(0..=rates.leg_ms_max),
            doubt: rates.patience,
            mute: false,
        }
    }

    /// A write's; `conditional`: it is a conditional batch.
    pub(crate) fn of_write(rates: &Rates, dice: &Dice, conditional: bool) -> Self {
        let fair = Self::fair(rates, dice);
        // A coordinator that is still there tells its doubt early.
        let doubt = if dice.chance(500) {
            dice.ms(1..=100).min(rates.patience)
        } else {
            rates.patience
        };
        let doubted = |fault, landing| Self {
            fault: Some(fault),
            landing,
            doubt: fair.out.max(doubt),
            mute: true,
            ..fair
        };
        if dice.chance(rates.answer_lost) {
            return doubted("answer lost", Landing::Once);
        }
        if dice.chance(rates.lost) {
            return doubted("lost", Landing::Never);
        }
        if dice.chance(rates.late) {
            let out = doubt + dice.long_tailed_ms(10..=LATE_MS_MAX);
            return Self {
                out,
                doubt,
                ..doubted("late", Landing::Once)
            };
        }
        if dice.chance(rates.twice) {
            let again = Landing::Twice(dice.long_tailed_ms(1..=LATE_MS_MAX));
            return if dice.chance(500) {
                doubted("twice, answer lost", again)
            } else {
                let fault = Some("twice");
                Self {
                    fault,
                    landing: again,
                    ..fair
                }
            };
        }
        if conditional && dice.chance(rates.uncommitted) {
            return doubted("uncommitted", Landing::Uncommitted);
        }
        fair
    }
}
