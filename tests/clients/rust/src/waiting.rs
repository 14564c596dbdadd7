//! Waiting for what a sync is to bring.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{sleep, timeout};

/// How long anything may take.
pub(crate) const WAIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until there is something, and returns that.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let looking = async {
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let Ok(found) = timeout(WAIT, looking).await else {
        bail!("not within {} s: {what}", WAIT.as_secs());
    };
    found
}

/// Looks until it is so.
pub(crate) async fn until_so(what: &str, look: impl AsyncFn() -> Result<bool>) -> Result<()> {
    until(what, async || Ok(look().await?.then_some(()))).await
}
