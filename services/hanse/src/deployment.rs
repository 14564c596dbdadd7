//! What every process of a deployment must agree on: the signing key and the secret of sync tokens,
//! which nobody else may know; the server's name; the number of slots. Made once, kept in the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hanse_event::ServerKey;
use hanse_event::server_key::SEED_BYTES;
use hanse_log::SlotMap;
use hanse_runtime::Random;
use hanse_runtime::config::Config;
use hanse_store::{
    Column, ConditionalBatch, ConditionalStep, Consistency, Key, Kind, Store, StoreError, Table,
    Value,
};

use crate::exit::Failure;

/// Partition `name`.
static DEPLOYMENT_SECRETS: Table = Table {
    name: "deployment_secrets",
    kind: Kind::Cas,
    partition: &[Column::text("name")],
    clustering: &[],
    statics: &[],
    values: &[Column::text("secret")],
};

const SIGNING_KEY: &str = "signing_key";
const SLOTS: &str = "slots";
/// Characters of the token secret.
const TOKEN_SECRET_CHARS: usize = 32;
/// How often something is tried to be made or read, and the pause in between, up to twice that: processes
/// that start together contend, and nodes of the store that have just started do not see each other yet.
const TRIES_MAX: u32 = 60;
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What the processes agree on.
pub(crate) struct Deployment {
    pub(crate) signing_key: Arc<ServerKey>,
    pub(crate) token_secret: [u8; 32],
    pub(crate) map: SlotMap,
}

impl Deployment {
    /// Reads it, and makes what is missing: of processes that make something at once, one wins. An
    /// error of the settings if they say otherwise.
    pub(crate) async fn load(
        store: &Arc<dyn Store>,
        random: &dyn Random,
        config: &Config,
    ) -> Result<Self, Failure> {
        let rows = Rows { store, random };
        let tables = [&DEPLOYMENT_SECRETS];
        let made = rows.patiently("table", || store.create_tables(&tables));
        made.await.context("cannot open the store")?;
        let slots = rows.slots(config).await?;
        let name = rows.agreed("server_name", config.server.name.to_string());
        check_name(config, &name.await?)?;
        check_slots(config, slots)?;
        let mut seed = [0; SEED_BYTES];
        random.fill(&mut seed);
        let key =
            ServerKey::generate(seed, &random.alphanumeric(6)).map_err(anyhow::Error::from)?;
        let key = rows.agreed(SIGNING_KEY, key.to_stored()).await?;
        let token = random.alphanumeric(TOKEN_SECRET_CHARS);
        let token = rows.agreed("sync_token", token).await?;
        let damaged = |_| anyhow!("the stored token secret is damaged");
        Ok(Self {
            signing_key: Arc::new(ServerKey::from_stored(&key).map_err(anyhow::Error::from)?),
            token_secret: token.into_bytes().try_into().map_err(damaged)?,
            map: SlotMap::initial(slots),
        })
    }
}

/// How many slots the settings mean.
fn slots_wanted(config: &Config) -> u32 {
    match config.cluster.listen {
        Some(_) => config.cluster.slots,
        None => SlotMap::SLOTS_SINGLE_PROCESS,
    }
}

/// A cluster does not know which data directory it belongs to, so that it is asked for the server's
/// name, too.
fn check_name(config: &Config, owner: &str) -> Result<(), Failure> {
    let name = &config.server.name;
    if owner == name.as_str() {
        return Ok(());
    }
    let error = anyhow!("the store belongs to the server {owner}, and server.name is {name}");
    Err(Failure::Settings(error))
}

/// Two who divide keys differently would each look for rows where the other never put them.
fn check_slots(config: &Config, slots: u32) -> Result<(), Failure> {
    let wanted = slots_wanted(config);
    if slots == wanted {
        return Ok(());
    }
    let cannot = format!("the store is divided into {slots} slots, which cannot change");
    let error = match config.cluster.listen {
        Some(_) => anyhow!("cluster.slots = {wanted}: {cannot}; allowed: {slots}"),
        None => anyhow!(
            "cluster.listen is not set: a process that is alone has {wanted} slots, and {cannot}; \
             allowed: an address, with cluster.slots = {slots}"
        ),
    };
    Err(Failure::Settings(error))
}

struct Rows<'a> {
    store: &'a Arc<dyn Store>,
    random: &'a dyn Random,
}

impl Rows<'_> {
    async fn slots(&self, config: &Config) -> anyhow::Result<u32> {
        // In this order: whoever makes the key has made the number before.
        let has_key = self.read(SIGNING_KEY).await?.is_some();
        let wanted = match self.read(SLOTS).await? {
            // Of a version that had single processes only, and no such row.
            None if has_key => SlotMap::SLOTS_SINGLE_PROCESS,
            _ => slots_wanted(config),
        };
        let slots = self.agreed(SLOTS, wanted.to_string()).await?;
        let slots = slots.parse().ok();
        let good = slots.filter(|slots| (1..=SlotMap::BUCKETS).contains(slots));
        good.context("the stored number of slots is damaged")
    }

    /// What stands in a row once somebody has made it: this process or another.
    async fn agreed(&self, name: &str, new: String) -> anyhow::Result<String> {
        let insert = || ConditionalBatch {
            table: &DEPLOYMENT_SECRETS,
            partition: vec![name.into()],
            steps: vec![ConditionalStep::InsertIfNotExists {
                clustering: Vec::new(),
                set: vec![("secret", new.clone().into())],
            }],
        };
        // Whatever is not known of an attempt, the row decides: none is ever changed.
        self.patiently(name, || self.store.conditional(insert()))
            .await?;
        let made = self.read(name).await?;
        made.with_context(|| format!("the row {name} of the deployment is missing"))
    }

    async fn read(&self, name: &str) -> anyhow::Result<Option<String>> {
        let key = Key::partition(vec![name.into()]);
        let read = || {
            self.store
                .get(&DEPLOYMENT_SECRETS, &key, Consistency::Serial)
        };
        let row = self.patiently(name, read).await?;
        let value = row.as_ref().and_then(|row| row.values.first());
        Ok(value.and_then(Value::as_str).map(str::to_owned))
    }

    async fn patiently<T, F>(&self, name: &str, call: impl Fn() -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        for _ in 1..TRIES_MAX {
            match call().await {
                Err(error @ (StoreError::Unavailable { .. } | StoreError::Unknown { .. })) => {
                    tracing::info!(%error, name, "contended for, or not to be reached; once more");
                    let jitter = self.random.below(RETRY_PAUSE.as_micros() as u64);
                    tokio::time::sleep(RETRY_PAUSE + Duration::from_micros(jitter)).await;
                }
                decided => return Ok(decided?),
            }
        }
        Ok(call().await?)
    }
}

#[cfg(test)]
mod tests {
    use hanse_runtime::SystemRandom;
    use hanse_store_embedded::{EmbeddedStore, Options};
    use tempfile::TempDir;

    use super::*;

    fn store(dir: &TempDir) -> Arc<dyn Store> {
        EmbeddedStore::open(dir.path(), Options::new(Arc::new(|| 0))).unwrap()
    }

    fn clustered(slots: u32) -> Config {
        let mut config = Config::default();
        config.cluster.listen = Some(([127, 0, 0, 1], 1).into());
        config.cluster.slots = slots;
        config
    }

    async fn load(store: &Arc<dyn Store>, config: &Config) -> Result<Deployment, Failure> {
        Deployment::load(store, &SystemRandom, config).await
    }

    async fn refused(store: &Arc<dyn Store>, config: &Config) -> String {
        match load(store, config).await {
            Err(Failure::Settings(error)) => error.to_string(),
            Err(Failure::Other(error)) => panic!("{error}"),
            Ok(_) => panic!("it starts"),
        }
    }

    /// Red if each takes what it made itself.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn processes_that_start_together_agree() {
        let dir = TempDir::new().unwrap();
        let store = store(&dir);
        let loads = (0..8).map(|_| {
            let store = Arc::clone(&store);
            async move { load(&store, &clustered(256)).await.unwrap() }
        });
        let tasks = hanse_runtime::Tasks::new();
        let loads: Vec<_> = loads.map(|load| tasks.spawn("load", load)).collect();
        let mut all = Vec::new();
        for load in loads {
            all.push(load.await.unwrap().unwrap());
        }
        for one in &all {
            assert_eq!(one.token_secret, all[0].token_secret);
            assert_eq!(one.signing_key.to_stored(), all[0].signing_key.to_stored());
            assert_eq!(one.map, SlotMap::initial(256));
        }
    }

    /// Red if a process starts that would look for keys in other slots.
    #[tokio::test]
    async fn who_divides_otherwise_is_refused() {
        let dir = TempDir::new().unwrap();
        let store = store(&dir);
        load(&store, &clustered(64)).await.map(drop).unwrap();
        let said = refused(&store, &clustered(256)).await;
        assert_eq!(
            said,
            "cluster.slots = 256: the store is divided into 64 slots, which cannot change; \
             allowed: 64"
        );
        let said = refused(&store, &Config::default()).await;
        assert!(said.contains("with cluster.slots = 64"), "{said}");
        let mut other = clustered(64);
        other.server.name = "other.org".try_into().unwrap();
        let said = refused(&store, &other).await;
        assert!(said.contains("belongs to the server localhost"), "{said}");
    }

    /// Red if a store of the version before is divided anew.
    #[tokio::test]
    async fn a_store_without_a_number_has_the_single_processes() {
        let dir = TempDir::new().unwrap();
        let store = store(&dir);
        store.create_tables(&[&DEPLOYMENT_SECRETS]).await.unwrap();
        let random = &SystemRandom;
        let rows = Rows {
            store: &store,
            random,
        };
        let key = ServerKey::generate([7; SEED_BYTES], "a").unwrap();
        rows.agreed(SIGNING_KEY, key.to_stored()).await.unwrap();
        let said = refused(&store, &clustered(256)).await;
        assert!(said.ends_with("allowed: 16"), "{said}");
        let alone = load(&store, &Config::default()).await.unwrap();
        assert_eq!(alone.map, SlotMap::initial(16));
        assert_eq!(alone.signing_key.to_stored(), key.to_stored());
    }
}
