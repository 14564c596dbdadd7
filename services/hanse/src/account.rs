//! `hanse admin create-user`.

use std::io::{self, BufRead};

use anyhow::anyhow;
use hanse_runtime::admin::{self, Reply, Request, Secret};
use hanse_runtime::config::Config;
use hanse_runtime::{Random, SystemRandom};

use crate::cli::CreateUser;
use crate::exit::Failure;

/// Length of a password that is made here; 20 of 62 characters carry 119 bits.
const MADE_PASSWORD_CHARS: usize = 20;

/// Asks the running server for the account and prints what its owner needs.
pub(crate) fn create(user: CreateUser) -> Result<(), Failure> {
    let given = given_password(&user)?;
    let config = Config::load(&user.place.sources())?;
    let password = given
        .clone()
        .unwrap_or_else(|| SystemRandom.alphanumeric(MADE_PASSWORD_CHARS));
    let request = Request::CreateUser(admin::CreateUser {
        localpart: user.localpart,
        password: Secret::new(password.clone()),
        admin: user.admin,
    });
    let socket = config.admin.socket_path(&config.data.path);
    match admin::call(&socket, &request).map_err(anyhow::Error::from)? {
        Reply::UserCreated(made) => {
            let shown = if given.is_none() {
                format!("password {password}\n")
            } else {
                String::new()
            };
            crate::print(&format!("created {}\n{shown}", made.user_id))
        }
        Reply::Error(reason) => Err(anyhow!(reason).into()),
    }
}

fn given_password(user: &CreateUser) -> Result<Option<String>, Failure> {
    if !user.password_stdin {
        return Ok(user.password.clone());
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(anyhow!("standard input has no password").into());
    }
    Ok(Some(password.to_owned()))
}
