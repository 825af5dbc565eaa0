//! Valid and invalid manifest files, and file systems that hang.

use std::sync::mpsc::{Receiver, Sender, channel};

use tempfile::{TempDir, tempdir};

use crate::access::manifests::*;

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a written file");
    path
}

fn fifo(folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()), "a FIFO");
    path
}

/// The error of reading it, in a thread so that a hanging read does not hang the test.
fn read_error(path: PathBuf) -> String {
    let (done, result) = channel();
    thread::spawn(move || done.send(read(&path).map_err(|error| error.to_string())));
    let result = result.recv_timeout(Duration::from_secs(20));
    result.expect("a result in time").expect_err("an error")
}

#[test]
fn only_regular_files_are_read() {
    let folder = tempdir().expect("a folder");
    for (path, what) in [
        (folder.path().to_owned(), "a folder"),
        (fifo(&folder, "fifo"), "a FIFO"),
        ("/dev/zero".into(), "a device"),
    ] {
        let error = read_error(path);
        assert!(error.contains(what), "{error}");
    }
    let link = folder.path().join("link.json");
    std::os::unix::fs::symlink("/dev/zero", &link).expect("a link");
    assert!(read_error(link).contains("a device"), "through a link too");
    let good = write(&folder, "good.json", "{}");
    assert_eq!(read(&good).expect("a file"), "{}");
}

#[test]
fn a_file_above_the_size_limit_is_rejected() {
    let folder = tempdir().expect("a folder");
    let path = write(&folder, "huge.json", "");
    // A sparse file of a terabyte, which takes no space.
    let file = OpenOptions::new().write(true).open(&path).expect("a file");
    file.set_len(1 << 40)
        .expect("a file system with sparse files");
    assert!(read_error(path).contains("longer than 1048576 bytes"));
    let longest = write(&folder, "longest.json", &" ".repeat(MAX_MANIFEST));
    assert_eq!(read(&longest).expect("a file").len(), MAX_MANIFEST);
}

#[test]
fn errors_name_every_invalid_manifest_and_the_position_in_it() {
    let folder = tempdir().expect("a folder");
    write(
        &folder,
        "a.json",
        r#"{ "sockets": { "tcp": { "connect": "" } } }"#,
    );
    write(&folder, "notes.txt", "{");
    write(&folder, ".b.json.swp.json", "{");
    check(folder.path()).expect("valid manifests");
    let bad = r#"{ "sockets": { "tcpServer": { "listen": ["*:1", "*:x"] } } }"#;
    let bad = write(&folder, "b.json", bad);
    let cut = write(&folder, "c.json", "{\n  \"sockets\":");
    let fifo = fifo(&folder, "d.json");
    let error = check(folder.path()).expect_err("invalid manifests");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    let lines: Vec<_> = text.lines().collect();
    let [first, second, third] = lines[..] else {
        panic!("{text}");
    };
    let start = format!("{}: sockets.tcpServer.listen[1]: ", bad.display());
    assert!(first.starts_with(&start), "{first}");
    let start = format!("{}: ", cut.display());
    assert!(
        second.starts_with(&start) && second.contains("line 2"),
        "{second}"
    );
    assert!(third.starts_with(&fifo.display().to_string()), "{third}");
    let nowhere = folder.path().join("nowhere.json");
    let text = check(&nowhere).expect_err("a missing file").to_string();
    assert!(text.starts_with(&nowhere.display().to_string()), "{text}");
}

/// A job that hangs until its sender is dropped.
fn hanging_job() -> (Sender<()>, impl FnOnce() + Send + 'static) {
    let (release, hang): (_, Receiver<()>) = channel();
    (release, move || {
        let _ = hang.recv();
    })
}

#[actix_rt::test]
async fn a_hanging_file_system_blocks_a_bounded_number_of_threads() {
    let mut reader = FileReader::new();
    reader.timeout = Duration::from_millis(1);
    let mut hanging = Vec::new();
    for _ in 0..MANIFEST_READERS {
        let (release, job) = hanging_job();
        let error = reader.run(job).await.expect_err("a timeout");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        hanging.push(release);
    }
    let error = reader.run(|| ()).await.expect_err("too many running jobs");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    hanging.clear();
    // The threads end some time after their senders are dropped.
    reader.timeout = Duration::from_secs(20);
    let again = async { while reader.run(|| ()).await.is_err() {} };
    let again = timeout(Duration::from_secs(20), again).await;
    again.expect("a thread is free again");
}

#[test]
fn warnings_name_the_file() {
    let folder = tempdir().expect("a folder");
    let text = r#"{ "sockets": { "tcp": { "connect": "a:1", "conect": "b:1" } } }"#;
    let path = write(&folder, "a.json", text);
    write(
        &folder,
        "b.json",
        r#"{ "sockets": { "tcp": { "connect": "a:1" } } }"#,
    );
    let warnings = check(folder.path()).expect("valid manifests");
    let [warning] = warnings.as_slice() else {
        panic!("one warning, not {warnings:?}");
    };
    let path = path.display().to_string();
    assert!(
        warning.starts_with(&path) && warning.contains("sockets.tcp.conect"),
        "{warning}"
    );
}
