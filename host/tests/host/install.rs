//! Installing and uninstalling the native messaging host.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::process::{Ended, Program};

use super::PROGRAM;

const EXTENSION: &str = "knldjmfmopnpolahpmmgbagdohdnhkik";

const OTHER: &str = "abcdefghijklmnopabcdefghijklmnop";

/// The copy of a program in a build folder.
const COPY: &str = ".local/share/chrome-sockets/chrome-sockets";

const CHROMIUM: &str = ".config/chromium/NativeMessagingHosts";

/// A temporary home folder.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let name = format!("chrome-sockets {name}'s {}", std::process::id());
        let home = std::env::temp_dir().join(name);
        fs::create_dir_all(&home).expect("a folder");
        Home(home)
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.run_program(PROGRAM.as_ref(), arguments)
    }

    fn run_program(&self, program: &Path, arguments: &[&str]) -> Ended {
        let mut command = Command::new(program);
        command.env_remove("XDG_DATA_HOME").env("HOME", &self.0);
        Program::start(command.args(arguments)).ended()
    }

    /// All files, relative to the home.
    fn files(&self) -> Vec<String> {
        let mut unread = vec![self.0.clone()];
        let mut files = Vec::new();
        while let Some(folder) = unread.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    unread.push(path);
                } else {
                    let path = path.strip_prefix(&self.0).expect("a path below the home");
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
        // A failure to clean up does not fail the test.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn install_writes_files_for_every_browser_and_uninstall_removes_them() {
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
        .flat_map(|folder| {
            ["extensions", "json", "sh"].map(|kind| format!("{folder}/chrome_sockets.{kind}"))
        })
        .collect();
    let with_copy = {
        let mut all = files.clone();
        all.push(COPY.to_owned());
        all.sort();
        all
    };
    assert_eq!(home.files(), with_copy);
    let output = String::from_utf8_lossy(&installed.stdout);
    for file in &files {
        let path = home.0.join(file);
        assert!(
            output.contains(&format!("wrote {}\n", path.display())),
            "{output}"
        );
    }
    assert!(output.contains("neither listen nor connect"), "{output}");
    for folder in folders {
        let manifest = home.json(&format!("{folder}/chrome_sockets.json"));
        assert_eq!(manifest["name"], "chrome_sockets");
        assert_eq!(manifest["type"], "stdio");
        let script = manifest["path"].as_str().expect("a path");
        assert!(Path::new(script).is_absolute());
        let mode = fs::metadata(script)
            .expect("an existing value")
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
    assert_eq!(home.files(), with_copy, "files are replaced");
    let removed = home.run(&["uninstall"]);
    assert!(removed.status.success(), "{}", removed.stderr);
    assert_eq!(
        String::from_utf8_lossy(&removed.stdout).lines().count(),
        with_copy.len()
    );
    assert_eq!(home.files(), [""; 0]);
    let nothing = home.run(&["uninstall"]);
    assert_eq!(nothing.stdout, b"there was nothing to remove\n");
}

#[test]
fn an_installed_host_starts_with_its_permissions() {
    let home = Home::new("dir");
    let manifest = home.0.join("it's a manifest.json");
    fs::write(
        &manifest,
        r#"{ "sockets": { "tcp": { "connect": "127.0.0.1:1" } } }"#,
    )
    .expect("a written file");
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
    let output = connect_errors(script, EXTENSION, &[2, 1]);
    assert_eq!(
        output,
        ["Does not have permission", "net::ERR_CONNECTION_REFUSED"]
    );
}

/// Starts the installed host for an extension. Returns the errors of connecting to these closed ports
/// of 127.0.0.1.
fn connect_errors(script: &str, extension: &str, ports: &[u16]) -> Vec<String> {
    let origin = format!("chrome-extension://{extension}/");
    let mut program = Program::start(Command::new(script).arg(origin));
    let mut stdin = program.stdin();
    let mut send = |frame: Value| {
        let frame = frame.to_string();
        let length = (frame.len() as u32).to_ne_bytes();
        stdin.write_all(&length).expect("an open connection");
        stdin
            .write_all(frame.as_bytes())
            .expect("an open connection");
    };
    send(json!({ "hello": { "protocol": [1] } }));
    send(json!({ "messages": [[1, "tcp.create"]] }));
    let mut results = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let call = index + 2;
        send(json!({ "messages": [[call, "tcp.connect", 1, "127.0.0.1", port]] }));
        let start = format!(r#"["error",{call},""#);
        let text = loop {
            let output = program.stdout.so_far();
            if let Some((_, rest)) = output.split_once(&start)
                && let Some((text, _)) = rest.split_once('"')
            {
                break text.to_owned();
            }
            assert!(program.stdout.wait_for_more(), "{output}");
        };
        results.push(text);
    }
    drop(stdin);
    assert!(program.ended().status.success());
    results
}

/// Writes a manifest that permits to connect to this port.
fn write_manifest(home: &Home, name: &str, port: u16) -> String {
    let path = home.0.join(name);
    let manifest = json!({ "sockets": { "tcp": { "connect": format!("127.0.0.1:{port}") } } });
    fs::write(&path, manifest.to_string()).expect("a written file");
    path.to_string_lossy().into_owned()
}

/// Installs for Chromium, without a copy of the program.
fn install(home: &Home, arguments: &[&str]) -> Ended {
    let here = Path::new(PROGRAM).parent().expect("a folder");
    let here = here.to_string_lossy();
    let mut all = vec!["install", "--browser", "chromium", "--copy-to", &here];
    all.extend(arguments);
    let ended = home.run(&all);
    assert!(ended.status.success(), "{}", ended.stderr);
    ended
}

#[test]
fn extensions_are_added_and_keep_their_own_manifests() {
    let home = Home::new("two");
    let (one, two) = (
        write_manifest(&home, "one.json", 1),
        write_manifest(&home, "two.json", 2),
    );
    install(&home, &["--extension", EXTENSION, "--manifest", &one]);
    install(&home, &["--extension", OTHER, "--manifest", &two]);
    let manifest = format!("{CHROMIUM}/chrome_sockets.json");
    let origins = |home: &Home| home.json(&manifest)["allowed_origins"].clone();
    let [first, second] = [OTHER, EXTENSION].map(|id| format!("chrome-extension://{id}/"));
    assert_eq!(origins(&home), json!([first, second]));
    let script = home.0.join(CHROMIUM).join("chrome_sockets.sh");
    let script = script.to_str().expect("UTF-8");
    const DENIED: &str = "Does not have permission";
    const REFUSED: &str = "net::ERR_CONNECTION_REFUSED";
    assert_eq!(
        connect_errors(script, EXTENSION, &[1, 2]),
        [REFUSED, DENIED]
    );
    assert_eq!(connect_errors(script, OTHER, &[1, 2]), [DENIED, REFUSED]);
    install(&home, &["--extension", OTHER, "--manifest", &one]);
    assert_eq!(
        connect_errors(script, OTHER, &[1, 2]),
        [REFUSED, DENIED],
        "the manifest is replaced"
    );
    let stranger = "p".repeat(32);
    assert_eq!(connect_errors(script, &stranger, &[1, 2]), [DENIED, DENIED]);

    let uninstalled = home.run(&["uninstall", "--extension", EXTENSION]);
    assert!(uninstalled.status.success(), "{}", uninstalled.stderr);
    assert_eq!(origins(&home), json!([first]));
    assert_eq!(
        connect_errors(script, OTHER, &[1]),
        [REFUSED],
        "the other extension stays"
    );
    assert_eq!(connect_errors(script, EXTENSION, &[1]), [DENIED]);
    let nothing = home.run(&["uninstall", "--extension", EXTENSION]);
    assert_eq!(nothing.stdout, b"there was nothing to remove\n");
    let last = home.run(&["uninstall", "--extension", OTHER]);
    assert!(last.status.success(), "{}", last.stderr);
    assert_eq!(
        home.files(),
        ["one.json", "two.json"],
        "all files are removed with the last extension"
    );
}

#[test]
fn hosts_with_different_names_are_independent() {
    let home = Home::new("names");
    install(&home, &["--extension", EXTENSION]);
    install(
        &home,
        &["--extension", OTHER, "--host-name", "com.example.sockets"],
    );
    let file = |name: &str| format!("{CHROMIUM}/{name}.json");
    let own = home.json(&file("com.example.sockets"));
    assert_eq!(own["name"], "com.example.sockets");
    let allowed = json!([format!("chrome-extension://{OTHER}/")]);
    assert_eq!(own["allowed_origins"], allowed);
    let first = home.json(&file("chrome_sockets"));
    let allowed = json!([format!("chrome-extension://{EXTENSION}/")]);
    assert_eq!(first["allowed_origins"], allowed);
    for name in ["", ".a", "a.", "a..b", "A", "a-b", "../a", "a/b"] {
        let argument = format!("--host-name={name}");
        let wrong = home.run(&["install", "--extension", EXTENSION, &argument]);
        assert_eq!(wrong.status.code(), Some(2), "{name:?}: {}", wrong.stderr);
    }

    let foreign = home.0.join(file("org.others"));
    fs::write(&foreign, r#"{ "path": "/opt/others/host" }"#).expect("a written file");
    let rejected = home.run(&[
        "install",
        "--extension",
        EXTENSION,
        "--host-name",
        "org.others",
    ]);
    assert_eq!(rejected.status.code(), Some(2));
    assert!(
        rejected.stderr.contains("another program's"),
        "{}",
        rejected.stderr
    );
    let kept = home.json(&file("org.others"));
    assert_eq!(kept, json!({ "path": "/opt/others/host" }));

    let uninstalled = home.run(&["uninstall", "--host-name", "com.example.sockets"]);
    assert!(uninstalled.status.success(), "{}", uninstalled.stderr);
    assert_eq!(home.json(&file("chrome_sockets")), first);
}

#[test]
fn a_program_in_a_build_folder_is_copied() {
    let home = Home::new("copy");
    let build = home.0.join("target/debug");
    fs::create_dir_all(&build).expect("a folder");
    fs::write(home.0.join("target/CACHEDIR.TAG"), "").expect("a written file");
    let program = build.join("chrome-sockets");
    fs::copy(PROGRAM, &program).expect("a copy");
    let port = write_manifest(&home, "one.json", 1);
    let run = |arguments: &[&str]| {
        let ended = home.run_program(&program, arguments);
        assert!(ended.status.success(), "{}", ended.stderr);
        String::from_utf8_lossy(&ended.stdout).into_owned()
    };
    let extension = ["install", "--browser", "chromium", "--extension", EXTENSION];
    let with = |more: &[&'static str]| [&extension[..], more].concat();
    let here = build.to_string_lossy().into_owned();
    let output = run(&[&extension[..], &["--copy-to", &here]].concat());
    assert!(output.contains("breaks this installation"), "{output}");
    let output = run(&[&extension[..], &["--manifest", &port]].concat());
    assert!(output.contains(COPY), "{output}");
    fs::remove_dir_all(home.0.join("target")).expect("removed");
    let script = home.0.join(CHROMIUM).join("chrome_sockets.sh");
    let output = connect_errors(script.to_str().expect("UTF-8"), EXTENSION, &[1]);
    assert_eq!(output, ["net::ERR_CONNECTION_REFUSED"], "the copy starts");

    // Outside a build folder the program is copied only with --copy-to.
    let stable = home.0.join(COPY);
    let again = home.run_program(&stable, &with(&["--host-name", "second"]));
    let output = String::from_utf8_lossy(&again.stdout);
    assert!(
        again.status.success() && !output.contains("copied"),
        "{output}"
    );
    let other = home.0.join("other");
    let folder = other.to_string_lossy();
    let third = [
        &with(&["--host-name", "third"])[..],
        &["--copy-to", &folder],
    ]
    .concat();
    let third = home.run_program(&stable, &third);
    assert!(third.status.success(), "{}", third.stderr);
    assert!(other.join("chrome-sockets").exists());

    for (name, stays) in [("chrome_sockets", true), ("second", false)] {
        let uninstalled = home.run(&["uninstall", "--host-name", name]);
        assert!(uninstalled.status.success(), "{}", uninstalled.stderr);
        assert_eq!(
            stable.exists(),
            stays,
            "the copy stays while a script starts it"
        );
    }
}

#[test]
fn an_invalid_manifest_is_rejected_with_its_position() {
    let home = Home::new("broken");
    let path = home.0.join("broken.json");
    let broken = r#"{ "sockets": { "tcpServer": { "listen": ["*:1", "*:x"] } } }"#;
    fs::write(&path, broken).expect("a written file");
    let path = path.to_string_lossy();
    let arguments = ["install", "--extension", EXTENSION, "--manifest", &path];
    let ended = home.run(&arguments);
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    let place = format!("{path}: sockets.tcpServer.listen[1]: ");
    assert!(ended.stderr.contains(&place), "{}", ended.stderr);
    assert_eq!(home.files(), ["broken.json"]);
}

#[test]
fn invalid_extension_ids_are_rejected() {
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

#[test]
fn a_program_of_an_npm_package_is_copied_and_the_next_install_replaces_the_copy() {
    let home = Home::new("npm");
    let package = home
        .0
        .join(".npm/_npx/0123/node_modules/chrome-sockets-host-linux-x64/bin");
    fs::create_dir_all(&package).expect("a folder");
    let program = package.join("chrome-sockets");
    fs::copy(PROGRAM, &program).expect("a copy");
    let stable = home.0.join(COPY);
    let install = |program: &Path| {
        let arguments = ["install", "--browser", "chromium", "--extension", EXTENSION];
        let ended = home.run_program(program, &arguments);
        let output = String::from_utf8_lossy(&ended.stdout).into_owned();
        assert!(ended.status.success(), "{output}{}", ended.stderr);
        output
    };
    assert!(install(&program).contains(COPY));
    // An older version is replaced.
    fs::write(&stable, "an older version").expect("a written file");
    assert!(install(&program).contains(COPY));
    let sizes = [&program, &stable].map(|it| fs::metadata(it).expect("a file").len());
    assert_eq!(sizes[0], sizes[1]);
    // The browser finds the copy when npm has cleaned its cache.
    fs::remove_dir_all(home.0.join(".npm")).expect("removed");
    let script = home.0.join(CHROMIUM).join("chrome_sockets.sh");
    let text = fs::read_to_string(&script).expect("a script");
    assert!(
        text.contains(COPY) && !text.contains("node_modules"),
        "{text}"
    );
    assert!(Path::new(&stable).is_file());
    connect_errors(script.to_str().expect("UTF-8"), EXTENSION, &[]);
}
