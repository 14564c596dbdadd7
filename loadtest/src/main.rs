//! Synthetic users and speed figures for a Matrix homeserver

fn main() {}
