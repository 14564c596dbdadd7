//! Whether a call that broke off can have been begun at the far side.

use std::error::Error;

use h2::Reason;
use tonic::{ConnectError, Status};

/// Whether the far side cannot have begun: there was no connection, or one that was just being closed
/// in order. Whatever else breaks may have broken when it had.
pub(super) fn never_begun(status: &Status) -> bool {
    let mut error: Option<&(dyn Error + 'static)> = status.source();
    while let Some(cause) = error {
        if cause.is::<ConnectError>() || not_taken(cause) {
            return true;
        }
        error = cause.source();
    }
    false
}

/// The call was not written to the connection any more (hyper gives it back), or the far side says
/// that it will not look at it: a `GOAWAY` ends the streams past the last one that is still answered
/// (RFC 9113, section 6.8), `REFUSED_STREAM` means that nothing was done (section 8.7).
fn not_taken(cause: &(dyn Error + 'static)) -> bool {
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return error.is_canceled();
    }
    let Some(error) = cause.downcast_ref::<h2::Error>() else {
        return false;
    };
    let closes = error.is_go_away() && error.reason() == Some(Reason::NO_ERROR);
    let refuses = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (closes || refuses)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use h2::server::Connection;
    use hanse_proto::cluster::{RunRequest, commands_client::CommandsClient};
    use tokio::net::{TcpListener, TcpStream};
    use tonic::transport::Endpoint;

    use super::*;

    type Far = Connection<TcpStream, &'static [u8]>;

    /// What a call is told whose far side does this.
    async fn told(far: impl AsyncFnOnce(Far)) -> Status {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let far = async {
            let (stream, _) = listener.accept().await.unwrap();
            far(h2::server::Builder::new().handshake(stream).await.unwrap()).await;
            std::future::pending::<()>().await;
        };
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let mut client = CommandsClient::new(channel.connect_lazy());
        tokio::select! {
            told = client.run(RunRequest::default()) => told.unwrap_err(),
            () = far => unreachable!("it does not end"),
        }
    }

    async fn closed(mut far: Far) {
        poll_fn(|cx| far.poll_closed(cx)).await.ok();
    }

    /// Red if a call that met the end of an orderly connection is in doubt, or one that the far side
    /// had taken is not: it would be done twice.
    #[tokio::test]
    async fn only_what_the_far_side_never_took_was_never_begun() {
        let turned_away = told(async |mut far| {
            far.abrupt_shutdown(Reason::NO_ERROR);
            closed(far).await;
        });
        let turned_away = turned_away.await;
        assert!(never_begun(&turned_away), "{turned_away:?}");
        let refused = told(async |mut far| {
            let (_, mut reply) = far.accept().await.unwrap().unwrap();
            reply.send_reset(Reason::REFUSED_STREAM);
            closed(far).await;
        });
        let refused = refused.await;
        assert!(never_begun(&refused), "{refused:?}");

        let broken_off = told(async |mut far| {
            let _taken = far.accept().await.unwrap().unwrap();
        });
        let broken_off = broken_off.await;
        assert!(!never_begun(&broken_off), "{broken_off:?}");
        let given_up = told(async |mut far| {
            let (_, mut reply) = far.accept().await.unwrap().unwrap();
            reply.send_reset(Reason::INTERNAL_ERROR);
            closed(far).await;
        });
        let given_up = given_up.await;
        assert!(!never_begun(&given_up), "{given_up:?}");
    }
}
