//! Valid and invalid manifest files, and file systems that hang.

use std::sync::mpsc::{Receiver, Sender, channel};

use crate::access::manifests::*;

/// A temporary folder.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("chrome-sockets-manifests-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Folder(folder)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A failure to clean up does not fail the test.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn fifo(folder: &Folder, name: &str) -> PathBuf {
    let path = folder.0.join(name);
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.is_ok_and(|status| status.success()), "a FIFO");
    path
}

/// The error of reading it, in a thread so that a hanging read does not hang the test.
fn read_error(path: PathBuf) -> String {
    let (done, result) = channel();
    thread::spawn(move || done.send(read(&path).map_err(|error| error.to_string())));
    let result = result.recv_timeout(Duration::from_secs(20));
    result
        .expect("it does not hang")
        .expect_err("it is not a manifest")
}

#[test]
fn only_regular_files_are_read() {
    let folder = Folder::new("kinds");
    for (path, what) in [
        (folder.0.clone(), "a folder"),
        (fifo(&folder, "fifo"), "a FIFO"),
        ("/dev/zero".into(), "a device"),
    ] {
        let error = read_error(path);
        assert!(error.contains(what), "{error}");
    }
    let link = folder.0.join("link.json");
    std::os::unix::fs::symlink("/dev/zero", &link).expect("a link");
    assert!(read_error(link).contains("a device"), "through a link too");
    let good = folder.file("good.json", "{}");
    assert_eq!(read(&good).expect("a file"), "{}");
}

#[test]
fn a_file_above_the_size_limit_is_rejected() {
    let folder = Folder::new("huge");
    let path = folder.file("huge.json", "");
    // A sparse file of a terabyte, which takes no space.
    let file = OpenOptions::new().write(true).open(&path).expect("a file");
    file.set_len(1 << 40)
        .expect("a file system with sparse files");
    assert!(read_error(path).contains("longer than 1048576 bytes"));
    let longest = folder.file("longest.json", &" ".repeat(MAX_MANIFEST));
    assert_eq!(read(&longest).expect("a file").len(), MAX_MANIFEST);
}

#[test]
fn errors_name_every_invalid_manifest_and_the_position_in_it() {
    let folder = Folder::new("check");
    folder.file("a.json", r#"{ "sockets": { "tcp": { "connect": "" } } }"#);
    folder.file("notes.txt", "{");
    folder.file(".b.json.swp.json", "{");
    check(&folder.0).expect("all are valid");
    let bad = r#"{ "sockets": { "tcpServer": { "listen": ["*:1", "*:x"] } } }"#;
    let bad = folder.file("b.json", bad);
    let cut = folder.file("c.json", "{\n  \"sockets\":");
    let fifo = fifo(&folder, "d.json");
    let error = check(&folder.0).expect_err("three are invalid");
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
    let nowhere = folder.0.join("nowhere.json");
    let text = check(&nowhere).expect_err("there is none").to_string();
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
        let error = reader.run(job).await.expect_err("it hangs");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        hanging.push(release);
    }
    let error = reader.run(|| ()).await.expect_err("too many hang");
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
    let folder = Folder::new("warnings");
    let text = r#"{ "sockets": { "tcp": { "connect": "a:1", "conect": "b:1" } } }"#;
    let path = folder.file("a.json", text);
    folder.file(
        "b.json",
        r#"{ "sockets": { "tcp": { "connect": "a:1" } } }"#,
    );
    let warnings = check(&folder.0).expect("all are valid");
    let [warning] = warnings.as_slice() else {
        panic!("one warning, not {warnings:?}");
    };
    let path = path.display().to_string();
    assert!(
        warning.starts_with(&path) && warning.contains("sockets.tcp.conect"),
        "{warning}"
    );
}
