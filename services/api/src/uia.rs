//! User-interactive authentication ([spec]), one piece for every endpoint that wants it.
//!
//! Invariant: a password counts for the request that carries it and for no other.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#user-interactive-authentication-api

use axum::extract::{FromRef, FromRequestParts, MatchedPath};
use hanse_user::{UiaScope, UiaSession, Users, VerifyError};
use http::request::Parts;
use ruma::{
    OwnedUserId, UserId,
    api::{
        client::uiaa::{AuthData, AuthFlow, AuthType, Password, UiaaInfo, UserIdentifier},
        error::{ErrorKind, StandardErrorBody},
    },
};

use crate::{
    error::ApiError,
    rates::Rates,
    session::{Address, Session},
};

/// Interactive authentication for the endpoint that is being called.
#[derive(Clone, Debug)]
pub(crate) struct Uia {
    users: Users,
    rates: Rates,
    address: Address,
    /// Method and path of the endpoint: a session counts there and nowhere else.
    endpoint: String,
}

/// Why a stage was not passed: what the client is told beside the flows.
struct Failed(ErrorKind, &'static str);

/// What one attempt at a stage came to.
type Stage = Result<Passed, Failed>;

/// A stage that was passed.
struct Passed {
    stage: AuthType,
    /// What later calls of the session need of it: the registration token.
    detail: Option<String>,
}

impl<S> FromRequestParts<S> for Uia
where
    S: Send + Sync,
    Users: FromRef<S>,
    Rates: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let address = Address::from_request_parts(parts, state).await?;
        let path = parts
            .extensions
            .get::<MatchedPath>()
            .map_or("", MatchedPath::as_str);
        Ok(Self {
            users: Users::from_ref(state),
            rates: Rates::from_ref(state),
            address,
            endpoint: format!("{} {path}", parts.method),
        })
    }
}

impl Uia {
    /// Passes where the request carries the user's own password.
    pub(crate) async fn of_user(
        &self,
        session: &Session,
        auth: Option<&AuthData>,
    ) -> Result<(), ApiError> {
        let flow = [AuthType::Password];
        self.run(Some(&session.user_id), &flow, auth)
            .await
            .map(drop)
    }

    /// Passes where the session of a registration has completed the flow; with the registration
    /// token, if the flow has that stage.
    pub(crate) async fn of_registration(
        &self,
        flow: &[AuthType],
        auth: Option<&AuthData>,
    ) -> Result<Option<String>, ApiError> {
        let session = self.run(None, flow, auth).await?;
        let mut completed = session.completed.into_iter();
        Ok(completed.find_map(|done| done.detail))
    }

    async fn run(
        &self,
        user_id: Option<&UserId>,
        flow: &[AuthType],
        auth: Option<&AuthData>,
    ) -> Result<UiaSession, ApiError> {
        let scope = UiaScope {
            user_id: user_id.map(ToOwned::to_owned),
            endpoint: self.endpoint.clone(),
        };
        let session = self.session(&scope, auth).await?;
        let Some(auth) = auth else {
            return Err(challenge(flow, &session, None));
        };
        match self.attempt(user_id, flow, auth).await? {
            Ok(passed) => self.pass(&scope, flow, session, passed).await,
            Err(failed) => Err(challenge(flow, &session, Some(failed))),
        }
    }

    /// The session that the request names; a new one if it names none, or none of ours.
    async fn session(
        &self,
        scope: &UiaScope,
        auth: Option<&AuthData>,
    ) -> Result<UiaSession, ApiError> {
        if let Some(id) = auth.and_then(AuthData::session) {
            let known = self.users.uia(scope, id).await?;
            let unknown = || ApiError::forbidden("there is no such authentication session");
            return known.ok_or_else(unknown);
        }
        Ok(self.users.start_uia(scope, &serde_json::Map::new()).await?)
    }

    async fn attempt(
        &self,
        user_id: Option<&UserId>,
        flow: &[AuthType],
        auth: &AuthData,
    ) -> Result<Stage, ApiError> {
        let stage = auth.auth_type().filter(|stage| flow.contains(stage));
        let Some(stage) = stage else {
            return Ok(Err(Failed(
                ErrorKind::Unrecognized,
                "no flow has this stage",
            )));
        };
        let detail = match auth {
            AuthData::Dummy(_) => Ok(None),
            AuthData::Password(given) => self.password(user_id, given).await?,
            AuthData::RegistrationToken(given) => self.registration_token(&given.token).await?,
            _ => Err(Failed(
                ErrorKind::Unrecognized,
                "this stage is not supported",
            )),
        };
        Ok(detail.map(|detail| Passed { stage, detail }))
    }

    async fn password(
        &self,
        user_id: Option<&UserId>,
        given: &Password,
    ) -> Result<Result<Option<String>, Failed>, ApiError> {
        const WRONG: Failed = Failed(
            ErrorKind::Forbidden,
            "the user name or the password is wrong",
        );
        let Some(user_id) = user_id else {
            return Ok(Err(WRONG));
        };
        self.rates.login(self.address.0, Some(user_id))?;
        if self
            .named(&given.identifier)
            .is_some_and(|named| named != user_id)
        {
            return Err(ApiError::forbidden(
                "only the user themself can pass this stage",
            ));
        }
        match self.users.verify_password(user_id, &given.password).await {
            Ok(_) => Ok(Ok(None)),
            Err(VerifyError::Unavailable(error)) => Err(error.into()),
            Err(VerifyError::Refused | VerifyError::Deactivated) => Ok(Err(WRONG)),
        }
    }

    /// The user of an identifier; `None` where it is not a user's name, and the access token says
    /// who it is.
    fn named(&self, identifier: &UserIdentifier) -> Option<OwnedUserId> {
        let UserIdentifier::Matrix(matrix) = identifier else {
            return None;
        };
        let server_name = self.users.server_name();
        UserId::parse_with_server_name(matrix.user.as_str(), server_name).ok()
    }

    async fn registration_token(
        &self,
        token: &str,
    ) -> Result<Result<Option<String>, Failed>, ApiError> {
        self.rates.login(self.address.0, None)?;
        if self.users.registration_token_valid(token).await? {
            return Ok(Ok(Some(token.to_owned())));
        }
        Ok(Err(Failed(
            ErrorKind::Unauthorized,
            "the registration token is not valid",
        )))
    }

    async fn pass(
        &self,
        scope: &UiaScope,
        flow: &[AuthType],
        session: UiaSession,
        passed: Passed,
    ) -> Result<UiaSession, ApiError> {
        let Passed { stage, detail } = passed;
        if flow == [AuthType::Password] {
            return Ok(session);
        }
        let id = &session.session_id;
        let session = self
            .users
            .complete_uia_stage(scope, id, &stage, detail.as_deref())
            .await?;
        if session.completes(flow) {
            return Ok(session);
        }
        Err(challenge(flow, &session, None))
    }
}

/// 401, with what is left to do.
fn challenge(flow: &[AuthType], session: &UiaSession, failed: Option<Failed>) -> ApiError {
    let mut info = UiaaInfo::new(vec![AuthFlow::new(flow.to_vec())]);
    info.completed = session.stages();
    info.params = serde_json::value::to_raw_value(&serde_json::Map::new()).ok();
    info.session = Some(session.session_id.clone());
    info.auth_error = failed
        .map(|Failed(kind, message)| Box::new(StandardErrorBody::new(kind, message.to_owned())));
    ApiError::Uia(Box::new(info))
}
