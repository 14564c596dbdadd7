//! What was seen of keys and messages to devices, and whether it is what was promised.

use hanse_checkers::{
    Attempt, Claimed, KeyClaim, KeyUpload, Timelines, Violation, acknowledged_once, in_order,
    keys_handed_out_once, no_key_lost, nothing_twice, only_uploaded_keys, only_what_was_asked,
};

use super::{
    super::tally::Tally, claimer::Claimer, messenger::Messenger, owner::Owner, recipient::Recipient,
};

/// All that was written down.
#[derive(Debug, Default)]
pub(in super::super) struct Encrypted {
    uploads: Vec<KeyUpload>,
    claims: Vec<KeyClaim>,
    attempts: Vec<Attempt>,
    inboxes: Timelines,
    messages: u64,
    syncs: u64,
    lost: u64,
    owners: Tally,
    claimers: Tally,
    messengers: Tally,
    recipients: Tally,
}

impl Encrypted {
    pub(super) fn of(
        owners: Vec<Owner>,
        claimers: Vec<Claimer>,
        messengers: Vec<Messenger>,
        recipients: Vec<Recipient>,
    ) -> Self {
        let mut all = Self::default();
        for mut owner in owners {
            all.owners.add(&owner.client.tally);
            all.uploads.append(&mut owner.uploads);
        }
        for mut claimer in claimers {
            all.claimers.add(&claimer.client.tally);
            all.claims.append(&mut claimer.claims);
        }
        for mut messenger in messengers {
            all.messengers.add(&messenger.client.tally);
            all.attempts.append(&mut messenger.attempts);
            all.messages += messenger.messages;
        }
        for recipient in recipients {
            all.recipients.add(&recipient.client.tally);
            all.inboxes.insert(recipient.device, recipient.inbox);
            all.syncs += recipient.syncs;
            all.lost += recipient.lost;
        }
        all
    }

    /// Each promise, and what was found against it.
    pub(in super::super) fn checks(&self) -> Vec<(&'static str, Vec<String>)> {
        let mut keys = keys_handed_out_once(&self.claims);
        keys.extend(only_uploaded_keys(&self.uploads, &self.claims));
        let lost = no_key_lost(&self.uploads, &self.claims);
        let mut messages = acknowledged_once(&self.attempts, &self.inboxes);
        messages.extend(nothing_twice(&self.inboxes));
        messages.extend(only_what_was_asked(&self.attempts, &self.inboxes));
        let order = in_order(&self.attempts, &self.inboxes);
        let shown = |found: Vec<Violation>| found.iter().map(Violation::to_string).collect();
        vec![
            ("no one-time key is handed out twice", shown(keys)),
            ("no acknowledged one-time key is lost", shown(lost)),
            ("each message to devices comes once", shown(messages)),
            (
                "messages to devices come in their sender's order",
                shown(order),
            ),
            (
                "every upload and message to devices got its 200",
                self.undelivered(),
            ),
        ]
    }

    fn undelivered(&self) -> Vec<String> {
        let uploads = (self.owners.undelivered, "uploads");
        let messages = (self.messengers.undelivered, "messages to devices");
        let missing = [uploads, messages]
            .into_iter()
            .filter(|(count, _)| *count > 0);
        missing
            .map(|(count, what)| format!("{count} {what} did not"))
            .collect()
    }

    /// Claims of which nobody knows whether they took a key.
    pub(in super::super) fn unknown_claims(&self) -> usize {
        self.claims_with(|outcome| *outcome == Claimed::Unknown)
    }

    /// Messages to devices that were sent again, as there was no answer.
    pub(in super::super) fn repeated_messages(&self) -> u64 {
        self.messengers.repeated
    }

    fn claims_with(&self, outcome: impl Fn(&Claimed) -> bool) -> usize {
        let claims = self.claims.iter().map(|claim| &claim.outcome);
        claims.filter(|found| outcome(found)).count()
    }

    /// Every request that failed, and why.
    pub(in super::super) fn failed(&self) -> [(&'static str, &Tally); 4] {
        [
            ("key uploads", &self.owners),
            ("claims", &self.claimers),
            ("messages to devices", &self.messengers),
            ("syncs of messages to devices", &self.recipients),
        ]
    }

    pub(in super::super) fn counts(&self) -> Vec<String> {
        let acknowledged = self.uploads.iter().filter(|upload| upload.acknowledged);
        let keys = self.claims_with(|outcome| matches!(outcome, Claimed::Key(_)));
        let nothing = self.claims_with(|outcome| *outcome == Claimed::Nothing);
        let came: usize = self.inboxes.values().map(Vec::len).sum();
        let uploads = &self.owners;
        let messages = &self.messengers;
        vec![
            format!(
                "{} one-time keys acknowledged; {} uploads repeated, and {} after their 200: {:?}",
                acknowledged.count(),
                uploads.repeated,
                uploads.repeated_acknowledged,
                uploads.failures
            ),
            format!(
                "{} keys claimed from devices: {keys} keys, {nothing} times nothing, {} without an \
                 answer: {:?}",
                self.claims.len(),
                self.unknown_claims(),
                self.claimers.failures
            ),
            format!(
                "{} messages to devices; repeated {} times, and {} after their 200: {:?}",
                self.messages, messages.repeated, messages.repeated_acknowledged, messages.failures
            ),
            format!(
                "{came} of them in {} inboxes by {} syncs; {} answers lost and asked for again; {} \
                 cut: {:?}",
                self.inboxes.len(),
                self.syncs,
                self.lost,
                self.recipients.failures(),
                self.recipients.failures
            ),
        ]
    }
}
