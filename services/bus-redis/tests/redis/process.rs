//! A process on the bus, as far as the bus is concerned.

use std::{sync::Arc, time::Duration};

use hanse_bus_redis::{RedisBus, RedisBusParts, RedisTls};
use hanse_log::{Bus, Heard, LogPoint, Notice, Slot, SlotMap};
use hanse_proto::log::Entry;
use hanse_runtime::{SeededRandom, Tasks};
use metrics::LocalRecorderGuard;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::server::Server;

/// Slots of the deployments under test.
pub(crate) const SLOTS: u32 = 256;
/// The longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process: a bus and its tasks, which end with it.
pub(crate) struct Process {
    pub(crate) bus: RedisBus,
    pub(crate) tasks: Tasks,
}

impl Process {
    pub(crate) fn start(server: &Server, deployment: &str) -> Self {
        Self::start_at(server.url(), RedisTls::default(), deployment)
    }

    pub(crate) fn start_at(url: String, tls: RedisTls, deployment: &str) -> Self {
        let tasks = Tasks::new();
        let bus = RedisBus::start(RedisBusParts {
            urls: vec![url],
            tls,
            deployment: deployment.to_owned(),
            map: SlotMap::initial(SLOTS),
            random: Arc::new(SeededRandom::new(1)),
            tasks: tasks.clone(),
        });
        Self {
            bus: bus.unwrap(),
            tasks,
        }
    }

    /// Subscribes, and has heard that the subscription stands.
    pub(crate) async fn listen(&self) -> Ear {
        let mut ear = Ear(self.bus.subscribe());
        assert_eq!(ear.next().await, Heard::Subscribed);
        ear
    }

    /// Publishes until the subscriber hears it: the writer connects in its own time.
    pub(crate) async fn connected_to(&self, ear: &mut Ear) {
        let begun = Instant::now();
        for seq in 1.. {
            self.bus.publish(heartbeat(Slot(0), seq));
            if ear.within(Duration::from_millis(50)).await.is_some() {
                break;
            }
            assert!(begun.elapsed() < PATIENCE, "nothing is heard");
        }
        ear.drain().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.tasks.hard().cancel();
    }
}

/// A subscriber.
pub(crate) struct Ear(mpsc::Receiver<Heard>);

impl Ear {
    pub(crate) async fn next(&mut self) -> Heard {
        let heard = timeout(PATIENCE, self.0.recv()).await;
        heard.expect("something is heard in time").unwrap()
    }

    pub(crate) async fn within(&mut self, wait: Duration) -> Option<Heard> {
        timeout(wait, self.0.recv()).await.ok().flatten()
    }

    pub(crate) async fn notice(&mut self) -> Notice {
        match self.next().await {
            Heard::Notice(notice) => notice,
            Heard::Subscribed => panic!("the subscription was lost"),
        }
    }

    /// Hears until the subscription stands again.
    pub(crate) async fn subscribed(&mut self) {
        while self.next().await != Heard::Subscribed {}
    }

    /// Takes what is there and on its way.
    pub(crate) async fn drain(&mut self) {
        while self.within(Duration::from_millis(100)).await.is_some() {}
    }
}

/// A batch of one entry of a size.
pub(crate) fn batch(slot: Slot, seq: i64, bytes: usize) -> Notice {
    let entry = Entry {
        trace_parent: "x".repeat(bytes),
        ..Entry::default()
    };
    Notice {
        slot,
        epoch: 5,
        prev: seq - 1,
        point: LogPoint { segment: 2, seq },
        entries: Some(vec![entry]),
    }
}

pub(crate) fn heartbeat(slot: Slot, seq: i64) -> Notice {
    Notice {
        prev: seq,
        entries: None,
        ..batch(slot, seq, 0)
    }
}

/// The metrics of one test: each runs on a thread of its own.
pub(crate) struct Counters {
    handle: PrometheusHandle,
}

impl Counters {
    /// A recorder to be kept by the test, and installed with [`Self::install`].
    pub(crate) fn new() -> (PrometheusRecorder, Self) {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        (recorder, Self { handle })
    }

    pub(crate) fn install(recorder: &PrometheusRecorder) -> LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(recorder)
    }

    /// The value of a metric with its labels, such as `hanse_x_total{reason="y"}`; 0 if unheard of.
    pub(crate) fn get(&self, name: &str) -> u64 {
        let text = self.handle.render();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }
}
