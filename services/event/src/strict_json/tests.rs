use proptest::prelude::*;

use super::*;

fn kind(text: &str) -> Kind {
    canonical_object(text.as_bytes(), Limits::CONTENT)
        .unwrap_err()
        .kind
}

fn nested(levels: usize) -> String {
    format!(
        "{}{}",
        r#"{"a":"#.repeat(levels - 1) + "{}",
        "}".repeat(levels - 1)
    )
}

#[test]
fn reads_what_canonical_json_knows() {
    let text =
        r#"{"b":[1,-1,null,true,{"c":"\u65e5"}],"a":9007199254740991,"d":-9007199254740991}"#;
    let object = canonical_object(text.as_bytes(), Limits::CONTENT).unwrap();
    assert_eq!(
        serde_json::to_string(&object).unwrap(),
        r#"{"a":9007199254740991,"b":[1,-1,null,true,{"c":"日"}],"d":-9007199254740991}"#
    );
}

/// The examples of the specification's appendix "Canonical JSON".
#[test]
fn writes_the_examples_of_the_spec() {
    for (text, canonical) in [
        ("{}", "{}"),
        (r#"{ "one": 1, "two": "Two" }"#, r#"{"one":1,"two":"Two"}"#),
        (r#"{ "b": "2", "a": "1" }"#, r#"{"a":"1","b":"2"}"#),
        (
            r#"{"auth":{"success":true,"mxid":"@j:e"}}"#,
            r#"{"auth":{"mxid":"@j:e","success":true}}"#,
        ),
        (r#"{ "a": "日本語" }"#, r#"{"a":"日本語"}"#),
        (r#"{ "本": 2, "日": 1 }"#, r#"{"日":1,"本":2}"#),
        (r#"{ "a": "\u65E5" }"#, r#"{"a":"日"}"#),
        (r#"{ "a": null }"#, r#"{"a":null}"#),
        // Beyond the examples: by code point, not by UTF-16 unit; only what must be is escaped.
        (
            r#"{ "\ud83d\ude00": 1, "\uffee": 2 }"#,
            "{\"\u{ffee}\":2,\"\u{1f600}\":1}",
        ),
        (
            r#"{ "a": "\u0001\u0008\/\u007f" }"#,
            "{\"a\":\"\\u0001\\b/\u{7f}\"}",
        ),
    ] {
        let object = canonical_object(text.as_bytes(), Limits::CONTENT).unwrap();
        assert_eq!(serde_json::to_string(&object).unwrap(), canonical, "{text}");
    }
}

#[test]
fn names_what_is_wrong_and_where() {
    let check = |text: &str, kind: Kind, at: &str| {
        let error = canonical_object(text.as_bytes(), Limits::CONTENT).unwrap_err();
        assert_eq!((error.kind, error.at.as_str()), (kind, at), "{text}");
    };
    check(r#"{"a":{"b":[1,2.5]}}"#, Kind::Float, "a.b[1]");
    check(r#"{"a":9007199254740992}"#, Kind::IntegerRange, "a");
    check(r#"{"a":{"b":1,"b":2}}"#, Kind::DuplicateKey, "a.b");
    check("[1]", Kind::NotAnObject, "the outermost value");
    check(
        &nested(101),
        Kind::TooDeep { max: 100 },
        &["a"; 100].join("."),
    );
}

/// Synapse #18554 (a `depth` of 9007199254741000 wedged the outbound queue), #13883, #3008.
#[test]
fn non_canonical_numbers_are_refused() {
    for number in [
        "9007199254741000",
        "-9007199254740992",
        "18446744073709551615",
    ] {
        assert_eq!(
            kind(&format!(r#"{{"depth":{number}}}"#)),
            Kind::IntegerRange,
            "{number}"
        );
    }
    for number in ["1.0", "1e3", "-0", "1e300", "0.1", "18446744073709551616"] {
        assert_eq!(
            kind(&format!(r#"{{"depth":{number}}}"#)),
            Kind::Float,
            "{number}"
        );
    }
    for number in ["NaN", "Infinity", "-Infinity", "01", "+1", "1e999", "0x10"] {
        let found = kind(&format!(r#"{{"depth":{number}}}"#));
        assert!(matches!(found, Kind::Syntax { .. }), "{number}: {found}");
    }
}

/// Synapse #1936: deep JSON exhausted the stack.
#[test]
fn deep_json_is_refused_without_recursion() {
    for text in [
        "[".repeat(50_000),
        r#"{"a":"#.repeat(10_000),
        r#"{"a":["#.repeat(9_000),
    ] {
        let error = canonical_object(text.as_bytes(), Limits::body(1 << 20)).unwrap_err();
        assert_eq!(error.kind, Kind::TooDeep { max: 100 });
        let error = check_object(text.as_bytes(), Limits::body(1 << 20)).unwrap_err();
        assert_eq!(error.kind, Kind::TooDeep { max: 100 });
    }
    canonical_object(nested(100).as_bytes(), Limits::CONTENT).unwrap();
    check_object(nested(100).as_bytes(), Limits::CONTENT).unwrap();
}

#[test]
fn bytes_are_counted_before_anything_is_read() {
    let error = canonical_object(&vec![b'['; 70_000], Limits::CONTENT).unwrap_err();
    assert_eq!(
        error.kind,
        Kind::TooLarge {
            bytes: 70_000,
            max: 65_536
        }
    );
    assert!(error.is_too_large());
}

#[test]
fn what_is_no_json_is_called_so() {
    for text in [
        "",
        "{",
        "{}x",
        r#"{"a":"\ud800"}"#,
        "{a:1}",
        "'x'",
        "{\"a\":\"\u{1}\"}",
    ] {
        let error = canonical_object(text.as_bytes(), Limits::CONTENT).unwrap_err();
        assert!(error.is_not_json(), "{text}: {error}");
    }
    let error = canonical_object(b"{\"a\":\"\xff\"}", Limits::CONTENT).unwrap_err();
    assert!(error.is_not_json());
}

#[test]
fn a_body_may_hold_any_number_but_must_be_an_object() {
    check_object(br#"{"timeout":1.5,"x":[1e30,-0]}"#, Limits::body(100)).unwrap();
    for text in [&b"[]"[..], b"1", b"null", b"\"x\""] {
        assert_eq!(
            check_object(text, Limits::body(100)).unwrap_err().kind,
            Kind::NotAnObject
        );
    }
}

#[test]
fn long_keys_are_shortened_in_errors() {
    let error = canonical_object(
        format!(r#"{{"{}":0.5}}"#, "é".repeat(500)).as_bytes(),
        Limits::CONTENT,
    );
    assert_eq!(error.unwrap_err().at, "é".repeat(40));
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            prop::collection::hash_map(".{0,8}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn canonical_text_is_sorted_and_stable(value in json()) {
        let text = serde_json::to_string(&serde_json::json!({ "v": value })).unwrap();
        let object = canonical_object(text.as_bytes(), Limits::CONTENT).unwrap();
        let canonical = serde_json::to_string(&object).unwrap();
        let again = canonical_object(canonical.as_bytes(), Limits::CONTENT).unwrap();
        prop_assert_eq!(&again, &object);
        prop_assert_eq!(serde_json::to_string(&again).unwrap(), canonical);
        prop_assert_eq!(serde_json::to_value(&object).unwrap(), serde_json::json!({ "v": value }));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = canonical_object(&bytes, Limits::CONTENT);
        let _ = check_object(&bytes, Limits::CONTENT);
    }
}
