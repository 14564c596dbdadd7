//! Which room versions exist here, and their rules.

use std::sync::LazyLock;

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};
use serde::{Deserialize, Serialize};

/// The version of a room that is created without a wish for another one.
pub const DEFAULT: RoomVersionId = RoomVersionId::V11;

/// The versions that are served, in order. Version 1 is left out: its state resolution is not
/// implemented in ruma.
pub const SUPPORTED: [RoomVersionId; 11] = [
    RoomVersionId::V2,
    RoomVersionId::V3,
    RoomVersionId::V4,
    RoomVersionId::V5,
    RoomVersionId::V6,
    RoomVersionId::V7,
    RoomVersionId::V8,
    RoomVersionId::V9,
    RoomVersionId::V10,
    RoomVersionId::V11,
    RoomVersionId::V12,
];

static RULES: LazyLock<Vec<(RoomVersionId, RoomVersionRules)>> = LazyLock::new(|| {
    SUPPORTED
        .into_iter()
        .filter_map(|id| id.rules().map(|rules| (id, rules)))
        .collect()
});

/// The room version is unknown or not served (`M_UNSUPPORTED_ROOM_VERSION`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("room version {version} is not supported")]
pub struct UnsupportedRoomVersion {
    /// The version that was asked for.
    pub version: RoomVersionId,
}

/// The rules of a served room version.
pub fn rules(version: &RoomVersionId) -> Result<&'static RoomVersionRules, UnsupportedRoomVersion> {
    RULES
        .iter()
        .find(|(id, _)| id == version)
        .map(|(_, rules)| rules)
        .ok_or_else(|| UnsupportedRoomVersion {
            version: version.clone(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_version_has_resolvable_rules() {
        for version in SUPPORTED {
            assert!(
                rules(&version).unwrap().state_res.v2_rules().is_some(),
                "{version}"
            );
        }
        assert!(SUPPORTED.contains(&DEFAULT));
    }

    #[test]
    fn version_1_and_unknown_versions_are_refused() {
        for version in [RoomVersionId::V1, "org.example.9".try_into().unwrap()] {
            assert_eq!(rules(&version).unwrap_err().version, version);
        }
    }
}
