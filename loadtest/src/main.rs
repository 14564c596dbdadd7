//! `hanse-loadtest`: synthetic users against a Matrix homeserver.

use std::{
    io::{self, Write},
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use hanse_loadtest::{
    Report, Target, Watched,
    big_room::BigRoom,
    deliver::Deliver,
    e2ee::{DeviceChanges, NewDevice, WaitingMessages},
    fsync::Fsync,
    overload::Overload,
    send::Send,
};

/// Put load on a Matrix homeserver and say how it held up.
///
/// The server must take registrations without a token and have its rate limits off.
#[derive(Debug, Parser)]
#[command(name = "hanse-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    scenario: Scenario,
    /// Write the figures to this file, too
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Closed loop: senders that wait for each answer
    Send {
        #[command(flatten)]
        server: Server,
        /// How many send at the same time
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1000))]
        senders: u16,
        /// How many rooms they send into
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
        rooms: u16,
        /// Length of a message's text, in bytes
        #[arg(long, default_value_t = 40)]
        text_bytes: usize,
        #[command(flatten)]
        period: Period,
    },
    /// Open loop: messages at fixed times into rooms whose members wait in /sync
    Deliver {
        #[command(flatten)]
        server: Server,
        /// How many wait
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..=10_000))]
        users: u64,
        /// Members of each room
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=10_000))]
        room_size: u64,
        /// Messages a second over all rooms
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
        rate: u64,
        #[command(flatten)]
        period: Period,
    },
    /// Many joins into one room, then sends into it
    BigRoom {
        #[command(flatten)]
        server: Server,
        /// How many join
        #[arg(long, default_value_t = 10_000)]
        joins: usize,
        /// How many register or join at the same time
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
        lanes: u16,
        /// How many then send at the same time
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
        senders: u16,
        #[command(flatten)]
        period: Period,
    },
    /// The peak of a closed loop, then several times that, open, and how much of the peak is left
    Overload {
        #[command(flatten)]
        server: Server,
        /// How many send at the same time for the peak
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
        senders: u16,
        /// How many rooms they send into
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        rooms: u16,
        /// How many times the peak is offered
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
        times: u8,
        /// Connections to offer it on
        #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u16).range(1..=20_000))]
        connections: u16,
        #[command(flatten)]
        period: Period,
    },
    #[command(flatten)]
    Encryption(Encryption),
    /// The yardstick: append and fsync, alone
    Fsync {
        /// Where to write
        #[arg(long, value_name = "DIRECTORY")]
        directory: PathBuf,
        /// Bytes of each append
        #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
        bytes: u32,
        #[command(flatten)]
        period: Period,
    },
}

/// What end-to-end encryption costs.
#[derive(Debug, Subcommand)]
enum Encryption {
    /// Messages that wait for one device which was away, and how it fetches them
    ToDevice {
        #[command(flatten)]
        server: Server,
        /// How many messages wait
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
        messages: u32,
        /// How many send them at the same time
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1000))]
        senders: u16,
        /// Length of a message's ciphertext, in bytes
        #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u16).range(1..=16_384))]
        bytes: u16,
    },
    /// A user in many rooms logs in on a new device
    NewDevice {
        #[command(flatten)]
        server: Server,
        /// How many rooms the user is in
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
        rooms: u16,
        /// How many others wait in /sync, each in an equal part of the rooms
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        waiting: u16,
    },
    /// Devices that change in a large encrypted room, while some of its members wait in /sync
    DeviceChanges {
        #[command(flatten)]
        server: Server,
        /// Members of the room
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
        members: u32,
        /// How many of them wait in /sync
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=5_000))]
        online: u16,
        /// How many of the others get a new device in a minute
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=60_000))]
        per_minute: u32,
        #[command(flatten)]
        period: Period,
    },
}

#[derive(Debug, Args)]
struct Server {
    /// Where the server listens, without TLS; users are spread over several addresses
    #[arg(
        long = "server",
        default_value = "127.0.0.1:8008",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    addresses: Vec<String>,
    /// The server's processes, to measure their processor time and memory
    #[arg(long = "pid", value_name = "[NAME=]PID", value_delimiter = ',')]
    processes: Vec<String>,
    /// Counters on the server's /metrics to report, by the starts of their names
    #[arg(
        long,
        default_value = "hanse_store,hanse_log_batches,hanse_log_entries,hanse_log_rows,hanse_sync",
        value_delimiter = ','
    )]
    counters: Vec<String>,
    /// Let the server be on another machine
    #[arg(long)]
    remote: bool,
}

#[derive(Clone, Copy, Debug, Args)]
struct Period {
    /// How long is measured, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How long it runs before that, in seconds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=600))]
    warm_up: u64,
}

/// How many members of a large room register or join at the same time.
const LANES: usize = 16;
/// The most that `fsync` writes.
const FSYNC_BYTES_MAX: u64 = 1 << 30;

impl Period {
    fn measured(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    fn warm_up(self) -> Duration {
        Duration::from_secs(self.warm_up)
    }
}

impl Server {
    fn target(&self) -> anyhow::Result<Target> {
        let addresses = self.addresses.iter().map(|address| self.resolve(address));
        let processes = self.processes.iter().map(|process| watched(process));
        Ok(Target::new(
            addresses.collect::<anyhow::Result<_>>()?,
            processes.collect::<anyhow::Result<_>>()?,
        ))
    }

    fn resolve(&self, address: &str) -> anyhow::Result<SocketAddr> {
        let found = address.to_socket_addrs();
        let mut found = found.with_context(|| format!("no address: {address}"))?;
        let local = |address: &SocketAddr| self.remote || address.ip().is_loopback();
        let found = found.find(local);
        found
            .with_context(|| format!("{address} is not on this machine; --remote if that is meant"))
    }
}

fn watched(process: &str) -> anyhow::Result<(String, Watched)> {
    let (name, pid) = process.split_once('=').unwrap_or(("server", process));
    let pid = pid
        .parse()
        .with_context(|| format!("no process id: {pid}"))?;
    Ok((name.to_owned(), Watched::pid(pid)))
}

fn main() -> ExitCode {
    match measure(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "hanse-loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: Cli) -> anyhow::Result<()> {
    // One thread: the other processors are the server's.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(run(cli.scenario))?;
    write!(io::stdout(), "{report}")?;
    cli.json.map_or(Ok(()), |path| report.write_json(&path))
}

async fn run(scenario: Scenario) -> anyhow::Result<Report> {
    match scenario {
        Scenario::Send {
            server,
            senders,
            rooms,
            text_bytes,
            period,
        } => {
            let send = Send {
                senders: senders.into(),
                rooms: rooms.into(),
                measured: period.measured(),
                warm_up: period.warm_up(),
                text_bytes,
                counters: server.counters.clone(),
            };
            send.run(&server.target()?).await
        }
        Scenario::Deliver {
            server,
            users,
            room_size,
            rate,
            period,
        } => {
            let deliver = Deliver {
                users,
                room_size,
                per_second: rate,
                measured: period.measured(),
                warm_up: period.warm_up(),
            };
            deliver.run(&server.target()?).await
        }
        Scenario::BigRoom {
            server,
            joins,
            lanes,
            senders,
            period,
        } => {
            let big_room = BigRoom {
                members: joins,
                lanes: lanes.into(),
                senders: senders.into(),
                measured: period.measured(),
                counters: server.counters.clone(),
            };
            big_room.run(&server.target()?).await
        }
        Scenario::Overload {
            server,
            senders,
            rooms,
            times,
            connections,
            period,
        } => {
            let overload = Overload {
                senders: senders.into(),
                rooms: rooms.into(),
                times: times.into(),
                connections: connections.into(),
                measured: period.measured(),
                warm_up: period.warm_up(),
            };
            overload.run(&server.target()?).await
        }
        Scenario::Encryption(scenario) => encryption(scenario).await,
        Scenario::Fsync {
            directory,
            bytes,
            period,
        } => Fsync {
            directory,
            bytes: bytes as usize,
            measured: period.measured(),
            bytes_max: FSYNC_BYTES_MAX,
        }
        .run(),
    }
}

async fn encryption(scenario: Encryption) -> anyhow::Result<Report> {
    match scenario {
        Encryption::ToDevice {
            server,
            messages,
            senders,
            bytes,
        } => {
            let waiting = WaitingMessages {
                messages: messages as usize,
                senders: senders.into(),
                bytes: bytes.into(),
                counters: server.counters.clone(),
            };
            waiting.run(&server.target()?).await
        }
        Encryption::NewDevice {
            server,
            rooms,
            waiting,
        } => {
            let new_device = NewDevice {
                rooms: rooms.into(),
                waiting: waiting.into(),
                counters: server.counters.clone(),
            };
            new_device.run(&server.target()?).await
        }
        Encryption::DeviceChanges {
            server,
            members,
            online,
            per_minute,
            period,
        } => {
            let changes = DeviceChanges {
                members: members as usize,
                online: online.into(),
                per_minute,
                lanes: LANES,
                measured: period.measured(),
                counters: server.counters.clone(),
            };
            changes.run(&server.target()?).await
        }
    }
}
