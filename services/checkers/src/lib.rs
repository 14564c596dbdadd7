//! What must hold of a history of sends and syncs.
