//! Calls without an answer do what their other forms do, and a `listen` that fails unnoticed is
//! logged.

use std::process::{Command, Stdio};

use chrome_sockets::tcp_server::Listen;
use chrome_sockets::{App, AppId, Error, Registry, Shutdown, tcp, tcp_server};
use support::{ListenerEvent, TestApp, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::tcp_server::dial;

fn named(name: &str) -> tcp::SocketProperties {
    tcp::SocketProperties {
        name: Some(name.into()),
        ..Default::default()
    }
}

#[actix_rt::test]
async fn a_handles_calls_without_an_answer_are_carried_out_in_order() {
    let mut test = TestApp::new().await;
    let (_, address) = test.listen().await;
    let mut peer = dial(address).await;
    let client = test.accepted().await;
    let timeouts = tcp::Timeouts {
        idle: Some(support::LIMIT),
        ..Default::default()
    };
    client.do_update(named("first"));
    client.do_update(named("second"));
    client.do_set_timeouts(timeouts);
    client.do_set_no_delay(false);
    client.do_set_keep_alive(true, Some(30));
    client.do_set_paused(true);
    client.do_resume_with(tcp::ResumeOptions::new().buffer_size(9));
    let info = client.get_info().await.expect("it exists");
    assert_eq!(info.buffer_size, Some(9));
    assert_eq!(info.name.as_deref(), Some("second"));
    assert_eq!(info.timeouts, timeouts);
    assert!(!info.paused);
    peer.write_all(b"in").await.expect("write");
    assert_eq!(test.received(client.id(), 2).await, b"in");

    client.try_send("out").expect("it is open");
    client.do_disconnect();
    let mut rest = Vec::new();
    let read = within("the end", peer.read_to_end(&mut rest));
    read.await.expect("a clean end");
    assert_eq!(rest, b"out");
    assert_eq!(test.ended(client.id()).await.code(), -100);
    let info = client.get_info().await.expect("it exists");
    assert!(!info.connected);

    client.do_close();
    assert_eq!(client.get_info().await, Err(Error::SocketNotFound));
    // A socket that is closed already stays so.
    client.do_close();
    client.do_set_paused(true);
    assert_eq!(client.close().await, Err(Error::SocketNotFound));
}

#[actix_rt::test]
async fn shutdown_write_and_reset_without_an_answer_end_connections() {
    let mut test = TestApp::new().await;
    let (_, address) = test.listen().await;
    for by_id in [false, true] {
        let tcp = test.app.tcp.clone();
        let mut peer = dial(address).await;
        let client = test.accepted().await;
        client.do_set_paused(false);
        client.try_send("all").expect("it is open");
        match by_id {
            true => tcp.do_shutdown_write(client.id()),
            false => client.do_shutdown_write(),
        }
        let mut rest = Vec::new();
        let read = within("the end", peer.read_to_end(&mut rest));
        read.await.expect("a clean end");
        assert_eq!(rest, b"all");
        peer.write_all(b"back").await.expect("write");
        assert_eq!(test.received(client.id(), 4).await, b"back");
        client.do_close();
        assert_eq!(test.ended(client.id()).await.code(), -100);

        let mut peer = dial(address).await;
        let client = test.accepted().await;
        match by_id {
            true => tcp.do_reset(client.id()),
            false => client.do_reset(),
        }
        let read = within("the reset", peer.read(&mut [0])).await;
        let error = read.expect_err("a reset").kind();
        assert_eq!(error, std::io::ErrorKind::ConnectionReset);
        client.do_close();
        client.do_reset();
        client.do_shutdown_write();
        assert_eq!(client.get_info().await, Err(Error::SocketNotFound));
    }
}

#[actix_rt::test]
async fn calls_by_id_without_an_answer_are_carried_out_in_order() {
    let mut test = TestApp::new().await;
    let (server_id, address) = test.listen().await;
    let app = test.app.clone();
    let (server, tcp) = (&app.tcp_server, &app.tcp);

    let properties = tcp_server::SocketProperties {
        name: Some("web".into()),
        ..Default::default()
    };
    server.do_update(server_id, properties);
    server.do_set_paused(server_id, true);
    let info = server.get_info(server_id).await.expect("it exists");
    assert_eq!((info.name.as_deref(), info.paused), (Some("web"), true));
    let mut peer = dial(address).await;
    test.expect_no_event().await;
    server.do_set_paused(server_id, false);
    let client = test.accepted().await.id();

    tcp.do_update(client, named("mail"));
    tcp.do_set_no_delay(client, false);
    tcp.do_set_keep_alive(client, true, None);
    tcp.do_set_paused(client, false);
    let info = tcp.get_info(client).await.expect("it exists");
    assert_eq!((info.name.as_deref(), info.paused), (Some("mail"), false));
    tcp.do_disconnect(client);
    let mut rest = Vec::new();
    let read = within("the end", peer.read_to_end(&mut rest));
    assert_eq!(read.await.expect("a clean end"), 0);
    assert_eq!(test.ended(client).await.code(), -100);
    tcp.do_close(client);
    assert_eq!(tcp.get_info(client).await, Err(Error::SocketNotFound));

    server.do_disconnect(server_id);
    let info = server.get_info(server_id).await.expect("it exists");
    assert_eq!(info.local_addr(), None);
    server.do_close(server_id);
    let info = server.get_info(server_id).await;
    assert_eq!(info.err(), Some(Error::SocketNotFound));
}

#[actix_rt::test]
async fn listeners_are_added_and_removed_without_an_answer() {
    let mut test = TestApp::new().await;
    let (_, address) = test.listen().await;
    let on_accept = &test.app.tcp_server.on_accept;
    on_accept.do_remove_listener(test.listener.clone().recipient());
    assert_eq!(on_accept.has_listeners().await, Ok(false));
    on_accept.do_add_listener(test.listener.clone().recipient());
    assert_eq!(on_accept.has_listeners().await, Ok(true));
    let _peer = dial(address).await;
    assert!(matches!(test.next().await, ListenerEvent::Accept(..)));
}

#[actix_rt::test]
async fn calls_without_an_answer_do_nothing_after_the_registry_has_ended() {
    let mut test = TestApp::new().await;
    let (server, address) = test.listen().await;
    let _peer = dial(address).await;
    let client = test.accepted().await;
    let shutdown = test.registry.send(Shutdown).await;
    shutdown.expect("it runs").expect("it ends");
    client.do_set_paused(false);
    client.do_close();
    test.app.tcp.do_close(client.id());
    test.app.tcp_server.do_close(server);
    assert_eq!(test.app.tcp.get_sockets().await, Err(Error::Stopped));
}

/// Set for the child process.
const CHILD: &str = "CHROME_SOCKETS_UNANSWERED_CALLS";

const ENTRY: &str = "unanswered_calls::child_process_that_ignores_answers";

#[test]
fn child_process_that_ignores_answers() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    env_logger::builder()
        .filter_level(log::LevelFilter::Warn)
        .format_timestamp(None)
        .init();
    actix_rt::System::new().block_on(ignore_answers());
}

async fn ignore_answers() {
    let registry = Registry::new().start();
    let app = App::new("careless", &registry);
    let server = &app.tcp_server;
    let created = server.create(Default::default()).await.expect("create");
    let id = created.socket_id;

    // The answer is dropped before the call is carried out.
    drop(server.listen(id, "not an address", 1, None));
    server.get_info(id).await.expect("it exists");
    // The answer has come when it is dropped.
    let answer = server.listen(id, "127.0.0.1", 2, Some(-1));
    server.get_info(id).await.expect("it exists");
    drop(answer);
    // A message that nobody waits for.
    registry.do_send(Listen {
        app: AppId::from("careless"),
        socket_id: id,
        address: "192.0.2.1".into(),
        port: 3,
        backlog: None,
    });
    server.get_info(id).await.expect("it exists");
    drop(server.listen(999.into(), "127.0.0.1", 4, None));
    // Text from outside is cut and escaped.
    drop(server.listen(id, "\u{1b}[2J".repeat(1000), 5, None));

    // These are not logged: the answer is awaited, or the call succeeds.
    let awaited = server.listen(id, "127.0.0.1", 70000, None).await;
    awaited.expect_err("there is no such port");
    drop(server.listen(id, "127.0.0.1", 0, None));
    server.get_info(id).await.expect("it exists");
    let other = App::new("other", &registry);
    drop(other.tcp_server.create(Default::default()));
    drop(server.close(999.into()));
    server.do_close(999.into());
    server.get_info(id).await.expect("it exists");
    registry
        .send(Shutdown)
        .await
        .expect("it runs")
        .expect("end");
}

#[test]
fn a_listen_that_fails_unnoticed_is_logged_once_with_the_reason() {
    let this = std::env::current_exe().expect("the path of the test binary");
    let mut command = Command::new(this);
    command
        .args([ENTRY, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
    let expected = [
        r#""not an address", port 1, and nobody awaits the answer: invalid argument `address`"#,
        r#""127.0.0.1", port 2, and nobody awaits the answer: invalid argument `backlog`: below 1"#,
        r#""192.0.2.1", port 3, and nobody awaits the answer: net::ERR_ADDRESS_INVALID"#,
        r#""127.0.0.1", port 4, and nobody awaits the answer: Socket not found"#,
        r#"port 5, and nobody awaits the answer: invalid argument `address`"#,
    ];
    assert_eq!(lines.len(), expected.len(), "{log}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{line:?} has not {expected:?}");
        assert!(line.contains(r#"app "careless""#), "{line:?}");
        assert!(!line.contains('\u{1b}') && line.len() < 500, "{line:?}");
    }
}
