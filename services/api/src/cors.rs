//! Cross-origin requests ([spec]): every origin may ask, and preflights need no token.
//!
//! [spec]: https://spec.matrix.org/v1.16/client-server-api/#web-browser-clients

use std::time::Duration;

use http::{
    HeaderName, Method,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use tower_http::cors::{Any, CorsLayer};

/// How long a browser may keep the answer to a preflight.
const PREFLIGHT_AGE: Duration = Duration::from_hours(24);

/// The headers that the specification recommends, on every answer; `OPTIONS` ends here.
pub(crate) fn layer() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
        ])
        .allow_headers([
            HeaderName::from_static("x-requested-with"),
            CONTENT_TYPE,
            AUTHORIZATION,
        ])
        .max_age(PREFLIGHT_AGE)
        // The answers do not depend on the request: nothing varies.
        .vary([])
}
