//! Wire and row formats of Hanse: protobuf messages and the one error-code table
