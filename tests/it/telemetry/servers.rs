//! Metrics of server sockets, by their names.

use chrome_sockets::tcp_server::{AtLimit, Limit, Limits};
use chrome_sockets::telemetry::{MAX_SERVER_NAME, MAX_SERVER_NAMES};
use support::within;
use tokio::io::AsyncReadExt;

use super::Fixture;
use crate::tcp_server::dial;

#[actix_rt::test]
async fn connections_are_counted_by_the_name_of_their_server_socket() {
    let mut fixture = Fixture::new().await;
    let (web, at) = fixture.listen_as("web").await;
    let (_, unnamed) = fixture.test.listen().await;
    let peers = [dial(at).await, dial(at).await, dial(unnamed).await];
    let mut clients = Vec::new();
    for _ in &peers {
        clients.push(fixture.test.accepted().await);
    }
    fixture
        .wait_for("server_connections_open{server=\"web\"}", 2.0)
        .await;
    for (series, value) in [
        ("connections_accepted_total{server=\"web\"}", 2.0),
        ("connections_accepted_total{server=\"\"}", 1.0),
        ("server_connections_open{server=\"\"}", 1.0),
        ("connections_open", 3.0),
        ("client_sockets{arbiter=\"0\"}", 3.0),
    ] {
        assert_eq!(fixture.value(series), value, "{series}");
    }
    // A name that changes takes the open connections with it, and leaves the counts.
    fixture.rename(web, "shop").await;
    let another = dial(at).await;
    fixture.test.accepted().await;
    fixture
        .wait_for("server_connections_open{server=\"shop\"}", 3.0)
        .await;
    assert_eq!(
        fixture.value("server_connections_open{server=\"web\"}"),
        0.0
    );
    assert_eq!(
        fixture.value("connections_accepted_total{server=\"web\"}"),
        2.0
    );
    assert_eq!(
        fixture.value("connections_accepted_total{server=\"shop\"}"),
        1.0
    );
    // Connections count although their server socket is closed.
    fixture
        .test
        .app
        .tcp_server
        .close(web)
        .await
        .expect("it exists");
    assert_eq!(
        fixture.value("server_connections_open{server=\"shop\"}"),
        3.0
    );
    drop((peers, another));
    for client in clients {
        client.close().await.expect("it is open");
    }
    fixture
        .wait_for("server_connections_open{server=\"shop\"}", 1.0)
        .await;
    fixture.wait_for("connections_open", 1.0).await;
}

#[actix_rt::test]
async fn refused_connections_are_counted_by_the_limit() {
    let mut fixture = Fixture::new().await;
    let (web, at) = fixture.listen_as("web").await;
    let connections = Limit {
        most: 1,
        then: AtLimit::Close,
    };
    let limits = Limits {
        connections: Some(connections),
        ..Default::default()
    };
    let set = fixture.test.app.tcp_server.set_limits(web, limits).await;
    set.expect("valid limits");
    let _open = dial(at).await;
    let client = fixture.test.accepted().await;
    for _ in 0..2 {
        let mut refused = dial(at).await;
        let end = within("the end", refused.read(&mut [0; 1])).await;
        assert_eq!(end.ok(), Some(0));
    }
    assert_eq!(
        fixture.value("connections_accepted_total{server=\"web\"}"),
        3.0
    );
    let refused = "connections_refused_total{server=\"web\",limit=\"connections\"}";
    assert_eq!(fixture.value(refused), 2.0);
    client.close().await.expect("it is open");
    let _another = dial(at).await;
    fixture.test.accepted().await;
}

#[actix_rt::test]
async fn accept_events_that_listeners_have_not_handled_are_counted() {
    let fixture = Fixture::new().await;
    let (_, at) = fixture.listen_as("web").await;
    fixture.test.remove_listener().await;
    let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
    let listener =
        actix::Actor::start(support::EventSender::<chrome_sockets::tcp_server::AcceptInfo>(sender));
    let on_accept = &fixture.test.app.tcp_server.on_accept;
    let added = on_accept.add_listener(listener.recipient()).await;
    added.expect("the registry runs");
    let _peers = [dial(at).await, dial(at).await];
    let held = [
        within("onAccept", events.recv()).await,
        within("onAccept", events.recv()).await,
    ];
    assert_eq!(fixture.value("accept_events_waiting{server=\"web\"}"), 2.0);
    drop(held);
    assert_eq!(fixture.value("accept_events_waiting{server=\"web\"}"), 0.0);
}

#[actix_rt::test]
async fn the_number_of_names_is_bounded_and_all_others_share_one_value() {
    let mut fixture = Fixture::new().await;
    let (id, at) = fixture.test.listen().await;
    let names = 3 * MAX_SERVER_NAMES;
    for number in 0..names {
        fixture.rename(id, &format!("server {number}")).await;
    }
    fixture.rename(id, &"x".repeat(MAX_SERVER_NAME + 1)).await;
    let _peer = dial(at).await;
    fixture.test.accepted().await;
    fixture
        .wait_for("server_connections_open{server=\"other\"}", 1.0)
        .await;
    assert_eq!(
        fixture.value("connections_accepted_total{server=\"other\"}"),
        1.0
    );
    let accepted = fixture.recorder.series();
    let accepted = accepted
        .iter()
        .filter(|it| it.starts_with("connections_accepted_total"));
    // The first names, `other` and the empty one.
    assert_eq!(accepted.count(), MAX_SERVER_NAMES + 2);
    let before = fixture.recorder.series().len();
    // A name that has a value of its own still has it.
    fixture.rename(id, "server 7").await;
    fixture
        .wait_for("server_connections_open{server=\"server 7\"}", 1.0)
        .await;
    fixture.rename(id, "one more").await;
    fixture
        .wait_for("server_connections_open{server=\"other\"}", 1.0)
        .await;
    assert_eq!(
        fixture.recorder.series().len(),
        before,
        "no series was added"
    );
}
