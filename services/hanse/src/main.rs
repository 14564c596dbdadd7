//! The Hanse homeserver: one binary, every role

fn main() {}
