//! Parsing of manifests, and their errors.

use std::fmt::Write as _;

use chrome_sockets::Permissions;
use chrome_sockets::manifest::{MAX_MANIFEST, MAX_PATTERN, MAX_PATTERNS, MAX_WARNINGS, Pattern};
use serde_json::json;

/// The patterns of an operation, as text.
fn texts(patterns: &[Pattern]) -> Vec<String> {
    patterns.iter().map(Pattern::to_string).collect()
}

#[test]
fn each_operation_takes_one_pattern_or_a_list() {
    let manifest = r#"{
        "name": "Server", "manifest_version": 3, "icons": {"16": "a.png"}, "unknown": [[], 1.5e3],
        "sockets": {
            "udp": {"send": "", "bind": ["*", ":1"], "multicastMembership": [""]},
            "tcp": {"connect": ["example.com:80", "[::1]"]},
            "tcpServer": {"listen": "127.0.0.1:*"}
        },
        "version": "1"
    }"#;
    let permissions = Permissions::from_manifest(manifest).expect("valid");
    for (patterns, expected) in [
        (permissions.tcp_server_listen(), vec!["127.0.0.1:*"]),
        (permissions.tcp_connect(), vec!["example.com:80", "[::1]:*"]),
        (permissions.udp_bind(), vec!["*:*", "*:1"]),
        (permissions.udp_send(), vec!["*:*"]),
    ] {
        assert_eq!(texts(patterns), expected);
    }
    assert!(permissions.may_join_multicast_groups());
}

#[test]
fn an_absent_key_permits_nothing() {
    for manifest in [
        "{}",
        r#"{"name": "no sockets"}"#,
        r#"{"tcp": {"connect": "*"}}"#,
        r#"{"sockets": {}}"#,
        r#"{"sockets": {"tcpServer": {}, "tcp": {}, "udp": {}}}"#,
        r#"{"sockets": {"tcpServer": {"listen": []}}}"#,
        "\u{feff}{}",
    ] {
        let permissions = Permissions::from_manifest(manifest);
        assert_eq!(permissions, Ok(Permissions::none()), "{manifest}");
    }
}

#[test]
fn permissions_are_formatted_as_the_value_of_the_key() {
    let sockets = r#"{"tcp": {"connect": [".Example.com", ":80"]}, "udp": {"bind": [""]}}"#;
    let permissions = Permissions::from_sockets(sockets).expect("valid");
    let written = serde_json::to_value(&permissions).expect("it is written");
    let expected = json!({
        "tcp": {"connect": ["*.example.com:*", "*:80"]},
        "udp": {"bind": "*:*"},
    });
    assert_eq!(written, expected);
    assert_eq!(serde_json::from_value(written).ok(), Some(permissions));

    let nothing = serde_json::to_value(Permissions::none()).expect("it is written");
    assert_eq!(nothing, json!({}));
    let everything = serde_json::to_value(Permissions::all()).expect("it is written");
    let expected = json!({
        "tcpServer": {"listen": "*:*"},
        "tcp": {"connect": "*:*"},
        "udp": {"bind": "*:*", "send": "*:*", "multicastMembership": ""},
    });
    assert_eq!(everything, expected);
}

#[test]
fn an_error_in_a_manifest_names_the_place_and_the_expected_value() {
    for (manifest, expected) in [
        // Of the whole manifest.
        ("", "EOF while parsing a value at line 1 column 0"),
        (
            "[]",
            "invalid type: sequence, expected an object with the optional keys sockets, \
             permissions at line 1 column 0",
        ),
        ("{} {}", "trailing characters at line 1 column 4"),
        (
            "{\n\"sockets\": {,",
            "sockets: key must be a string at line 2 column 13",
        ),
        ("{\n/* no end\n}", "key must be a string at line 2 column 1"),
        ("# a comment\n{}", "expected value at line 1 column 1"),
        (
            "{\n/* two\nlines */ , }",
            "key must be a string at line 3 column 10",
        ),
        (
            r#"{"sockets": {}, "sockets": {}}"#,
            "duplicate field `sockets` at line 1 column 25",
        ),
        // Wrong types.
        (
            r#"{"sockets": null}"#,
            "sockets: invalid type: null, expected an object with the optional keys tcpServer, \
             tcp, udp at line 1 column 16",
        ),
        (
            r#"{"sockets": [{"listen": "*"}, {}, {}]}"#,
            "sockets: invalid type: sequence, expected an object with the optional keys \
             tcpServer, tcp, udp at line 1 column 12",
        ),
        (
            r#"{"sockets": {"tcpServer": "*"}}"#,
            "sockets.tcpServer: invalid type: string \"*\", expected an object with the optional \
             keys listen at line 1 column 29",
        ),
        (
            r#"{"sockets": {"tcp": {"connect": true}}}"#,
            "sockets.tcp.connect: invalid type: boolean `true`, expected a pattern, as \
             \"host:port\", or a list of patterns at line 1 column 36",
        ),
        (
            r#"{"sockets": {"tcp": {"connect": ["*:1", 80]}}}"#,
            "sockets.tcp.connect[1]: invalid type: integer `80`, expected a pattern, as \
             \"host:port\" at line 1 column 42",
        ),
        // Keys.
        (
            r#"{"sockets": {"tcp": {"connect": "*", "connect": []}}}"#,
            "sockets.tcp: duplicate field `connect` at line 1 column 46",
        ),
        (
            r#"{"sockets": {"tcp": {}, "udp": {}, "tc\u0070": {}}}"#,
            "sockets: duplicate field `tcp` at line 1 column 45",
        ),
    ] {
        match Permissions::from_manifest(manifest) {
            Ok(permissions) => panic!("{manifest} is accepted: {permissions:?}"),
            Err(error) => assert_eq!(error.to_string(), expected, "{manifest}"),
        }
    }
}

#[test]
fn an_error_in_the_key_alone_names_the_path_in_the_key() {
    let sockets = r#"{"udp": {"send": ["*", "*:0"]}}"#;
    let error = Permissions::from_sockets(sockets).expect_err("port 0");
    assert_eq!(error.path(), "udp.send[1]");
}

/// The texts of the warnings about an accepted manifest.
fn warnings(manifest: &str) -> Vec<String> {
    match Permissions::from_manifest_with_warnings(manifest) {
        Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect(),
        Err(error) => panic!("{manifest} is refused: {error}"),
    }
}

#[test]
fn unknown_keys_are_ignored_with_a_warning_that_names_the_place() {
    let manifest = r#"{
        "unknown": {"of": "Chrome's"},
        "sockets": {
            "tcpserver": {"listen": "*"}, "tcp": {"connect": "a:1", "conect": ["b:1", 7]},
            "udp": {"sent": null}, "\u001b[31m": 1
        }
    }"#;
    let (permissions, _) = Permissions::from_manifest_with_warnings(manifest).expect("valid");
    assert_eq!(texts(permissions.tcp_connect()), ["a:1"]);
    assert!(permissions.tcp_server_listen().is_empty());
    assert_eq!(
        warnings(manifest),
        [
            "sockets.tcpserver: unknown key, ignored",
            "sockets.tcp.conect: unknown key, ignored",
            "sockets.udp.sent: unknown key, ignored",
            "sockets.\\u{1b}[31m: unknown key, ignored",
        ]
    );
    assert_eq!(warnings(r#"{"name": "App", "sockets": {}}"#), [""; 0]);
    // The value of the key alone is parsed likewise.
    assert!(Permissions::from_sockets(r#"{"sockets": {}}"#).is_ok());
}

#[test]
fn warnings_are_bounded() {
    let keys: Vec<_> = (0..1000)
        .map(|key| format!("\"{key}{}\": 1", "k".repeat(100)))
        .collect();
    let manifest = format!(r#"{{"sockets": {{{}}}}}"#, keys.join(","));
    let warnings = warnings(&manifest);
    assert_eq!(warnings.len(), MAX_WARNINGS);
    assert!(warnings.iter().all(|warning| warning.len() < 200));
}

#[test]
fn comments_are_accepted_as_chrome_does() {
    let manifest = r#"// The manifest of a server.
    {
        "name": "http://example.com/*not a comment*/", /* several
        lines */ "sockets": { // of this machine alone
            "tcpServer": { "listen": /**/ "127.0.0.1:*" }
        }
    } // end"#;
    let permissions = Permissions::from_manifest(manifest).expect("valid");
    assert_eq!(texts(permissions.tcp_server_listen()), ["127.0.0.1:*"]);
    let wrong = "{ // one\n/* two\n */ \"sockets\": 7 }";
    let error = Permissions::from_manifest(wrong).expect_err("a number");
    assert!(
        error.to_string().ends_with("at line 3 column 16"),
        "{error}"
    );
}

#[test]
fn a_pattern_that_can_match_nothing_is_a_warning() {
    let manifest = r#"{"sockets": {
        "tcpServer": {"listen": ["127.0.0.1:80", "localhost:80", "*:81", "[::1]", "*.example.com"]},
        "tcp": {"connect": ["localhost:80", "*.example.com"]},
        "udp": {"bind": "example.com", "send": "example.com"}
    }}"#;
    let warnings = warnings(manifest);
    let at: Vec<_> = warnings
        .iter()
        .filter_map(|it| it.split(':').next())
        .collect();
    assert_eq!(
        at,
        [
            "sockets.tcpServer.listen[1]",
            "sockets.tcpServer.listen[4]",
            "sockets.udp.bind[0]"
        ]
    );
    assert!(warnings[0].contains("write `127.0.0.1`"), "{}", warnings[0]);
}

#[test]
fn multicast_membership_permits_every_group_or_none() {
    for (value, permits) in [
        (r#""""#, Some(true)),
        (r#"[""]"#, Some(true)),
        ("[]", Some(false)),
        (r#""*""#, None),
        (r#"["", "224.0.0.251"]"#, None),
        (r#""224.0.0.251:5353""#, None),
        ("true", None),
    ] {
        let sockets = format!(r#"{{"udp": {{"multicastMembership": {value}}}}}"#);
        let read = Permissions::from_sockets(&sockets);
        let permitted = read
            .as_ref()
            .ok()
            .map(Permissions::may_join_multicast_groups);
        assert_eq!(permitted, permits, "{value}: {read:?}");
        if let Err(error) = read {
            assert!(
                error.path().starts_with("udp.multicastMembership"),
                "{error}"
            );
            assert!(
                error.to_string().contains("which permits every group"),
                "{error}"
            );
        }
    }
    assert!(!Permissions::none().may_join_multicast_groups());
}

#[test]
fn an_invalid_pattern_is_an_error_with_its_path_and_the_expected_form() {
    const WHITE: &str = "it, its host or its port begins or ends with white space; remove that";
    const COLONS: &str = "it has more than one colon; write `host:port`, and an IPv6 address in \
                          brackets, as `[::1]:80`";
    const BRACKETS: &str =
        "brackets hold an IPv6 address without a zone; write `[::1]` or `[::1]:80`";
    const PORT: &str = "its port is invalid; write 1 to 65535, or `*` for any";
    const WILDCARD: &str = "`*` stands for all of a host or for its first labels; write `*` or \
                            `*.example.com`";
    const PART: &str = "`*` cannot stand for a part of an IP address; write the address, or `*` \
                        for any";
    const EMPTY: &str = "its host has an empty label; write `example.com`, or `*` for any host";
    const LONG: &str = "its host is longer than the 253 bytes of a name, or the 63 of a label";
    const NUMBER: &str = "its host ends in a number; write an IPv4 address in full, as `127.0.0.1`";
    const NAME: &str = "its host is not a host name; write one, an IP address, or `*` for any host";
    const URL: &str = "it is a URL; write `host:port`";

    let label = "a".repeat(64);
    for (pattern, wrong) in [
        (" ", WHITE),
        (" example.com", WHITE),
        ("example.com ", WHITE),
        ("example.com :80", WHITE),
        ("example.com: 80", WHITE),
        ("example.com:80\n", WHITE),
        ("\u{3000}a", WHITE),
        ("::1", COLONS),
        ("::", COLONS),
        ("::1:80", COLONS),
        ("2001:db8::1", COLONS),
        ("a:1:2", COLONS),
        ("a:80:", COLONS),
        ("[::1", BRACKETS),
        ("[::1]80", BRACKETS),
        ("[::1]]", BRACKETS),
        ("[]", BRACKETS),
        ("[*]", BRACKETS),
        ("[127.0.0.1]:80", BRACKETS),
        ("[example.com]", BRACKETS),
        ("[fe80::1%eth0]:80", BRACKETS),
        ("*.[::1]", BRACKETS),
        ("a]", BRACKETS),
        ("[::1]:80:80", PORT),
        ("a:0", PORT),
        ("a:65536", PORT),
        ("a:-1", PORT),
        ("a:+80", PORT),
        ("a:80x", PORT),
        ("a:http", PORT),
        ("a:8*", PORT),
        ("a:８０", PORT),
        ("a:99999999999999999999", PORT),
        ("a:1.5", PORT),
        ("*example.com", WILDCARD),
        ("www.*.com", WILDCARD),
        ("example.*", WILDCARD),
        ("*.*", WILDCARD),
        ("*.*.example.com", WILDCARD),
        ("**", WILDCARD),
        ("127.0.0.*", WILDCARD),
        ("*.0.0.1", PART),
        ("*.127.0.0.1", PART),
        ("*.1", PART),
        (".0x7f", PART),
        ("*.１２７.0.0.1", PART),
        (".", EMPTY),
        ("*.", EMPTY),
        ("..", EMPTY),
        ("a..b", EMPTY),
        ("a..", EMPTY),
        ("*..example.com", EMPTY),
        ("..example.com:80", EMPTY),
        ("。example.com", EMPTY),
        (&label, LONG),
        ("127.1:80", NUMBER),
        ("127.0.0.1.", NUMBER),
        ("１２７.0.0.1", NUMBER),
        ("127.0.0.01", NUMBER),
        ("256.1.1.1", NUMBER),
        ("2130706433", NUMBER),
        ("0x7f000001:*", NUMBER),
        ("8080", NUMBER),
        ("a b", NAME),
        ("a\tb", NAME),
        ("a/b", NAME),
        ("a@b:80", NAME),
        ("a,b", NAME),
        ("127.0.0.0/8", NAME),
        ("＊.example.com", NAME),
        ("a\0", NAME),
        ("xn--a", NAME),
        ("http://example.com", URL),
        ("tcp://127.0.0.1:80", URL),
    ] {
        let manifest = json!({"sockets": {"tcpServer": {"listen": ["*", "*", pattern]}}});
        let error = Permissions::from_manifest(&manifest.to_string());
        let error = match error {
            Ok(permissions) => panic!("{pattern:?} is accepted: {permissions:?}"),
            Err(error) => error.to_string(),
        };
        let expected = format!(
            "sockets.tcpServer.listen[2]: {pattern:?} is not a pattern: {wrong} at line 1 "
        );
        assert!(error.starts_with(&expected), "{error}\n{expected}");
        let alone = pattern.parse::<Pattern>().expect_err(pattern).to_string();
        assert_eq!(alone, format!("{pattern:?} is not a pattern: {wrong}"));
    }
}

#[test]
fn lists_texts_and_patterns_are_bounded() {
    let list = |length| {
        let patterns = vec!["*"; length];
        json!({"udp": {"bind": patterns}}).to_string()
    };
    assert!(Permissions::from_sockets(&list(MAX_PATTERNS)).is_ok());
    let error = Permissions::from_sockets(&list(MAX_PATTERNS + 1)).expect_err("one more");
    let text = error.to_string();
    let expected =
        "udp.bind: more than 1000 patterns; write fewer that cover more, as `*.example.com`";
    assert!(text.starts_with(expected), "{text}");

    let pattern = format!("*:{:0>1$}", 80, MAX_PATTERN - 2);
    assert_eq!(pattern.len(), MAX_PATTERN);
    assert!(pattern.parse::<Pattern>().is_ok());
    let error = format!("{pattern}0")
        .parse::<Pattern>()
        .expect_err("longer");
    let beginning = &pattern[..64];
    assert_eq!(
        error.to_string(),
        format!("\"{beginning}…\" is not a pattern: it is longer than 1024 bytes")
    );

    let padded = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
    assert!(Permissions::from_manifest(&padded(MAX_MANIFEST)).is_ok());
    let error = Permissions::from_manifest(&padded(MAX_MANIFEST + 1)).expect_err("longer");
    assert_eq!(error.to_string(), "longer than 1048576 bytes");
}

#[test]
fn deep_or_long_values_give_a_short_error_or_are_skipped() {
    let deep = "[".repeat(MAX_MANIFEST / 4) + &"]".repeat(MAX_MANIFEST / 4);
    let ignored = format!(r#"{{"icons": {deep}, "sockets": {{"tcp": {{"connect": "*"}}}}}}"#);
    let permissions = Permissions::from_manifest(&ignored).expect("it is Chrome's");
    assert!(permissions.may_connect("a", 1));

    let long = "x".repeat(MAX_MANIFEST / 2);
    for sockets in [
        deep.clone(),
        format!(r#"{{"tcp": {deep}}}"#),
        format!(r#"{{"tcp": {{"connect": {deep}}}}}"#),
        format!(r#"{{"tcp": {{"connect": [{deep}]}}}}"#),
        format!(r#"{{"{long}": nothing}}"#),
        format!(r#"{{"tcp": "{long}"}}"#),
        format!(r#"{{"tcp": {{"connect": "{long}"}}}}"#),
        format!(r#"{{"tcp": {{"connect": {{"{long}": 1}}}}}}"#),
    ] {
        let error = Permissions::from_sockets(&sockets).expect_err("it is wrong");
        assert!(error.to_string().chars().count() < 400, "{error}");
        let manifest = format!(r#"{{"{long}": 1, "sockets": {sockets}}}"#);
        let error = Permissions::from_manifest(&manifest).expect_err("it is wrong");
        assert!(error.to_string().chars().count() < 400, "{error}");
    }
    // Paths are bounded too.
    let broken = format!(r#"{{"{long}": nothing}}"#);
    let error = Permissions::from_manifest(&broken).expect_err("no JSON");
    assert!(error.to_string().chars().count() < 400, "{error}");
}

#[test]
fn a_manifest_of_the_largest_allowed_size_is_parsed_quickly() {
    let mut list = String::new();
    for number in 0..MAX_PATTERNS {
        let _ = write!(
            list,
            "{}\"*.h{number}.例え.example:80\"",
            if number > 0 { "," } else { "" }
        );
    }
    let sockets = format!(r#"{{"tcp": {{"connect": [{list}]}}}}"#);
    let permissions = Permissions::from_sockets(&sockets).expect("valid");
    assert_eq!(permissions.tcp_connect().len(), MAX_PATTERNS);
    assert!(permissions.may_connect("a.h999.例え.example", 80));
    assert!(!permissions.may_connect("a.h1000.例え.example", 80));
}
