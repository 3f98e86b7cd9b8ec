//! Well-known documents, and for how long they are believed.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver>

use std::time::{Duration, SystemTime};

use linkim_federation::server_name::ServerNameError;
use linkim_federation::well_known::{
    MAX_WELL_KNOWN_LENGTH, WellKnownError, WellKnownResponse, error_lifetime, parse_well_known, read_well_known,
    well_known_body,
};
use ruma::server_name;

const BODY: &[u8] = br#"{"m.server": "delegated.example.com:1234"}"#;
const HOUR: u64 = 3600;

/// 1994-11-06 08:49:37 UTC, the time of the examples in RFC 9110.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
}

#[test]
fn the_example_of_the_specification_is_read() {
    assert_eq!(parse_well_known(BODY).unwrap(), server_name!("delegated.example.com:1234"));
    let other = br#"{"m.server":"[::1]","more":{"x":[1.5,{"m.server":"no"}]}}"#;
    assert_eq!(parse_well_known(other).unwrap(), server_name!("[::1]"));
    let body = well_known_body(server_name!("delegated.example.com:1234"));
    assert_eq!(body, r#"{"m.server":"delegated.example.com:1234"}"#);
}

#[test]
fn an_invalid_answer_is_one_with_its_reason() {
    for body in ["", "<html>", "[]", "\"a.example\"", "{\"m.server\":\"a.example\"", "{\"m.server\":\"a.example\"} x"] {
        assert!(matches!(parse_well_known(body.as_bytes()), Err(WellKnownError::Json(_))), "{body}");
    }
    for body in ["{}", r#"{"m.server":1}"#, r#"{"m.server":null}"#, r#"{"m.server":{"m.server":"a"}}"#] {
        assert_eq!(parse_well_known(body.as_bytes()), Err(WellKnownError::NoServer), "{body}");
    }
    for (body, reason) in [
        (r#"{"m.server":""}"#, ServerNameError::EmptyHostname),
        (r#"{"m.server":"https://a.example"}"#, ServerNameError::Port),
        (r#"{"m.server":"a.example:"}"#, ServerNameError::Port),
        (r#"{"m.server":" a.example"}"#, ServerNameError::Character),
        (r#"{"m.server":"a.example/"}"#, ServerNameError::Character),
    ] {
        assert_eq!(parse_well_known(body.as_bytes()), Err(WellKnownError::ServerName(reason)), "{body}");
    }
    let padded = |length| [BODY, " ".repeat(length - BODY.len()).as_bytes()].concat();
    assert!(parse_well_known(&padded(MAX_WELL_KNOWN_LENGTH)).is_ok());
    assert_eq!(parse_well_known(&padded(MAX_WELL_KNOWN_LENGTH + 1)), Err(WellKnownError::TooLong));
    for status in [204, 301, 404, 500] {
        let response = WellKnownResponse { status, body: BODY, ..WellKnownResponse::default() };
        assert_eq!(read_well_known(Some(&response), now(), 0).delegated, Err(WellKnownError::Status(status)));
    }
    assert_eq!(read_well_known(None, now(), 0).delegated, Err(WellKnownError::Unreachable));
}

#[test]
fn cache_headers_are_followed_up_to_two_days() {
    let date: Option<&[u8]> = Some(b"Sun, 06 Nov 1994 08:49:37 GMT");
    let two_hours_on: Option<&[u8]> = Some(b"Sun, 06 Nov 1994 10:49:37 GMT");
    let past: Option<&[u8]> = Some(b"Sun, 06 Nov 1994 07:49:37 GMT");
    for (cache_control, expires, date, age, seconds) in [
        (vec![], None, None, "", 24 * HOUR),
        (vec!["public, must-revalidate"], None, None, "", 24 * HOUR),
        (vec!["max-age=7200"], None, None, "", 2 * HOUR),
        (vec!["public,  MAX-AGE=\"7200\" , x=1"], None, None, "", 2 * HOUR),
        (vec!["public", "max-age=7200"], None, None, "", 2 * HOUR),
        (vec!["max-age=7200, max-age=1"], None, None, "", 2 * HOUR),
        (vec!["max-age=7200"], None, None, "3600", HOUR),
        (vec!["max-age=7200"], None, None, "soon", 2 * HOUR),
        (vec!["max-age=604800"], None, None, "", 48 * HOUR),
        (vec!["max-age=99999999999999999999999999"], None, None, "", 48 * HOUR),
        // A lifetime that makes no sense is none; and none is a minute.
        (vec!["max-age=-1"], None, None, "", 60),
        (vec!["max-age"], None, None, "", 60),
        (vec!["max-age=0"], None, None, "", 60),
        (vec!["max-age=7200, no-store"], None, None, "", 60),
        (vec!["no-cache"], None, None, "", 60),
        (vec!["max-age=10"], None, None, "99999", 60),
        // `Expires` counts where `max-age` does not speak, and from the sender's clock.
        (vec![], two_hours_on, None, "", 2 * HOUR),
        (vec![], two_hours_on, past, "", 3 * HOUR),
        (vec!["max-age=3600"], two_hours_on, None, "", HOUR),
        (vec!["public"], two_hours_on, date, "", 2 * HOUR),
        (vec![], Some(b"Sunday, 06-Nov-94 10:49:37 GMT"), date, "", 2 * HOUR),
        (vec![], Some(b"Sun Nov  6 10:49:37 1994"), date, "", 2 * HOUR),
        (vec![], past, None, "", 60),
        (vec![], Some(b"0"), None, "", 60),
        (vec![], Some(b"Fri, 31 Dec 9999 23:59:59 GMT"), None, "", 48 * HOUR),
    ] {
        let cache_control: Vec<&[u8]> = cache_control.iter().map(|value| value.as_bytes()).collect();
        let age = Some(age.as_bytes()).filter(|age| !age.is_empty());
        let response = WellKnownResponse { status: 200, cache_control: &cache_control, expires, date, age, body: BODY };
        let read = read_well_known(Some(&response), now(), 5);
        assert!(read.delegated.is_ok());
        assert_eq!(read.lifetime, Duration::from_secs(seconds), "{response:?}");
    }
}

#[test]
fn errors_back_off_up_to_an_hour() {
    let minutes = |failures| error_lifetime(failures).as_secs() / 60;
    assert_eq!(
        [0, 1, 2, 3, 4, 5, 6, 7, 31, 32, 33, u32::MAX].map(minutes),
        [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]
    );
    let cache_control: &[&[u8]] = &[b"max-age=172800"];
    let response = WellKnownResponse { status: 404, cache_control, ..WellKnownResponse::default() };
    assert_eq!(read_well_known(Some(&response), now(), 1).lifetime, Duration::from_secs(120));
    assert_eq!(read_well_known(None, now(), 2).lifetime, Duration::from_secs(240));
}
