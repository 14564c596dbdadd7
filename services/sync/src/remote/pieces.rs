//! An answer on its way from another process.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use hanse_proto::sync::Piece;
use tonic::{Status, Streaming};

use super::PIECE_BYTES;

/// How long the next piece may take, once somebody waits for it.
const PIECE_WITHIN: Duration = Duration::from_secs(20);
/// Most that is gathered of an answer that is not passed on, in bytes.
const GATHERED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A JSON text in pieces. None of it is held here but the one on its way.
pub type Pieces = BoxStream<'static, Result<Bytes, BrokenOff>>;

/// The answer broke off: it was none.
#[derive(Debug, thiserror::Error)]
#[error("the answer of a sync worker broke off: {reason}")]
pub struct BrokenOff {
    /// For people.
    pub reason: String,
}

/// What a worker sends.
pub(super) fn received(stream: Streaming<Piece>) -> Pieces {
    let pieces = stream::try_unfold(stream, |mut stream| async move {
        let piece = tokio::time::timeout(PIECE_WITHIN, stream.message()).await;
        let piece = piece.map_err(|_| broken("the next piece takes too long"))?;
        let piece = piece.map_err(|status| broken(status.message()))?;
        Ok(piece.map(|piece| (Bytes::from(piece.json), stream)))
    });
    pieces.boxed()
}

/// What a worker sends of a text.
pub(super) fn sent(json: Vec<u8>) -> BoxStream<'static, Result<Piece, Status>> {
    let pieces = stream::unfold(Bytes::from(json), |mut left| async move {
        let piece = left.split_to(left.len().min(PIECE_BYTES));
        let json = piece.to_vec();
        (!json.is_empty()).then_some((Ok(Piece { json }), left))
    });
    pieces.boxed()
}

/// The whole text.
pub(super) async fn gathered(mut pieces: Pieces) -> Result<Bytes, BrokenOff> {
    let mut text = BytesMut::new();
    while let Some(piece) = pieces.try_next().await? {
        if text.len() + piece.len() > GATHERED_BYTES_MAX {
            return Err(broken("it is too large"));
        }
        text.extend_from_slice(&piece);
    }
    Ok(text.freeze())
}

fn broken(reason: &str) -> BrokenOff {
    let reason = reason.to_owned();
    BrokenOff { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red if a piece is lost, empty, or larger than a message may be.
    #[tokio::test]
    async fn a_text_is_cut_and_put_together() {
        for length in [
            0,
            1,
            PIECE_BYTES - 1,
            PIECE_BYTES,
            PIECE_BYTES + 1,
            3 * PIECE_BYTES,
        ] {
            let text: Vec<u8> = (0..length).map(|i| i as u8).collect();
            let pieces: Vec<Piece> = sent(text.clone()).try_collect().await.unwrap();
            assert_eq!(pieces.len(), length.div_ceil(PIECE_BYTES));
            let pieces = pieces.into_iter().map(|piece| Ok(Bytes::from(piece.json)));
            assert_eq!(gathered(stream::iter(pieces).boxed()).await.unwrap(), text);
        }
    }

    /// Red if an answer that is gathered has no bound.
    #[tokio::test]
    async fn what_is_gathered_is_bounded() {
        let piece = Bytes::from(vec![b' '; 1024 * 1024]);
        let endless = stream::repeat_with(move || Ok(piece.clone())).boxed();
        assert!(gathered(endless).await.is_err());
    }
}
