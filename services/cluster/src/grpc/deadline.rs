//! Until when a call may begin its work.

use std::time::Duration;

use hanse_runtime::Clock;
use tonic::{Status, metadata::MetadataMap};

use super::CALL_TIMEOUT_MAX;

const HEADER: &str = "grpc-timeout";
/// Most digits of the header's number, by gRPC's specification.
const DIGITS_MAX: usize = 8;

/// By this process's monotonic clock, from when the call's headers came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline(Duration);

impl Deadline {
    /// From a call's metadata; a call without a deadline is refused.
    pub(super) fn read(metadata: &MetadataMap, clock: &dyn Clock) -> Result<Self, Status> {
        let header = metadata.get(HEADER).and_then(|value| value.to_str().ok());
        let within = header.and_then(parse);
        let within = within.ok_or_else(|| Status::invalid_argument("no grpc-timeout"))?;
        Ok(Self(clock.monotonic() + within.min(CALL_TIMEOUT_MAX)))
    }

    /// An error once it is past.
    pub(super) fn check(self, clock: &dyn Clock) -> Result<(), Status> {
        if clock.monotonic() < self.0 {
            Ok(())
        } else {
            Err(Status::deadline_exceeded("too late to begin"))
        }
    }
}

/// `None`: not as the specification has it.
fn parse(header: &str) -> Option<Duration> {
    let unit_at = header.len().checked_sub(1)?;
    let (number, unit) = header.split_at_checked(unit_at)?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || number.len() > DIGITS_MAX {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3_600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hanse_runtime::ManualClock;
    use proptest::prelude::*;
    use tonic::{Code, Request};

    use super::*;

    proptest! {
        /// Red if a unit is missing or wrong.
        #[test]
        fn what_a_client_sets_is_read(micros in 0_u64..10_000_000) {
            let clock = ManualClock::at_ms(0);
            let mut request = Request::new(());
            request.set_timeout(Duration::from_micros(micros));
            let deadline = Deadline::read(request.metadata(), &clock).unwrap();
            prop_assert_eq!(deadline, Deadline(Duration::from_micros(micros)));
        }

        #[test]
        fn nothing_panics(header in ".{0,12}") {
            let _ = parse(&header);
        }
    }

    /// Red if the far future is believed, or a call without a deadline begins.
    #[test]
    fn it_is_bounded_and_must_be_there() {
        let clock = ManualClock::at_ms(0);
        let mut metadata = MetadataMap::new();
        let refused = Deadline::read(&metadata, &clock).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        for wrong in ["", "1", "m", "-1m", "1.5S", "123456789m", "1 m", "5x", "1é"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        metadata.insert(HEADER, "99999999H".parse().unwrap());
        let deadline = Deadline::read(&metadata, &clock).unwrap();
        assert!(deadline.check(&clock).is_ok());
        clock.advance(CALL_TIMEOUT_MAX);
        let late = deadline.check(&clock).unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
    }

    /// Red if a deadline that is past when the call comes lets it begin.
    #[test]
    fn a_call_may_be_late_already() {
        let clock = ManualClock::at_ms(0);
        let mut metadata = MetadataMap::new();
        metadata.insert(HEADER, "0n".parse().unwrap());
        let deadline = Deadline::read(&metadata, &clock).unwrap();
        assert!(deadline.check(&clock).is_err());
    }
}
