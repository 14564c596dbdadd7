//! The tokens of `/sync`: a vector of slot positions.
//!
//! As text: `s` and unpadded base64url of: format version, incarnation, map version, the position
//! of the user's own slot, that of the last message to the device and whether more wait, the point of the typing notices, then (slot, position) of every slot in which the user
//! has a room, all varints, then 16 bytes of HMAC-SHA256 over it and the user's id. A token of
//! another user, or one that was made up or cut, is refused.
//!
//! Invariant: componentwise monotone: no slot of a later token is behind an earlier one's.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hanse_log::{Position, Slot, SlotMap};
use hanse_room::TypingPoint;
use hmac::{Hmac, KeyInit, Mac};
use ruma::{RoomId, UserId};
use sha2::Sha256;

/// The layout; older ones stay readable (law 11). The first had no position of its own for messages
/// to devices.
const FORMAT: u64 = 2;
const FORMAT_FIRST: u64 = 1;
const MAC_BYTES: usize = 16;
/// SHA-256's block, to which HMAC pads its key with zeros.
const BLOCK_BYTES: usize = 64;
/// Longest token read: 65,536 slots would not fit, but no user has rooms in all of them.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Up to where a client has seen everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncToken {
    /// Raised when the store was restored from a backup.
    pub incarnation: u64,
    /// The map that the slots are of.
    pub map_version: u32,
    /// The position of the user's own slot.
    pub own: Position,
    /// The last message to the device that was given, in the user's own slot.
    pub to_device: Position,
    /// Whether more waited than were given.
    pub more_to_device: bool,
    /// Up to which change it was seen who types. Formerly a time alone, which is no process's point.
    pub typing: TypingPoint,
    /// The positions of the slots in which the user has rooms.
    pub slots: BTreeMap<Slot, Position>,
}

impl SyncToken {
    /// Where it stands in a room.
    pub fn position_in(&self, map: &SlotMap, room_id: &RoomId) -> Position {
        let slot = map.slot_of(room_id.as_str());
        self.slots.get(&slot).copied().unwrap_or(Position::START)
    }
}

/// The token is not one that this server gave this user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a sync token of yours")]
pub struct BadToken;

/// Writes and reads tokens under the deployment's secret.
#[derive(Clone)]
pub struct TokenKey {
    secret: [u8; 32],
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// A key from a secret that every process of the deployment knows.
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// The token as text.
    pub fn write(&self, token: &SyncToken, user_id: &UserId) -> String {
        let mut bytes = Vec::with_capacity(64 + token.slots.len() * 8);
        let mut put = |value: u64| put_varint(&mut bytes, value);
        put(FORMAT);
        put(token.incarnation);
        put(u64::from(token.map_version));
        put(token.own.packed() as u64);
        put(token.to_device.packed() as u64);
        put(u64::from(token.more_to_device));
        put(token.typing.packed() as u64);
        put(token.slots.len() as u64);
        for (slot, position) in &token.slots {
            put(u64::from(slot.0));
            put(position.packed() as u64);
        }
        let mac = self.mac(&bytes, user_id);
        bytes.extend(mac);
        format!("s{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a token that `write` gave for the same user.
    pub fn read(&self, text: &str, user_id: &UserId) -> Result<SyncToken, BadToken> {
        let text = text
            .strip_prefix('s')
            .filter(|text| text.len() <= TOKEN_BYTES_MAX);
        let bytes = URL_SAFE_NO_PAD
            .decode(text.ok_or(BadToken)?)
            .map_err(|_| BadToken)?;
        let body_len = bytes.len().checked_sub(MAC_BYTES).ok_or(BadToken)?;
        let (body, mac) = bytes.split_at_checked(body_len).ok_or(BadToken)?;
        self.keyed(body, user_id)
            .verify_truncated_left(mac)
            .map_err(|_| BadToken)?;
        read_body(body).ok_or(BadToken)
    }

    fn mac(&self, body: &[u8], user_id: &UserId) -> impl IntoIterator<Item = u8> + use<> {
        self.keyed(body, user_id)
            .finalize()
            .into_bytes()
            .into_iter()
            .take(MAC_BYTES)
    }

    fn keyed(&self, body: &[u8], user_id: &UserId) -> Hmac<Sha256> {
        let mut block = [0; BLOCK_BYTES];
        for (padded, byte) in block.iter_mut().zip(self.secret) {
            *padded = byte;
        }
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(body);
        mac.update(user_id.as_bytes());
        mac
    }
}

fn read_body(mut body: &[u8]) -> Option<SyncToken> {
    let mut take = || take_varint(&mut body);
    let format = take()?;
    if format != FORMAT && format != FORMAT_FIRST {
        return None;
    }
    let (incarnation, map_version) = (take()?, take()?.try_into().ok()?);
    let own = take()?;
    let (to_device, more) = match format {
        FORMAT => (take()?, take()?),
        _ => (own, 0),
    };
    let mut token = SyncToken {
        incarnation,
        map_version,
        own: Position::from_packed(own as i64),
        to_device: Position::from_packed(to_device as i64),
        more_to_device: more != 0,
        typing: TypingPoint::from_packed(take()? as i64),
        slots: BTreeMap::new(),
    };
    for _ in 0..take()? {
        let slot = Slot(take()?.try_into().ok()?);
        token
            .slots
            .insert(slot, Position::from_packed(take()? as i64));
    }
    body.is_empty().then_some(token)
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruma::user_id;

    use super::*;

    fn key() -> TokenKey {
        TokenKey::new([7; 32])
    }

    fn any_token() -> impl Strategy<Value = SyncToken> {
        let slots = prop::collection::btree_map(0u32..70_000, 0i64..i64::MAX, 0..40);
        (
            any::<u64>(),
            any::<u32>(),
            0i64..i64::MAX,
            (0i64..i64::MAX, any::<bool>()),
            any::<i64>(),
            slots,
        )
            .prop_map(
                |(incarnation, map_version, own, to_device, typing, slots)| SyncToken {
                    incarnation,
                    map_version,
                    own: Position::from_packed(own),
                    to_device: Position::from_packed(to_device.0),
                    more_to_device: to_device.1,
                    typing: TypingPoint::from_packed(typing),
                    slots: slots
                        .into_iter()
                        .map(|(slot, at)| (Slot(slot), Position::from_packed(at)))
                        .collect(),
                },
            )
    }

    proptest! {
        #[test]
        fn reads_back(token in any_token()) {
            let user = user_id!("@a:localhost");
            prop_assert_eq!(key().read(&key().write(&token, user), user), Ok(token));
        }

        #[test]
        fn refuses_any_other_text(token in any_token(), at in any::<prop::sample::Index>()) {
            let user = user_id!("@a:localhost");
            let text = key().write(&token, user);
            let at = 1 + at.index(text.len() - 1);
            let mut forged = text.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            // The last character may carry unused bits, which base64 refuses by itself.
            prop_assert_eq!(key().read(&forged, user), Err(BadToken));
            prop_assert_eq!(key().read(&text[..at], user), Err(BadToken));
        }
    }

    /// As the version before wrote it.
    #[test]
    fn reads_tokens_of_the_first_format() {
        let user = user_id!("@a:localhost");
        let mut body = Vec::new();
        for value in [FORMAT_FIRST, 0, 1, 7, 9, 1, 3, 5] {
            put_varint(&mut body, value);
        }
        let mac = key().mac(&body, user);
        body.extend(mac);
        let text = format!("s{}", URL_SAFE_NO_PAD.encode(body));
        let token = key().read(&text, user).unwrap();
        assert_eq!(token.own, Position::from_packed(7));
        assert_eq!(token.to_device, token.own);
        assert_eq!(token.slots[&Slot(3)], Position::from_packed(5));
    }

    #[test]
    fn refuses_another_users_token() {
        let text = key().write(&SyncToken::default(), user_id!("@a:localhost"));
        assert_eq!(key().read(&text, user_id!("@b:localhost")), Err(BadToken));
        assert_eq!(
            TokenKey::new([8; 32]).read(&text, user_id!("@a:localhost")),
            Err(BadToken)
        );
    }
}
