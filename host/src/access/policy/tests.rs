//! App ids, manifests, tokens and versions.

use std::fs;

use chrome_sockets::Permissions;
use serde_json::{Value, json};

use crate::access::policy::*;
use crate::protocol::frame::parse_object;

fn hello(fields: Value) -> String {
    let mut hello = json!({ "protocol": [1], "app": "a" });
    for (key, value) in fields.as_object().expect("an object") {
        hello[key] = value.clone();
    }
    hello.to_string()
}

fn admit(
    policy: &Policy,
    peer: &PeerIdentity,
    fields: Value,
) -> Result<(AppId, Permissions), CloseReason> {
    let hello = hello(fields);
    let hello = parse_object(hello.as_bytes()).expect("a hello");
    let app = policy.resolve_app(&hello, peer)?;
    let permissions = match (policy.client_manifest(&hello), &policy.manifest) {
        (Some(manifest), _) => parse_manifest(&app, manifest)?.0,
        (None, Some(path)) => read_manifest(path, &app)?,
        (None, None) => Permissions::none(),
    };
    Ok((app, permissions))
}

fn code(policy: &Policy, peer: &PeerIdentity, fields: Value) -> Option<Code> {
    admit(policy, peer, fields).err().map(|reason| reason.code)
}

fn trusted() -> PeerIdentity {
    PeerIdentity::default()
}

#[test]
fn without_a_manifest_nothing_is_permitted() {
    let policy = Policy::default();
    let manifest = json!({ "sockets": { "tcpServer": { "listen": "" } } });
    let fields = json!({ "manifest": manifest });
    let (app, permissions) = admit(&policy, &trusted(), fields.clone()).expect("admitted");
    assert_eq!((app.as_str(), permissions), ("a", Permissions::none()));
    let dev = Policy {
        dev: true,
        ..Policy::default()
    };
    let (_, permissions) = admit(&dev, &trusted(), fields).expect("admitted");
    assert!(permissions.may_listen("0.0.0.0", 0) && !permissions.may_connect("0.0.0.0", 1));
    let bad = json!({ "manifest": { "sockets": { "tcpServer": { "listen": "*:x" } } } });
    assert_eq!(code(&dev, &trusted(), bad), Some(Code::BadManifest));
}

#[test]
fn a_folder_has_a_manifest_for_each_app() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::create_dir(folder.join("apps")).expect("a folder");
    let write =
        |name: &str, text: &str| fs::write(folder.join(name), text).expect("a written file");
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
    let admitted = admit(&policy, &trusted(), json!({}));
    let (_, permissions) = admitted.expect("a manifest");
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
        let fields = json!({ "app": app });
        assert_eq!(code(&policy, &trusted(), fields), Some(refused), "{app:?}");
    }
}

#[test]
fn only_the_whole_token_is_accepted() {
    let policy = Policy {
        token: Some("secret".into()),
        ..Policy::default()
    };
    for shown in [
        None,
        Some(""),
        Some("secre"),
        Some("secret "),
        Some("Secret"),
    ] {
        assert!(!policy.accepts_token(shown), "{shown:?}");
    }
    assert!(policy.accepts_token(Some("secret")));
    let none = Policy::default();
    assert!(none.accepts_token(None) && none.accepts_token(Some("any")));
}

#[test]
fn a_page_bound_to_apps_cannot_be_another() {
    let policy = Policy::default();
    let page = PeerIdentity {
        apps: Some(["a", "b"].map(AppId::from).into()),
        ..PeerIdentity::default()
    };
    assert_eq!(code(&policy, &page, json!({})), None);
    assert_eq!(
        code(&policy, &page, json!({ "app": "c" })),
        Some(Code::Origin)
    );
}

#[test]
fn an_extension_is_its_own_app_and_versions_must_match() {
    let policy = Policy::default();
    let extension = PeerIdentity {
        app: Some("ext".into()),
        ..PeerIdentity::default()
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
        let fields = json!({ "protocol": protocol });
        assert_eq!(code(&policy, &trusted(), fields), refused, "{protocol}");
    }
}
