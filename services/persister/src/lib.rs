//! The persister role: owns slots and serves what they decide
