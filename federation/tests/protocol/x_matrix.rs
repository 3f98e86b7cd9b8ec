//! The authentication of requests.
//!
//! <https://spec.matrix.org/v1.19/server-server-api/#request-authentication>. The expected signatures were made by the
//! section's Python code, with the key of the appendices' test vectors and another implementation of ed25519.

use std::collections::BTreeMap;

use linkim_federation::server_name::ServerNameError;
use linkim_federation::x_matrix::{
    MAX_HEADER_LENGTH, MAX_HEADERS, RequestAuthentication, SignedRequest, XMatrix, XMatrixError,
};
use linkim_federation::{PublicKeyMap, SigningKey, VerifyError};
use proptest::prelude::*;
use ruma::{ServerName, server_name};

use crate::common::keys_of;

const DESTINATION: &str = "destination.hs.example.com";

fn spec_key() -> SigningKey {
    SigningKey::parse_file("ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap().remove(0)
}

fn destination() -> &'static ServerName {
    <&ServerName>::try_from(DESTINATION).unwrap()
}

const PROFILE: SignedRequest<'static> = SignedRequest {
    method: "GET",
    uri: "/_matrix/federation/v1/query/profile?user_id=%40a%3Adomain&field=displayname",
    content: None,
};

#[test]
fn requests_are_signed_as_by_the_code_of_the_specification() {
    let transaction: &[u8] = "{\"pdus\":[{\"type\":\"m.room.message\",\"depth\":3,\"content\":\
        {\"float\":1.50,\"big\":36893488147419103232,\"é\":\"\\u65e5\"}}],\"edus\":[],\"origin\":\"domain\"}"
        .as_bytes();
    for (request, signature) in [
        (PROFILE, "KrwbcShXGBYpmMalQduXg1MpnW6qvo5Z8MX0nVRa8+xDGkOE+3PVNmn+mM+n4AE4ecTRZrmE90Ftwucns3nXCw"),
        (
            SignedRequest { method: "PUT", uri: "/_matrix/federation/v1/send/1", content: Some(transaction) },
            "zz+Io08X6XgpmzUd6Q1YOFYK3Npm+5yOwIDEFCqJHL+90k1fgo68TJUxtPsIEQoTyoR+3FZdU2UIOftrcTLKAg",
        ),
        (
            SignedRequest { method: "POST", uri: "/target", content: Some(b" { } ") },
            "XoUcQlM3RMSH0woU1W9DQtOXgzBCjD/OT/H9j5ZzzSny03Klnl2kqP/7sfKklFkEs4hqBRl1RMjhRWfLU7QDAQ",
        ),
    ] {
        let header = request.sign(server_name!("domain"), destination(), &spec_key()).unwrap();
        assert_eq!(header.signature, signature, "{}", request.uri);
        let value = header.to_header_value();
        let expected =
            format!("X-Matrix origin=\"domain\",destination=\"{DESTINATION}\",key=\"ed25519:1\",sig=\"{signature}\"");
        assert_eq!(value, expected);
        let read = RequestAuthentication::from_headers([value.as_bytes()]).unwrap();
        assert_eq!(read.key_ids().collect::<Vec<_>>(), ["ed25519:1"]);
        assert_eq!(read.verify(&request, destination(), &keys_of("domain", &spec_key())), Ok(()));
    }
}

#[test]
fn an_empty_body_is_no_body() {
    let signed = |request: SignedRequest<'_>| request.signed_text(server_name!("domain"), destination()).unwrap();
    assert_eq!(signed(SignedRequest { content: Some(b""), ..PROFILE }), signed(PROFILE));
    assert_ne!(signed(SignedRequest { content: Some(b"{}"), ..PROFILE }), signed(PROFILE));
}

#[test]
fn a_body_that_nests_deeper_than_an_event_may_is_signed_and_verified() {
    let nested = format!("{{\"pdus\":[{{\"b\":0,\"a\":{}{}}}]}}", "[".repeat(5_000), "]".repeat(5_000));
    let request = SignedRequest { method: "PUT", uri: "/send", content: Some(nested.as_bytes()) };
    let header = request.sign(server_name!("domain"), destination(), &spec_key()).unwrap().to_header_value();
    let read = RequestAuthentication::from_headers([header.as_bytes()]).unwrap();
    assert_eq!(read.verify(&request, destination(), &keys_of("domain", &spec_key())), Ok(()));
}

#[test]
fn the_header_of_the_specification_is_read() {
    let value = b"X-Matrix origin=\"origin.hs.example.com\",destination=\"destination.hs.example.com\",key=\"ed25519:key1\",sig=\"ABCDEF\"";
    let expected = XMatrix {
        origin: server_name!("origin.hs.example.com").to_owned(),
        destination: Some(destination().to_owned()),
        key: "ed25519:key1".to_owned(),
        signature: "ABCDEF".to_owned(),
    };
    assert_eq!(XMatrix::parse(value).as_ref(), Ok(&expected));
    assert_eq!(expected.to_header_value().as_bytes(), value);
}

#[test]
fn every_form_that_the_grammar_allows_is_the_same_header() {
    let plain =
        XMatrix::parse(b"X-Matrix origin=a.example,destination=\"b:80\",key=\"ed25519:1\",sig=\"ab+/\"").unwrap();
    for other in [
        // Any order, case and white space; tokens bare; colons bare, as older servers send them.
        "x-matrix    sig=\"ab+/\",KEY=ed25519:1 ,\t Destination=b:80 , oRiGin=\"a.example\"",
        "X-MATRIX origin = a.example , destination\t=\tb:80,key=ed25519:1,sig=\"ab+/\"",
        // Unknown parameters, twice even; what is in their quotes is theirs.
        "X-Matrix new=1,origin=a.example,destination=b:80,other=\", origin=\\\"c\\\", \",key=ed25519:1,new=2,sig=\"ab+/\"",
        // Escapes.
        "X-Matrix origin=\"a\\.exam\\ple\",destination=\"\\b:80\",key=\"ed25519\\:1\",sig=\"ab+\\/\"",
        // Empty elements.
        "X-Matrix ,origin=a.example,, ,destination=b:80,key=ed25519:1,sig=\"ab+/\",",
    ] {
        assert_eq!(XMatrix::parse(other.as_bytes()).as_ref(), Ok(&plain), "{other}");
    }
    let ipv6 = XMatrix::parse(b"X-Matrix origin=\"[::1]:1\",key=ed25519:1,sig=ab").unwrap();
    assert_eq!((ipv6.origin.as_str(), ipv6.destination), ("[::1]:1", None));
}

#[test]
fn a_malformed_header_is_refused_with_its_reason() {
    use XMatrixError::*;
    let origin = |reason| ServerName { parameter: "origin", reason };
    for (value, error) in [
        ("", Missing),
        ("Bearer abc", Missing),
        ("X-Matrixorigin=a", Missing),
        ("X-Matrix", NoParameter("origin")),
        ("X-Matrix ", NoParameter("origin")),
        ("X-Matrix origin=a,sig=ab", NoParameter("key")),
        ("X-Matrix origin=a,key=ed25519:1", NoParameter("sig")),
        ("X-Matrix origin=a,origin=a,key=ed25519:1,sig=ab", Repeated("origin")),
        ("X-Matrix origin=a,key=ed25519:1,sig=ab,SIG=ab", Repeated("sig")),
        ("X-Matrix origin=a b", Syntax { at: 18 }),
        ("X-Matrix origin", Syntax { at: 15 }),
        ("X-Matrix origin=", Syntax { at: 16 }),
        ("X-Matrix =a", Syntax { at: 9 }),
        ("X-Matrix origin=\"a", Syntax { at: 18 }),
        ("X-Matrix origin=\"a\\", Syntax { at: 19 }),
        ("X-Matrix origin=\"a\u{1}\"", Syntax { at: 18 }),
        ("X-Matrix origin=\"a\"b=c", Syntax { at: 19 }),
        ("X-Matrix origin=a;key=b", Syntax { at: 17 }),
        ("X-Matrix origin=[::1]", Syntax { at: 16 }),
        ("X-Matrix origin=\"\",key=ed25519:1,sig=ab", origin(ServerNameError::EmptyHostname)),
        ("X-Matrix origin=a_b,key=ed25519:1,sig=ab", origin(ServerNameError::Character)),
        ("X-Matrix origin=\"é\",key=ed25519:1,sig=ab", origin(ServerNameError::Character)),
        (
            "X-Matrix origin=a,destination=\"b:\",key=ed25519:1,sig=ab",
            ServerName { parameter: "destination", reason: ServerNameError::Port },
        ),
        ("X-Matrix origin=a,key=ed25519,sig=ab", KeyId),
        ("X-Matrix origin=a,key=\"ed25519:a-b\",sig=ab", KeyId),
        ("X-Matrix origin=a,key=\":1\",sig=ab", KeyId),
        ("X-Matrix origin=a,key=ed25519:1,sig=\"?\"", Signature),
        ("X-Matrix origin=a,key=ed25519:1,sig=\"\"", Signature),
    ] {
        assert_eq!(XMatrix::parse(value.as_bytes()), Err(error), "{value:?}");
    }
    let padded = |length: usize| format!("X-Matrix origin=a,key=ed25519:1,sig=ab{}", ",".repeat(length - 38));
    assert!(XMatrix::parse(padded(MAX_HEADER_LENGTH).as_bytes()).is_ok());
    assert_eq!(XMatrix::parse(padded(MAX_HEADER_LENGTH + 1).as_bytes()), Err(TooLong));
}

#[test]
fn several_headers_are_one_authentication() {
    let other_key = SigningKey::generate([3; 32], "other").unwrap();
    let sign = |key: &SigningKey| PROFILE.sign(server_name!("domain"), destination(), key).unwrap().to_header_value();
    let (first, second) = (sign(&spec_key()), sign(&other_key));
    let values = [b"Basic abc".as_slice(), first.as_bytes(), second.as_bytes()];
    let read = RequestAuthentication::from_headers(values).unwrap();
    assert_eq!(read.key_ids().collect::<Vec<_>>(), ["ed25519:1", "ed25519:other"]);
    // Either key is enough.
    for key in [spec_key(), other_key] {
        assert_eq!(read.verify(&PROFILE, destination(), &keys_of("domain", &key)), Ok(()));
    }
    let refused = |second: &str| RequestAuthentication::from_headers([first.as_bytes(), second.as_bytes()]);
    assert_eq!(refused(&second.replace("origin=\"domain\"", "origin=\"b\"")), Err(XMatrixError::Differ("origin")));
    assert_eq!(refused(&second.replace(DESTINATION, "b")), Err(XMatrixError::Differ("destination")));
    assert_eq!(refused("X-Matrix x"), Err(XMatrixError::Syntax { at: 10 }));
    assert_eq!(RequestAuthentication::from_headers([b"Basic abc".as_slice()]), Err(XMatrixError::Missing));
    let many = vec![first.as_bytes(); MAX_HEADERS + 1];
    assert_eq!(RequestAuthentication::from_headers(many), Err(XMatrixError::TooMany));
}

#[test]
fn anything_that_differs_from_what_was_signed_fails() {
    let request = SignedRequest { method: "PUT", uri: "/target?", content: Some(b"{\"a\":1,\"b\":2}") };
    let header = request.sign(server_name!("domain"), destination(), &spec_key()).unwrap();
    let read = |header: &XMatrix| RequestAuthentication::from_headers([header.to_header_value().as_bytes()]).unwrap();
    let keys = keys_of("domain", &spec_key());
    let verify = |request: SignedRequest<'_>| read(&header).verify(&request, destination(), &keys);
    let wrong = Err(XMatrixError::Verify(VerifyError::WrongSignature("domain".to_owned())));
    // The same object in another text is the same content.
    assert_eq!(verify(SignedRequest { content: Some(b"{ \"b\" : 2, \"a\" : 1 }"), ..request }), Ok(()));
    assert_eq!(verify(SignedRequest { method: "POST", ..request }), wrong);
    assert_eq!(verify(SignedRequest { uri: "/target", ..request }), wrong);
    assert_eq!(verify(SignedRequest { uri: "/%74arget?", ..request }), wrong);
    assert_eq!(verify(SignedRequest { content: Some(b"{\"a\":1,\"b\":3}"), ..request }), wrong);
    assert_eq!(verify(SignedRequest { content: None, ..request }), wrong);
    assert_eq!(verify(SignedRequest { content: Some(b""), ..request }), wrong);
    for content in [b" ".as_slice(), b"[]", b"{", b"\xff"] {
        let verified = verify(SignedRequest { content: Some(content), ..request });
        assert!(matches!(verified, Err(XMatrixError::Content(_))), "{verified:?}");
    }
    let other = server_name!("other");
    assert_eq!(
        read(&header).verify(&request, other, &keys),
        Err(XMatrixError::WrongDestination(destination().to_owned()))
    );
    // Without a destination in the header, the one that was signed still tells.
    let silent = XMatrix { destination: None, ..header.clone() };
    assert_eq!(read(&silent).verify(&request, destination(), &keys), Ok(()));
    assert_eq!(read(&silent).verify(&request, other, &keys), wrong);
    let from_other = XMatrix { origin: other.to_owned(), ..header.clone() };
    assert_eq!(
        read(&from_other).verify(&request, destination(), &keys),
        Err(XMatrixError::Verify(VerifyError::UnknownKey("other".to_owned())))
    );
    let unknown = Err(XMatrixError::Verify(VerifyError::UnknownKey("domain".to_owned())));
    let renamed = XMatrix { key: "ed25519:2".to_owned(), ..header.clone() };
    assert_eq!(read(&renamed).verify(&request, destination(), &keys), unknown);
    assert_eq!(read(&header).verify(&request, destination(), &PublicKeyMap::new()), unknown);
    let mut of_another_kind = keys.clone();
    let key = keys["domain"]["ed25519:1"].clone();
    of_another_kind.insert("domain".to_owned(), BTreeMap::from([("curve25519:1".to_owned(), key)]));
    let kind = XMatrix { key: "curve25519:1".to_owned(), ..header.clone() };
    assert_eq!(read(&kind).verify(&request, destination(), &of_another_kind), unknown);
    let short = XMatrix { signature: "AAAA".to_owned(), ..header };
    assert_eq!(read(&short).verify(&request, destination(), &keys), wrong);
}

proptest! {
    #[test]
    fn what_is_built_is_read_again(
        origin in "[a-z0-9.-]{1,40}(:[0-9]{1,4})?",
        destination in proptest::option::of(prop_oneof![Just("[::1]:8448".to_owned()), "[a-z][a-z0-9.-]{0,40}"]),
        version in "[a-zA-Z0-9_]{1,20}",
        signature in proptest::collection::vec(any::<u8>(), 1..64),
    ) {
        prop_assume!(linkim_federation::server_name::ParsedServerName::parse(&origin).is_ok());
        let header = XMatrix {
            origin: ServerName::parse(&origin).unwrap(),
            destination: destination.map(|name| ServerName::parse(name).unwrap()),
            key: format!("ed25519:{version}"),
            signature: ruma::serde::Base64::<ruma::serde::base64::Standard>::new(signature).encode(),
        };
        prop_assert_eq!(XMatrix::parse(header.to_header_value().as_bytes()), Ok(header));
    }
}
