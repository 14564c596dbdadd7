//! Everything keyed by room
