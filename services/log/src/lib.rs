//! The slot log: append, fence, apply, tail, relay, durable consumers, and the bus
