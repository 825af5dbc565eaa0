//! Valid, invalid and random handshakes.

use hyper::header::HOST;
use proptest::prelude::*;

use crate::access::request_head::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn request(target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

/// A valid handshake with these headers added or replaced; the value `-` removes one.
fn handshake(target: &str, more: &[(&str, &str)]) -> Request<()> {
    let mut headers = vec![
        ("host", "127.0.0.1:8787"),
        ("upgrade", "websocket"),
        ("connection", "keep-alive, Upgrade"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    headers.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    headers.extend(more.iter().filter(|(_, value)| *value != "-"));
    request(target, &headers)
}

fn status(request: &Request<()>) -> u16 {
    match read(request) {
        Ok(Requested::File { .. }) => 200,
        Ok(Requested::WebSocket(_)) => 101,
        Err(rejection) => rejection.status.as_u16(),
    }
}

#[test]
fn handshakes_follow_the_rfc() {
    for (target, more, expected) in [
        ("/", vec![], 101),
        ("/admin", vec![], 101),
        ("/other", vec![], 404),
        ("/", vec![("upgrade", "h2c, WebSocket")], 101),
        ("/", vec![("upgrade", "h2c")], 200),
        ("/", vec![("connection", "keep-alive")], 400),
        ("/", vec![("sec-websocket-version", "8")], 426),
        ("/", vec![("sec-websocket-version", "-")], 426),
        ("/", vec![("sec-websocket-key", "-")], 400),
        ("/", vec![("sec-websocket-key", "")], 400),
        ("/", vec![("sec-websocket-key", "dGhlIHNhbXBsZQ==")], 400),
        (
            "/",
            vec![("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ")],
            400,
        ),
        (
            "/",
            vec![("sec-websocket-key", "!!!!!!!!!!!!!!!!!!!!!!!!")],
            400,
        ),
        ("/", vec![("host", "evil.example")], 403),
        ("/", vec![("host", "-")], 400),
        ("/", vec![("host", "127.0.0.1"), ("host", "127.0.0.1")], 400),
        (
            "/",
            vec![("origin", "http://a"), ("origin", "http://a")],
            400,
        ),
        (
            "http://127.0.0.1:8787/",
            vec![("host", "evil.example")],
            101,
        ),
        ("http://evil.example/", vec![], 403),
        ("https://127.0.0.1:8787/", vec![], 400),
        ("http://me@127.0.0.1:8787/", vec![], 400),
    ] {
        assert_eq!(
            status(&handshake(target, &more)),
            expected,
            "{target} {more:?}"
        );
    }
    let mut old = handshake("/", &[]);
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(status(&old), 200, "HTTP/1.0 has no upgrade");
    for (method, expected) in [("HEAD", 200), ("POST", 405), ("OPTIONS", 405)] {
        let mut other = request("/", &[("host", "127.0.0.1")]);
        *other.method_mut() = method.parse().expect("a method");
        assert_eq!(status(&other), expected, "{method}");
    }
    let mut post = request("/", &[("host", "127.0.0.1")]);
    *post.method_mut() = Method::POST;
    let response = read(&post).expect_err("405").into_response();
    assert_eq!(response.headers()[header::ALLOW], METHODS);
}

#[test]
fn the_token_is_a_subprotocol_or_a_bearer_and_never_in_the_query() {
    let word = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode("sé cret/+"));
    let both = format!("{PROTOCOL}, {word}");
    for (target, name, value, token, selects) in [
        (
            "/",
            "sec-websocket-protocol",
            both.as_str(),
            Some("sé cret/+"),
            true,
        ),
        (
            "/",
            "sec-websocket-protocol",
            &word,
            Some("sé cret/+"),
            false,
        ),
        ("/", "sec-websocket-protocol", PROTOCOL, None, true),
        (
            "/",
            "sec-websocket-protocol",
            "chrome-sockets.token.!",
            None,
            false,
        ),
        (
            "/",
            "sec-websocket-protocol",
            "chrome-sockets.token._w",
            None,
            false,
        ),
        ("/", "authorization", "Bearer secret", Some("secret"), false),
        ("/", "authorization", "Basic c2VjcmV0", None, false),
        ("/?token=secret", "x", "y", None, false),
    ] {
        let requested = read(&handshake(target, &[(name, value)]));
        let Ok(Requested::WebSocket(socket)) = requested else {
            panic!("{name}: {value}: {requested:?}");
        };
        assert_eq!(socket.token.as_deref(), token, "{name}: {value}");
        let response = socket.response();
        let selected = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(selected.is_some(), selects, "{value}");
        let accept = &response.headers()[header::SEC_WEBSOCKET_ACCEPT];
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// With any headers, only a complete handshake to an IP address or localhost opens a WebSocket.
    #[test]
    fn every_head_gets_a_response_and_foreign_hosts_are_rejected(
        headers in prop::collection::vec((
            prop::sample::select(vec![
                "host", "origin", "upgrade", "connection", "sec-websocket-key",
                "sec-websocket-version", "sec-websocket-protocol", "authorization",
            ]),
            prop_oneof![
                Just("127.0.0.1:1".to_owned()),
                Just("localhost".to_owned()),
                Just("evil.example".to_owned()),
                Just("websocket".to_owned()),
                Just("upgrade".to_owned()),
                Just("13".to_owned()),
                Just(KEY.to_owned()),
                "[ -~\u{80}-\u{ff}]{0,20}",
            ],
        ), 0..8),
        is_handshake in any::<bool>(),
    ) {
        let mut request = match is_handshake {
            true => handshake("/", &[]),
            false => request("/", &[]),
        };
        for (name, value) in &headers {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                request.headers_mut().append(*name, value);
            }
        }
        match read(&request) {
            Ok(Requested::WebSocket(socket)) => {
                prop_assert_eq!(request.headers().get_all(HOST).iter().count(), 1);
                prop_assert!(Origins::check_host(&socket.host).is_ok());
                prop_assert!(HeaderValue::try_from(&socket.accept).is_ok());
            }
            Ok(Requested::File { .. }) => {}
            Err(rejection) => {
                let text = rejection.text.clone();
                prop_assert!(text.len() < 100, "{}", text);
                prop_assert!(rejection.into_response().status().is_client_error());
            }
        }
    }
}
