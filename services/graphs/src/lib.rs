//! Random event graphs, fed to the room pipeline in different orders; what comes out must be what a
//! naive reference makes of them.
//!
//! [`Graph`] grows a graph from a seed: forks, merges, events that are refused. [`Reference`] keeps the
//! whole state at every event and resolves whole states with ruma's algorithm, by the letter of the
//! specification and without a shortcut. [`Trial`] feeds graphs to [`hanse_room::Rooms`] and compares.
//!
//! Invariant: a graph depends on its seed alone, and so does the order in which it is fed.
//! Invariant: the reference shares no code with the pipeline but the auth rules themselves.

mod cast;
mod chain;
mod counted;
mod crowd;
mod graph;
mod progress;
mod reference;
mod resolver;
mod trial;
mod world;

pub use counted::RowCount;
pub use crowd::{Crowd, Plan, Quarrel, Scattered};
pub use graph::Graph;
pub use progress::{Progress, Seen};
pub use reference::{Around, Held, Pruned, Reference, Standing, State};
pub use trial::{Counts, Trial};
pub use world::{Storage, World};
