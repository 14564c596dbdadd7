//! How a Hanse process runs: configuration, telemetry, drain, clock, randomness, tasks
