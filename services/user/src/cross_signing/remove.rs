//! Signatures that go, with the key that made them or with the device that they are on.

use std::collections::BTreeMap;

use hanse_log::Position;
use hanse_proto::user::{self as proto, user_entry::Kind};
use hanse_store::Range;
use ruma::{DeviceId, SigningKeyAlgorithm, UserId};

use super::SIGNATURES_MAX;
use crate::{Unavailable, Users, tables::key_signature::KeySignatureRow, turn::Turn};

/// Signatures removed in one batch: some 60 KiB, if the users' names are not unusually long.
const REMOVED_AT_ONCE: usize = 100;

impl Users {
    /// Removes what a device signed, and what was signed of it.
    pub(crate) async fn remove_signatures_of_device(
        &self,
        turn: &Turn,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<(), Unavailable> {
        let signing_key_id = format!("{}:{device_id}", SigningKeyAlgorithm::Ed25519);
        let rows = self.signatures_on(user_id, user_id).await?;
        let gone = rows
            .into_iter()
            .filter(|row| row.key_id == device_id.as_str() || row.signing_key_id == signing_key_id);
        self.commit_removed(turn, gone.collect()).await
    }

    pub(super) async fn remove_signatures(
        &self,
        turn: &Turn,
        user_id: &UserId,
        gone: impl Fn(&KeySignatureRow) -> bool,
    ) -> Result<(), Unavailable> {
        let partition = [user_id.as_str().into()];
        let rows: Vec<KeySignatureRow> = self
            .archive()
            .range(partition, Range::all(), 2 * SIGNATURES_MAX)
            .await?;
        self.commit_removed(turn, rows.into_iter().filter(gone).collect())
            .await
    }

    async fn commit_removed(
        &self,
        turn: &Turn,
        rows: Vec<KeySignatureRow>,
    ) -> Result<(), Unavailable> {
        for some in rows.chunks(REMOVED_AT_ONCE) {
            let mut by_user: BTreeMap<&str, Vec<&KeySignatureRow>> = BTreeMap::new();
            for row in some {
                by_user.entry(&row.signed_user_id).or_default().push(row);
            }
            let kinds = by_user.into_values().map(removed);
            self.commit_user(turn, kinds.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

/// The feed's row of the signed user goes with them; of one's own keys there is none.
fn removed(rows: Vec<&KeySignatureRow>) -> Kind {
    let newest = rows.iter().map(|row| row.position).max();
    let signatures = rows.into_iter().map(|row| proto::KeySignature {
        user_id: row.signed_user_id.clone(),
        key_id: row.key_id.clone(),
        signing_key_id: row.signing_key_id.clone(),
        signature: String::new(),
    });
    Kind::KeySignatures(proto::KeySignatures {
        signatures: signatures.collect(),
        previous_position: newest.map_or(0, Position::packed),
    })
}
