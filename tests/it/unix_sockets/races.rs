//! Several processes that want the same name.

use std::os::unix::net::UnixListener;
use std::sync::{Arc, Barrier};

use chrome_sockets::os::{Listener, Network, TokioNetwork};
use rustix::fs::{FlockOperation, flock};

use super::*;

/// A lock excludes threads as it excludes processes: each opens the file anew.
#[actix_rt::test]
async fn of_many_that_replace_a_stale_file_at_once_one_listens() {
    const RACERS: usize = 8;
    for _ in 0..50 {
        let folder = Folder::new();
        let path = folder.path();
        drop(UnixListener::bind(&path).expect("it is free"));
        let start = Arc::new(Barrier::new(RACERS));
        let race = |_| {
            let (path, start) = (path.clone(), start.clone());
            let runtime = tokio::runtime::Handle::current();
            std::thread::spawn(move || {
                let _entered = runtime.enter();
                start.wait();
                TokioNetwork.listen_unix(&UnixAddress::from(path), Some(0o600), 8)
            })
        };
        let racers: Vec<_> = (0..RACERS).map(race).collect();
        let mut winners: Vec<Box<dyn Listener>> = Vec::new();
        for racer in racers {
            match racer.join().expect("no panic") {
                Ok(listener) => winners.push(listener),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE)),
            }
        }
        assert_eq!(winners.len(), 1);
        // The file is that of the winner: its connection arrives there.
        let _peer = dial(&path).await;
        let mut winner = winners.pop().expect("a winner");
        // The others may have looked whether it listens.
        let accepted = std::future::poll_fn(|cx| winner.poll_accept(cx));
        within("a connection", accepted).await.expect("accepted");
        drop(winner);
        assert_eq!(folder.names(), [""; 0]);
    }
}

#[actix_rt::test]
async fn while_another_process_is_about_to_listen_the_name_is_in_use() {
    let folder = Folder::new();
    let mut test = TestApp::new().await;
    let lock = std::fs::File::create(folder.lock()).expect("a file");
    flock(&lock, FlockOperation::LockExclusive).expect("locked");
    assert_in_use(&test, folder.path()).await;
    // A process that is killed leaves the file, without the lock.
    drop(lock);
    listen(&test, folder.path()).await;
    expect_service(&mut test, &folder.path()).await;
}

/// The file of a socket that is bound and does not listen yet looks like a stale one.
#[actix_rt::test]
async fn a_socket_that_does_not_listen_yet_keeps_its_file_under_the_lock() {
    let folder = Folder::new();
    let path = folder.path();
    let test = TestApp::new().await;
    let lock = std::fs::File::create(folder.lock()).expect("a file");
    flock(&lock, FlockOperation::LockExclusive).expect("locked");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let at = socket2::SockAddr::unix(&path).expect("a name");
    socket.bind(&at).expect("it is free");
    assert_in_use(&test, &path).await;
    socket.listen(1).expect("it listens");
    drop(lock);
    assert_in_use(&test, &path).await;
    let _peer = dial(&path).await;
}
