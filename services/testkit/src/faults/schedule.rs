//! What happens, and in which order.

use std::fmt;

use rand::{Rng, seq::SliceRandom};

/// What a process is there for; each has one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Api,
    Persister,
    Sync,
}

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::Api, Self::Persister, Self::Sync];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Persister => "persister",
            Self::Sync => "sync",
        }
    }
}

/// Something that happens to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// SIGKILL of a process of this role; it is started again.
    Kill(Role),
    /// A persister stands still for longer than its lease, with words to the store on the way.
    Freeze,
    /// Everything in Redis is gone.
    FlushRedis,
    /// Redis is gone for a while.
    KillRedis,
    /// Another persister comes.
    AddPersister,
    /// A persister goes, in order.
    DrainPersister,
    /// A node of the store is gone for a while.
    KillCqlNode,
    /// The process of this role and number goes in order and comes again.
    Roll(Role, usize),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(role) => write!(f, "{} killed", role.name()),
            Self::Freeze => f.write_str("persister frozen"),
            Self::FlushRedis => f.write_str("Redis flushed"),
            Self::KillRedis => f.write_str("Redis killed"),
            Self::AddPersister => f.write_str("persister added"),
            Self::DrainPersister => f.write_str("persister drained"),
            Self::KillCqlNode => f.write_str("CQL node killed"),
            Self::Roll(role, _) => write!(f, "{} restarted", role.name()),
        }
    }
}

/// How often each happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Processes killed; the roles take turns.
    pub kills: u32,
    /// Persisters frozen.
    pub freezes: u32,
    /// Redis flushed.
    pub flushes: u32,
    /// Redis killed.
    pub redis_kills: u32,
    /// Persisters added.
    pub adds: u32,
    /// Persisters drained.
    pub drains: u32,
}

/// All of it, in an order that chance decides; the roles are killed equally often.
pub(super) fn order(times: Times, cql_kills: u32, random: &mut impl Rng) -> Vec<Fault> {
    let kills = Role::ALL.iter().cycle().take(times.kills as usize);
    let mut faults: Vec<Fault> = kills.map(|role| Fault::Kill(*role)).collect();
    let others = [
        (Fault::Freeze, times.freezes),
        (Fault::FlushRedis, times.flushes),
        (Fault::KillRedis, times.redis_kills),
        (Fault::AddPersister, times.adds),
        (Fault::DrainPersister, times.drains),
        (Fault::KillCqlNode, cql_kills),
    ];
    for (fault, times) in others {
        faults.extend((0..times).map(|_| fault));
    }
    faults.shuffle(random);
    faults
}

/// Every process restarted in order, one after the other.
pub(super) fn rolling(processes: &[(Role, usize)]) -> Vec<Fault> {
    let roles = processes.iter();
    let each = roles.flat_map(|(role, count)| (0..*count).map(|number| Fault::Roll(*role, number)));
    each.collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_seed_decides_the_order_and_every_role_is_killed() {
        let times = Times {
            kills: 7,
            freezes: 2,
            flushes: 1,
            redis_kills: 0,
            adds: 1,
            drains: 1,
        };
        let order = |seed| order(times, 1, &mut ChaCha8Rng::seed_from_u64(seed));
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let count = |fault| order(1).iter().filter(|other| **other == fault).count();
        assert_eq!(order(1).len(), 13);
        assert_eq!(count(Fault::Kill(Role::Api)), 3);
        assert_eq!(count(Fault::Kill(Role::Persister)), 2);
        assert_eq!(count(Fault::Kill(Role::Sync)), 2);
        assert_eq!(count(Fault::Freeze), 2);
        assert_eq!(count(Fault::KillRedis), 0);
    }
}
