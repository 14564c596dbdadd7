//! What is asked, as a message and as the types of who asks.

use std::time::Duration;

use hanse_proto::sync::{self as proto, poll, question};
use ruma::{
    OwnedDeviceId, OwnedUserId, UserId,
    api::client::sync::sync_events::v3::{Filter, Request},
};

/// One question.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// `GET /sync`.
    Poll(Box<Request>),
    /// `GET /keys/changes`.
    DeviceLists {
        /// The earlier token.
        from: String,
        /// The later token.
        to: String,
    },
}

/// For whom.
#[derive(Clone, Debug)]
pub(super) struct Whom {
    pub(super) user_id: OwnedUserId,
    pub(super) device_id: OwnedDeviceId,
}

/// As a message to a process.
pub(super) fn write(to: &str, whom: &Whom, asked: &Asked) -> proto::Question {
    let kind = match asked {
        Asked::Poll(request) => question::Kind::Poll(write_poll(request)),
        Asked::DeviceLists { from, to } => question::Kind::DeviceLists(proto::DeviceLists {
            from: from.clone(),
            to: to.clone(),
        }),
    };
    proto::Question {
        to: to.to_owned(),
        user_id: whom.user_id.to_string(),
        device_id: whom.device_id.to_string(),
        kind: Some(kind),
    }
}

fn write_poll(request: &Request) -> proto::Poll {
    let filter = match &request.filter {
        Some(Filter::FilterId(id)) => Some(poll::Filter::FilterId(id.clone())),
        Some(Filter::FilterDefinition(filter)) => serde_json::to_string(filter)
            .ok()
            .map(poll::Filter::FilterJson),
        _ => None,
    };
    let timeout = request.timeout.unwrap_or_default();
    proto::Poll {
        since: request.since.clone(),
        filter,
        full_state: request.full_state,
        use_state_after: request.use_state_after,
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

/// `None`: nothing that this version understands.
pub(super) fn read(question: proto::Question) -> Option<(Whom, Asked)> {
    let whom = Whom {
        user_id: UserId::parse(question.user_id).ok()?,
        device_id: question.device_id.into(),
    };
    let asked = match question.kind? {
        question::Kind::Poll(poll) => Asked::Poll(Box::new(read_poll(poll)?)),
        question::Kind::DeviceLists(proto::DeviceLists { from, to }) => {
            Asked::DeviceLists { from, to }
        }
    };
    Some((whom, asked))
}

fn read_poll(poll: proto::Poll) -> Option<Request> {
    let mut request = Request::new();
    request.since = poll.since;
    request.filter = match poll.filter {
        Some(poll::Filter::FilterId(id)) => Some(Filter::FilterId(id)),
        Some(poll::Filter::FilterJson(json)) => {
            Some(Filter::FilterDefinition(serde_json::from_str(&json).ok()?))
        }
        None => None,
    };
    request.full_state = poll.full_state;
    request.use_state_after = poll.use_state_after;
    request.timeout = Some(Duration::from_millis(poll.timeout_ms));
    Some(request)
}

#[cfg(test)]
mod tests {
    use ruma::{device_id, user_id};
    use serde_json::json;

    use super::*;

    fn whom() -> Whom {
        Whom {
            user_id: user_id!("@a:localhost").to_owned(),
            device_id: device_id!("D").to_owned(),
        }
    }

    fn through(request: &Request) -> Request {
        let asked = Asked::Poll(Box::new(request.clone()));
        let (whom, asked) = read(write("w", &whom(), &asked)).unwrap();
        assert_eq!(whom.user_id, user_id!("@a:localhost"));
        assert_eq!(whom.device_id, device_id!("D"));
        match asked {
            Asked::Poll(request) => *request,
            other @ Asked::DeviceLists { .. } => panic!("{other:?}"),
        }
    }

    /// Red if a part of a request is lost on its way.
    #[test]
    fn what_a_client_asks_arrives() {
        let mut request = Request::new();
        request.since = Some("s1".to_owned());
        request.full_state = true;
        request.use_state_after = true;
        request.timeout = Some(Duration::from_millis(1_234));
        let filter = json!({"room": {"timeline": {"limit": 3}}, "event_fields": ["type"]});
        let filters = [
            Filter::FilterId("7".to_owned()),
            Filter::FilterDefinition(serde_json::from_value(filter).unwrap()),
        ];
        for filter in filters.map(Some).into_iter().chain([None]) {
            request.filter = filter;
            assert_eq!(format!("{:?}", through(&request)), format!("{request:?}"));
        }
        let first = through(&Request::new());
        assert_eq!((first.since, first.timeout), (None, Some(Duration::ZERO)));
    }

    /// Red if what a later version asks is taken for something else.
    #[test]
    fn what_is_not_understood_is_nothing() {
        let asked = Asked::DeviceLists {
            from: "a".to_owned(),
            to: "b".to_owned(),
        };
        let good = write("w", &whom(), &asked);
        assert!(
            matches!(read(good.clone()), Some((_, Asked::DeviceLists { from, to }))
            if from == "a" && to == "b")
        );
        assert!(
            read(proto::Question {
                kind: None,
                ..good.clone()
            })
            .is_none()
        );
        let user_id = "a".to_owned();
        assert!(read(proto::Question { user_id, ..good }).is_none());
    }
}
