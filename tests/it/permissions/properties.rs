//! Properties of every manifest and every pattern.

use std::net::{IpAddr, Ipv6Addr};

use chrome_sockets::Permissions;
use chrome_sockets::manifest::Pattern;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A label of a host name.
const LABEL: &str = "[a-z][a-z0-9]{0,8}";

/// Existing hosts, and similar texts.
fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z0-9ß-ü例０-９。.*_%:-]{0,12}",
        2 => prop::collection::vec(LABEL, 1..4).prop_map(|labels| labels.join(".")),
        2 => prop::collection::vec("(0x|0)?[0-9]{1,3}", 1..5).prop_map(|parts| parts.join(".")),
        1 => any::<IpAddr>().prop_map(|address| address.to_string()),
        1 => "\\PC{0,300}",
        1 => any::<String>(),
    ]
}

/// Patterns, most of them valid.
fn pattern() -> impl Strategy<Value = String> {
    let before = prop_oneof![Just(""), Just("*."), Just("."), Just("[")];
    let port = prop_oneof![
        Just(String::new()),
        Just(":*".to_owned()),
        (0..70_000).prop_map(|port| format!(":{port}")),
        "\\]?:?[0-9*]{0,6}",
    ];
    prop_oneof![
        5 => (before, host(), port).prop_map(|(before, host, port)| format!("{before}{host}{port}")),
        1 => any::<String>(),
    ]
}

/// Possible values of a `sockets` key.
fn sockets() -> impl Strategy<Value = Value> {
    let patterns = prop_oneof![
        4 => prop::collection::vec(valid_pattern(), 0..4).prop_map(|list| json!(list)),
        2 => valid_pattern().prop_map(|pattern| json!(pattern)),
        1 => pattern().prop_map(|pattern| json!(pattern)),
        1 => any_json(),
    ];
    let operation = prop_oneof![
        12 => prop::sample::select(vec!["listen", "connect", "bind", "send", "multicastMembership"])
            .prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let namespace = prop_oneof![
        12 => prop::sample::select(vec!["tcpServer", "tcp", "udp"]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    let operations = prop_oneof![
        8 => prop::collection::hash_map(operation, patterns, 0..2).prop_map(|map| json!(map)),
        1 => any_json(),
    ];
    prop::collection::hash_map(namespace, operations, 0..3).prop_map(|map| json!(map))
}

fn valid_pattern() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        prop::collection::vec(LABEL, 1..4).prop_map(|labels| labels.join(".")),
        prop::collection::vec(LABEL, 1..4).prop_map(|labels| format!("*.{}", labels.join("."))),
        any::<IpAddr>().prop_map(|address| match address {
            IpAddr::V6(address) => format!("[{address}]"),
            IpAddr::V4(address) => address.to_string(),
        }),
        Just("*".to_owned()),
    ];
    (host, prop::option::of(1..=u16::MAX)).prop_map(|(host, port)| match port {
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

/// Another spelling of a host, and a similar host.
fn similar_host(host: String) -> impl Strategy<Value = (String, String)> {
    let ways = vec![
        host.clone(),
        host.to_uppercase(),
        host.to_lowercase(),
        host.replace('.', "。"),
        host.replace('1', "１"),
        format!("{host}."),
        format!("{host}.."),
        format!("{host}\0"),
        format!("{host} "),
        format!("{host}%lo"),
        format!("[{host}]"),
        format!("::ffff:{host}"),
        format!("0{host}"),
        format!("a.{host}"),
        host.strip_suffix('.').unwrap_or(&host).to_owned(),
    ];
    (Just(host), prop::sample::select(ways))
}

/// The pattern for this host alone, if it is valid.
fn exact_pattern(host: &str) -> Option<Pattern> {
    if host.parse::<Ipv6Addr>().is_ok() {
        return format!("[{host}]").parse().ok();
    }
    let is_more = host.is_empty() || host.starts_with('.') || host.contains(['*', ':', '[']);
    if is_more { None } else { host.parse().ok() }
}

/// Any JSON.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_text_parses_to_permissions_or_an_error_with_a_message(text in any::<String>()) {
        for read in [Permissions::from_manifest, Permissions::from_sockets] {
            if let Err(error) = read(&text) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }

    #[test]
    fn formatted_permissions_parse_to_the_same(sockets in sockets()) {
        let text = sockets.to_string();
        let manifest = json!({"name": "any", "sockets": sockets}).to_string();
        match (Permissions::from_sockets(&text), Permissions::from_manifest(&manifest)) {
            (Ok(permissions), of_manifest) => {
                prop_assert_eq!(of_manifest.as_ref(), Ok(&permissions));
                let written = serde_json::to_string(&permissions).expect("it is written");
                prop_assert_eq!(Permissions::from_sockets(&written), Ok(permissions));
            }
            (Err(alone), of_manifest) => {
                let whole = of_manifest.expect_err("it is wrong in a manifest too");
                prop_assert!(whole.path().starts_with("sockets"), "{} / {}", whole, alone);
            }
        }
    }

    #[test]
    fn a_broken_manifest_never_panics(
        sockets in sockets(),
        at in any::<prop::sample::Index>(),
        with in any::<char>(),
    ) {
        let whole = json!({"sockets": sockets}).to_string();
        let at = at.index(whole.len() + 1);
        let at = (0..=at).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
        let (before, after) = whole.split_at(at);
        let _ = Permissions::from_manifest(before);
        let _ = Permissions::from_manifest(&format!("{before}{with}{after}"));
    }

    #[test]
    fn a_formatted_pattern_parses_to_the_same(text in pattern()) {
        if let Ok(pattern) = text.parse::<Pattern>() {
            let written = pattern.to_string();
            prop_assert_eq!(written.parse::<Pattern>(), Ok(pattern), "{}", written);
        }
    }

    #[test]
    fn no_host_makes_a_pattern_panic(pattern in pattern(), host in host(), port in any::<i32>()) {
        if let Ok(pattern) = pattern.parse::<Pattern>() {
            pattern.matches(&host, port);
        }
    }

    /// A host has one form, or none and then no pattern for it alone.
    #[test]
    fn an_exact_pattern_matches_only_hosts_of_the_same_form(
        (host, other) in prop_oneof![(host(), host()).boxed(), host().prop_flat_map(similar_host).boxed()],
    ) {
        for (pattern, written) in [(&host, &other), (&other, &host), (&host, &host)] {
            if let Some(own) = exact_pattern(pattern) {
                let same = exact_pattern(written).as_ref() == Some(&own);
                prop_assert_eq!(own.matches(written, 1), same, "{} {:?}", own, written);
            }
        }
    }

    /// A text that names an address matches that address; a text that does not never matches
    /// one.
    #[test]
    fn only_an_address_matches_an_address_pattern(
        (address, host) in any::<IpAddr>().prop_flat_map(|address| {
            let near = similar_host(address.to_string()).prop_map(|(_, near)| near);
            (Just(address), prop_oneof![host().boxed(), near.boxed()])
        }),
    ) {
        let pattern = match address {
            IpAddr::V6(address) => format!("[{address}]"),
            IpAddr::V4(address) => address.to_string(),
        };
        let pattern: Pattern = pattern.parse().expect("a pattern");
        prop_assert!(pattern.matches(&address.to_string(), 1));
        let names_it = host.parse() == Ok(address);
        prop_assert_eq!(pattern.matches(&host, 1), names_it, "{}", host);
    }

    #[test]
    fn a_name_in_any_spelling_matches_itself_and_its_domain(
        labels in prop::collection::vec("[a-zäöü例][a-z0-9]{1,8}", 1..5),
        below in LABEL,
    ) {
        let name = labels.join(".");
        let pattern: Pattern = name.parse().expect("a pattern");
        let domain: Pattern = format!("*.{name}").parse().expect("a pattern");
        for written in [name.clone(), name.to_uppercase(), format!("{name}."), name.replace('.', "。")] {
            prop_assert!(pattern.matches(&written, 1), "{}", written);
            prop_assert!(domain.matches(&written, 1), "{}", written);
            let sub = format!("{below}.{written}");
            prop_assert!(!pattern.matches(&sub, 1), "{}", sub);
            prop_assert!(domain.matches(&sub, 1), "{}", sub);
            let joined = format!("{below}{written}");
            prop_assert!(!pattern.matches(&joined, 1), "{}", joined);
            prop_assert!(!domain.matches(&joined, 1), "{}", joined);
        }
    }
}
