//! One-time keys: what was uploaded against what was handed out.

use std::collections::{BTreeMap, BTreeSet};

use crate::Violation;

/// A one-time key that a device uploaded, over and over until it was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUpload {
    /// The device.
    pub device: String,
    /// The key: its id and its value.
    pub key: String,
    /// Whether the server answered 200.
    pub acknowledged: bool,
}

/// A request for a key of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyClaim {
    /// The device.
    pub device: String,
    /// What came of it.
    pub outcome: Claimed,
}

/// What came of a claim, as far as the claimer knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// This key.
    Key(String),
    /// The server answered that there is none.
    Nothing,
    /// No answer, or one that leaves it open: a key may be gone.
    Unknown,
}

/// No key went to two claims.
pub fn keys_handed_out_once(claims: &[KeyClaim]) -> Vec<Violation> {
    let mut times = BTreeMap::<(&str, &str), usize>::new();
    for (device, key) in handed_out(claims) {
        *times.entry((device, key)).or_default() += 1;
    }
    let twice = times.into_iter().filter(|(_, times)| *times > 1);
    let twice = twice.map(|((device, key), times)| Violation::KeyAgain {
        device: device.to_owned(),
        key: key.to_owned(),
        times,
    });
    twice.collect()
}

/// What was handed out was uploaded, by that device.
pub fn only_uploaded_keys(uploads: &[KeyUpload], claims: &[KeyClaim]) -> Vec<Violation> {
    let uploaded = uploads.iter().map(|upload| (&*upload.device, &*upload.key));
    let uploaded: BTreeSet<_> = uploaded.collect();
    let foreign = handed_out(claims).filter(|key| !uploaded.contains(key));
    let foreign = foreign.map(|(device, key)| Violation::KeyUnasked {
        device: device.to_owned(),
        key: key.to_owned(),
    });
    foreign.collect()
}

/// Each acknowledged key was handed out, to somebody who knows it or may have missed the answer. Each
/// device was claimed from at the end until it had nothing.
pub fn no_key_lost(uploads: &[KeyUpload], claims: &[KeyClaim]) -> Vec<Violation> {
    let handed_out: BTreeSet<_> = handed_out(claims).collect();
    let mut missing = BTreeMap::<&str, usize>::new();
    let acknowledged = uploads.iter().filter(|upload| upload.acknowledged);
    for upload in acknowledged {
        if !handed_out.contains(&(&*upload.device, &*upload.key)) {
            *missing.entry(&upload.device).or_default() += 1;
        }
    }
    let unknown = |device: &str| {
        let of_device = claims.iter().filter(|claim| claim.device == device);
        let unknown = of_device.filter(|claim| claim.outcome == Claimed::Unknown);
        unknown.count()
    };
    let lost = missing.into_iter().filter_map(|(device, missing)| {
        let unknown = unknown(device);
        (missing > unknown).then(|| Violation::KeysLost {
            device: device.to_owned(),
            missing,
            unknown,
        })
    });
    lost.collect()
}

fn handed_out(claims: &[KeyClaim]) -> impl Iterator<Item = (&str, &str)> {
    claims.iter().filter_map(|claim| match &claim.outcome {
        Claimed::Key(key) => Some((&*claim.device, &**key)),
        Claimed::Nothing | Claimed::Unknown => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uploads(keys: &[(&str, bool)]) -> Vec<KeyUpload> {
        let upload = |&(key, acknowledged): &(&str, bool)| KeyUpload {
            device: "A".to_owned(),
            key: key.to_owned(),
            acknowledged,
        };
        keys.iter().map(upload).collect()
    }

    fn claims(outcomes: &[Claimed]) -> Vec<KeyClaim> {
        let claim = |outcome: &Claimed| KeyClaim {
            device: "A".to_owned(),
            outcome: outcome.clone(),
        };
        outcomes.iter().map(claim).collect()
    }

    fn key(key: &str) -> Claimed {
        Claimed::Key(key.to_owned())
    }

    #[test]
    fn a_key_that_is_handed_out_again_is_found() {
        let once = claims(&[key("1"), key("2"), Claimed::Nothing, Claimed::Unknown]);
        assert_eq!(keys_handed_out_once(&once), []);
        let again = claims(&[key("1"), key("2"), key("1")]);
        let found = keys_handed_out_once(&again);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to_string(), "key 1 of A was handed out 2 times");
    }

    #[test]
    fn a_key_that_nobody_uploaded_is_found() {
        let known = uploads(&[("1", true), ("2", false)]);
        assert_eq!(
            only_uploaded_keys(&known, &claims(&[key("1"), key("2")])),
            []
        );
        assert_eq!(only_uploaded_keys(&known, &claims(&[key("3")])).len(), 1);
        let mut of_another = claims(&[key("1")]);
        of_another[0].device = "B".to_owned();
        assert_eq!(only_uploaded_keys(&known, &of_another).len(), 1);
    }

    #[test]
    fn keys_may_be_missing_where_claims_have_no_answer_only() {
        let check = |outcomes: &[Claimed], lost: usize| {
            let known = uploads(&[("1", true), ("2", true), ("3", false)]);
            let found = no_key_lost(&known, &claims(outcomes));
            assert_eq!(found.len(), lost, "{outcomes:?}");
        };
        check(&[key("1"), key("2"), Claimed::Nothing], 0);
        check(&[key("1"), Claimed::Unknown, Claimed::Nothing], 0);
        check(&[key("1"), Claimed::Nothing], 1);
        check(&[key("1"), key("1"), Claimed::Nothing], 1);
        check(&[Claimed::Unknown], 1);
        check(&[Claimed::Unknown, Claimed::Unknown], 0);
    }
}
