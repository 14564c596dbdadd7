//! Writing a state, a bounded piece at a time: each event in its turn, judged by its own auth events.

use std::collections::{HashMap, HashSet, VecDeque};

use futures::{StreamExt, TryStreamExt, stream};
use hanse_event::{Judged, Pdu, check_by_auth_events};
use hanse_log::{Position, Ticket};
use hanse_proto::{
    log::Entry,
    room::{EventStatus, Membership, StateChange, StateInstalling, room_entry},
};
use prost::Message;
use ruma::{
    EventId, OwnedEventId, OwnedUserId,
    events::{TimelineEventType, room::member::MembershipState},
};
use xxhash_rust::xxh3::xxh3_128;

use super::{
    InstalledCounts,
    job::Scope,
    order::{Turn, Turns},
    version_of,
};
use crate::{
    RoomError, StateIds,
    entry::is_local,
    receive::outlier_event,
    rooms::Inner,
    tables::{StagedRow, part_of, shelf_of},
};

/// Events that are read at once.
const READ_MAX: usize = 64;
/// Bytes of a piece's entries, before its last one is added: an event has at most 64 KiB, so that
/// every piece fits into a batch.
const PIECE_BYTES_MAX: usize = 48 * 1024;
/// Pieces that are submitted and not applied yet: one in flight, one waiting. Whoever sends into another
/// room of the slot waits for these at most.
const UNDER_WAY_MAX: usize = 2;
/// Events that one piece takes: those that are here already need no entry.
const TAKEN_MAX: usize = 512;
/// Judged events that are remembered before the pieces are waited for: they may not be in the archives.
const RECENT_MAX: usize = 512;
/// Events that others stand behind which are remembered for longer: nearly all of a state's events
/// stand behind the same few, and to look these up takes turns.
const CITED_MAX: usize = 256;
/// Memberships of our users that may come with a state.
const LOCALS_MAX: usize = 200;

/// A state that is being written.
pub(super) struct Writing {
    turns: VecDeque<Turn>,
    /// Events that were read and have not been written.
    read: VecDeque<Read>,
    under_way: VecDeque<Ticket>,
    recent: HashMap<OwnedEventId, Judged>,
    /// What authorised events, until there are too many of them.
    cited: HashMap<OwnedEventId, Judged>,
    /// Keys of the state, hashed: each has one value.
    keys: HashSet<u128>,
    /// Whether it is said that something is written.
    is_begun: bool,
    first: Option<Position>,
    written: i64,
    pub(super) counts: InstalledCounts,
    pub(super) joined: i64,
    pub(super) invited: i64,
    pub(super) local_joined: i64,
    /// Our users who have a membership, but for the one who joins.
    pub(super) locals: Vec<Pdu>,
    /// The state, if the room is here already: the join is placed on it as a whole.
    pub(super) state: StateIds,
}

/// An event that is next to be written.
struct Read {
    in_state: bool,
    pdu: Pdu,
    /// What it is in a room that is here already.
    known: Option<Judged>,
}

impl Writing {
    pub(super) fn new(turns: Turns) -> Self {
        Self {
            turns: turns.turns.into(),
            read: VecDeque::new(),
            under_way: VecDeque::new(),
            recent: HashMap::new(),
            cited: HashMap::new(),
            keys: HashSet::new(),
            is_begun: false,
            first: None,
            written: 0,
            counts: InstalledCounts {
                left_out: turns.left_out,
                ..InstalledCounts::default()
            },
            joined: 0,
            invited: 0,
            local_joined: 0,
            locals: Vec::new(),
            state: StateIds::new(),
        }
    }

    /// Whether everything is written and applied.
    pub(super) fn is_done(&self) -> bool {
        self.turns.is_empty() && self.read.is_empty() && self.under_way.is_empty()
    }

    /// Where the first event stands.
    pub(super) fn first_position(&self) -> Position {
        self.first.unwrap_or(Position::END)
    }

    /// Writes the next piece, or waits for one.
    pub(super) async fn next_piece(
        &mut self,
        inner: &Inner,
        scope: &Scope,
    ) -> Result<(), RoomError> {
        let mut entries = Vec::new();
        let (mut bytes, mut taken) = (0, 0);
        while bytes < PIECE_BYTES_MAX && taken < TAKEN_MAX {
            if self.read.is_empty() {
                self.read_on(inner, scope).await?;
            }
            let Some(read) = self.read.pop_front() else {
                break;
            };
            let entry = self.take(inner, scope, read).await?;
            bytes += entry.as_ref().map_or(0, Message::encoded_len);
            taken += 1;
            entries.extend(entry);
        }
        if entries.is_empty() {
            return self.settle().await;
        }
        if !self.is_begun && !scope.is_here {
            // Behind the events: the first of these is where the state begins.
            let began = room_entry::Kind::Installation(scope.site.began(inner.clock.now_ms()));
            entries.push(scope.site.entry(inner, began));
            self.is_begun = true;
        }
        while self.under_way.len() >= UNDER_WAY_MAX {
            self.wait_for_one().await?;
        }
        self.under_way.push_back(scope.site.submit(inner, entries)?);
        if self.recent.len() > RECENT_MAX {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits until everything that was written is applied.
    pub(super) async fn settle(&mut self) -> Result<(), RoomError> {
        while !self.under_way.is_empty() {
            self.wait_for_one().await?;
        }
        self.recent.clear();
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<(), RoomError> {
        if let Some(ticket) = self.under_way.pop_front() {
            let position = ticket.applied().await?;
            self.first.get_or_insert(position);
        }
        Ok(())
    }

    /// Reads the next staged events: those that stand together at once.
    async fn read_on(&mut self, inner: &Inner, scope: &Scope) -> Result<(), RoomError> {
        let stretch = stretch(&self.turns);
        let (Some(first), Some(last)) = (self.turns.front(), self.turns.get(stretch.max(1) - 1))
        else {
            return Ok(());
        };
        let (first, last) = (first.number, last.number);
        let rows = inner.staged_range(&scope.staged, first, last).await?;
        let mut rows: HashMap<u32, StagedRow> =
            rows.into_iter().map(|row| (row.number, row)).collect();
        let mut read = Vec::with_capacity(stretch);
        for turn in self.turns.drain(..stretch) {
            let row = rows.remove(&turn.number);
            let row = row.ok_or_else(|| RoomError::bad_content("what was staged is gone"))?;
            let event_id = OwnedEventId::try_from(row.event_id).map_err(RoomError::bad_content)?;
            let pdu = Pdu::from_stored(event_id, row.json).map_err(RoomError::bad_content)?;
            read.push((turn.in_state, pdu));
        }
        let read: Vec<Read> = stream::iter(read)
            .map(|(in_state, pdu)| known(inner, scope, in_state, pdu))
            .buffered(READ_MAX)
            .try_collect()
            .await?;
        self.read.extend(read);
        Ok(())
    }

    /// Judges an event, and writes its entry unless it is here already.
    async fn take(
        &mut self,
        inner: &Inner,
        scope: &Scope,
        read: Read,
    ) -> Result<Option<Entry>, RoomError> {
        let Read {
            in_state,
            pdu,
            known,
        } = read;
        let is_known = known.is_some();
        let judged = match known {
            Some(Judged::Usable(_)) => Ok(()),
            Some(Judged::Rejected(_)) => Err(String::new()),
            None => self.judge(inner, scope, &pdu).await?,
        };
        let state = match (&judged, in_state) {
            (Ok(()), true) => self.value(inner, scope, &pdu)?,
            _ => None,
        };
        match (&judged, &state) {
            (Err(_), _) => self.counts.rejected += 1,
            (Ok(()), Some(_)) => self.counts.state += 1,
            (Ok(()), None) => self.counts.behind += 1,
        }
        if is_known {
            return Ok(None);
        }
        let kind = if scope.is_here {
            room_entry::Kind::Event(outlier_event(&pdu, judged.clone().err()))
        } else {
            self.installing(&pdu, judged.clone().err(), state)
        };
        self.written += 1;
        let judged = match judged {
            Ok(()) => Judged::Usable(pdu.clone()),
            Err(_) => Judged::Rejected(pdu.clone()),
        };
        self.recent.insert(pdu.event_id().to_owned(), judged);
        Ok(Some(scope.site.entry(inner, kind)))
    }

    fn installing(
        &self,
        pdu: &Pdu,
        refused: Option<String>,
        state: Option<StateChange>,
    ) -> room_entry::Kind {
        let status = match refused {
            None => EventStatus::Outlier,
            Some(_) => EventStatus::Rejected,
        };
        room_entry::Kind::StateInstalling(StateInstalling {
            event_id: pdu.event_id().to_string(),
            json: pdu.json().to_owned(),
            status: status.into(),
            reason: refused.unwrap_or_default(),
            shelf: shelf_of(self.written),
            state,
            depth: pdu.depth() as i64,
        })
    }

    /// `Err`: the rule that refuses it, for people.
    async fn judge(
        &mut self,
        inner: &Inner,
        scope: &Scope,
        pdu: &Pdu,
    ) -> Result<Result<(), String>, RoomError> {
        if *pdu.event_type() == TimelineEventType::RoomCreate
            && version_of(pdu)? != scope.staged.version
        {
            return Err(RoomError::bad_content("a room of another version"));
        }
        let mut auth_events = HashMap::new();
        for id in scope.auth_events(pdu) {
            let judged = self.authority(inner, scope, &id).await?;
            auth_events.extend(judged.map(|judged| (id, judged)));
        }
        let fetch = |id: &EventId| auth_events.get(id).cloned();
        Ok(check_by_auth_events(pdu, scope.rules, fetch).map_err(|rejected| rejected.reason))
    }

    /// An event that others stand behind, written by this installation.
    async fn authority(
        &mut self,
        inner: &Inner,
        scope: &Scope,
        id: &EventId,
    ) -> Result<Option<Judged>, RoomError> {
        let remembered = self.cited.get(id).or_else(|| self.recent.get(id));
        let judged = match remembered {
            Some(judged) => Some(judged.clone()),
            None => scope.graph(inner).judged(id).await?,
        };
        if let Some(judged) = judged.as_ref().filter(|_| !self.cited.contains_key(id)) {
            if self.cited.len() == CITED_MAX {
                self.cited.clear();
            }
            self.cited.insert(id.to_owned(), judged.clone());
        }
        Ok(judged)
    }

    /// The value of the state that an event is.
    fn value(
        &mut self,
        inner: &Inner,
        scope: &Scope,
        pdu: &Pdu,
    ) -> Result<Option<StateChange>, RoomError> {
        let Some(state_key) = pdu.state_key() else {
            return Ok(None);
        };
        let key = format!("{}\0{state_key}", pdu.type_name());
        if !self.keys.insert(xxh3_128(key.as_bytes())) {
            let reason = format!("two values of {} {state_key:?}", pdu.type_name());
            return Err(RoomError::bad_content(reason));
        }
        if scope.is_here {
            let key = (pdu.type_name().to_owned(), state_key.to_owned());
            self.state.insert(key, pdu.event_id().to_owned());
        }
        Ok(Some(StateChange {
            event_type: pdu.type_name().to_owned(),
            state_key: state_key.to_owned(),
            previous_event_id: String::new(),
            membership: self.membership(inner, scope, pdu, state_key)?,
        }))
    }

    /// Counts a member, and remembers our own.
    fn membership(
        &mut self,
        inner: &Inner,
        scope: &Scope,
        pdu: &Pdu,
        state_key: &str,
    ) -> Result<Option<Membership>, RoomError> {
        let user = OwnedUserId::try_from(state_key).ok();
        let (Some(membership), Some(user)) = (pdu.membership(), user) else {
            return Ok(None);
        };
        self.joined += i64::from(membership == MembershipState::Join);
        self.invited += i64::from(membership == MembershipState::Invite);
        let local = is_local(&user, &inner.server_name);
        self.local_joined += i64::from(local && membership == MembershipState::Join);
        if local && user != scope.join.sender() && !scope.is_here {
            if self.locals.len() == LOCALS_MAX {
                let reason = format!("more than {LOCALS_MAX} users of ours in the state");
                return Err(RoomError::TooLarge { reason });
            }
            self.locals.push(pdu.clone());
        }
        Ok(Some(Membership {
            membership: membership.to_string(),
            previous: String::new(),
            local,
            stripped_state: String::new(),
        }))
    }
}

/// An event with what it is in a room that is here already.
async fn known(inner: &Inner, scope: &Scope, in_state: bool, pdu: Pdu) -> Result<Read, RoomError> {
    let known = if scope.is_here {
        scope.graph(inner).judged(pdu.event_id()).await?
    } else {
        None
    };
    Ok(Read {
        in_state,
        pdu,
        known,
    })
}

/// How many of the next turns stand one after the other in one partition.
fn stretch(turns: &VecDeque<Turn>) -> usize {
    let follows = |(turn, next): &(&Turn, &Turn)| {
        next.number == turn.number + 1 && part_of(next.number) == part_of(turn.number)
    };
    let next = turns.iter().skip(1);
    let following = turns.iter().zip(next).take(READ_MAX - 1);
    following.take_while(follows).count() + usize::from(!turns.is_empty())
}
