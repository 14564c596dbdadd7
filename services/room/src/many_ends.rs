//! Rooms with more ends than an event may name: events of our own follow some of them, and dummy
//! events bring them together.

use hanse_event::{Draft, Pdu, Placement, build, check_auth, visibility::DUMMY_EVENT};
use ruma::{
    CanonicalJsonObject, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId,
    events::{StateEventType, room::member::MembershipState},
};

use crate::{
    RoomError,
    entry::is_local,
    hot::Hot,
    receive::{Before, ends},
    redact::Effect,
    rooms::{Built, Decided, Inner, allowed_now},
    written::Submitted,
};

/// Most ends that an event of ours names.
pub(crate) const ENDS_NAMED_MAX: usize = 10;
/// Ends among which the deepest are looked for: the newest to arrive.
const ENDS_COMPARED_MAX: usize = 100;
/// Dummy events are this far apart in a room, at least.
const DUMMY_PERIOD_MS: i64 = 60_000;
/// Members that are looked at to find one of ours.
const MEMBERS_LOOKED_AT_MAX: usize = 200;
/// Members of ours of whom one is looked for that may send a dummy event.
const SENDERS_TRIED_MAX: usize = 5;

impl Inner {
    /// Builds an event after the newest ends: the deepest ones, of these the last to arrive. The
    /// others stay ends. As everywhere, the event must be allowed by the state before it, which
    /// these ends make, and by the room's.
    pub(crate) async fn build_after_some_ends(
        &self,
        hot: &mut Hot,
        draft: Draft,
        timestamp: Option<MilliSecondsSinceUnixEpoch>,
    ) -> Result<Built, RoomError> {
        self.settle(hot).await?;
        let (named, depth) = self.newest_ends(hot).await?;
        let (chains, _) = self.chains_of(hot, &named).await?;
        let states = chains.into_iter().map(Before::of).collect();
        let before = self.before(hot, states).await?;
        let keys = draft.auth_types(hot.rules);
        let keys = keys.map_err(|e| RoomError::bad_content(e.reason))?;
        let state = self.authorising(hot, keys.clone(), &before.view()).await?;
        let held = |event_type: &StateEventType, state_key: &str| {
            state.get(&(event_type.to_string(), state_key.to_owned()))
        };
        let authority = keys
            .iter()
            .filter_map(|(event_type, key)| held(event_type, key).cloned());
        let authority: Vec<Pdu> = authority.collect();
        let auth_events = authority.iter().map(|pdu| pdu.event_id().to_owned());
        let mut place = Placement {
            prev_events: named,
            auth_events: auth_events.collect(),
            depth: depth + 1,
            ..self.placement(hot, &[], timestamp)
        };
        if hot.names_with_hashes() {
            place.reference_hashes = self.reference_hashes(hot, authority, &place).await?;
        }
        let pdu = build(draft, place, &self.key)?;
        check_auth(&pdu, hot.rules, |event_type, key| {
            held(event_type, key).cloned()
        })?;
        allowed_now(hot, &pdu)?;
        self.check_authority(hot, &pdu).await?;
        let before = Some(before);
        Ok(Built { pdu, before })
    }

    /// The newest ends, in the order in which they arrived, and how deep they are.
    async fn newest_ends(&self, hot: &Hot) -> Result<(Vec<OwnedEventId>, u64), RoomError> {
        let all = ends(hot);
        let graph = self.graph(hot);
        let mut newest: Vec<(u64, usize, OwnedEventId)> = Vec::new();
        for (arrival, id) in all.into_iter().enumerate().rev().take(ENDS_COMPARED_MAX) {
            let depth = graph.pdu(&id).await?.map_or(0, |pdu| pdu.depth());
            newest.push((depth, arrival, id));
        }
        newest.sort_by(|a, b| b.cmp(a));
        newest.truncate(ENDS_NAMED_MAX);
        let depth = newest.first().map_or(0, |(depth, ..)| *depth);
        newest.sort_by_key(|(_, arrival, _)| *arrival);
        Ok((newest.into_iter().map(|(.., id)| id).collect(), depth))
    }

    /// Sends a dummy event into a room that has too many ends, if one of our users may, and not
    /// too often: where nobody may, it is not tried again before its time either.
    pub(crate) async fn bring_ends_together(
        &self,
        hot: &mut Hot,
    ) -> Result<Option<Submitted>, RoomError> {
        let now_ms = self.clock.now_ms();
        let many = hot.head.forward_extremities.len() > ENDS_NAMED_MAX;
        if !many
            || hot
                .dummy_tried_at_ms
                .is_some_and(|at| now_ms - at < DUMMY_PERIOD_MS)
        {
            return Ok(None);
        }
        hot.dummy_tried_at_ms = Some(now_ms);
        self.settle(hot).await?;
        for sender in self.local_members(hot).await? {
            let content = CanonicalJsonObject::new();
            let draft = Draft::message(sender, DUMMY_EVENT, content);
            let built = match self.build_in(hot, draft, None).await {
                Ok(built) => built,
                Err(RoomError::Forbidden { .. }) => continue,
                Err(error) => return Err(error),
            };
            let decided = self.accept(hot, built, None, Effect::Nothing).await?;
            if let Decided::Submit(_, written) = decided {
                return self.submit(hot, written).await.map(Some);
            }
        }
        Ok(None)
    }

    /// Some joined users of ours, those with a power level of their own first.
    async fn local_members(&self, hot: &mut Hot) -> Result<Vec<OwnedUserId>, RoomError> {
        let mut named: Vec<_> = hot.power_levels()?.users.into_iter().collect();
        named.sort_by_key(|(_, level)| std::cmp::Reverse(*level));
        let mut local: Vec<OwnedUserId> = Vec::new();
        let named = named.into_iter().map(|(user, _)| user);
        for user in named
            .filter(|user| is_local(user, &self.server_name))
            .take(SENDERS_TRIED_MAX)
        {
            hot.ensure_member(&self.reader, user.as_str()).await?;
            let member = hot.state("m.room.member", user.as_str());
            if member.and_then(Pdu::membership) == Some(MembershipState::Join) {
                local.push(user);
            }
        }
        let members = self
            .reader
            .some_members(&hot.room_id, &["join"], MEMBERS_LOOKED_AT_MAX);
        for member in members.await? {
            let Ok(user) = OwnedUserId::try_from(member.state_key) else {
                continue;
            };
            if is_local(&user, &self.server_name) && !local.contains(&user) {
                local.push(user);
            }
        }
        local.truncate(SENDERS_TRIED_MAX);
        Ok(local)
    }
}
