//! No host reaches the resolver or the network that the permissions do not name: the host that
//! is compared is the host that is resolved.

use std::net::{IpAddr, SocketAddr};

use chrome_sockets::tcp::DnsQueryType::Any;
use chrome_sockets::testing::{Call, ScriptedNetwork};
use chrome_sockets::{Error, Permissions};
use support::{TestApp, code};

/// Spellings of 127.0.0.1, localhost and example.com, and similar hosts.
const WRITTEN: &[&str] = &[
    "127.0.0.1",
    "127.0.0.1.",
    "127.0.0.1..",
    "１２７.0.0.1",
    "127。0。0。1",
    "127.1",
    "127.0.1",
    "127.0.0.01",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0X7F.1",
    "017700000001",
    "2130706433",
    "２１３０７０６４３３",
    "127.0.0.1\0",
    "127.0.0.1\0.example.com",
    " 127.0.0.1",
    "127.0.0.1 ",
    "127.0.0.1\n",
    "\t127.0.0.1",
    "127.0.0.1%lo",
    "127.0.0.1%00",
    "127.0.0.1:80",
    "127.0.0.1/example.com",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::127.0.0.1",
    "[::ffff:127.0.0.1]",
    "::1",
    "::1%lo",
    "[::1]",
    "0.0.0.0",
    "::",
    "0",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "localhost..",
    "localhost\0",
    "local\u{ad}host",
    "ｌｏｃａｌｈｏｓｔ",
    "localhost.example.com",
    "example.com.localhost",
    "example.com",
    "EXAMPLE.com.",
    "example。com",
    "www.example.com",
    "badexample.com",
    "example.com.evil.org",
    "evil.org#.example.com",
    "evil.org?.example.com",
    "evil.org\\.example.com",
    "user@example.com",
    "evil.org\0.example.com",
    "evil.org%2f.example.com",
    "evil.org%00.example.com",
    "ex\u{430}mple.com",
    "xn--example.com",
    "*.example.com",
    "*",
    "",
    ".",
    ".example.com",
];

/// Tries every spelling, and returns the calls of the network.
async fn network_calls(connect: &str) -> Vec<Call> {
    let network = ScriptedNetwork::new();
    let names = [
        "example.com",
        "example.com.",
        "www.example.com",
        "localhost.example.com",
    ];
    for name in names {
        for _ in WRITTEN {
            network.next_resolve(name, Ok(vec![IpAddr::from([192, 0, 2, 1])]));
        }
    }
    let test = TestApp::with_network(network.clone()).await;
    let sockets = format!(r#"{{"tcp": {{"connect": "{connect}"}}}}"#);
    let permissions = Permissions::from_sockets(&sockets).expect("valid");
    drop(test.app.set_permissions(permissions.clone()));
    for host in WRITTEN {
        let id = test.create().await;
        let answer = test.app.tcp.connect(id, *host, 80, Any).await;
        // Without a listener, permitted calls are refused or not resolved.
        let permitted = answer != Err(Error::PermissionDenied);
        assert_eq!(permitted, permissions.may_connect(host, 80), "{host:?}");
        assert!(answer.is_err(), "{host:?}");
    }
    network.calls()
}

/// Asserts that only these names were resolved, and only these addresses connected to.
fn assert_only(calls: &[Call], names: &[&str], addresses: &[&str]) {
    let mut resolved = 0;
    let mut connected = 0;
    for call in calls {
        match call {
            Call::Resolve { host } => {
                resolved += 1;
                assert!(names.contains(&host.as_str()), "{host:?} was resolved");
            }
            Call::Connect { address } => {
                connected += 1;
                let expected =
                    |ip: &&str| SocketAddr::new(ip.parse().expect("an IP"), 80) == *address;
                assert!(addresses.iter().any(expected), "{address} was reached");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(resolved > 0, !names.is_empty(), "{calls:?}");
    assert!(connected > 0, "{calls:?}");
}

#[actix_rt::test]
async fn a_permission_for_an_address_permits_only_that_address() {
    assert_only(&network_calls("127.0.0.1:80").await, &[], &["127.0.0.1"]);
    assert_only(&network_calls("[::1]:80").await, &[], &["::1"]);
    assert_only(
        &network_calls("[::ffff:127.0.0.1]").await,
        &[],
        &["::ffff:127.0.0.1"],
    );
    assert_only(&network_calls("0.0.0.0").await, &[], &["0.0.0.0"]);
}

#[actix_rt::test]
async fn a_permission_for_a_name_permits_only_that_name() {
    // RFC 6761: no resolver is asked for it.
    let loopback = ["127.0.0.1", "::1"];
    assert_only(&network_calls("localhost:80").await, &[], &loopback);
    let names = ["example.com", "example.com."];
    assert_only(&network_calls("Example.com").await, &names, &["192.0.2.1"]);
    let names = [
        "example.com",
        "example.com.",
        "www.example.com",
        "localhost.example.com",
    ];
    assert_only(
        &network_calls("*.example.com").await,
        &names,
        &["192.0.2.1"],
    );
}

#[actix_rt::test]
async fn a_name_is_resolved_in_the_form_that_was_compared() {
    for permissions in [
        Permissions::all(),
        Permissions::from_sockets(r#"{"tcp": {"connect": "*.example:80"}}"#).expect("valid"),
    ] {
        let network = ScriptedNetwork::new();
        let test = TestApp::with_network(network.clone()).await;
        drop(test.app.set_permissions(permissions));
        let mut expected = Vec::new();
        for (written, resolved) in [
            ("Bücher.example", "xn--bcher-kva.example"),
            ("WWW.Example", "www.example"),
            // An absolute name stays absolute.
            ("例え。example。", "xn--r8jz45g.example."),
        ] {
            let id = test.create().await;
            let answer = test.app.tcp.connect(id, written, 80, Any);
            assert_eq!(code("connect", answer).await, -105);
            let host = resolved.to_owned();
            expected.push(Call::Resolve { host });
        }
        assert_eq!(network.calls(), expected);
    }
}

#[actix_rt::test]
async fn a_host_without_canonical_form_is_resolved_only_if_any_host_is_permitted() {
    let network = ScriptedNetwork::new();
    network.next_resolve("127.1", Ok(vec![IpAddr::from([127, 0, 0, 1])]));
    let test = TestApp::with_network(network.clone()).await;
    let anywhere = Permissions::from_sockets(r#"{"tcp": {"connect": ":80"}}"#);
    drop(test.app.set_permissions(anywhere.expect("valid")));
    let id = test.create().await;
    let denied = test.app.tcp.connect(id, "127.1", 81, Any).await;
    assert_eq!(denied, Err(Error::PermissionDenied));
    let refused = test.app.tcp.connect(id, "127.1", 80, Any);
    assert_eq!(code("connect", refused).await, -102);
    let host = "127.1".to_owned();
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    let calls = [Call::Resolve { host }, Call::Connect { address }];
    assert_eq!(network.calls(), calls);
}
