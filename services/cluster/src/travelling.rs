//! How what the log and the store say travels with a command's answer, for `#[serde(with = …)]`.
//!
//! Invariant: an error arrives as one of the same kind, so that a client is told the same wherever
//! its slot is served. What is for people (a table's name, a source) arrives as text.

use std::sync::Arc;

use hanse_log::{AppendError, Slot};
use hanse_store::StoreError;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The table of an error that came from another process.
const ELSEWHERE: &str = "of another process";

/// A [`hanse_log::Position`], packed.
pub mod position {
    use hanse_log::Position;
    use serde::{Deserialize, Deserializer, Serializer};

    /// As a number.
    pub fn serialize<S: Serializer>(position: &Position, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(position.packed())
    }

    /// From a number.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Position, D::Error> {
        i64::deserialize(from).map(Position::from_packed)
    }
}

/// A [`hanse_log::AppendError`].
pub mod append_error {
    use super::{
        AppendError, Arc, Deserialize, Deserializer, Serialize, Serializer, SpokenAppendError,
    };

    /// By its kind.
    pub fn serialize<S: Serializer>(error: &AppendError, to: S) -> Result<S::Ok, S::Error> {
        SpokenAppendError::of(error).serialize(to)
    }

    /// From its kind.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<AppendError, D::Error> {
        SpokenAppendError::deserialize(from).map(|spoken| spoken.heard(Arc::new))
    }
}

/// A [`hanse_store::StoreError`].
pub mod store_error {
    use super::{Deserialize, Deserializer, Serialize, Serializer, SpokenStoreError, StoreError};

    /// By its kind.
    pub fn serialize<S: Serializer>(error: &StoreError, to: S) -> Result<S::Ok, S::Error> {
        SpokenStoreError::of(error).serialize(to)
    }

    /// From its kind.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<StoreError, D::Error> {
        SpokenStoreError::deserialize(from).map(SpokenStoreError::heard)
    }
}

#[derive(Serialize, Deserialize)]
enum SpokenAppendError {
    SlotLost { slot: u32 },
    NotServed { slot: u32 },
    Stale,
    Overloaded { slot: u32 },
    TooLarge { bytes: usize, bytes_max: usize },
    Store(SpokenStoreError),
}

impl SpokenAppendError {
    fn of(error: &AppendError) -> Self {
        match error {
            AppendError::SlotLost { slot } => Self::SlotLost { slot: slot.0 },
            AppendError::NotServed { slot } => Self::NotServed { slot: slot.0 },
            AppendError::Stale => Self::Stale,
            AppendError::Overloaded { slot } => Self::Overloaded { slot: slot.0 },
            AppendError::TooLarge { bytes, bytes_max } => Self::TooLarge {
                bytes: *bytes,
                bytes_max: *bytes_max,
            },
            AppendError::Store(error) => Self::Store(SpokenStoreError::of(error)),
        }
    }

    fn heard(self, share: impl Fn(StoreError) -> Arc<StoreError>) -> AppendError {
        match self {
            Self::SlotLost { slot } => AppendError::SlotLost { slot: Slot(slot) },
            Self::NotServed { slot } => AppendError::NotServed { slot: Slot(slot) },
            Self::Stale => AppendError::Stale,
            Self::Overloaded { slot } => AppendError::Overloaded { slot: Slot(slot) },
            Self::TooLarge { bytes, bytes_max } => AppendError::TooLarge { bytes, bytes_max },
            Self::Store(error) => AppendError::Store(share(error.heard())),
        }
    }
}

#[derive(Serialize, Deserialize)]
enum SpokenStoreError {
    Unknown { reason: String },
    Unavailable { reason: String },
    Full,
    TooLarge { bytes: usize, bytes_max: usize },
    Misuse { reason: String },
    Corrupt { reason: String },
}

impl SpokenStoreError {
    fn of(error: &StoreError) -> Self {
        let reason = || {
            let source = std::error::Error::source(error);
            source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
        };
        match error {
            StoreError::Unknown { .. } => Self::Unknown { reason: reason() },
            StoreError::Unavailable { .. } => Self::Unavailable { reason: reason() },
            StoreError::Full => Self::Full,
            StoreError::TooLarge {
                bytes, bytes_max, ..
            } => Self::TooLarge {
                bytes: *bytes,
                bytes_max: *bytes_max,
            },
            StoreError::Misuse { .. } => Self::Misuse { reason: reason() },
            StoreError::Corrupt { .. } => Self::Corrupt { reason: reason() },
        }
    }

    fn heard(self) -> StoreError {
        let table = ELSEWHERE;
        match self {
            Self::Unknown { reason } => StoreError::Unknown {
                table,
                source: reason.into(),
            },
            Self::Unavailable { reason } => StoreError::Unavailable {
                source: reason.into(),
            },
            Self::Full => StoreError::Full,
            Self::TooLarge { bytes, bytes_max } => StoreError::TooLarge {
                table,
                what: "row",
                bytes,
                bytes_max,
            },
            Self::Misuse { reason } => StoreError::Misuse { table, reason },
            Self::Corrupt { reason } => StoreError::Corrupt { table, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Carried {
        #[serde(with = "append_error")]
        error: AppendError,
    }

    fn through(error: AppendError) -> AppendError {
        let json = serde_json::to_string(&Carried { error }).unwrap();
        serde_json::from_str::<Carried>(&json).unwrap().error
    }

    /// Red if an error becomes one of another kind on its way: the API answers by kind.
    #[test]
    fn every_kind_of_error_arrives() {
        let (slot, table) = (Slot(7), "t");
        let (bytes, bytes_max) = (3, 2);
        let source = || "down".into();
        let reason = || "wrong".to_owned();
        let of_log = [
            AppendError::SlotLost { slot },
            AppendError::NotServed { slot },
            AppendError::Stale,
            AppendError::Overloaded { slot },
            AppendError::TooLarge { bytes, bytes_max },
        ];
        for error in of_log {
            assert_eq!(through(error.clone()).to_string(), error.to_string());
        }
        let what = "row";
        let of_store = [
            StoreError::Unknown {
                table,
                source: source(),
            },
            StoreError::Unavailable { source: source() },
            StoreError::Full,
            StoreError::TooLarge {
                table,
                what,
                bytes,
                bytes_max,
            },
            StoreError::Misuse {
                table,
                reason: reason(),
            },
            StoreError::Corrupt {
                table,
                reason: reason(),
            },
        ];
        for error in of_store {
            let error = Arc::new(error);
            let AppendError::Store(heard) = through(AppendError::Store(Arc::clone(&error))) else {
                panic!("not the store's any more: {error}");
            };
            let kinds = [&error, &heard].map(|error| std::mem::discriminant(error.as_ref()));
            assert_eq!(kinds[0], kinds[1], "{error}");
        }
    }
}
