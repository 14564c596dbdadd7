//! Where an entry stands in its slot's log.

use std::fmt;

/// A position: the batch's sequence number and the entry's index in it, packed into 63 bits
/// (47 + 16), so that positions of one slot order as integers and fit a CQL `bigint`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(i64);

impl Position {
    /// Before every entry.
    pub const START: Self = Self(0);
    /// Before backfilled history, too.
    pub const BEGINNING: Self = Self(i64::MIN);
    /// After every entry.
    pub const END: Self = Self(i64::MAX);
    const INDEX_BITS: u32 = 16;
    /// Most entries of one batch.
    pub const INDEX_MAX: u32 = (1 << Self::INDEX_BITS) - 1;

    /// Whether a batch can have this sequence number; 0: none has come yet.
    pub fn is_seq(seq: i64) -> bool {
        (0..1 << (63 - Self::INDEX_BITS)).contains(&seq)
    }

    /// Packs a position. `seq` starts at 1.
    ///
    /// # Panics
    ///
    /// If either is out of its range: a slot would have to take a million batches a second for
    /// years.
    pub fn new(seq: i64, index: u32) -> Self {
        assert!(Self::is_seq(seq), "sequence number out of range");
        assert!(index <= Self::INDEX_MAX, "index out of range");
        Self(seq << Self::INDEX_BITS | i64::from(index))
    }

    /// The last position that a batch can have.
    pub fn end_of(seq: i64) -> Self {
        Self::new(seq, Self::INDEX_MAX)
    }

    /// From its packed form; negative positions are backfilled history.
    pub fn from_packed(packed: i64) -> Self {
        Self(packed)
    }

    /// The packed form.
    pub fn packed(self) -> i64 {
        self.0
    }

    /// The batch's sequence number.
    pub fn seq(self) -> i64 {
        self.0 >> Self::INDEX_BITS
    }

    /// The index in the batch.
    pub fn index(self) -> u32 {
        (self.0 & i64::from(Self::INDEX_MAX)) as u32
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.seq(), self.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_orders() {
        let position = Position::new(7, 3);
        assert_eq!((position.seq(), position.index()), (7, 3));
        assert!(Position::new(7, 3) < Position::new(7, 4));
        assert!(Position::end_of(7) < Position::new(8, 0));
        assert!(Position::START < Position::new(1, 0));
        assert_eq!(Position::from_packed(position.packed()), position);
    }
}
