//! The stateless HTTP front: authentication, limits, routing
