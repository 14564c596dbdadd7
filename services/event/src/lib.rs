//! Sans-IO Matrix semantics: PDUs, auth rules, state resolution, redaction, visibility
