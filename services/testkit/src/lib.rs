//! Cluster sandbox, faults and simulation for tests
