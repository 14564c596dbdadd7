//! The CQL store engine of the cluster
