//! `hanse serve`: set the process up, wire the roles, wait for the drain.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hanse_cluster::grpc::SlotListener;
use hanse_runtime::admin::{AdminCommands, AdminSocket, FirstAccount};
use hanse_runtime::config::Config;
use hanse_runtime::http::Listener;
use hanse_runtime::telemetry::{self, Metrics};
use hanse_runtime::{DataDir, Lifecycle, OsSignals, Stage, StopSignals, SystemClock, SystemRandom};

use crate::exit::Failure;
use crate::welcome::{self, Addresses};
use crate::wiring::{self, Surroundings, Wired};

/// How long threads that still block may hold up the exit after a drain.
const EXIT_WITHIN: Duration = Duration::from_secs(5);

/// Runs the server until it has drained.
pub(crate) fn serve(config: &Config) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("hanse")
        .build()
        .context("cannot start the runtime")?;
    let instance = SystemRandom::shared().alphanumeric(8);
    let entered = runtime.enter();
    let (metrics, traces) =
        telemetry::init(&config.telemetry, &instance).context("cannot start telemetry")?;
    drop(entered);
    let ended = runtime.block_on(run(config, metrics));
    if let Some(traces) = traces {
        traces.end();
    }
    runtime.shutdown_timeout(EXIT_WITHIN);
    ended
}

async fn run(config: &Config, metrics: Metrics) -> Result<(), Failure> {
    let mut signals = OsSignals::listen()?;
    let lifecycle = Lifecycle::new(config.drain.limits());
    let data = DataDir::open(&config.data.path, &config.server.name)?;
    // Before the store is opened, so that a port in use is found at once.
    let listener = Listener::bind(config.server.listen)
        .await
        .map_err(anyhow::Error::from)?;
    let others = match config.cluster.listen {
        Some(address) => Some(
            SlotListener::bind(address)
                .await
                .map_err(anyhow::Error::from)?,
        ),
        None => None,
    };
    let addresses = Addresses {
        clients: listener.address(),
        processes: others.as_ref().map(SlotListener::address),
    };
    let started = lifecycle.readiness().part("start");
    let surroundings = Surroundings {
        config,
        data: &data,
        lifecycle: &lifecycle,
        clock: SystemClock::shared(),
        random: SystemRandom::shared(),
    };
    let wired = tokio::select! {
        wired = wiring::wire(&surroundings, others) => wired?,
        name = signals.next() => {
            tracing::info!(signal = name, "stopped while starting");
            return Ok(());
        }
    };
    let welcome = open(&surroundings, listener, addresses, wired, metrics).await?;
    // Whoever reads the address may rely on readiness.
    started.set(true);
    crate::print(&welcome)?;
    let drained = lifecycle.run(signals).await;
    if drained.success() {
        return Ok(());
    }
    Err(anyhow!("the server did not end in order ({:?})", drained.stop).into())
}

/// Opens the doors: the admin socket, then the HTTP listener. Returns what to tell the operator.
async fn open(
    surroundings: &Surroundings<'_>,
    listener: Listener,
    addresses: Addresses,
    wired: Wired,
    metrics: Metrics,
) -> Result<String, Failure> {
    let Surroundings {
        config,
        data,
        lifecycle,
        clock,
        ..
    } = surroundings;
    let path = config.admin.socket_path(data.path());
    let socket = AdminSocket::bind(&path).map_err(anyhow::Error::from)?;
    let front = lifecycle.tasks(Stage::Front);
    front.spawn(
        "metrics upkeep",
        metrics.clone().upkeep(front.soft().clone()),
    );
    socket.serve(front, Arc::clone(&wired.admin));
    listener.serve(
        wired.router,
        &config.limits,
        lifecycle,
        metrics,
        Arc::clone(clock),
    );
    let first = first_account(config, wired.admin.as_ref()).await?;
    Ok(welcome::text(config, addresses, first.as_ref()))
}

/// What an operator without an account is told. In a cluster it is left out where nobody has come to
/// serve the slot of the token in time.
async fn first_account(
    config: &Config,
    admin: &dyn AdminCommands,
) -> Result<Option<FirstAccount>, Failure> {
    match admin.first_account().await {
        Ok(first) => Ok(Some(first)),
        Err(error) if config.cluster.listen.is_some() => {
            tracing::info!(%error, "there is no token for the first account yet");
            Ok(None)
        }
        Err(error) => Err(anyhow::Error::from(error).into()),
    }
}
