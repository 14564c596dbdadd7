//! What every process of a deployment must know and nobody else: the signing key, and the secret
//! of sync tokens. Made once, kept in the store, beside the name of the server that they are for.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use hanse_event::ServerKey;
use hanse_event::server_key::SEED_BYTES;
use hanse_runtime::Random;
use hanse_store::{
    Column, ConditionalBatch, ConditionalStep, Consistency, Key, Kind, Store, Table, Value,
};
use ruma::ServerName;

/// Partition `name`.
static DEPLOYMENT_SECRETS: Table = Table {
    name: "deployment_secrets",
    kind: Kind::Cas,
    partition: &[Column::text("name")],
    clustering: &[],
    statics: &[],
    values: &[Column::text("secret")],
};

/// Characters of the token secret.
const TOKEN_SECRET_CHARS: usize = 32;

/// The deployment's secrets.
pub(crate) struct Secrets {
    pub(crate) signing_key: Arc<ServerKey>,
    pub(crate) token_secret: [u8; 32],
    /// Whose they are: the name that the store was first opened with.
    pub(crate) server_name: String,
}

impl Secrets {
    /// Reads them; makes those that are missing. Of two processes that make one at once, one wins.
    pub(crate) async fn load(
        store: &Arc<dyn Store>,
        random: &dyn Random,
        server_name: &ServerName,
    ) -> anyhow::Result<Self> {
        store.create_tables(&[&DEPLOYMENT_SECRETS]).await?;
        let mut seed = [0; SEED_BYTES];
        random.fill(&mut seed);
        let new_key = ServerKey::generate(seed, &random.alphanumeric(6))?;
        let key = secret(store, "signing_key", new_key.to_stored()).await?;
        let token = random.alphanumeric(TOKEN_SECRET_CHARS);
        let token = secret(store, "sync_token", token).await?;
        let server_name = secret(store, "server_name", server_name.to_string()).await?;
        Ok(Self {
            signing_key: Arc::new(ServerKey::from_stored(&key)?),
            token_secret: token
                .into_bytes()
                .try_into()
                .map_err(|_| anyhow!("the stored token secret is damaged"))?,
            server_name,
        })
    }
}

async fn secret(store: &Arc<dyn Store>, name: &str, new: String) -> anyhow::Result<String> {
    let partition: Vec<Value> = vec![name.into()];
    let insert = ConditionalBatch {
        table: &DEPLOYMENT_SECRETS,
        partition: partition.clone(),
        steps: vec![ConditionalStep::InsertIfNotExists {
            clustering: Vec::new(),
            set: vec![("secret", new.into())],
        }],
    };
    store.conditional(insert).await?;
    let key = Key::partition(partition);
    let row = store
        .get(&DEPLOYMENT_SECRETS, &key, Consistency::Serial)
        .await?;
    let secret = row
        .as_ref()
        .and_then(|row| row.values.first())
        .and_then(Value::as_str);
    secret
        .map(str::to_owned)
        .with_context(|| format!("the secret {name} is missing"))
}
