//! Which slot a key belongs to.

use xxhash_rust::xxh3::xxh3_64;

/// A slot's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The versioned map from keys to slots: a key (room id, user id or name) hashes to one of 65,536
/// buckets, and the map assigns buckets to slots.
///
/// Version 1 assigns equal, contiguous runs. Tokens carry the version, so that slots can be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotMap {
    version: u32,
    slots: u32,
}

impl SlotMap {
    /// Buckets of every map.
    pub const BUCKETS: u32 = 65_536;
    /// Slots of the single process.
    pub const SLOTS_SINGLE_PROCESS: u32 = 16;

    /// The first map of a deployment.
    ///
    /// # Panics
    ///
    /// Unless there are between 1 and 65,536 slots.
    pub fn initial(slots: u32) -> Self {
        assert!(
            slots > 0 && slots <= Self::BUCKETS,
            "between 1 and 65,536 slots"
        );
        Self { version: 1, slots }
    }

    /// Its version, as tokens carry it.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// How many slots there are.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.slots).map(Slot)
    }

    /// The slot that owns a key, for ever under this version.
    pub fn slot_of(&self, key: &str) -> Slot {
        let bucket = (xxh3_64(key.as_bytes()) % u64::from(Self::BUCKETS)) as u32;
        Slot((u64::from(bucket) * u64::from(self.slots) / u64::from(Self::BUCKETS)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_slot() {
        let map = SlotMap::initial(16);
        // Pinned: a change of the hash would strand every row written before it.
        assert_eq!(xxh3_64(b"!room:localhost"), 11_765_162_142_282_031_362);
        let mut seen = std::collections::HashSet::new();
        for i in 0..1_000 {
            seen.insert(map.slot_of(&format!("@user{i}:localhost")));
        }
        assert_eq!(seen.len(), 16);
    }
}
