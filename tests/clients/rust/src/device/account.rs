//! How a device gets into its account, and what wants the password.

use anyhow::{Context, Result, bail, ensure};
use matrix_sdk::ruma::api::client::account::register;
use matrix_sdk::ruma::api::client::uiaa::{
    AuthData, Dummy, MatrixUserIdentifier, Password, UserIdentifier,
};
use matrix_sdk::ruma::api::error::ErrorKind;
use matrix_sdk::ruma::{TransactionId, UserId};
use matrix_sdk::{Client, Error};
use tokio::time::timeout;

use super::Device;
use crate::waiting::WAIT;

const PASSWORD: &str = "correct horse battery staple";

impl Device {
    /// The first device of a new account.
    pub(crate) async fn register(url: &str, localpart: &str) -> Result<Self> {
        let client = connect(url).await?;
        let mut request = register::v3::Request::new();
        request.username = Some(format!("{localpart}-{}", TransactionId::new()));
        request.password = Some(PASSWORD.to_owned());
        let asked = client.matrix_auth().register(request.clone()).await;
        let asked = asked.err().context("registered without authentication")?;
        let mut dummy = Dummy::new();
        dummy.session = session_of(asked)?;
        request.auth = Some(AuthData::Dummy(dummy));
        client.matrix_auth().register(request).await?;
        Self::start(client).await
    }

    /// Another device of an account.
    pub(crate) async fn log_in(url: &str, user_id: &UserId) -> Result<Self> {
        let client = connect(url).await?;
        let login = client.matrix_auth().login_username(user_id, PASSWORD);
        login.send().await?;
        Self::start(client).await
    }

    /// Removes another device of this user, with the password.
    pub(crate) async fn remove(&self, other: &Self) -> Result<()> {
        let devices = [other.device_id().to_owned()];
        let delete = async |auth| Ok(self.client.delete_devices(&devices, auth).await.map(drop)?);
        let asked = self.with_password(delete).await?;
        ensure!(asked, "a device was removed without the password");
        Ok(())
    }

    /// Requests, with the password if the server asks for it; whether it did.
    pub(crate) async fn with_password(
        &self,
        request: impl AsyncFn(Option<AuthData>) -> Result<(), Error>,
    ) -> Result<bool> {
        let Err(asked) = request(None).await else {
            return Ok(false);
        };
        let mut password = self.password();
        password.session = session_of(asked)?;
        request(Some(AuthData::Password(password))).await?;
        Ok(true)
    }

    pub(crate) fn password(&self) -> Password {
        let user = MatrixUserIdentifier::new(self.id().to_string());
        Password::new(UserIdentifier::Matrix(user), PASSWORD.to_owned())
    }

    /// Waits until the sync ended since the server does not know the token, as it must not from then on.
    pub(crate) async fn until_logged_out(&mut self) -> Result<()> {
        let Ok(ended) = timeout(WAIT, self.syncing.join_next()).await else {
            bail!("a removed device syncs on");
        };
        let refusal = ended.context("it did not sync")??;
        ensure_logged_out(refusal.client_api_error_kind())?;
        let asked = self.client.whoami().await;
        ensure_logged_out(
            asked
                .as_ref()
                .err()
                .and_then(|error| error.client_api_error_kind()),
        )
    }
}

/// A client without a session.
async fn connect(url: &str) -> Result<Client> {
    Ok(Client::builder().homeserver_url(url).build().await?)
}

/// The session of user-interactive authentication that a request was answered with.
fn session_of(answer: Error) -> Result<Option<String>> {
    match answer.as_uiaa_response() {
        Some(asked) => Ok(asked.session.clone()),
        None => Err(answer.into()),
    }
}

fn ensure_logged_out(refusal: Option<&ErrorKind>) -> Result<()> {
    ensure!(
        matches!(refusal, Some(ErrorKind::UnknownToken(_))),
        "a removed device was answered with {refusal:?}"
    );
    Ok(())
}
