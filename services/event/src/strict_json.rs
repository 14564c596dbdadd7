//! JSON from clients and peers, read strictly: bounded in size and depth, and for events nothing
//! that canonical JSON ([spec]) lacks. Errors say what was wrong, and where.
//!
//! [spec]: https://spec.matrix.org/v1.16/appendices/#canonical-json

use std::{cell::RefCell, fmt};

use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde::de::DeserializeSeed;

mod canonical;
mod shape;

use crate::limits::{JSON_DEPTH_MAX, PDU_BYTES_MAX};

/// Bounds of one JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the text.
    pub bytes_max: usize,
    /// Deepest nesting of arrays and objects; the outermost object counts as 1.
    pub depth_max: usize,
}

impl Limits {
    /// The content of an event from a client.
    pub const CONTENT: Self = Self {
        bytes_max: PDU_BYTES_MAX,
        depth_max: JSON_DEPTH_MAX,
    };

    /// A whole event from a peer. Deeper than [`Limits::CONTENT`], so that an event built around
    /// the deepest content passes; larger than an event may be in canonical form, since the text
    /// may hold spaces and escapes.
    pub const PDU: Self = Self {
        bytes_max: 4 * PDU_BYTES_MAX,
        depth_max: JSON_DEPTH_MAX + 10,
    };

    /// A request's body of at most `bytes_max` bytes.
    pub const fn body(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            depth_max: JSON_DEPTH_MAX,
        }
    }
}

/// Why a JSON text was refused, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at {at}")]
pub struct StrictJsonError {
    /// What was wrong.
    pub kind: Kind,
    /// Where: a path such as `content.body[2]`, or a line and column.
    pub at: String,
}

/// What can be wrong with a JSON text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// More bytes than allowed (`M_TOO_LARGE`).
    #[error("{bytes} bytes where at most {max} are allowed")]
    TooLarge {
        /// Bytes of the text.
        bytes: usize,
        /// Most that is allowed.
        max: usize,
    },
    /// Not JSON (`M_NOT_JSON`).
    #[error("not JSON ({reason})")]
    Syntax {
        /// The parser's words.
        reason: String,
    },
    /// The outermost value is no object: JSON, but not what is needed.
    #[error("not a JSON object")]
    NotAnObject,
    /// Arrays and objects nested too deeply.
    #[error("nested deeper than {max} levels")]
    TooDeep {
        /// Deepest that is allowed.
        max: usize,
    },
    /// A number with a fraction or an exponent, or minus zero.
    #[error("a number that is not an integer")]
    Float,
    /// An integer beyond ±(2^53 - 1).
    #[error("an integer outside ±(2^53 - 1)")]
    IntegerRange,
    /// The same key twice in one object.
    #[error("duplicate key")]
    DuplicateKey,
}

impl StrictJsonError {
    /// Whether the answer is `M_TOO_LARGE`.
    pub fn is_too_large(&self) -> bool {
        matches!(self.kind, Kind::TooLarge { .. })
    }

    /// Whether the answer is `M_NOT_JSON`; what remains is `M_BAD_JSON`.
    pub fn is_not_json(&self) -> bool {
        matches!(self.kind, Kind::Syntax { .. })
    }
}

/// Reads an object as canonical JSON: event content, or a whole event.
pub fn canonical_object(
    text: &[u8],
    limits: Limits,
) -> Result<CanonicalJsonObject, StrictJsonError> {
    let run = Run::start(text, limits)?;
    let seed = canonical::Seed {
        run: &run,
        path: &Path::Root,
        depth: 0,
    };
    match run.finish(text, seed)? {
        CanonicalJsonValue::Object(object) => Ok(object),
        _ => Err(not_an_object()),
    }
}

/// Checks that a request's body is a JSON object within the limits; any numbers go. Builds nothing:
/// the typed reader comes after.
pub fn check_object(text: &[u8], limits: Limits) -> Result<(), StrictJsonError> {
    let run = Run::start(text, limits)?;
    let seed = shape::Seed {
        run: &run,
        path: &Path::Root,
        depth: 0,
    };
    run.finish(text, seed)?
        .then_some(())
        .ok_or_else(not_an_object)
}

/// What the seeds of one text share.
struct Run {
    depth_max: usize,
    /// The first failure: serde's own errors cannot carry one.
    failure: RefCell<Option<StrictJsonError>>,
}

impl Run {
    fn start(text: &[u8], limits: Limits) -> Result<Self, StrictJsonError> {
        let (bytes, max) = (text.len(), limits.bytes_max);
        if bytes > max {
            return Err(StrictJsonError {
                kind: Kind::TooLarge { bytes, max },
                at: "the end".into(),
            });
        }
        Ok(Self {
            depth_max: limits.depth_max,
            failure: RefCell::new(None),
        })
    }

    fn finish<'de, S: DeserializeSeed<'de>>(
        &self,
        text: &'de [u8],
        seed: S,
    ) -> Result<S::Value, StrictJsonError> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let value = seed
            .deserialize(&mut reader)
            .and_then(|value| reader.end().map(|()| value));
        value.map_err(|error| self.failure.take().unwrap_or_else(|| syntax(&error)))
    }

    fn fail<E: serde::de::Error>(&self, kind: Kind, path: &Path<'_>) -> E {
        let at = path.to_string();
        self.failure
            .borrow_mut()
            .get_or_insert(StrictJsonError { kind, at });
        E::custom("refused")
    }

    fn check_depth<E: serde::de::Error>(&self, depth: usize, path: &Path<'_>) -> Result<(), E> {
        if depth > self.depth_max {
            return Err(self.fail(
                Kind::TooDeep {
                    max: self.depth_max,
                },
                path,
            ));
        }
        Ok(())
    }
}

/// Where in the text a seed stands; lives on the parser's stack.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Index(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("the outermost value"),
            Self::Key(Self::Root, key) => write!(f, "{}", shortened(key)),
            Self::Key(parent, key) => write!(f, "{parent}.{}", shortened(key)),
            Self::Index(Self::Root, index) => write!(f, "[{index}]"),
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Keys come from outside: at most 40 characters of each go into an error.
fn shortened(key: &str) -> &str {
    key.char_indices()
        .nth(40)
        .map_or(key, |(end, _)| key.get(..end).unwrap_or(key))
}

fn not_an_object() -> StrictJsonError {
    StrictJsonError {
        kind: Kind::NotAnObject,
        at: "the outermost value".into(),
    }
}

fn syntax(error: &serde_json::Error) -> StrictJsonError {
    let at = format!("line {} column {}", error.line(), error.column());
    let reason = error.to_string();
    let reason = reason
        .split(" at line ")
        .next()
        .unwrap_or_default()
        .to_owned();
    StrictJsonError {
        kind: Kind::Syntax { reason },
        at,
    }
}

#[cfg(test)]
mod tests;
