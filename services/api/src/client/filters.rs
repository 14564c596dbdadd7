//! [Filtering](https://spec.matrix.org/v1.16/client-server-api/#filtering).

use axum::extract::State;
use hanse_user::Users;
use ruma::api::client::filter::{create_filter::v3 as create_filter, get_filter::v3 as get_filter};

use super::Endpoints;
use crate::{admission::Class, error::ApiError, exchange::Ruma, session::Session};

pub(super) fn add(routes: Endpoints) -> Endpoints {
    routes
        .add(Class::Write, "create_filter", create)
        .add(Class::Read, "filter", get)
}

/// `POST /_matrix/client/v3/user/{userId}/filter` — the user themself.
async fn create(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<create_filter::Request>,
) -> Result<Ruma<create_filter::Response>, ApiError> {
    session.only(&request.user_id)?;
    let filter_id = users
        .create_filter(&request.user_id, &request.filter)
        .await?;
    Ok(Ruma(create_filter::Response::new(filter_id)))
}

/// `GET /_matrix/client/v3/user/{userId}/filter/{filterId}` — the user themself.
async fn get(
    State(users): State<Users>,
    session: Session,
    Ruma(request): Ruma<get_filter::Request>,
) -> Result<Ruma<get_filter::Response>, ApiError> {
    session.only(&request.user_id)?;
    let filter = users.filter(&request.user_id, &request.filter_id).await?;
    let filter = filter.ok_or_else(|| ApiError::not_found("there is no such filter"))?;
    Ok(Ruma(get_filter::Response::new(filter)))
}
