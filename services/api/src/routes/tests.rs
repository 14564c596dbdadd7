//! The way of a request through routes, guard and extractors, with stand-in handlers.

use axum::{
    body::{Body, to_bytes},
    extract::FromRef,
};
use hanse_runtime::http::Endpoint;
use http::{HeaderMap, Request};
use ruma::{
    api::client::{
        discovery::get_supported_versions, filter::create_filter,
        membership::join_room_by_id_or_alias, message::get_message_events, room::get_room_event,
        session::logout, state::send_state_event,
    },
    owned_event_id,
};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::{admission::AdmissionLimits, body::BodyBytesMax};

const BODY_BYTES_MAX: usize = 2_000;

#[derive(Clone)]
struct Stub;

impl FromRef<Stub> for BodyBytesMax {
    fn from_ref(_: &Stub) -> Self {
        Self(BODY_BYTES_MAX)
    }
}

type Answer<T> = Result<Ruma<T>, ApiError>;

async fn versions(
    _: Ruma<get_supported_versions::Request>,
) -> Answer<get_supported_versions::Response> {
    Ok(Ruma(get_supported_versions::Response::new(vec![
        "v1.1".to_owned(),
    ])))
}

async fn set_state(
    put: RumaContent<send_state_event::v3::Request>,
) -> Answer<send_state_event::v3::Response> {
    let seen = format!("{}|{}", put.request.event_type, put.request.state_key);
    if put.content.contains_key("echo") {
        return Err(ApiError::not_found(seen));
    }
    Ok(Ruma(send_state_event::v3::Response::new(owned_event_id!(
        "$event"
    ))))
}

async fn filter(_: Ruma<create_filter::v3::Request>) -> Answer<create_filter::v3::Response> {
    Ok(Ruma(create_filter::v3::Response::new("0".to_owned())))
}

async fn messages(
    _: Ruma<get_message_events::v3::Request>,
) -> Answer<get_message_events::v3::Response> {
    Ok(Ruma(get_message_events::v3::Response::new()))
}

async fn event(Ruma(get): Ruma<get_room_event::v3::Request>) -> ApiError {
    ApiError::not_found(get.event_id.to_string())
}

async fn log_out(_: Ruma<logout::v3::Request>) -> Ruma<logout::v3::Response> {
    Ruma(logout::v3::Response::new())
}

async fn join(
    Ruma(request): Ruma<join_room_by_id_or_alias::v3::Request>,
) -> Ruma<join_room_by_id_or_alias::v3::Response> {
    let room_id = request.room_id_or_alias.try_into().unwrap();
    Ruma(join_room_by_id_or_alias::v3::Response::new(room_id))
}

fn router() -> Router {
    Routes::new(Arc::new(Guards::new(&AdmissionLimits::default())))
        .add(Class::Read, "versions", versions)
        .add(Class::Write, "state", set_state)
        .add(Class::Write, "filter", filter)
        .add(Class::Read, "messages", messages)
        .add(Class::Read, "event", event)
        .add(Class::Write, "logout", log_out)
        .add(Class::Write, "join", join)
        .into_router()
        .with_state(Stub)
}

async fn ask(method: &str, path: &str, body: impl Into<Body>) -> (StatusCode, HeaderMap, Value) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(body.into())
        .unwrap();
    let response = router().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    (
        parts.status,
        parts.headers,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

/// One request, and the status and `errcode` that it gets ("" where it succeeds).
async fn check(method: &str, path: &str, body: impl Into<Body>, status: u16, errcode: &str) {
    let (got, headers, answer) = ask(method, path, body).await;
    assert_eq!(got.as_u16(), status, "{method} {path}: {answer}");
    assert_eq!(
        answer["errcode"].as_str().unwrap_or_default(),
        errcode,
        "{method} {path}"
    );
    assert_eq!(
        headers["access-control-allow-origin"], "*",
        "{method} {path}"
    );
}

const STATE: &str = "/_matrix/client/v3/rooms/!r:x/state";

#[tokio::test]
async fn every_stable_path_is_served() {
    check("GET", "/_matrix/client/versions", "", 200, "").await;
    check("HEAD", "/_matrix/client/versions", "", 200, "").await;
    for version in ["r0", "v3"] {
        let path = format!("/_matrix/client/{version}/rooms/!r:x/messages?dir=b");
        check("GET", &path, "", 200, "").await;
    }
    check(
        "GET",
        "/_matrix/client/v1/rooms/!r:x/messages?dir=b",
        "",
        404,
        "M_UNRECOGNIZED",
    )
    .await;
    check(
        "GET",
        "/_matrix/client/v3/nonsense",
        "",
        404,
        "M_UNRECOGNIZED",
    )
    .await;
    check("GET", "/", "", 404, "M_UNRECOGNIZED").await;
    for method in ["PUT", "DELETE", "PATCH", "POST"] {
        check(
            method,
            "/_matrix/client/versions",
            "",
            405,
            "M_UNRECOGNIZED",
        )
        .await;
    }
}

#[tokio::test]
async fn path_arguments_are_decoded_and_an_empty_state_key_may_be_left_out() {
    let seen = async |path: &str| {
        let (_, _, answer) = ask("PUT", &format!("{STATE}/{path}"), r#"{"echo":1}"#).await;
        answer["error"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(seen("a.b").await, "a.b|");
    assert_eq!(seen("a.b/").await, "a.b|");
    assert_eq!(seen("a.b/@u%3Ax").await, "a.b|@u:x");
    assert_eq!(seen("a.b/%2F%20%E2%82%AC").await, "a.b|/ €");
    check(
        "PUT",
        &format!("{STATE}/a/%FF"),
        "{}",
        400,
        "M_INVALID_PARAM",
    )
    .await;
}

#[tokio::test]
async fn wrong_arguments_are_told_apart() {
    let rooms = "/_matrix/client/v3/rooms";
    check(
        "GET",
        &format!("{rooms}/nonsense/messages?dir=b"),
        "",
        400,
        "M_INVALID_PARAM",
    )
    .await;
    check(
        "GET",
        &format!("{rooms}/@u:x/event/$e"),
        "",
        400,
        "M_INVALID_PARAM",
    )
    .await;
    check(
        "GET",
        &format!("{rooms}/!r:x/event/nonsense"),
        "",
        400,
        "M_INVALID_PARAM",
    )
    .await;
    check(
        "GET",
        &format!("{rooms}/!r:x/messages"),
        "",
        400,
        "M_MISSING_PARAM",
    )
    .await;
    check(
        "GET",
        &format!("{rooms}/!r:x/messages?dir=x"),
        "",
        400,
        "M_INVALID_PARAM",
    )
    .await;
    check(
        "GET",
        &format!("{rooms}/!r:x/messages?dir=b&limit=x"),
        "",
        400,
        "M_INVALID_PARAM",
    )
    .await;
}

/// Sabotage: leaving out `canonical_object` lets floats, large numbers and repeated keys pass.
#[tokio::test]
async fn event_content_is_read_strictly() {
    let path = format!("{STATE}/a.b/");
    for text in ["", "{", "{'a':1}", "\0", r#"{"a":1}}"#, r#"{"a":NaN}"#] {
        check("PUT", &path, text, 400, "M_NOT_JSON").await;
    }
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(120), "]".repeat(120));
    let bad = [
        "[]",
        "5",
        "null",
        r#"{"a":1.5}"#,
        r#"{"a":9007199254740992}"#,
        r#"{"a":1,"a":2}"#,
        &deep,
    ];
    for text in bad {
        check("PUT", &path, text.to_owned(), 400, "M_BAD_JSON").await;
    }
    check("PUT", &path, &b"{\"a\": \"\xff\"}"[..], 400, "M_NOT_JSON").await;
    check("PUT", &path, r#"{"a":9007199254740991}"#, 200, "").await;
}

#[tokio::test]
async fn other_bodies_are_objects_of_the_right_shape() {
    let path = "/_matrix/client/v3/user/@u:x/filter";
    let deep = format!(r#"{{"a":{}1{}}}"#, r#"{"a":"#.repeat(120), "}".repeat(120));
    check("POST", path, deep, 400, "M_BAD_JSON").await;
    check("POST", path, "{", 400, "M_NOT_JSON").await;
    check("POST", path, "[]", 400, "M_BAD_JSON").await;
    check("POST", path, r#"{"room":5}"#, 400, "M_BAD_JSON").await;
    check("POST", path, r#"{"room":{},"x.y":1.5}"#, 200, "").await;
    for path in ["logout", "join/!r:x"] {
        check("POST", &format!("/_matrix/client/v3/{path}"), "", 200, "").await;
    }
    check(
        "POST",
        "/_matrix/client/v3/logout",
        "nonsense",
        400,
        "M_NOT_JSON",
    )
    .await;
}

#[tokio::test]
async fn a_body_past_the_bound_is_refused_whether_declared_or_not() {
    let path = format!("{STATE}/a.b/");
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(BODY_BYTES_MAX));
    check("PUT", &path, large.clone(), 413, "M_TOO_LARGE").await;
    let chunks = futures::stream::iter([Ok::<_, std::io::Error>(large)]);
    check("PUT", &path, Body::from_stream(chunks), 413, "M_TOO_LARGE").await;
    let broken = futures::stream::iter([Ok("{"), Err(std::io::Error::other("gone"))]);
    check("PUT", &path, Body::from_stream(broken), 400, "M_NOT_JSON").await;
}

#[tokio::test]
async fn preflights_are_answered_everywhere() {
    for path in [
        "/_matrix/client/v3/rooms/!r:x/messages",
        "/_matrix/client/v3/nonsense",
    ] {
        let (status, headers, _) = ask("OPTIONS", path, "").await;
        assert_eq!(status.as_u16(), 200);
        assert_eq!(headers["access-control-allow-origin"], "*");
        let methods = headers["access-control-allow-methods"].to_str().unwrap();
        assert!(
            ["GET", "POST", "PUT", "DELETE"]
                .iter()
                .all(|one| methods.contains(one))
        );
        let allowed = headers["access-control-allow-headers"].to_str().unwrap();
        assert!(
            ["authorization", "content-type"]
                .iter()
                .all(|one| allowed.contains(one))
        );
    }
}

#[tokio::test]
async fn answers_name_their_endpoint_for_the_listener() {
    let request = Request::get("/_matrix/client/versions")
        .body(Body::empty())
        .unwrap();
    let response = router().oneshot(request).await.unwrap();
    assert_eq!(response.extensions().get(), Some(&Endpoint("versions")));
    assert_eq!(response.headers()["content-type"], "application/json");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&bytes).unwrap(),
        json!({"versions": ["v1.1"]})
    );
}

#[tokio::test]
async fn a_full_class_answers_429_with_a_wait() {
    let none = crate::ClassLimits {
        running_max: 0,
        waiting_max: 0,
        wait_max: std::time::Duration::ZERO,
    };
    let limits = AdmissionLimits {
        read: none,
        ..AdmissionLimits::default()
    };
    let router: Router = Routes::new(Arc::new(Guards::new(&limits)))
        .add(Class::Read, "versions", versions)
        .into_router()
        .with_state(Stub);
    let request = Request::get("/_matrix/client/versions")
        .body(Body::empty())
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
}
