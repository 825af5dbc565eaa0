//! Telling browsers of the host, and taking it back.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::PROGRAM;
use crate::examples::process::{Ended, Program};

const EXTENSION: &str = "knldjmfmopnpolahpmmgbagdohdnhkik";

/// A home of the test's own.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let name = format!("chrome-sockets {name}'s {}", std::process::id());
        let home = std::env::temp_dir().join(name);
        fs::create_dir_all(&home).expect("a folder");
        Home(home)
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(PROGRAM);
        Program::start(command.args(arguments).env("HOME", &self.0)).ended()
    }

    /// All files below, as they are named from here.
    fn files(&self) -> Vec<String> {
        let mut unread = vec![self.0.clone()];
        let mut files = Vec::new();
        while let Some(folder) = unread.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    unread.push(path);
                } else {
                    let path = path.strip_prefix(&self.0).expect("it is below");
                    files.push(path.to_string_lossy().into_owned());
                }
            }
        }
        files.sort();
        files
    }

    fn json(&self, path: &str) -> Value {
        let text = fs::read_to_string(self.0.join(path)).expect("a file");
        serde_json::from_str(&text).expect("JSON")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Nobody else has it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn every_browser_is_told_in_its_own_way_and_all_is_taken_back() {
    let home = Home::new("all");
    let installed = home.run(&[
        "install",
        "--extension",
        EXTENSION,
        "--extension",
        "sockets@example.org",
    ]);
    assert!(installed.status.success(), "{}", installed.stderr);
    let folders = [
        ".config/BraveSoftware/Brave-Browser/NativeMessagingHosts",
        ".config/chromium/NativeMessagingHosts",
        ".config/google-chrome/NativeMessagingHosts",
        ".config/microsoft-edge/NativeMessagingHosts",
        ".mozilla/native-messaging-hosts",
    ];
    let files: Vec<String> = folders
        .iter()
        .flat_map(|folder| ["json", "sh"].map(|kind| format!("{folder}/chrome_sockets.{kind}")))
        .collect();
    assert_eq!(home.files(), files);
    let said = String::from_utf8_lossy(&installed.stdout);
    for file in &files {
        let path = home.0.join(file);
        assert!(
            said.contains(&format!("wrote {}\n", path.display())),
            "{said}"
        );
    }
    assert!(said.contains("neither listen nor connect"), "{said}");
    for folder in folders {
        let manifest = home.json(&format!("{folder}/chrome_sockets.json"));
        assert_eq!(manifest["name"], "chrome_sockets");
        assert_eq!(manifest["type"], "stdio");
        let script = manifest["path"].as_str().expect("a path");
        assert!(Path::new(script).is_absolute());
        let mode = fs::metadata(script)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        let (key, allowed) = match folder.starts_with(".mozilla") {
            true => ("allowed_extensions", "sockets@example.org".to_owned()),
            false => (
                "allowed_origins",
                format!("chrome-extension://{EXTENSION}/"),
            ),
        };
        assert_eq!(manifest[key], json!([allowed]));
    }
    let again = home.run(&["install", "--extension", EXTENSION, "--browser", "chromium"]);
    assert!(again.status.success(), "{}", again.stderr);
    assert_eq!(home.files(), files, "it replaces");
    let removed = home.run(&["uninstall"]);
    assert!(removed.status.success(), "{}", removed.stderr);
    assert_eq!(
        String::from_utf8_lossy(&removed.stdout).lines().count(),
        files.len()
    );
    assert_eq!(home.files(), [""; 0]);
    let nothing = home.run(&["uninstall"]);
    assert_eq!(nothing.stdout, b"there was nothing to remove\n");
}

#[test]
fn what_is_installed_starts_with_the_permissions_that_were_given() {
    let home = Home::new("dir");
    let manifest = home.0.join("it's a manifest.json");
    fs::write(
        &manifest,
        r#"{ "sockets": { "tcp": { "connect": "127.0.0.1:1" } } }"#,
    )
    .expect("written");
    let (data, manifest) = (home.0.join("data"), manifest.to_string_lossy());
    let installed = home.run(&[
        "install",
        "--extension",
        EXTENSION,
        "--manifest",
        &manifest,
        "--user-data-dir",
        &data.to_string_lossy(),
    ]);
    assert!(installed.status.success(), "{}", installed.stderr);
    let host = home.json("data/NativeMessagingHosts/chrome_sockets.json");
    let script = host["path"].as_str().expect("a path");
    let mut program =
        Program::start(Command::new(script).arg(format!("chrome-extension://{EXTENSION}/")));
    let mut stdin = program.stdin();
    let mut say = |frame: Value| {
        let frame = frame.to_string();
        stdin
            .write_all(&(frame.len() as u32).to_ne_bytes())
            .expect("it reads");
        stdin.write_all(frame.as_bytes()).expect("it reads");
    };
    say(json!({ "hello": { "protocol": [1] } }));
    say(
        json!({ "messages": [[1, "tcp.create"], [2, "tcp.connect", 1, "127.0.0.1", 2], [3, "tcp.connect", 1, "127.0.0.1", 1]] }),
    );
    let mut said = String::new();
    while !(said.contains("Does not have permission")
        && said.contains("net::ERR_CONNECTION_REFUSED"))
    {
        assert!(program.stdout.says_more(), "{said}");
        said = program.stdout.so_far();
    }
    drop(stdin);
    assert!(program.ended().status.success());
}

#[test]
fn what_is_no_extension_is_not_installed() {
    let home = Home::new("none");
    for arguments in [
        &["install"][..],
        &["install", "--extension", "*"],
        &["install", "--extension", "KNLDJMFMOPNPOLAHPMMGBAGDOHDNHKIK"],
        &["install", "--extension", "chrome-extension://a/"],
        &["install", "--extension", "../../x@y"],
        &["install", "--extension", EXTENSION, "--browser", "firefox"],
        &[
            "install",
            "--extension",
            EXTENSION,
            "--manifest",
            "/nowhere/manifest.json",
        ],
        &["install", "--extension", EXTENSION, "--browser", "lynx"],
    ] {
        let ended = home.run(arguments);
        assert!(
            !ended.status.success() && !ended.stderr.is_empty(),
            "{arguments:?}"
        );
        assert_eq!(home.files(), [""; 0], "{arguments:?}");
    }
}
