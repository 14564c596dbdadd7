//! A session of a user, on a connection of its own.

use std::time::Duration;

use hyper::header::{HeaderValue, InvalidHeaderValue};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::http::{Answer, Call, Connection, HttpError, escape, push_query};

/// Why a request of a user did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// There is no answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server said no.
    #[error("{status} {errcode}")]
    Answered {
        /// HTTP status.
        status: u16,
        /// The specification's code, or nothing.
        errcode: String,
    },
    /// The answer is not what the specification says.
    #[error("the answer to {what} is not understood")]
    Strange {
        /// The request.
        what: &'static str,
        /// What did not parse.
        #[source]
        source: serde_json::Error,
    },
    /// The access token does not fit into a header.
    #[error("the access token cannot be sent")]
    Token(#[from] InvalidHeaderValue),
}

impl Refused {
    /// Whether the server may have done what it was asked all the same.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Http(error) => !matches!(error, HttpError::Connect { .. }),
            Self::Answered { status, .. } => *status >= 500,
            Self::Strange { .. } => true,
            Self::Token(_) => false,
        }
    }
}

/// What a login gives.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Credentials {
    /// `@localpart:server`
    pub user_id: String,
    /// The device of this session; transaction ids are per device.
    pub device_id: String,
    /// The bearer token.
    pub access_token: String,
}

/// A session on a connection of its own.
#[derive(Debug)]
pub struct User {
    connection: Connection,
    authorization: HeaderValue,
    credentials: Credentials,
}

#[derive(Serialize)]
struct Registration<'a> {
    username: &'a str,
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Dummy>,
}

#[derive(Serialize)]
struct Dummy {
    r#type: &'static str,
    session: String,
}

#[derive(Serialize)]
struct Login<'a> {
    r#type: &'static str,
    identifier: Identifier<'a>,
    password: &'a str,
}

#[derive(Serialize)]
struct Identifier<'a> {
    r#type: &'static str,
    user: &'a str,
}

#[derive(Deserialize)]
struct Challenge {
    session: String,
}

#[derive(Deserialize)]
struct RoomCreated {
    room_id: String,
}

impl User {
    /// Makes an account (`m.login.dummy`, in two steps as the specification has it).
    pub async fn register(
        mut connection: Connection,
        localpart: &str,
        password: &str,
    ) -> Result<Self, Refused> {
        let mut registration = Registration {
            username: localpart,
            password,
            auth: None,
        };
        let mut answer = connection.call(register(&registration)?, None).await?;
        if answer.status == 401 {
            let challenge: Challenge = parse("register", &answer)?;
            registration.auth = Some(Dummy {
                r#type: "m.login.dummy",
                session: challenge.session,
            });
            answer = connection.call(register(&registration)?, None).await?;
        }
        let credentials: Credentials = parse("register", &accepted(answer)?)?;
        Ok(Self {
            authorization: bearer(&credentials)?,
            credentials,
            connection,
        })
    }

    /// Logs in on a new device (`m.login.password`).
    pub async fn log_in(
        mut connection: Connection,
        user_id: &str,
        password: &str,
    ) -> Result<Self, Refused> {
        let login = Login {
            r#type: "m.login.password",
            identifier: Identifier {
                r#type: "m.id.user",
                user: user_id,
            },
            password,
        };
        let body = serde_json::to_vec(&login).map_err(|source| Refused::Strange {
            what: "login",
            source,
        })?;
        let call = Call::post("/_matrix/client/v3/login", body);
        let answer = accepted(connection.call(call, None).await?)?;
        Self::resume(connection, parse("login", &answer)?)
    }

    /// A session that exists already.
    pub fn resume(connection: Connection, credentials: Credentials) -> Result<Self, Refused> {
        Ok(Self {
            authorization: bearer(&credentials)?,
            credentials,
            connection,
        })
    }

    /// The connection, for another user to go on with, and who this was.
    pub fn into_parts(self) -> (Connection, Credentials) {
        (self.connection, self.credentials)
    }

    /// The same session on a second connection, for what must not wait behind a long poll.
    #[must_use]
    pub fn on_another_connection(&self) -> Self {
        Self {
            connection: self.connection.another(),
            authorization: self.authorization.clone(),
            credentials: self.credentials.clone(),
        }
    }

    /// Who this is.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// One request; whatever the server answers is an answer.
    pub async fn call(&mut self, call: Call) -> Result<Answer, HttpError> {
        self.connection.call(call, Some(&self.authorization)).await
    }

    /// One request; only a 200 is an answer.
    pub async fn ok(&mut self, call: Call) -> Result<Answer, Refused> {
        accepted(self.call(call).await?)
    }

    /// `POST /createRoom` with this body; gives the room id.
    pub async fn create_room(&mut self, body: &str) -> Result<String, Refused> {
        let call = Call::post("/_matrix/client/v3/createRoom", body.to_owned());
        let created: RoomCreated = parse("createRoom", &self.ok(call).await?)?;
        Ok(created.room_id)
    }

    /// `POST /join/{roomId}`.
    pub async fn join(&mut self, room_id: &str) -> Result<(), Refused> {
        let path = format!("/_matrix/client/v3/join/{}", escape(room_id));
        self.ok(Call::post(path, "{}")).await.map(drop)
    }

    /// `GET /sync`; gives the answer as it came. `filter` is JSON.
    pub async fn sync(
        &mut self,
        since: Option<&str>,
        timeout: Duration,
        filter: &str,
    ) -> Result<Answer, Refused> {
        let mut path = format!("/_matrix/client/v3/sync?timeout={}", timeout.as_millis());
        if let Some(since) = since {
            push_query(&mut path, "since", since);
        }
        if !filter.is_empty() {
            push_query(&mut path, "filter", filter);
        }
        self.ok(Call::get(path).within(timeout + Call::DEADLINE))
            .await
    }

    /// `GET /rooms/{roomId}/messages`; gives the answer as it came.
    pub async fn messages(
        &mut self,
        room_id: &str,
        from: Option<&str>,
        backwards: bool,
        limit: u32,
    ) -> Result<Answer, Refused> {
        let room = escape(room_id);
        let direction = if backwards { 'b' } else { 'f' };
        let mut path =
            format!("/_matrix/client/v3/rooms/{room}/messages?dir={direction}&limit={limit}");
        if let Some(from) = from {
            push_query(&mut path, "from", from);
        }
        self.ok(Call::get(path)).await
    }
}

/// The path of `PUT /rooms/{roomId}/send/m.room.message/{txnId}`.
pub(crate) fn send_path(room_id: &str, transaction: &str) -> String {
    let (room, transaction) = (escape(room_id), escape(transaction));
    format!("/_matrix/client/v3/rooms/{room}/send/m.room.message/{transaction}")
}

/// `PUT /rooms/{roomId}/send/m.room.message/{txnId}` of a text that needs no escaping in JSON.
pub fn send_text(room_id: &str, transaction: &str, text: &str) -> Call {
    let body = format!(r#"{{"msgtype":"m.text","body":"{text}"}}"#);
    Call::put(send_path(room_id, transaction), body)
}

fn register(registration: &Registration<'_>) -> Result<Call, Refused> {
    let strange = |source| Refused::Strange {
        what: "register",
        source,
    };
    let body = serde_json::to_vec(registration).map_err(strange)?;
    Ok(Call::post("/_matrix/client/v3/register", body))
}

fn bearer(credentials: &Credentials) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", credentials.access_token))?;
    value.set_sensitive(true);
    Ok(value)
}

fn accepted(answer: Answer) -> Result<Answer, Refused> {
    if answer.status == 200 {
        return Ok(answer);
    }
    let errcode = crate::json::string_of(&answer.body, "errcode").unwrap_or_default();
    Err(Refused::Answered {
        status: answer.status.as_u16(),
        errcode: errcode.to_owned(),
    })
}

fn parse<T: DeserializeOwned>(what: &'static str, answer: &Answer) -> Result<T, Refused> {
    serde_json::from_slice(&answer.body).map_err(|source| Refused::Strange { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_known_and_a_broken_server_is_not() {
        let answered = |status| Refused::Answered {
            status,
            errcode: String::new(),
        };
        assert!(!answered(403).is_unknown());
        assert!(answered(503).is_unknown());
        let late = Refused::Http(HttpError::TimedOut(Duration::from_secs(1)));
        assert!(late.is_unknown());
    }

    #[test]
    fn a_text_becomes_a_message() {
        let call = send_text("!a:b", "t/1", "hello");
        assert!(
            call.path.ends_with("/%21a%3Ab/send/m.room.message/t%2F1"),
            "{}",
            call.path
        );
        assert_eq!(&*call.body, br#"{"msgtype":"m.text","body":"hello"}"#);
    }
}
