//! The sync role: answers /sync from memory and from the store
