//! [Push rules](https://spec.matrix.org/v1.16/client-server-api/#push-rules-api).

use axum::{Json, extract::State};
use hanse_user::Users;
use ruma::{
    UserId,
    api::{
        client::push::{
            PushRule, delete_pushrule::v3 as delete_pushrule, get_pushers::v3 as get_pushers,
            get_pushrule::v3 as get_pushrule, get_pushrule_actions::v3 as get_pushrule_actions,
            get_pushrule_enabled::v3 as get_pushrule_enabled,
            get_pushrules_all::v3 as get_pushrules_all,
            get_pushrules_global_scope::v3 as get_pushrules_global,
            set_pushrule::v3 as set_pushrule, set_pushrule_actions::v3 as set_pushrule_actions,
            set_pushrule_enabled::v3 as set_pushrule_enabled,
        },
        error::ErrorKind,
    },
    push::{AnyPushRuleRef, InsertPushRuleError, RemovePushRuleError, RuleKind, Ruleset},
};
use serde_json::{Value as JsonValue, json};

use super::Endpoints;
use crate::{admission::Class, error::ApiError, exchange::Ruma, session::Session};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Read, "push_rules", all)
        .add(Class::Read, "push_rules_global", global)
        .add(Class::Read, "push_rule", get)
        .add(Class::Write, "set_push_rule", set)
        .add(Class::Write, "delete_push_rule", delete)
        .add(Class::Read, "push_rule_actions", actions)
        .add(Class::Write, "set_push_rule_actions", set_actions)
        .add(Class::Read, "push_rule_enabled", enabled)
        .add(Class::Write, "set_push_rule_enabled", set_enabled)
        .add(Class::Read, "pushers", pushers)
}

/// `GET /_matrix/client/v3/pushrules/` — any user.
async fn all(
    State(users): State<Users>,
    session: Session,
    _: Ruma<get_pushrules_all::Request>,
) -> Result<Json<JsonValue>, ApiError> {
    let rules = users.push_rules(&session.user_id).await?;
    Ok(Json(json!({ "global": complete(&rules.ruleset)? })))
}

/// `GET /_matrix/client/v3/pushrules/global/` — any user.
async fn global(
    State(users): State<Users>,
    session: Session,
    _: Ruma<get_pushrules_global::Request>,
) -> Result<Json<JsonValue>, ApiError> {
    let rules = users.push_rules(&session.user_id).await?;
    Ok(Json(complete(&rules.ruleset)?))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}` — any user.
async fn get(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_pushrule::Request>,
) -> Result<Ruma<get_pushrule::Response>, ApiError> {
    let rules = users.push_rules(&session.user_id).await?.ruleset;
    let rule = find(&rules, &request.kind, &request.rule_id)?;
    Ok(Ruma(get_pushrule::Response::new(PushRule::from(
        rule.to_owned(),
    ))))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}` — any user.
async fn set(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<set_pushrule::Request>,
) -> Result<Ruma<set_pushrule::Response>, ApiError> {
    let set_pushrule::Request {
        rule,
        before,
        after,
        ..
    } = request;
    change(&users, &session.user_id, |rules| {
        Ok(rules.insert(rule.clone(), after.as_deref(), before.as_deref())?)
    })
    .await?;
    Ok(Ruma(set_pushrule::Response::new()))
}

/// `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}` — any user.
async fn delete(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<delete_pushrule::Request>,
) -> Result<Ruma<delete_pushrule::Response>, ApiError> {
    change(&users, &session.user_id, |rules| {
        Ok(rules.remove(request.kind.clone(), &request.rule_id)?)
    })
    .await?;
    Ok(Ruma(delete_pushrule::Response::new()))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions` — any user.
async fn actions(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_pushrule_actions::Request>,
) -> Result<Ruma<get_pushrule_actions::Response>, ApiError> {
    let rules = users.push_rules(&session.user_id).await?.ruleset;
    let rule = find(&rules, &request.kind, &request.rule_id)?;
    Ok(Ruma(get_pushrule_actions::Response::new(
        rule.actions().to_vec(),
    )))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions` — any user.
async fn set_actions(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<set_pushrule_actions::Request>,
) -> Result<Ruma<set_pushrule_actions::Response>, ApiError> {
    change(&users, &session.user_id, |rules| {
        let set = rules.set_actions(
            request.kind.clone(),
            &request.rule_id,
            request.actions.clone(),
        );
        set.map_err(|_| no_such_rule())
    })
    .await?;
    Ok(Ruma(set_pushrule_actions::Response::new()))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled` — any user.
async fn enabled(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_pushrule_enabled::Request>,
) -> Result<Ruma<get_pushrule_enabled::Response>, ApiError> {
    let rules = users.push_rules(&session.user_id).await?.ruleset;
    let rule = find(&rules, &request.kind, &request.rule_id)?;
    Ok(Ruma(get_pushrule_enabled::Response::new(rule.enabled())))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled` — any user.
async fn set_enabled(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<set_pushrule_enabled::Request>,
) -> Result<Ruma<set_pushrule_enabled::Response>, ApiError> {
    change(&users, &session.user_id, |rules| {
        let set = rules.set_enabled(request.kind.clone(), &request.rule_id, request.enabled);
        set.map_err(|_| no_such_rule())
    })
    .await?;
    Ok(Ruma(set_pushrule_enabled::Response::new()))
}

/// `GET /_matrix/client/v3/pushers` — any user. There is nothing to push with yet.
async fn pushers(_: Session, _: Ruma<get_pushers::Request>) -> Ruma<get_pushers::Response> {
    Ruma(get_pushers::Response::new(Vec::new()))
}

/// The rules with every kind, also those that have none: ruma leaves these out.
pub(super) fn complete(rules: &Ruleset) -> Result<JsonValue, ApiError> {
    let mut rules = serde_json::to_value(rules).map_err(|error| ApiError::internal(&error))?;
    if let Some(kinds) = rules.as_object_mut() {
        for kind in ["override", "content", "room", "sender", "underride"] {
            kinds.entry(kind).or_insert_with(|| json!([]));
        }
    }
    Ok(rules)
}

fn find<'a>(
    rules: &'a Ruleset,
    kind: &RuleKind,
    rule_id: &str,
) -> Result<AnyPushRuleRef<'a>, ApiError> {
    rules.get(kind.clone(), rule_id).ok_or_else(no_such_rule)
}

async fn change(
    users: &Users,
    user_id: &UserId,
    edit: impl Fn(&mut Ruleset) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    users.edit_push_rules(user_id, edit).await
}

fn no_such_rule() -> ApiError {
    ApiError::not_found("there is no such push rule")
}

impl From<InsertPushRuleError> for ApiError {
    fn from(error: InsertPushRuleError) -> Self {
        match error {
            InsertPushRuleError::UnknownRuleId => Self::not_found(error.to_string()),
            _ => Self::invalid_param(error.to_string()),
        }
    }
}

impl From<RemovePushRuleError> for ApiError {
    fn from(error: RemovePushRuleError) -> Self {
        match error {
            RemovePushRuleError::NotFound => Self::not_found(error.to_string()),
            _ => Self::bad_request(ErrorKind::InvalidParam, error.to_string()),
        }
    }
}
