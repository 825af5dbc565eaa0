//! What `release/build.sh` packs: versions, and the files that the packages name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::process::Program;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the repository")
        .to_owned()
}

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).expect("a file")
}

#[test]
fn all_packages_have_the_same_version() {
    let version = env!("CARGO_PKG_VERSION");
    let package = |name: &str| serde_json::from_str::<Value>(&read(name)).expect("JSON");
    let (client, host) = (package("js/package.json"), package("host/npm/package.json"));
    let versions = [
        &client["version"],
        &client["optionalDependencies"]["chrome-sockets-host"],
        &host["version"],
    ];
    assert_eq!(versions, [version; 3]);
    assert_eq!(client["engines"], host["engines"]);
}

#[test]
fn the_debian_package_has_every_file_of_the_service() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--no-deps", "--format-version=1"]);
    cargo.current_dir(repository());
    let metadata = Program::start(&mut cargo).ended();
    assert!(metadata.status.success(), "{}", metadata.stderr);
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let mut packages = metadata["packages"].as_array().expect("a list").iter();
    let host = packages.find(|it| it["name"] == env!("CARGO_PKG_NAME"));
    let debian = &host.expect("this package")["metadata"]["deb"];
    let assets = debian["assets"].as_array().expect("a list");
    let sources = assets.iter().map(|it| it[0].as_str().expect("a path"));
    let sources: BTreeSet<&str> = sources.collect();
    for source in &sources {
        let Some(path) = source.strip_prefix("../") else {
            assert_eq!(*source, "target/release/chrome-sockets");
            continue;
        };
        let path = repository().join(path.trim_end_matches('*'));
        assert!(path.exists(), "{source} is missing");
    }
    for folder in ["completions", "man", "systemd", ""] {
        let folder = Path::new("deploy").join(folder);
        for entry in fs::read_dir(repository().join(&folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            if entry.path().is_dir() {
                continue;
            }
            let name = entry.file_name().into_string().expect("UTF-8");
            let file = format!("../{}/{name}", folder.display()).replace("//", "/");
            let all = format!("../{}/*", folder.display());
            assert!(
                sources.contains(&*file) || sources.contains(&*all),
                "{file} is not in the package"
            );
        }
    }
    let scripts = debian["maintainer-scripts"].as_str().expect("a folder");
    for name in ["postinst", "prerm", "postrm"] {
        let path = scripts.strip_prefix("../").expect("a path");
        let script = read(&format!("{path}/{name}"));
        // cargo-deb puts its own lines there.
        assert!(script.starts_with("#!/bin/sh\nset -e\n") && script.contains("\n#DEBHELPER#\n"));
    }
}
