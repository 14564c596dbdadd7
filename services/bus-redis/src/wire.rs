//! What the bus carries, as messages.

use hanse_log::{LogPoint, Notice, Slot};
use hanse_proto::{
    bus::{self, Ephemeral},
    log::Batch,
};
use prost::Message;

use crate::channels::Channels;

/// The largest batch that a message carries, encoded, in bytes. A larger one is read from the log:
/// once by each reader, instead of being copied into every reader's buffer on the server.
pub const BODY_BYTES_MAX: usize = 4 * 1024;
/// The version that is written. Also read: the one before it and the one after it (law 11).
const VERSION: u32 = 1;

/// What one subscription hears.
pub(crate) trait Carried: Clone + Send + 'static {
    /// As metrics name it.
    const KIND: &'static str;

    /// On which channels it comes.
    fn channels(channels: &Channels) -> Vec<String>;

    /// Reads a message.
    fn decode(message: &[u8]) -> Result<Self, Undecodable>;

    /// Whether it may come from this channel.
    fn is_of(&self, channels: &Channels, channel: &[u8]) -> bool;
}

impl Carried for Notice {
    const KIND: &'static str = "slots";

    fn channels(channels: &Channels) -> Vec<String> {
        channels.slots()
    }

    fn decode(message: &[u8]) -> Result<Self, Undecodable> {
        decode(message)
    }

    fn is_of(&self, channels: &Channels, channel: &[u8]) -> bool {
        channels.is(channel, self.slot)
    }
}

impl Carried for Ephemeral {
    const KIND: &'static str = "ephemeral";

    fn channels(channels: &Channels) -> Vec<String> {
        vec![channels.ephemeral()]
    }

    fn decode(message: &[u8]) -> Result<Self, Undecodable> {
        let read = <Self as Message>::decode(message).map_err(|_| Undecodable::Malformed)?;
        check_version(read.version).map(|()| read)
    }

    fn is_of(&self, channels: &Channels, channel: &[u8]) -> bool {
        channel == channels.ephemeral().as_bytes()
    }
}

/// Why a message is not what its channel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// It is no protobuf message of this kind.
    Malformed,
    /// It is of a version that we were never taught.
    Version,
    /// Its numbers cannot be.
    Impossible,
}

impl Undecodable {
    /// As metrics say it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Impossible => "impossible",
        }
    }
}

/// The message of a notice.
pub(crate) fn encode(notice: Notice) -> Vec<u8> {
    let batch = notice.entries.map(|entries| Batch { entries });
    let message = bus::Notice {
        version: VERSION,
        slot: notice.slot.0,
        epoch: notice.epoch,
        prev: notice.prev,
        segment: notice.point.segment,
        seq: notice.point.seq,
        batch: batch.filter(|batch| batch.encoded_len() <= BODY_BYTES_MAX),
    };
    message.encode_to_vec()
}

/// The message of what is ephemeral; `None` if it is too large to be any of it.
pub(crate) fn encode_ephemeral(message: Ephemeral) -> Option<Vec<u8>> {
    let version = VERSION;
    let message = Ephemeral { version, ..message };
    (message.encoded_len() <= BODY_BYTES_MAX).then(|| message.encode_to_vec())
}

fn check_version(version: u32) -> Result<(), Undecodable> {
    let known = VERSION.saturating_sub(1).max(1)..=VERSION + 1;
    known
        .contains(&version)
        .then_some(())
        .ok_or(Undecodable::Version)
}

/// The notice of a message.
pub(crate) fn decode(message: &[u8]) -> Result<Notice, Undecodable> {
    let read = bus::Notice::decode(message).map_err(|_| Undecodable::Malformed)?;
    check_version(read.version)?;
    if read.epoch < 0 || read.segment < 0 || read.prev < 0 || read.prev > read.seq {
        return Err(Undecodable::Impossible);
    }
    Ok(Notice {
        slot: Slot(read.slot),
        epoch: read.epoch,
        prev: read.prev,
        point: LogPoint {
            segment: read.segment,
            seq: read.seq,
        },
        entries: read.batch.map(|batch| batch.entries),
    })
}

#[cfg(test)]
mod tests {
    use hanse_proto::log::Entry;
    use proptest::prelude::*;

    use super::*;

    fn notice(entries: Option<Vec<Entry>>) -> Notice {
        Notice {
            slot: Slot(7),
            epoch: 3,
            prev: 41,
            point: LogPoint {
                segment: 2,
                seq: 42,
            },
            entries,
        }
    }

    fn entry(bytes: usize) -> Entry {
        Entry {
            trace_parent: "x".repeat(bytes),
            ..Entry::default()
        }
    }

    #[test]
    fn a_batch_of_4_kib_is_carried_and_a_larger_one_is_left_out() {
        // An entry and the batch around it add three bytes of tag and length each.
        let fits = notice(Some(vec![entry(BODY_BYTES_MAX - 6)]));
        assert_eq!(decode(&encode(fits.clone())), Ok(fits));
        let large = notice(Some(vec![entry(BODY_BYTES_MAX - 5)]));
        assert_eq!(decode(&encode(large)), Ok(notice(None)));
    }

    #[test]
    fn a_reader_takes_its_neighbours_versions_and_no_other() {
        let read = |version| {
            let message = bus::Notice {
                version,
                seq: 1,
                ..bus::Notice::default()
            };
            decode(&message.encode_to_vec()).map(|notice| notice.point.seq)
        };
        assert_eq!((read(1), read(2)), (Ok(1), Ok(1)));
        assert_eq!(read(0), Err(Undecodable::Version));
        assert_eq!(read(3), Err(Undecodable::Version));
    }

    #[test]
    fn a_field_that_a_later_version_adds_is_passed_over() {
        let mut message = encode(notice(None));
        // Field 15, a varint.
        message.extend([0x78, 1]);
        assert_eq!(decode(&message), Ok(notice(None)));
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let bad = Notice {
            prev: 43,
            ..notice(None)
        };
        assert_eq!(decode(&encode(bad)), Err(Undecodable::Impossible));
        let bad = Notice {
            epoch: -1,
            ..notice(None)
        };
        assert_eq!(decode(&encode(bad)), Err(Undecodable::Impossible));
    }

    #[test]
    fn what_is_ephemeral_reads_back_and_is_bounded() {
        let typing = |user_id| Ephemeral {
            version: VERSION,
            what: Some(bus::ephemeral::What::Typing(bus::Typing {
                room_id: "!r:localhost".to_owned(),
                user_id,
                lasts_ms: 30_000,
            })),
        };
        let some = typing("@a:localhost".to_owned());
        let message = encode_ephemeral(some.clone()).unwrap();
        assert_eq!(<Ephemeral as Carried>::decode(&message), Ok(some));
        assert_eq!(encode_ephemeral(typing("x".repeat(BODY_BYTES_MAX))), None);
        let later = Ephemeral {
            version: VERSION + 2,
            what: None,
        };
        let read = <Ephemeral as Carried>::decode(&later.encode_to_vec());
        assert_eq!(read, Err(Undecodable::Version));
    }

    proptest! {
        #[test]
        fn every_notice_reads_back(
            slot: u32,
            epoch in 0..i64::MAX,
            seq in 0..i64::MAX,
            sizes in proptest::option::of(proptest::collection::vec(0_usize..100, 0..8)),
        ) {
            let entries = sizes.map(|sizes| sizes.into_iter().map(entry).collect());
            let notice = Notice {
                slot: Slot(slot),
                epoch,
                prev: seq.saturating_sub(1),
                point: LogPoint { segment: seq / 7, seq },
                entries,
            };
            prop_assert_eq!(decode(&encode(notice.clone())), Ok(notice));
        }

        #[test]
        fn no_bytes_make_it_fail_in_another_way(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
