//! Routes, taken from ruma's metadata: every path that an endpoint has had in a stable version of
//! the specification (`r0`, `v1`, `v3`), its method, and nothing copied by hand. Endpoints of proposals
//! are served under their unstable paths.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    handler::Handler,
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter},
};
use http::StatusCode;
use ruma::api::{
    Metadata,
    error::ErrorKind,
    path_builder::{SinglePath, VersionHistory},
};

use crate::{
    admission::Class,
    cors,
    error::ApiError,
    exchange::{Ruma, RumaContent, RumaPrepared},
    guard::{Guarded, Guards},
};

/// The stable paths of an endpoint, deprecated and legacy ones included.
pub(crate) trait StablePaths {
    /// In ruma's form: `/_matrix/client/v3/rooms/{room_id}/leave`.
    fn stable(&self) -> Vec<&'static str>;
}

impl StablePaths for VersionHistory {
    fn stable(&self) -> Vec<&'static str> {
        self.stable_paths().map(|(_, path)| path).collect()
    }
}

impl StablePaths for SinglePath {
    fn stable(&self) -> Vec<&'static str> {
        vec![self.path()]
    }
}

/// What a handler answers, told from its last argument.
pub(crate) trait Answers {
    /// One of ruma's requests.
    type Request: Metadata;
}

macro_rules! answers {
    ($($argument:ident),*) => {
        impl<M, $($argument,)* R: Metadata> Answers for (M, $($argument,)* Ruma<R>,) {
            type Request = R;
        }
        impl<M, $($argument,)* R: Metadata> Answers for (M, $($argument,)* RumaContent<R>,) {
            type Request = R;
        }
        impl<M, $($argument,)* R: Metadata> Answers for (M, $($argument,)* RumaPrepared<R>,) {
            type Request = R;
        }
    };
}

answers!();
answers!(A1);
answers!(A1, A2);
answers!(A1, A2, A3);
answers!(A1, A2, A3, A4);
answers!(A1, A2, A3, A4, A5);
answers!(A1, A2, A3, A4, A5, A6);

/// Collects handlers by path, so that what all paths need is added once.
pub(crate) struct Routes<S> {
    by_path: BTreeMap<String, MethodRouter<S>>,
    guards: Arc<Guards>,
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub(crate) fn new(guards: Arc<Guards>) -> Self {
        Self {
            by_path: BTreeMap::new(),
            guards,
        }
    }

    /// Serves an endpoint. `name` is its name in metrics, `class` its queue.
    pub(crate) fn add<H, T>(self, class: Class, name: &'static str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: Answers + Send + 'static,
        <T::Request as Metadata>::PathBuilder: StablePaths,
    {
        let paths = T::Request::PATH_BUILDER.stable();
        self.add_paths(class, name, handler, paths)
    }

    /// Serves an endpoint that is a proposal's: the specification has no path for it yet.
    pub(crate) fn add_unstable<H, T>(self, class: Class, name: &'static str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: Answers + Send + 'static,
        T::Request: Metadata<PathBuilder = VersionHistory>,
    {
        let paths = T::Request::PATH_BUILDER.unstable_paths();
        let paths = paths.map(|(_, path)| path).collect();
        self.add_paths(class, name, handler, paths)
    }

    fn add_paths<H, T>(
        mut self,
        class: Class,
        name: &'static str,
        handler: H,
        paths: Vec<&'static str>,
    ) -> Self
    where
        H: Handler<T, S>,
        T: Answers + Send + 'static,
    {
        let Ok(method) = MethodFilter::try_from(T::Request::METHOD) else {
            return self;
        };
        let handler = Guarded::new(handler, self.guards.guard(class, name));
        for path in paths.into_iter().flat_map(spellings) {
            let at = self.by_path.remove(&path).unwrap_or_default();
            self.by_path.insert(path, at.on(method, handler.clone()));
        }
        self
    }

    /// The router: unknown paths get 404, other methods of known paths 405, and every answer the
    /// headers for browsers.
    pub(crate) fn into_router(self) -> Router<S> {
        let mut router = Router::new();
        for (path, methods) in self.by_path {
            router = router.route(&path, methods.fallback(wrong_method));
        }
        router.fallback(unknown_endpoint).layer(cors::layer())
    }
}

/// A path in the router's form. Parameters are named by their place, since endpoints that share a
/// path call them differently. An empty state key may be left out, with its slash or without.
fn spellings(path: &'static str) -> Vec<String> {
    let mut spellings = vec![in_places(path)];
    if let Some(without) = path.strip_suffix("{state_key}") {
        spellings.push(in_places(without));
        spellings.push(in_places(without.trim_end_matches('/')));
    }
    spellings
}

fn in_places(path: &str) -> String {
    let mut place = 0;
    let segments = path.split('/').map(|segment| {
        if segment.starts_with('{') {
            place += 1;
            return format!("{{p{place}}}");
        }
        segment.to_owned()
    });
    segments.collect::<Vec<_>>().join("/")
}

async fn unknown_endpoint() -> Response {
    let text = "this server has no such endpoint";
    ApiError::new(StatusCode::NOT_FOUND, ErrorKind::Unrecognized, text).into_response()
}

async fn wrong_method() -> Response {
    let text = "this endpoint has other methods";
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        ErrorKind::Unrecognized,
        text,
    )
    .into_response()
}

#[cfg(test)]
mod tests;
