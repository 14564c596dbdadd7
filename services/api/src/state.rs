//! What the handlers reach, each part by its own type.

use std::{fmt, sync::Arc};

use axum::extract::FromRef;

use crate::{body::BodyBytesMax, rates::Rates};

/// Everything behind one pointer, so that a request clones little. Handlers never see it: they take
/// `State` of a part.
#[derive(Clone)]
pub(crate) struct ApiState(pub(crate) Arc<Parts>);

/// The parts.
pub(crate) struct Parts {
    pub(crate) body_bytes_max: BodyBytesMax,
    pub(crate) rates: Rates,
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").finish_non_exhaustive()
    }
}

impl FromRef<ApiState> for BodyBytesMax {
    fn from_ref(state: &ApiState) -> Self {
        state.0.body_bytes_max
    }
}

impl FromRef<ApiState> for Rates {
    fn from_ref(state: &ApiState) -> Self {
        state.0.rates.clone()
    }
}
