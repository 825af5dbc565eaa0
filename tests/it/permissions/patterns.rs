//! Which calls a pattern permits: one case per row.

use chrome_sockets::Permissions;
use chrome_sockets::manifest::Pattern;
use serde_json::json;

use self::Call::{Connect, Listen};

/// A call of the app.
#[derive(Clone, Copy, Debug)]
enum Call {
    Listen,
    Connect,
}

const YES: bool = true;
const NO: bool = false;

/// Pattern, call, host, port, permitted.
const CASES: &[(&str, Call, &str, i32, bool)] = &[
    // An absent part or `*` is any.
    ("", Listen, "127.0.0.1", 80, YES),
    ("", Listen, "::", 0, YES),
    ("", Connect, "example.com", 80, YES),
    ("*", Connect, "example.com", 80, YES),
    ("*", Listen, "0.0.0.0", 0, YES),
    (":", Connect, "example.com", 65535, YES),
    ("*:", Connect, "::1", 1, YES),
    (":*", Connect, "::1", 1, YES),
    ("*:*", Connect, "example.com", 1, YES),
    (":80", Connect, "example.com", 80, YES),
    (":80", Connect, "example.com", 81, NO),
    ("*:80", Connect, "::1", 80, YES),
    ("*:80", Listen, "127.0.0.1", 8080, NO),
    ("example.com", Connect, "example.com", 443, YES),
    ("example.com:", Connect, "example.com", 443, YES),
    ("example.com:*", Connect, "example.com", 443, YES),
    ("example.com:*", Connect, "example.org", 443, NO),
    // Both the host and the port count.
    ("example.com:80", Connect, "example.com", 80, YES),
    ("example.com:80", Connect, "example.com", 443, NO),
    ("example.com:80", Connect, "example.org", 80, NO),
    ("example.com:0080", Connect, "example.com", 80, YES),
    ("example.com:1", Connect, "example.com", 1, YES),
    ("example.com:65535", Connect, "example.com", 65535, YES),
    // Ports are not truncated to 16 bits.
    ("example.com:80", Connect, "example.com", 65536 + 80, NO),
    ("127.0.0.1:80", Listen, "127.0.0.1", 80 - 65536, NO),
    ("127.0.0.1:*", Listen, "127.0.0.1", 65536, YES),
    ("*", Connect, "example.com", -1, YES),
    // Port 0 lets the OS choose among all.
    ("127.0.0.1:4000", Listen, "127.0.0.1", 0, NO),
    ("127.0.0.1:*", Listen, "127.0.0.1", 0, YES),
    ("127.0.0.1", Listen, "127.0.0.1", 0, YES),
    ("*:1", Listen, "127.0.0.1", 0, NO),
    ("[::1]:4000", Listen, "::1", 0, NO),
    ("[::1]", Listen, "::1", 0, YES),
    ("example.com:80", Connect, "example.com", 0, NO),
    // A domain and everything below it; its port counts too.
    ("*.example.com:80", Connect, "www.example.com", 80, YES),
    ("*.example.com:80", Connect, "a.b.example.com", 80, YES),
    ("*.example.com:80", Connect, "example.com", 80, YES),
    ("*.example.com:80", Connect, "www.example.com", 81, NO),
    ("*.example.com:80", Connect, "example.com", 81, NO),
    ("*.example.com", Connect, "badexample.com", 80, NO),
    ("*.example.com", Connect, "example.com.evil.org", 80, NO),
    ("*.example.com", Connect, "com", 80, NO),
    ("*.example.com", Connect, ".example.com", 80, NO),
    ("*.example.com", Connect, "a..example.com", 80, NO),
    (".example.com:80", Connect, "www.example.com", 80, YES),
    (".example.com:80", Connect, "example.com", 80, YES),
    ("example.com:80", Connect, "www.example.com", 80, NO),
    ("www.example.com:80", Connect, "example.com", 80, NO),
    ("*.com", Connect, "example.com", 80, YES),
    // Case is ignored, and so is the dot of an absolute name.
    ("Example.COM:80", Connect, "eXAMPLE.com", 80, YES),
    ("*.EXAMPLE.com", Connect, "WWW.Example.Com", 80, YES),
    ("example.com:80", Connect, "example.com.", 80, YES),
    ("example.com.:80", Connect, "example.com", 80, YES),
    ("example.com.:80", Connect, "example.com.", 80, YES),
    ("*.example.com", Connect, "www.example.com.", 80, YES),
    ("*.example.com.", Connect, "www.example.com", 80, YES),
    ("example.com", Connect, "example.com..", 80, NO),
    // Names in any script.
    ("Bücher.example:80", Connect, "bücher.example", 80, YES),
    (
        "Bücher.example:80",
        Connect,
        "xn--bcher-kva.example",
        80,
        YES,
    ),
    ("XN--BCHER-KVA.example", Connect, "BÜCHER.example", 80, YES),
    (
        "*.bücher.example",
        Connect,
        "www.xn--bcher-kva.example",
        80,
        YES,
    ),
    ("bücher.example", Connect, "bu\u{308}cher.example", 80, YES),
    ("bücher.example", Connect, "bucher.example", 80, NO),
    ("例え。テスト:80", Connect, "例え.テスト", 80, YES),
    ("example.com", Connect, "example。com", 80, YES),
    ("example.com", Connect, "ｅｘａｍｐｌｅ．com", 80, YES),
    // Cyrillic а.
    ("apple.com", Connect, "\u{430}pple.com", 80, NO),
    ("faß.example", Connect, "fass.example", 80, NO),
    // IPv4.
    ("127.0.0.1:80", Connect, "127.0.0.1", 80, YES),
    ("127.0.0.1:80", Connect, "127.0.0.2", 80, NO),
    ("127.0.0.1", Connect, "localhost", 80, NO),
    ("localhost", Connect, "127.0.0.1", 80, NO),
    ("127.0.0.1", Listen, "0.0.0.0", 80, NO),
    ("0.0.0.0", Listen, "127.0.0.1", 80, NO),
    ("127.0.0.1", Connect, "0.0.0.0", 80, NO),
    // Texts that a resolver would read as an address match only "any host".
    ("127.0.0.1", Connect, "127.1", 80, NO),
    ("127.0.0.1", Connect, "127.0.0.1.", 80, NO),
    ("127.0.0.1", Connect, "１２７.０.０.１", 80, NO),
    ("127.0.0.1", Connect, "127。0。0。1", 80, NO),
    ("127.0.0.1", Connect, "2130706433", 80, NO),
    ("127.0.0.1", Connect, "0x7f.1", 80, NO),
    ("127.0.0.1", Connect, "0177.0.0.1", 80, NO),
    ("127.0.0.1", Connect, "127.0.0.1\0", 80, NO),
    ("127.0.0.1", Connect, " 127.0.0.1", 80, NO),
    ("127.0.0.1", Connect, "127.0.0.1%lo", 80, NO),
    ("*.example", Connect, "127.1", 80, NO),
    ("*", Connect, "127.1", 80, YES),
    ("*:80", Connect, "0x7f.1", 80, YES),
    ("*", Connect, "", 80, YES),
    ("example.com", Connect, "", 80, NO),
    ("example.com", Connect, "example.com\0", 80, NO),
    ("example.com", Connect, "example.com ", 80, NO),
    ("example.com", Connect, "example.com:80", 80, NO),
    ("example.com", Connect, "http://example.com", 80, NO),
    ("*.example.com", Connect, "evil.org/.example.com", 80, NO),
    ("*.example.com", Connect, "evil.org%2e.example.com", 80, NO),
    ("*.example.com", Connect, "*.example.com", 80, NO),
    // The same IPv6 address in any spelling.
    ("[::1]:80", Connect, "::1", 80, YES),
    ("[::1]:80", Connect, "::1", 81, NO),
    ("[::1]:80", Connect, "::2", 80, NO),
    ("[::1]:80", Connect, "0:0:0:0:0:0:0:1", 80, YES),
    ("[0:0::1]:*", Connect, "::1", 80, YES),
    ("[2001:DB8::A]", Connect, "2001:db8:0::a", 80, YES),
    ("[::1]", Connect, "[::1]", 80, NO),
    ("[::1]", Connect, "::1%lo", 80, NO),
    ("[::1]", Connect, "127.0.0.1", 80, NO),
    ("[::]", Listen, "::", 80, YES),
    ("[::]", Listen, "::1", 80, NO),
    ("[::]", Listen, "0.0.0.0", 80, NO),
    // An IPv4 address inside IPv6 is another address.
    ("127.0.0.1", Connect, "::ffff:127.0.0.1", 80, NO),
    ("127.0.0.1", Listen, "::ffff:127.0.0.1", 80, NO),
    ("[::ffff:127.0.0.1]", Connect, "127.0.0.1", 80, NO),
    ("[::ffff:127.0.0.1]", Connect, "::FFFF:7F00:1", 80, YES),
];

/// Permissions with this pattern for both calls.
fn permissions(pattern: &str) -> Permissions {
    let sockets = json!({ "tcpServer": { "listen": pattern }, "tcp": { "connect": [pattern] } });
    Permissions::from_sockets(&sockets.to_string()).expect("a row has a pattern")
}

fn is_permitted(permissions: &Permissions, call: Call, host: &str, port: i32) -> bool {
    match call {
        Listen => permissions.may_listen(host, port),
        Connect => permissions.may_connect(host, port),
    }
}

#[test]
fn a_pattern_permits_the_calls_of_its_row() {
    assert!(CASES.len() >= 60);
    for &(pattern, call, host, port, expected) in CASES {
        let row = format!("{pattern:?} {call:?} {host:?} {port}");
        let got = is_permitted(&permissions(pattern), call, host, port);
        assert_eq!(got, expected, "{row}");
        let pattern: Pattern = pattern.parse().expect("a pattern");
        assert_eq!(pattern.matches(host, port), expected, "{row}");
    }
}

#[test]
fn a_pattern_permits_only_its_own_operation() {
    let listen = Permissions::from_sockets(r#"{"tcpServer": {"listen": "*"}}"#).expect("valid");
    let connect = Permissions::from_sockets(r#"{"tcp": {"connect": "*"}}"#).expect("valid");
    let udp = r#"{"udp": {"bind": "*", "send": "*", "multicastMembership": ""}}"#;
    let udp = Permissions::from_sockets(udp).expect("valid");
    for (permissions, may_listen, may_connect) in [
        (Permissions::all(), true, true),
        (Permissions::none(), false, false),
        (listen, true, false),
        (connect, false, true),
        (udp, false, false),
    ] {
        for (host, port) in [("127.0.0.1", 80), ("::", 0), ("127.1", 80), ("", -1)] {
            let row = format!("{permissions:?} {host:?} {port}");
            assert_eq!(permissions.may_listen(host, port), may_listen, "{row}");
            assert_eq!(permissions.may_connect(host, port), may_connect, "{row}");
        }
    }
}

#[test]
fn one_matching_pattern_of_a_list_suffices() {
    let sockets = r#"{"tcp": {"connect": ["a.example:1", "*.b.example", "[::1]:3"]}}"#;
    let permissions = Permissions::from_sockets(sockets).expect("valid");
    for (host, port, expected) in [
        ("a.example", 1, true),
        ("x.b.example", 2, true),
        ("::1", 3, true),
        ("a.example", 3, false),
        ("::1", 1, false),
    ] {
        let got = permissions.may_connect(host, port);
        assert_eq!(got, expected, "{host} {port}");
    }
}

#[test]
fn a_pattern_is_formatted_as_it_is_compared() {
    for (pattern, written) in [
        ("", "*:*"),
        ("*", "*:*"),
        (":80", "*:80"),
        ("Example.COM.", "example.com:*"),
        (".example.com:0080", "*.example.com:80"),
        ("*.Bücher.example", "*.xn--bcher-kva.example:*"),
        ("127.0.0.1:", "127.0.0.1:*"),
        ("[0:0::1]:80", "[::1]:80"),
    ] {
        let parsed: Pattern = pattern.parse().expect("a pattern");
        assert_eq!(parsed.to_string(), written);
        assert_eq!(written.parse().as_ref(), Ok(&parsed));
    }
}
