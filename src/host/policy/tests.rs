//! Who is let in, as whom, with what.

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::manifest::Permissions;

fn hello(said: Value) -> Hello {
    let mut hello = json!({ "protocol": [1], "app": "a" });
    for (key, value) in said.as_object().expect("an object") {
        hello[key] = value.clone();
    }
    serde_json::from_value(hello).expect("a hello")
}

fn code(policy: &Policy, visitor: &Visitor, said: Value) -> Option<Code> {
    let admitted = policy.admit(&hello(said), visitor);
    admitted.err().map(|end| end.code)
}

fn trusted() -> Visitor {
    Visitor {
        app: None,
        trusted: true,
    }
}

#[test]
fn without_a_manifest_nobody_may_do_anything() {
    let policy = Policy::default();
    let manifest = json!({ "sockets": { "tcpServer": { "listen": "" } } });
    let said = hello(json!({ "manifest": manifest }));
    let (app, permissions) = policy.admit(&said, &trusted()).expect("it comes in");
    assert_eq!((app.as_str(), permissions), ("a", Permissions::none()));
    let dev = Policy {
        dev: true,
        ..Policy::default()
    };
    let (_, permissions) = dev.admit(&said, &trusted()).expect("it comes in");
    assert!(permissions.may_listen("0.0.0.0", 0) && !permissions.may_connect("0.0.0.0", 1));
    let bad = json!({ "manifest": { "sockets": { "tcpServer": { "listen": "*:x" } } } });
    assert_eq!(code(&dev, &trusted(), bad), Some(Code::BadManifest));
}

#[test]
fn a_folder_has_a_manifest_for_each_app() {
    let folder = std::env::temp_dir().join(format!("chrome-sockets-policy-{}", std::process::id()));
    fs::create_dir_all(folder.join("apps")).expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.join(name), text).expect("written");
    write(
        "outside.json",
        r#"{ "sockets": { "tcp": { "connect": "" } } }"#,
    );
    write(
        "apps/a.json",
        r#"{ "sockets": { "tcpServer": { "listen": "127.0.0.1:*" } } }"#,
    );
    write("apps/bad.json", "{");
    write("apps/large.json", &" ".repeat(2 << 20));
    let policy = Policy {
        manifest: Some(folder.join("apps")),
        ..Policy::default()
    };
    let admitted = policy.admit(&hello(json!({})), &trusted());
    let (_, permissions) = admitted.expect("it has a manifest");
    assert!(permissions.may_listen("127.0.0.1", 0) && !permissions.may_listen("::", 0));
    for (app, refused) in [
        ("b", Code::UnknownApp),
        ("../outside", Code::UnknownApp),
        ("..", Code::UnknownApp),
        (".hidden", Code::UnknownApp),
        ("a/../a", Code::UnknownApp),
        ("a\0", Code::UnknownApp),
        ("", Code::UnknownApp),
        ("ä", Code::UnknownApp),
        (&"x".repeat(129), Code::UnknownApp),
        ("bad", Code::BadManifest),
        ("large", Code::BadManifest),
    ] {
        let said = json!({ "app": app });
        assert_eq!(code(&policy, &trusted(), said), Some(refused), "{app:?}");
    }
    fs::remove_dir_all(folder).expect("removed");
}

#[test]
fn a_token_is_shown_whole_or_not_at_all() {
    let policy = Policy {
        token: Some("secret".into()),
        ..Policy::default()
    };
    let stranger = Visitor::default();
    for token in [
        json!(null),
        json!(""),
        json!("secre"),
        json!("secret "),
        json!("Secret"),
    ] {
        let said = json!({ "token": token });
        assert_eq!(code(&policy, &stranger, said), Some(Code::Forbidden));
    }
    assert_eq!(code(&policy, &stranger, json!({ "token": "secret" })), None);
    assert_eq!(code(&policy, &trusted(), json!({})), None);
    let none = Policy::default();
    assert_eq!(
        code(&none, &stranger, json!({ "token": "" })),
        Some(Code::Forbidden)
    );
}

#[test]
fn an_extension_is_itself_and_a_version_is_in_common() {
    let policy = Policy::default();
    let extension = Visitor {
        app: Some("ext".into()),
        trusted: true,
    };
    assert_eq!(code(&policy, &extension, json!({ "app": null })), None);
    assert_eq!(code(&policy, &extension, json!({ "app": "ext" })), None);
    let other = json!({ "app": "other" });
    assert_eq!(code(&policy, &extension, other), Some(Code::UnknownApp));
    for (protocol, refused) in [
        (json!([]), Some(Code::Version)),
        (json!([2, 3]), Some(Code::Version)),
        (json!([2, 1]), None),
    ] {
        let said = json!({ "protocol": protocol });
        assert_eq!(code(&policy, &trusted(), said), refused, "{protocol}");
    }
}
