//! Cross-signing ([spec]): a user's master, self-signing and user-signing keys, and what was signed with
//! them. All of it is in the signer's slot, also what a user signed of others.
//!
//! Invariant: a key or a signature that is stored was verified, as far as its signer's public part is
//! known here; it is shown while its signer is current.
//! Invariant: what a user signed of others is shown to nobody else.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#cross-signing

mod key;
mod remove;
mod sign;
mod upload;

use hanse_log::Position;
use hanse_store::Range;
use ruma::{OwnedUserId, UserId, encryption::KeyUsage};

use self::key::PublicKey;
pub(crate) use self::{sign::SignKeys, upload::UploadCrossSigning};
pub use self::{
    sign::{SignatureRefused, SignedKey},
    upload::{CrossSigningKeys, UploadCrossSigningError},
};
use crate::{
    Unavailable, Users,
    tables::{
        cross_signing_key::CrossSigningKeyRow, key_signature::KeySignatureRow,
        signature_feed::SignatureFeedRow,
    },
};

/// Most signatures of a user, on all keys together.
const SIGNATURES_MAX: usize = 10_000;
/// Rows of cross-signing keys that are read; more than there are.
const KEYS_READ_MAX: usize = 16;

/// The cross-signing keys of a user, as stored.
#[derive(Debug, Default)]
pub(crate) struct StoredKeys {
    rows: Vec<CrossSigningKeyRow>,
}

impl StoredKeys {
    /// A key's JSON.
    pub(crate) fn json(&self, usage: &KeyUsage) -> Option<&str> {
        let row = self.rows.iter().find(|row| row.usage == *usage);
        row.map(|row| row.json.as_str())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn public(&self, usage: &KeyUsage) -> Option<PublicKey> {
        self.json(usage).and_then(PublicKey::of_stored)
    }

    /// A key's id: "ed25519:…".
    pub(crate) fn key_id(&self, usage: &KeyUsage) -> Option<String> {
        self.public(usage).map(|key| key.id())
    }

    /// What the key is called where it is signed: its public part.
    pub(crate) fn name(&self, usage: &KeyUsage) -> Option<String> {
        self.public(usage).map(|key| key.name)
    }
}

impl Users {
    pub(crate) async fn cross_signing_keys(
        &self,
        user_id: &UserId,
    ) -> Result<StoredKeys, Unavailable> {
        let partition = [user_id.as_str().into()];
        let rows = self
            .archive()
            .range(partition, Range::all(), KEYS_READ_MAX)
            .await?;
        Ok(StoredKeys { rows })
    }

    /// What a user signed of the keys of one user.
    pub(crate) async fn signatures_on(
        &self,
        signer: &UserId,
        of: &UserId,
    ) -> Result<Vec<KeySignatureRow>, Unavailable> {
        let range = Range::prefix([of.as_str().into()]);
        let partition = [signer.as_str().into()];
        Ok(self
            .archive()
            .range(partition, range, SIGNATURES_MAX)
            .await?)
    }

    /// Of whom a user signed keys after one position of the user's slot and not after another.
    pub async fn signed_users(
        &self,
        user_id: &UserId,
        after: Position,
        up_to: Position,
    ) -> Result<Vec<OwnedUserId>, Unavailable> {
        let range = Range::after([after.packed().into()]).up_to([up_to.packed().into()]);
        let partition = [user_id.as_str().into()];
        let rows: Vec<SignatureFeedRow> = self
            .archive()
            .range(partition, range, SIGNATURES_MAX)
            .await?;
        Ok(rows.into_iter().map(|row| row.signed_user_id).collect())
    }
}
