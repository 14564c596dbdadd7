//! Canonical JSON, out of text.

use hanse_event::strict_json::{Limits, StrictJsonError, canonical_object, check_object};
use ruma::{CanonicalJsonObject, CanonicalJsonValue};

mod survey;

pub(crate) use self::survey::Survey;

/// The most that a request's body may have in this target.
const BODY_BYTES_MAX: usize = 3_000;

/// `text` is read exactly if canonical JSON can say it, and what is written is its canonical form.
///
/// Sabotage: accept floats, an integer of 2^53, duplicate keys, or one level more; count bytes after
/// reading; sort keys by UTF-16.
///
/// True: canonical JSON can say it.
pub fn check(text: &[u8]) -> bool {
    let survey = Survey::of(text);
    for limits in [Limits::CONTENT, Limits::PDU] {
        let read = canonical_object(text, limits);
        let expected = survey
            .as_ref()
            .is_some_and(|survey| survey.fits(text, limits));
        assert_eq!(read.is_ok(), expected, "{limits:?}: {:?}", read.err());
        match (&read, &survey) {
            (Ok(object), Some(survey)) => check_canonical(object, survey),
            (Err(error), _) => check_error(text, error, survey.as_ref(), limits),
            (Ok(_), None) => unreachable!("what no survey reads does not fit"),
        }
    }
    check_body(text, survey.as_ref());
    survey.is_some_and(|survey| survey.fits(text, Limits::CONTENT))
}

fn check_canonical(object: &CanonicalJsonObject, survey: &Survey) {
    let written = serde_json::to_string(object).expect("an object can be written");
    assert_eq!(written, survey.canonical(), "not the canonical form");

    let again =
        canonical_object(written.as_bytes(), Limits::PDU).expect("the canonical form reads");
    assert_eq!(again, *object, "the canonical form says something else");
    let rewritten = serde_json::to_string(&again).expect("an object can be written");
    assert_eq!(rewritten, written, "not stable");

    let theirs = CanonicalJsonValue::try_from(survey.value().clone()).expect("ruma reads it, too");
    assert_eq!(theirs.to_string(), written, "ruma writes it otherwise");
}

fn check_error(text: &[u8], error: &StrictJsonError, survey: Option<&Survey>, limits: Limits) {
    assert_eq!(
        error.is_too_large(),
        text.len() > limits.bytes_max,
        "{error}"
    );
    if error.is_not_json() {
        let is_object = survey.is_some_and(Survey::is_object);
        assert!(!is_object, "called no JSON object: {error}");
    }
    assert!(
        error.to_string().len() < 40_000,
        "an error as long as what it complains of"
    );
}

/// A body may hold any number, and a key twice.
fn check_body(text: &[u8], survey: Option<&Survey>) {
    let limits = Limits::body(BODY_BYTES_MAX);
    let expected = text.len() <= limits.bytes_max
        && survey.is_some_and(|survey| survey.is_object() && survey.depth <= limits.depth_max);
    let checked = check_object(text, limits);
    assert_eq!(checked.is_ok(), expected, "{checked:?}");
}
