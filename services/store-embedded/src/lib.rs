//! The embedded store engine of the single process
