//! The admin connection: who may open it, what it lists, and what it does.

use futures::SinkExt;
use serde_json::{Value, json};
use support::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request};

use super::Host;
use super::client::{Client, all_permissions, dial, frame, next, request};

/// The handshake request of an admin, from a page of this origin.
fn admin_request(host: &Host, origin: Option<&str>) -> Request<()> {
    let mut request = request(host.address());
    let uri = format!("ws://{}/admin", host.address());
    *request.uri_mut() = uri.parse().expect("an address");
    if let Some(origin) = origin {
        let origin = HeaderValue::from_str(origin).expect("a header");
        request.headers_mut().insert("origin", origin);
    }
    request
}

/// The handshake request of the host's own page.
fn own_request(host: &Host) -> Request<()> {
    admin_request(host, Some(&format!("http://{}", host.address())))
}

/// Opens an admin connection with this hello.
async fn try_connect_admin(host: &Host, hello: Value) -> Result<Client, Value> {
    Client::try_connect_with(host.address(), own_request(host), hello).await
}

/// Opens an admin connection.
pub async fn connect_admin(host: &Host, key: &str) -> Client {
    let hello = json!({ "admin": [1], "key": key });
    let connected = try_connect_admin(host, hello).await;
    connected.unwrap_or_else(|reason| panic!("rejected: {reason}"))
}

/// Makes a call that succeeds, and returns its value.
async fn call(client: &mut Client, function: &str, arguments: Value) -> Value {
    let answer = client.call(function, arguments).await;
    assert_eq!(answer[0], "answer", "{function}: {answer}");
    answer[2].clone()
}

/// Makes a call that fails, and returns its error.
async fn call_error(client: &mut Client, function: &str, arguments: Value) -> String {
    let answer = client.call(function, arguments).await;
    assert_eq!(answer[0], "error", "{function}: {answer}");
    answer[2].as_str().expect("a text").to_owned()
}

/// Repeats a call until its value satisfies a condition.
async fn poll_until(
    client: &mut Client,
    what: &str,
    function: &str,
    arguments: Value,
    is_done: impl Fn(&Value) -> bool,
) -> Value {
    let polled = async {
        loop {
            let answer = call(client, function, arguments.clone()).await;
            if is_done(&answer) {
                return answer;
            }
        }
    };
    within(what, polled).await
}

#[actix_rt::test]
async fn only_the_hosts_own_page_with_the_key_is_admin() {
    for token in [&[][..], &["--token", "secret"]] {
        let mut arguments = vec!["--dev", "--origin", "https://good.example"];
        arguments.extend(token);
        let mut host = Host::start(&arguments);
        let (own_origin, key) = (format!("http://{}", host.address()), host.key());
        let port = host.address().port();
        for origin in [
            None,
            Some("null"),
            Some("https://good.example"),
            Some("http://127.0.0.1"),
            Some(&*format!("https://127.0.0.1:{port}")),
            Some(&format!("http://localhost:{port}")),
        ] {
            let refused = dial(host.address(), admin_request(&host, origin)).await;
            let Err(Error::Http(response)) = refused else {
                panic!("{origin:?} is accepted");
            };
            assert_eq!(response.status().as_u16(), 403, "{origin:?}");
        }
        let mut rebound = admin_request(&host, Some("http://rebound.example"));
        let name = HeaderValue::from_static("rebound.example");
        rebound.headers_mut().insert("host", name);
        let refused = dial(host.address(), rebound).await;
        assert!(matches!(refused, Err(Error::Http(_))), "a rebound name");
        for (hello, code) in [
            (json!({ "admin": [1] }), "forbidden"),
            (json!({ "admin": [1], "key": "" }), "forbidden"),
            (json!({ "admin": [1], "key": "secret" }), "forbidden"),
            (json!({ "admin": [1], "key": "0".repeat(32) }), "forbidden"),
            (
                json!({ "admin": [1], "token": "secret", "app": "a" }),
                "forbidden",
            ),
            (json!({ "key": key }), "version"),
            (json!({ "admin": [2], "key": key }), "version"),
        ] {
            let refused = try_connect_admin(&host, hello.clone()).await;
            let reason = refused
                .err()
                .unwrap_or_else(|| panic!("{hello} is accepted"));
            assert_eq!(reason["close"]["code"], code, "{hello}");
        }
        let welcome = connect_admin(&host, &key).await.welcome;
        assert_eq!(welcome["admin"], 1, "{own_origin}: {welcome}");
        host.expect_success();
    }
}

#[actix_rt::test]
async fn the_number_of_admin_connections_is_limited() {
    let mut host = Host::dev();
    let key = host.key();
    let mut admins = Vec::new();
    for _ in 0..4 {
        admins.push(connect_admin(&host, &key).await);
    }
    let hello = json!({ "admin": [1], "key": key });
    let reason = try_connect_admin(&host, hello.clone()).await.err();
    assert_eq!(reason.expect("a refusal")["close"]["code"], "busy");
    admins.pop();
    let again = async { while try_connect_admin(&host, hello.clone()).await.is_err() {} };
    within("the slot of a closed connection", again).await;
    host.expect_success();
}

#[actix_rt::test]
async fn apps_have_no_admin_calls_and_admins_no_sockets() {
    let mut host = Host::dev();
    let key = host.key();
    let hello = json!({ "app": "a", "manifest": all_permissions(), "admin": [1], "key": key });
    let mut app = Client::try_connect(&host, hello).await.expect("an app");
    assert_eq!(app.welcome["admin"], Value::Null);
    for (function, arguments) in [
        ("host.listApps", json!([])),
        ("host.listServers", json!(["a"])),
        ("host.close", json!(["a", "tcp", 1])),
    ] {
        let text = call_error(&mut app, function, arguments).await;
        assert_eq!(text, format!("Invalid call: there is no {function}"));
    }
    let mut admin = connect_admin(&host, &key).await;
    for function in ["tcp.create", "tcpServer.create", "tcp.getSockets"] {
        let text = call_error(&mut admin, function, json!([])).await;
        assert_eq!(text, format!("Invalid call: there is no {function}"));
    }
    admin.listen(&["tcp.onReceive"]).await;
    let reason = next(&mut admin.socket).await.expect("a close reason");
    assert_eq!(
        reason["close"]["code"], "bad-frame",
        "there are no admin events"
    );
    host.expect_success();
}

#[actix_rt::test]
async fn admins_list_the_sockets_of_all_apps_with_their_counters() {
    let mut host = Host::dev();
    let key = host.key();
    let mut app = Client::connect(&host, "a").await;
    let mut other = Client::connect(&host, "b").await;
    let (server, port) = app
        .listening_server(json!({ "name": "web", "persistent": true }))
        .await;
    other.call("tcp.create", json!([{ "name": "idle" }])).await;
    let peer = TcpStream::connect(("127.0.0.1", port)).await;
    let mut peer = peer.expect("a listener");
    let client = app.event("tcpServer.onAccept").await[2].clone();
    app.call("tcp.setPaused", json!([client, false])).await;
    peer.write_all(&[b'x'; 1000])
        .await
        .expect("an open connection");
    let mut received = 0;
    while received < 1000 {
        let event = app.event("tcp.onReceive").await;
        received += event[2].as_str().expect("data").len();
    }
    let send = app.start_call("tcp.send", json!([client]), b"pong").await;
    app.answer(send).await;

    let mut admin = connect_admin(&host, &key).await;
    let apps = call(&mut admin, "host.listApps", json!([])).await;
    let counters = json!({ "received": 1000, "sent": 4, "accepted": 1 });
    let with = |more: Value| {
        let mut all = counters.as_object().expect("an object").clone();
        all.extend(more.as_object().expect("an object").clone());
        Value::Object(all)
    };
    assert_eq!(apps["total"], 2);
    let all = json!({ "servers": 1, "clients": 2, "udp": 0, "problems": 0 });
    assert_eq!(apps["all"], with(all));
    let row = json!({
        "app": "a", "connected": true, "servers": 1, "clients": 1, "udp": 0, "problems": [],
    });
    let row = with(row);
    assert_eq!(apps["apps"][0], row);
    assert_eq!(apps["apps"][1]["app"], "b");
    let servers = call(&mut admin, "host.listServers", json!(["a"])).await;
    let row = json!({
        "socketId": server, "persistent": true, "name": "web", "paused": false,
        "localAddress": "127.0.0.1", "localPort": port,
        "blockedBy": [], "backlog": servers["sockets"][0]["backlog"],
        "accepted": 1, "delivered": 1, "refused": 0, "failed": 0,
        "clients": 1, "received": 1000, "sent": 4,
    });
    assert_eq!(servers["sockets"], json!([row]));
    let clients = call(&mut admin, "host.listClients", json!(["a", server, true])).await;
    let row = &clients["sockets"][0];
    assert_eq!(row["socketId"], client);
    assert_eq!((&row["received"], &row["sent"]), (&json!(1000), &json!(4)));
    assert_eq!(
        row["peerPort"],
        peer.local_addr().expect("a bound socket").port()
    );
    let own = call(&mut admin, "host.listClients", json!(["a", null, true])).await;
    assert_eq!(own["total"], 0, "it was accepted by a server socket");
    let own = call(&mut admin, "host.listClients", json!(["b", null, false])).await;
    assert_eq!(own["sockets"][0]["name"], "idle");

    // Persistent sockets and the counters of all sockets remain after the client disconnects.
    app.disconnect();
    other.disconnect();
    let is_disconnected = |apps: &Value| {
        let reason = apps["apps"][0]["problems"][0]["reason"].clone();
        apps["total"] == 1 && apps["apps"][0]["connected"] == false && reason == "suspended"
    };
    let what = "the apps without their clients";
    let apps = poll_until(
        &mut admin,
        what,
        "host.listApps",
        json!([]),
        is_disconnected,
    )
    .await;
    assert_eq!(
        apps["all"],
        with(json!({ "servers": 1, "clients": 0, "udp": 0, "problems": 0 }))
    );
    let servers = call(&mut admin, "host.listServers", json!(["a"])).await;
    let reasons = servers["sockets"][0]["blockedBy"].to_string();
    assert!(reasons.contains("suspended"), "{reasons}");
    let closed = admin.call("host.close", json!(["a", "tcpServer", server]));
    assert_eq!(closed.await[0], "answer");
    let apps = call(&mut admin, "host.listApps", json!([])).await;
    assert_eq!(
        apps["total"], 0,
        "the app has neither a client nor a socket"
    );
    assert_eq!(
        apps["all"],
        with(json!({ "servers": 0, "clients": 0, "udp": 0, "problems": 0 }))
    );
    host.expect_success();
}

#[actix_rt::test]
async fn admins_pause_resume_and_close_sockets_and_the_app_gets_events() {
    let mut host = Host::dev();
    let key = host.key();
    let mut app = Client::connect(&host, "a").await;
    let (server, port) = app.listening_server(json!({})).await;
    let mut admin = connect_admin(&host, &key).await;
    let set = |paused: bool| json!(["a", "tcpServer", server, paused]);
    assert_eq!(admin.call("host.setPaused", set(true)).await[0], "answer");
    let info = app.call("tcpServer.getInfo", json!([server])).await;
    assert_eq!(info[2]["paused"], true);
    let row = call(&mut admin, "host.listServers", json!(["a"])).await["sockets"][0].clone();
    assert_eq!(row["blockedBy"], json!([{ "reason": "app" }]));
    let connected = TcpStream::connect(("127.0.0.1", port)).await;
    let mut peer = connected.expect("a connection in the backlog");
    assert_eq!(admin.call("host.setPaused", set(false)).await[0], "answer");
    let client = app.event("tcpServer.onAccept").await[2].clone();

    let resume = json!(["a", "tcp", client, false]);
    assert_eq!(admin.call("host.setPaused", resume).await[0], "answer");
    peer.write_all(b"hello").await.expect("an open connection");
    assert_eq!(app.event("tcp.onReceive").await[2], "hello");
    let close = json!(["a", "tcp", client]);
    assert_eq!(admin.call("host.close", close.clone()).await[0], "answer");
    let event = app.event("tcp.onReceiveError").await;
    assert_eq!((&event[1], &event[2]), (&client, &json!(-100)));
    let end = within("the end of the connection", peer.read(&mut [0])).await;
    assert_eq!(end.expect("a close without a reset"), 0);

    // The end of a half-closed connection was reported before, and is not reported again.
    let connected = TcpStream::connect(("127.0.0.1", port)).await;
    let mut half = connected.expect("a listener");
    let half_closed = app.event("tcpServer.onAccept").await[2].clone();
    let allow = json!([half_closed, { "allowHalfOpen": true }]);
    assert_eq!(app.call("tcp.update", allow).await[0], "answer");
    let resume = json!([half_closed, false]);
    assert_eq!(app.call("tcp.setPaused", resume).await[0], "answer");
    half.shutdown().await.expect("its side ends");
    let event = app.event("tcp.onReceiveError").await;
    assert_eq!((&event[1], &event[2]), (&half_closed, &json!(-100)));
    let info = app.call("tcp.getInfo", json!([half_closed])).await;
    assert_eq!(info[2]["connected"], true);
    assert_eq!(info[2].get("halfClosed"), None, "as Chrome");
    let close_half_closed = json!(["a", "tcp", half_closed]);
    let closed = admin.call("host.close", close_half_closed).await;
    assert_eq!(closed[0], "answer");
    let end = within("the end of the connection", half.read(&mut [0])).await;
    assert_eq!(end.expect("a close without a reset"), 0);

    // A paused socket raises no event by itself.
    let connected = TcpStream::connect(("127.0.0.1", port)).await;
    let _peer = connected.expect("a listener");
    let paused = app.event("tcpServer.onAccept").await[2].clone();
    let close_paused = json!(["a", "tcp", paused]);
    assert_eq!(admin.call("host.close", close_paused).await[0], "answer");
    let event = app.event("tcp.onReceiveError").await;
    let closed = (&event[1], &event[2]);
    assert_eq!(closed, (&paused, &json!(-100)), "each event comes once");
    let error = call_error(&mut app, "tcp.close", json!([client])).await;
    assert_eq!(error, "Socket not found");

    let close_server = json!(["a", "tcpServer", server]);
    let closed = admin.call("host.close", close_server.clone()).await;
    assert_eq!(closed[0], "answer");
    let event = app.event("tcpServer.onAcceptError").await;
    assert_eq!((&event[1], &event[2]), (&json!(server), &json!(-100)));
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());

    for (function, arguments, text) in [
        ("host.close", close, "Socket not found"),
        ("host.close", close_server, "Socket not found"),
        ("host.setPaused", set(true), "Socket not found"),
        ("host.close", json!(["b", "tcp", 1]), "There is no such app"),
        (
            "host.setPaused",
            json!(["b", "tcp", 1, true]),
            "There is no such app",
        ),
        ("host.listServers", json!(["b"]), "There is no such app"),
    ] {
        let failed = call_error(&mut admin, function, arguments.clone()).await;
        assert_eq!(failed, text, "{function} {arguments}");
    }
    host.expect_success();
}

#[actix_rt::test]
async fn lists_are_paged() {
    let mut host = Host::dev();
    let key = host.key();
    let mut app = Client::connect(&host, "a").await;
    let name = "\u{1}".repeat(4000);
    let mut last = 0;
    for _ in 0..300 {
        last = app
            .start_call("tcp.create", json!([{ "name": name }]), &[])
            .await;
    }
    app.answer(last).await;
    let mut admin = connect_admin(&host, &key).await;
    let mut seen = Vec::new();
    for (from, count) in [(0, 64), (64, 64), (128, 64), (192, 64), (256, 44), (300, 0)] {
        let arguments = json!(["a", null, false, from, 1_000_000]);
        let list = call(&mut admin, "host.listClients", arguments).await;
        assert_eq!(list["total"], 300);
        let rows = list["sockets"].as_array().expect("rows");
        assert_eq!(rows.len(), count, "from {from}");
        seen.extend(rows.iter().map(|row| row["socketId"].as_u64()));
        let size = list.to_string().len();
        assert!(size < 64 * 1024, "{size} bytes");
    }
    assert!(seen.is_sorted() && seen.len() == 300, "{seen:?}");
    host.expect_success();
}

#[actix_rt::test]
async fn apps_with_blocked_servers_come_first_on_request() {
    let mut host = Host::dev();
    let key = host.key();
    let _a = Client::connect(&host, "a").await;
    let mut b = Client::connect(&host, "b").await;
    let (first, _) = b.listening_server(json!({})).await;
    let (second, _) = b.listening_server(json!({})).await;
    let (first, second) = (json!(first), json!(second));
    b.call("tcpServer.setPaused", json!([second, true])).await;
    let mut admin = connect_admin(&host, &key).await;
    let names = |apps: &Value| {
        let apps = apps["apps"].as_array().expect("rows");
        apps.iter().map(|row| row["app"].clone()).collect::<Value>()
    };
    let apps = call(&mut admin, "host.listApps", json!([0, 64, true])).await;
    assert_eq!(names(&apps), json!(["b", "a"]));
    let paused = json!([{ "reason": "app", "servers": 1 }]);
    assert_eq!(apps["apps"][0]["problems"], paused);
    assert_eq!(apps["all"]["problems"], 1);
    let apps = call(&mut admin, "host.listApps", json!([0, 64, false])).await;
    assert_eq!(names(&apps), json!(["a", "b"]));
    for (problems_first, order) in [(true, [&second, &first]), (false, [&first, &second])] {
        let arguments = json!(["b", 0, 64, problems_first]);
        let servers = call(&mut admin, "host.listServers", arguments).await;
        let ids = [0, 1].map(|at| &servers["sockets"][at]["socketId"]);
        assert_eq!(ids, order);
    }
    b.call("tcpServer.setPaused", json!([second, false])).await;
    let apps = call(&mut admin, "host.listApps", json!([0, 64, true])).await;
    assert_eq!(names(&apps), json!(["a", "b"]), "the pause has ended");
    host.expect_success();
}

#[actix_rt::test]
async fn apps_and_sockets_are_found_by_name_and_address() {
    let mut host = Host::dev();
    let key = host.key();
    let mut shop = Client::connect(&host, "shop").await;
    let (server, port) = shop.listening_server(json!({ "name": "Front" })).await;
    let peer = TcpStream::connect(("127.0.0.1", port)).await;
    let peer = peer
        .expect("a listener")
        .local_addr()
        .expect("a bound socket");
    let client = shop.event("tcpServer.onAccept").await[2].clone();
    let mut other = Client::connect(&host, "other").await;
    let created = other
        .call("tcp.create", json!([{ "name": "to the shop" }]))
        .await;
    let mut admin = connect_admin(&host, &key).await;
    let app = ("app", "shop", Value::Null);
    let named = ("tcp", "other", created[2]["socketId"].clone());
    let server = ("tcpServer", "shop", json!(server));
    let accepted = ("tcp", "shop", client);
    for (text, expected) in [
        ("SHOP", vec![&named, &app]),
        ("front", vec![&server]),
        (&format!("127.0.0.1:{port}"), vec![&server]),
        (&peer.to_string(), vec![&accepted]),
        ("127.0.0.", vec![&server, &accepted]),
        ("nothing like it", vec![]),
    ] {
        let found = call(&mut admin, "host.find", json!([text])).await;
        assert_eq!(found["total"], expected.len(), "{text}: {found}");
        for (row, (kind, app, id)) in found["found"]
            .as_array()
            .expect("rows")
            .iter()
            .zip(expected)
        {
            let is = (&row["kind"], &row["app"], &row["socketId"]);
            assert_eq!(is, (&json!(kind), &json!(app), id), "{text}");
        }
    }
    let second = call(&mut admin, "host.find", json!(["127.0.0.", 1, 1])).await;
    assert_eq!(
        (&second["total"], second["found"][0]["kind"].as_str()),
        (&json!(2), Some("tcp"))
    );
    assert!(second["found"][0]["age"].is_u64(), "{second}");
    host.expect_success();
}

#[actix_rt::test]
async fn a_drain_stops_listening_and_closes_connections_at_its_deadline() {
    let mut host = Host::dev();
    let key = host.key();
    let mut app = Client::connect(&host, "a").await;
    let (server, port) = app.listening_server(json!({})).await;
    let connected = TcpStream::connect(("127.0.0.1", port)).await;
    let mut peer = connected.expect("a listener");
    let client = app.event("tcpServer.onAccept").await[2].clone();
    app.call("tcp.setPaused", json!([client, false])).await;
    let mut admin = connect_admin(&host, &key).await;
    let drain = json!(["a", server, 3600]);
    assert_eq!(
        admin.call("host.drain", drain).await[0],
        "answer",
        "at once"
    );
    let is_draining = |list: &Value| {
        list["sockets"][0]["blockedBy"]
            .to_string()
            .contains("draining")
    };
    poll_until(
        &mut admin,
        "the drain",
        "host.listServers",
        json!(["a"]),
        is_draining,
    )
    .await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    peer.write_all(b"still here")
        .await
        .expect("an open connection");
    assert_eq!(app.event("tcp.onReceive").await[2], "still here");
    // Drains the whole app, with a deadline now.
    assert_eq!(
        admin.call("host.drain", json!(["a", null, 0])).await[0],
        "answer"
    );
    let event = app.event("tcp.onReceiveError").await;
    assert_eq!(event[1], client);
    let is_drained = |list: &Value| list["sockets"][0]["blockedBy"] == json!([]);
    poll_until(
        &mut admin,
        "the end of the drain",
        "host.listServers",
        json!(["a"]),
        is_drained,
    )
    .await;
    let again = app
        .call("tcpServer.listen", json!([server, "127.0.0.1", port]))
        .await;
    assert_eq!(again[2], 0, "it may listen again: {again}");
    for (arguments, text) in [
        (json!(["a", 99, 1]), "Socket not found"),
        (json!(["b", null, 1]), "There is no such app"),
    ] {
        let failed = call_error(&mut admin, "host.drain", arguments.clone()).await;
        assert_eq!(failed, text, "{arguments}");
    }
    host.expect_success();
}

#[actix_rt::test]
async fn invalid_admin_calls_are_answered_and_invalid_frames_close() {
    let mut host = Host::dev();
    let key = host.key();
    let mut admin = connect_admin(&host, &key).await;
    for (function, arguments) in [
        ("host.explode", json!([])),
        ("host.listApps", json!(["a"])),
        ("host.listApps", json!([0, 0, 0])),
        ("host.listServers", json!([])),
        ("host.listServers", json!([1])),
        ("host.listClients", json!(["a", "1", true])),
        ("host.listClients", json!(["a", 1])),
        ("host.listApps", json!([0, 0, true, 0])),
        ("host.listServers", json!(["a", 0, 0, 1])),
        ("host.find", json!([])),
        ("host.find", json!([1])),
        ("host.drain", json!(["a", null])),
        ("host.drain", json!(["a", "1", 1])),
        ("host.setPaused", json!(["a", "tcp", 1])),
        ("host.setPaused", json!(["a", "tls", 1, true])),
        ("host.listUdp", json!(["a"])),
        ("host.listUdp", json!(["a", 1])),
        ("host.close", json!(["a", "tcp"])),
        ("host.close", json!(["a", "tcp", 1, 1])),
    ] {
        let text = call_error(&mut admin, function, arguments.clone()).await;
        assert!(
            text.starts_with("Invalid call: "),
            "{function} {arguments}: {text}"
        );
    }
    for (breach, code) in [
        (json!({ "messages": [[0, "host.listApps"]] }), "overrun"),
        (json!({ "messages": [["host.listApps"]] }), "bad-frame"),
        (
            json!({ "hello": { "protocol": [1], "app": "a" } }),
            "bad-hello",
        ),
        (json!({ "ack": 9 }), "overrun"),
    ] {
        let mut admin = connect_admin(&host, &key).await;
        let sent = admin.socket.send(frame(&breach, &[])).await;
        sent.expect("an open connection");
        let last = next(&mut admin.socket).await.expect("a close reason");
        assert_eq!(last["close"]["code"], code, "{breach}: {last}");
        assert_eq!(next(&mut admin.socket).await, None, "it closes");
    }
    host.expect_success();
}
