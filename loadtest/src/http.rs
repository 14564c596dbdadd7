//! A keep-alive HTTP/1.1 connection with as little as possible around it.

use std::{
    fmt::{self, Write},
    net::SocketAddr,
    pin::Pin,
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The server is not there.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke: whether the server has taken the request is unknown.
    #[error("the connection broke")]
    Broken(#[from] hyper::Error),
    /// The deadline passed: whether the server has taken the request is unknown.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The request cannot be written down.
    #[error("the request is malformed")]
    Malformed(#[from] hyper::http::Error),
}

/// An answer: status and whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// The body, however it was framed.
    pub body: Bytes,
}

/// A request without its connection.
#[derive(Clone, Debug)]
pub struct Call {
    /// HTTP method.
    pub method: Method,
    /// Path and query, percent-encoded.
    pub path: String,
    /// JSON, or nothing.
    pub body: Bytes,
    /// The longest it may take, connecting included.
    pub deadline: Duration,
}

impl Call {
    /// The deadline where none is set.
    pub const DEADLINE: Duration = Duration::from_secs(30);

    /// `GET path`.
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, Bytes::new())
    }

    /// `PUT path` with a JSON body.
    pub fn put(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::new(Method::PUT, path, body)
    }

    /// `POST path` with a JSON body.
    pub fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self::new(Method::POST, path, body)
    }

    fn new(method: Method, path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self {
            method,
            path: path.into(),
            body: body.into(),
            deadline: Self::DEADLINE,
        }
    }

    /// The same with another deadline.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

/// One connection, opened at the first request and again after it was closed. Requests on it go one
/// after the other and are never sent twice.
pub struct Connection {
    address: SocketAddr,
    host: HeaderValue,
    open: Option<Open>,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    /// Driven by whoever waits for an answer: no task of its own, no wake-ups across tasks.
    driver: Pin<Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>>,
}

impl Open {
    /// The answer, and whether the connection can take another request.
    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Answer, bool), HttpError> {
        let mut answer = std::pin::pin!(whole_answer(&mut self.sender, request));
        tokio::select! {
            biased;
            answered = &mut answer => answered.map(|answer| (answer, true)),
            driven = self.driver.as_mut() => {
                driven?;
                // The server closed; what it said before is still there to be read.
                answer.await.map(|answer| (answer, false))
            }
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("open", &self.open.is_some())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection that is not open yet.
    pub fn to(address: SocketAddr) -> Self {
        let host = HeaderValue::try_from(address.to_string());
        Self {
            address,
            host: host.unwrap_or(HeaderValue::from_static("localhost")),
            open: None,
        }
    }

    /// Another connection to the same server.
    pub(crate) fn another(&self) -> Self {
        Self {
            address: self.address,
            host: self.host.clone(),
            open: None,
        }
    }

    /// Sends a request and waits for the whole answer. After an error the connection is closed.
    pub async fn call(
        &mut self,
        call: Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, HttpError> {
        let deadline = call.deadline;
        let answered = tokio::time::timeout(deadline, self.exchange(call, authorization)).await;
        answered.unwrap_or(Err(HttpError::TimedOut(deadline)))
    }

    async fn exchange(
        &mut self,
        call: Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer, HttpError> {
        let request = self.request(call, authorization)?;
        // Taken out, and put back only after a whole answer.
        let mut open = self.take_open().await?;
        let (answer, usable) = open.exchange(request).await?;
        self.open = usable.then_some(open);
        Ok(answer)
    }

    fn request(
        &self,
        call: Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Request<Full<Bytes>>, HttpError> {
        let mut builder = Request::builder()
            .method(call.method)
            .uri(call.path)
            .header(HOST, &self.host);
        if !call.body.is_empty() {
            builder = builder.header(CONTENT_TYPE, "application/json");
        }
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        Ok(builder.body(Full::new(call.body))?)
    }

    async fn take_open(&mut self) -> Result<Open, HttpError> {
        if let Some(mut open) = self.open.take() {
            // One look at the socket: an idle connection may have been closed since.
            let ended = open.driver.as_mut().now_or_never().is_some();
            if !ended && open.sender.is_ready() {
                return Ok(open);
            }
        }
        connect(self.address).await
    }
}

async fn whole_answer(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, HttpError> {
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Answer { status, body })
}

async fn connect(address: SocketAddr) -> Result<Open, HttpError> {
    let failed = |source| HttpError::Connect { address, source };
    let stream = TcpStream::connect(address).await.map_err(failed)?;
    // Small requests must not wait for the acknowledgement of the one before.
    stream.set_nodelay(true).map_err(failed)?;
    let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    Ok(Open {
        sender,
        driver: Box::pin(driver),
    })
}

/// Adds a parameter to a path that has a query.
pub(crate) fn push_query(path: &mut String, name: &str, value: &str) {
    let _ = write!(path, "&{name}={}", escape(value));
}

/// A path segment or query value, percent-encoded.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            other => {
                let _ = write!(escaped, "%{other:02X}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that gives each connection these answers, one to each read, and closes it.
    async fn server(answers: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                for answer in answers {
                    assert!(stream.read(&mut request).await.unwrap() > 0);
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        tasks.detach_all();
        address
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

    #[tokio::test]
    async fn a_closed_connection_is_opened_again() {
        let mut connection = Connection::to(server(&[OK, OK]).await);
        for _ in 0..5 {
            let answer = connection.call(Call::get("/a"), None).await.unwrap();
            assert_eq!((answer.status, &*answer.body), (StatusCode::OK, &b"{}"[..]));
            // Lets the close arrive.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn an_answer_that_ends_with_the_connection_is_read_whole() {
        let mut connection = Connection::to(server(&["HTTP/1.1 500 No\r\n\r\nabc"]).await);
        let answer = connection.call(Call::put("/a", "{}"), None).await.unwrap();
        assert_eq!((answer.status.as_u16(), &*answer.body), (500, &b"abc"[..]));
    }

    #[tokio::test]
    async fn half_an_answer_is_an_error_and_so_is_none() {
        let half = server(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}"]).await;
        let result = Connection::to(half).call(Call::get("/a"), None).await;
        assert!(matches!(result, Err(HttpError::Broken(_))), "{result:?}");
        let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let call = Call::get("/a").within(Duration::from_millis(50));
        let mut connection = Connection::to(mute.local_addr().unwrap());
        let result = connection.call(call, None).await;
        assert!(matches!(result, Err(HttpError::TimedOut(_))), "{result:?}");
    }

    #[test]
    fn what_ids_hold_is_escaped() {
        assert_eq!(escape("!a_B-9.~:x/y%"), "%21a_B-9.~%3Ax%2Fy%25");
    }
}
