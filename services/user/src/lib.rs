//! Everything keyed by user, and names
