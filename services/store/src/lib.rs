//! The wide-column store layer: table descriptors, verbs, conformance suite
