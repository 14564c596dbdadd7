//! The layers of the gate, in their order: what is quick to tell comes first.

use std::path::Path;

use anyhow::Result;
use clap::builder::PossibleValuesParser;

use crate::checks;
use crate::counts::Counts;
use crate::setup::Need;

/// One layer.
pub(crate) struct Layer {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) run: fn(&Path) -> Result<Counts>,
    /// Why the layer cannot be run at all in this checkout or on this machine, if so.
    pub(crate) absent: fn(&Path) -> Option<&'static str>,
}

pub(crate) const LAYERS: [Layer; 22] = [
    Layer {
        name: "fmt",
        needs: &[],
        run: checks::fmt,
        absent: never,
    },
    Layer {
        name: "clippy",
        needs: &[],
        run: checks::clippy,
        absent: never,
    },
    Layer {
        name: "docs",
        needs: &[],
        run: checks::docs,
        absent: never,
    },
    Layer {
        name: "codegen",
        needs: &[],
        run: checks::codegen,
        absent: never,
    },
    Layer {
        name: "deny",
        needs: &[],
        run: checks::deny,
        absent: checks::no_deny,
    },
    Layer {
        name: "machete",
        needs: &[],
        run: checks::machete,
        absent: checks::no_machete,
    },
    Layer {
        name: "typos",
        needs: &[],
        run: checks::typos,
        absent: checks::no_typos,
    },
    Layer {
        name: "tests",
        needs: &[],
        run: checks::tests,
        absent: never,
    },
    Layer {
        name: "simulation",
        needs: &[],
        run: checks::simulation,
        absent: never,
    },
    Layer {
        name: "graphs",
        needs: &[],
        run: checks::graphs,
        absent: never,
    },
    Layer {
        name: "fuzz",
        needs: &[Need::Cxx],
        run: checks::fuzz,
        absent: never,
    },
    Layer {
        name: "cql",
        needs: &[Need::Java],
        run: checks::cql,
        absent: checks::no_cql,
    },
    Layer {
        name: "redis",
        needs: &[Need::Redis],
        run: checks::redis,
        absent: never,
    },
    Layer {
        name: "contention",
        needs: &[Need::Java, Need::Redis, Need::Binary],
        run: checks::contention,
        absent: checks::no_cql,
    },
    Layer {
        name: "cluster",
        needs: &[Need::Java, Need::Redis],
        run: checks::cluster,
        absent: checks::no_cql,
    },
    Layer {
        name: "faults",
        needs: &[Need::Java, Need::Redis, Need::Binary],
        run: checks::faults,
        absent: checks::no_cql,
    },
    Layer {
        name: "kill",
        needs: &[Need::Binary],
        run: checks::kill,
        absent: checks::no_kill,
    },
    Layer {
        name: "blackbox",
        needs: &[Need::Python, Need::Binary],
        run: checks::blackbox_hanse,
        absent: checks::no_blackbox,
    },
    Layer {
        name: "blackbox-synapse",
        needs: &[Need::Python],
        run: checks::blackbox_synapse,
        absent: checks::no_blackbox,
    },
    Layer {
        name: "clients",
        needs: &[Need::Python, Need::Node, Need::Binary],
        run: checks::clients,
        absent: checks::no_clients,
    },
    Layer {
        name: "blackbox-cluster",
        needs: &[Need::Java, Need::Redis, Need::Python, Need::Binary],
        run: checks::blackbox_cluster,
        absent: checks::no_blackbox_cluster,
    },
    Layer {
        name: "clients-cluster",
        needs: &[
            Need::Java,
            Need::Redis,
            Need::Python,
            Need::Node,
            Need::Binary,
        ],
        run: checks::clients_cluster,
        absent: checks::no_clients_cluster,
    },
];

/// For the command line.
pub(crate) fn names() -> PossibleValuesParser {
    LAYERS
        .iter()
        .map(|layer| layer.name)
        .collect::<Vec<_>>()
        .into()
}

fn never(_: &Path) -> Option<&'static str> {
    None
}
