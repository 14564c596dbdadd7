//! One scenario of matrix-sdk against a homeserver that runs: `matrix-sdk-scenarios URL[,URL…] NAME`.
//!
//! Several URLs are processes of one server; each client goes to another one. Exit code 0: all was as it
//! should be. Else the last line says what was not.
// The types of matrix-sdk's futures are that deep.
#![recursion_limit = "256"]

mod device;
mod rooms;
mod verification;
mod waiting;
mod world;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::world::World;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let mut args = env::args().skip(1);
    let urls = args.next().context("no URL of a server")?;
    let name = args.next().context("no name of a scenario")?;
    let urls = urls.split(',').map(str::to_owned).collect();
    let world = &mut World::open(urls).await.context("the room")?;
    match name.as_str() {
        "encrypted_both_ways" => rooms::encrypted_both_ways(world).await,
        "keys_come_before_their_messages" => rooms::keys_come_before_their_messages(world).await,
        "keys_wait_for_a_device" => rooms::keys_wait_for_a_device(world).await,
        "one_time_keys_are_replaced" => rooms::one_time_keys_are_replaced(world).await,
        "newcomers_read_on" => rooms::newcomers_read_on(world).await,
        "who_leaves_gets_no_keys" => rooms::who_leaves_gets_no_keys(world).await,
        "encryption_goes_on" => rooms::encryption_goes_on(world).await,
        "removed_device_gets_no_keys" => rooms::removed_device_gets_no_keys(world).await,
        "second_device_by_recovery_key" => verification::by_recovery_key(world).await,
        "second_device_by_emoji" => verification::by_emoji(world).await,
        "later_keys_are_backed_up" => verification::later_keys_are_backed_up(world).await,
        "users_verify_each_other" => verification::users_verify_each_other(world).await,
        "cross_signing_is_replaced" => verification::cross_signing_is_replaced(world).await,
        other => bail!("no scenario named {other}"),
    }
}
