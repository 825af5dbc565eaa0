//! The file of a listening socket: when it appears, with which rights, and when it goes.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener};

use chrome_sockets::Address;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file").mode() & 0o7777
}

/// Leaves a file as a process does that was killed.
fn leave_stale(path: &Path) {
    drop(UnixListener::bind(path).expect("it is free"));
    assert!(path.exists());
}

#[actix_rt::test]
async fn a_stale_file_is_replaced() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    leave_stale(&folder.path());
    let server = listen(&test, folder.path()).await;
    expect_service(&mut test, &folder.path()).await;
    assert_eq!(folder.names(), ["s"], "no lock is left");
    test.app.tcp_server.close(server).await.expect("close");
    assert_eq!(folder.names(), [""; 0]);
}

#[actix_rt::test]
async fn what_is_no_stale_socket_is_never_removed() {
    let folder = Folder::new();
    let test = TestApp::new().await;
    let path = folder.path();
    let other = folder.0.path().join("other");

    fs::write(&path, "data").expect("a file");
    assert_in_use(&test, &path).await;
    assert_eq!(fs::read(&path).expect("it is there"), b"data");
    fs::remove_file(&path).expect("a file");

    fs::create_dir(&path).expect("a folder");
    assert_in_use(&test, &path).await;
    fs::remove_dir(&path).expect("it is there");

    // Even if it leads to a stale socket.
    leave_stale(&other);
    symlink(&other, &path).expect("a link");
    assert_in_use(&test, &path).await;
    assert!(path.is_symlink() && other.exists());
    fs::remove_file(&path).expect("a link");

    // A connection by a stream says nothing about it.
    let datagrams = UnixDatagram::bind(&path).expect("a socket");
    assert_in_use(&test, &path).await;
    drop(datagrams);
    fs::remove_file(&path).expect("it is there");

    // A server that lives, also with a full backlog.
    let server = UnixListener::bind(&path).expect("a socket");
    assert_in_use(&test, &path).await;
    rustix::net::listen(&server, 0).expect("it listens");
    let _peers: Vec<_> = std::iter::from_fn(|| {
        let peer = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let peer = peer.expect("a socket");
        peer.set_nonblocking(true).expect("the option is set");
        let at = socket2::SockAddr::unix(&path).expect("a name");
        peer.connect(&at).is_ok().then_some(peer)
    })
    .collect();
    assert_in_use(&test, &path).await;
    server.accept().expect("the file is still its own");
    assert_eq!(folder.names(), ["other", "s"]);
}

#[actix_rt::test]
async fn of_two_server_sockets_the_second_is_refused_and_the_first_serves_on() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    listen(&test, folder.path()).await;
    assert_in_use(&test, folder.path()).await;
    // The check is a connection that ends at once.
    let probe = test.accepted().await;
    probe.set_paused(false).await.expect("resume");
    assert_eq!(test.ended(probe.id()).await, NetError::CONNECTION_CLOSED);
    probe.close().await.expect("close");
    expect_service(&mut test, &folder.path()).await;
}

#[actix_rt::test]
async fn the_file_has_the_mode_of_the_call_whatever_the_umask_is() {
    let folder = Folder::new();
    let test = TestApp::new().await;
    for wanted in [0o600, 0o660, 0o666, 0o777, 0o000, 0o644] {
        let id = create(&test).await;
        let server = &test.app.tcp_server;
        let listening = server.listen_unix(id, folder.path(), Some(wanted), None);
        listening.await.expect("listen");
        assert_eq!(mode(&folder.path()), wanted);
        server.close(id).await.expect("close");
    }
    listen(&test, folder.path()).await;
    let by_umask = folder.0.path().join("by umask");
    let _other = UnixListener::bind(&by_umask).expect("a socket");
    assert_eq!(mode(&folder.path()), mode(&by_umask));
}

/// The moment is too short to be met by chance, so this looks at each file as soon as it is there.
#[actix_rt::test]
async fn the_file_never_has_wider_rights_than_it_will_have() {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::SeqCst;
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    /// How often the file is looked at, at least.
    const LOOKS: usize = 50;

    let folder = Folder::new();
    let test = TestApp::new().await;
    let (path, ends) = (folder.path(), Arc::new(AtomicBool::new(false)));
    let seen = Arc::new(AtomicUsize::new(0));
    let watcher = std::thread::spawn({
        let (path, ends, seen) = (path.clone(), ends.clone(), seen.clone());
        move || {
            let mut widest = 0;
            while !ends.load(SeqCst) {
                if let Ok(found) = fs::symlink_metadata(&path) {
                    seen.fetch_add(1, SeqCst);
                    widest |= found.mode() & 0o7777;
                }
            }
            widest
        }
    });
    // On a busy machine the other thread may not run for a while.
    for round in 0..100_000 {
        if round >= 200 && seen.load(SeqCst) >= LOOKS {
            break;
        }
        let id = create(&test).await;
        let server = &test.app.tcp_server;
        let listening = server.listen_unix(id, &path, Some(0o600), None);
        listening.await.expect("listen");
        server.close(id).await.expect("close");
    }
    ends.store(true, SeqCst);
    let widest = watcher.join().expect("no panic");
    assert!(seen.load(SeqCst) >= LOOKS, "it was hardly seen");
    assert_eq!(widest & !0o600, 0, "{widest:o}");
}

#[actix_rt::test]
async fn the_file_goes_with_every_way_to_stop_listening() {
    let folder = Folder::new();
    let path = folder.path();
    let test = TestApp::new().await;
    let server = &test.app.tcp_server;
    let id = listen(&test, &path).await;
    server.disconnect(id).await.expect("disconnect");
    assert_eq!(folder.names(), [""; 0], "disconnect");
    server
        .listen_unix(id, &path, None, None)
        .await
        .expect("listen");
    let drained = server.drain(id, support::LIMIT).await;
    drained.expect("drained");
    assert_eq!(folder.names(), [""; 0], "drain");
    server
        .listen_unix(id, &path, None, None)
        .await
        .expect("listen");
    assert!(path.exists());
    let ended = test.registry.send(chrome_sockets::Shutdown).await;
    ended.expect("it runs").expect("shut down");
    assert_eq!(folder.names(), [""; 0], "shutdown");
}

#[actix_rt::test]
async fn a_file_that_another_program_has_put_there_stays() {
    let folder = Folder::new();
    let path = folder.path();
    let test = TestApp::new().await;
    let id = listen(&test, &path).await;
    fs::remove_file(&path).expect("it is there");
    let other = UnixListener::bind(&path).expect("it is free");
    test.app.tcp_server.close(id).await.expect("close");
    let _peer = dial(&path).await;
    other.accept().expect("the other one listens still");

    // And one that is no socket.
    drop(other);
    fs::remove_file(&path).expect("it is there");
    let id = listen(&test, &path).await;
    fs::remove_file(&path).expect("it is there");
    fs::write(&path, "data").expect("a file");
    test.app.tcp_server.close(id).await.expect("close");
    assert!(path.exists());
}

#[actix_rt::test]
async fn a_lock_that_a_killed_process_has_left_is_removed_and_no_link_is_followed() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    fs::write(folder.lock(), "").expect("a file");
    let id = listen(&test, folder.path()).await;
    expect_service(&mut test, &folder.path()).await;
    assert_eq!(folder.names(), ["s"]);
    test.app.tcp_server.close(id).await.expect("close");

    let other = folder.0.path().join("other");
    fs::write(&other, "data").expect("a file");
    symlink(&other, folder.lock()).expect("a link");
    listen_error(&test, folder.path()).await;
    assert_eq!(fs::read(&other).expect("it is there"), b"data");
}

#[actix_rt::test]
async fn paths_need_not_be_utf_8_and_may_have_107_bytes() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let odd = folder.0.path().join(OsStr::from_bytes(b"\xff\xfe \n%"));
    let room = 107 - folder.0.path().as_os_str().len() - 1;
    let long = folder.0.path().join("l".repeat(room));
    assert_eq!(long.as_os_str().len(), 107);
    for path in [odd, long] {
        let id = listen(&test, &path).await;
        let info = test.app.tcp_server.get_info(id).await.expect("info");
        assert_eq!(info.local, Some(Address::Unix(UnixAddress::from(&path))));
        expect_service(&mut test, &path).await;
        let client = test.create().await;
        test.app
            .tcp
            .connect_unix(client, &path)
            .await
            .expect("connect");
        test.accepted().await;
        test.app.tcp_server.close(id).await.expect("close");
        assert!(!path.exists());
    }
}

#[actix_rt::test]
async fn an_abstract_name_has_no_file_and_is_free_when_its_socket_is_closed() {
    let mut test = TestApp::new().await;
    let name = format!("chrome-sockets test\0{}\0", std::process::id());
    let at = UnixAddress::from_abstract(&name);
    let id = listen(&test, at.clone()).await;
    let info = test.app.tcp_server.get_info(id).await.expect("info");
    assert_eq!(info.local, Some(Address::Unix(at.clone())));
    assert_in_use(&test, at.clone()).await;
    let client = test.create().await;
    test.app
        .tcp
        .connect_unix(client, at.clone())
        .await
        .expect("connect");
    let accepted = test.accepted().await;
    accepted.set_paused(false).await.expect("resume");
    test.app
        .tcp
        .send(client, &b"hello"[..])
        .await
        .expect("sent");
    assert_eq!(test.received(accepted.id(), 5).await, b"hello");
    test.app.tcp_server.close(id).await.expect("close");
    listen(&test, at).await;
}

#[actix_rt::test]
async fn a_relative_path_is_removed_too() {
    // Cargo runs tests in the folder of their package.
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let relative = Path::new(folder.path().file_name().expect("a name")).join("s");
    let mut test = TestApp::new().await;
    let id = listen(&test, &relative).await;
    expect_service(&mut test, &relative).await;
    test.app.tcp_server.close(id).await.expect("close");
    assert!(!relative.exists());
}

#[actix_rt::test]
async fn a_failure_after_bind_leaves_no_file() {
    let folder = Folder::new();
    let test = TestApp::new().await;
    // The rights of the folder are not checked for root, so a limit of the process fails it here.
    fs::set_permissions(folder.0.path(), fs::Permissions::from_mode(0o500)).expect("set");
    if fs::write(folder.0.path().join("probe"), "").is_err() {
        let error = listen_error(&test, folder.path()).await;
        assert_eq!(error, NetError::ACCESS_DENIED.into());
    }
    fs::set_permissions(folder.0.path(), fs::Permissions::from_mode(0o700)).expect("set");
    let _ = fs::remove_file(folder.0.path().join("probe"));
    // A folder in the place of the lock.
    fs::create_dir(folder.lock()).expect("a folder");
    let error = listen_error(&test, folder.path()).await;
    assert_eq!(error, NetError::ACCESS_DENIED.into());
    assert_eq!(folder.names(), [".s.chrome-sockets"]);
}
