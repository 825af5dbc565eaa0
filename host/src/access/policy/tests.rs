//! Who is let in, as whom, with what.

use std::fs;

use serde_json::{Value, json};

use crate::access::policy::*;
use crate::protocol::frame::object;
use chrome_sockets::Permissions;

fn hello(said: Value) -> String {
    let mut hello = json!({ "protocol": [1], "app": "a" });
    for (key, value) in said.as_object().expect("an object") {
        hello[key] = value.clone();
    }
    hello.to_string()
}

fn admit(
    policy: &Policy,
    visitor: &PeerIdentity,
    said: Value,
) -> Result<(AppId, Permissions), CloseReason> {
    let hello = hello(said);
    let hello = object(hello.as_bytes()).expect("a hello");
    let app = policy.admit(&hello, visitor)?;
    let permissions = match (policy.brought(&hello), &policy.manifest) {
        (Some(manifest), _) => read(&app, manifest)?.0,
        (None, Some(path)) => read_file(path, &app)?,
        (None, None) => Permissions::none(),
    };
    Ok((app, permissions))
}

fn code(policy: &Policy, visitor: &PeerIdentity, said: Value) -> Option<Code> {
    admit(policy, visitor, said).err().map(|end| end.code)
}

fn trusted() -> PeerIdentity {
    PeerIdentity::default()
}

#[test]
fn without_a_manifest_nobody_may_do_anything() {
    let policy = Policy::default();
    let manifest = json!({ "sockets": { "tcpServer": { "listen": "" } } });
    let said = json!({ "manifest": manifest });
    let (app, permissions) = admit(&policy, &trusted(), said.clone()).expect("it comes in");
    assert_eq!((app.as_str(), permissions), ("a", Permissions::none()));
    let dev = Policy {
        dev: true,
        ..Policy::default()
    };
    let (_, permissions) = admit(&dev, &trusted(), said).expect("it comes in");
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
    let admitted = admit(&policy, &trusted(), json!({}));
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
    for shown in [
        None,
        Some(""),
        Some("secre"),
        Some("secret "),
        Some("Secret"),
    ] {
        assert!(!policy.is_token(shown), "{shown:?}");
    }
    assert!(policy.is_token(Some("secret")));
    let none = Policy::default();
    assert!(none.is_token(None) && none.is_token(Some("any")));
}

#[test]
fn a_page_that_is_bound_to_apps_is_no_other() {
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
fn an_extension_is_itself_and_a_version_is_in_common() {
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
        let said = json!({ "protocol": protocol });
        assert_eq!(code(&policy, &trusted(), said), refused, "{protocol}");
    }
}
