//! Spans of connections and calls, with their ids, as a subscriber of `tracing` sees them.
#![expect(clippy::panic, reason = "tests fail by panics")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use chrome_sockets::tcp::DnsQueryType;
use chrome_sockets::{Error, Registry};
use support::{TestApp, until, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tracing::Dispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::tcp_server::dial;
use crate::tls::certificates::Authority;
use crate::tls::connect;

/// A span as it was recorded.
#[derive(Clone, Default, Debug)]
struct Seen {
    name: &'static str,
    fields: BTreeMap<&'static str, String>,
    parent: Option<&'static str>,
    was_entered: bool,
    is_closed: bool,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// Records all spans of the crate.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<BTreeMap<u64, Seen>>>);

impl Recorder {
    fn spans(&self) -> MutexGuard<'_, BTreeMap<u64, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self, name: &str) -> Vec<Seen> {
        let spans = self.spans();
        let named = spans.values().filter(|it| it.name == name);
        named.cloned().collect()
    }

    /// The only span of this call.
    fn call(&self, call: &str) -> Seen {
        let calls = self.all("call");
        let mut named = calls.iter().filter(|it| it.fields["call"] == call);
        match (named.next(), named.next()) {
            (Some(seen), None) => seen.clone(),
            (first, _) => panic!("{call}: {first:?} of {calls:#?}"),
        }
    }
}

impl<S> Layer<S> for Recorder
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().target() != "chrome_sockets" {
            return;
        }
        let parent = context.span(id).and_then(|span| span.parent());
        let mut seen = Seen {
            name: attributes.metadata().name(),
            parent: parent.map(|parent| parent.name()),
            ..Seen::default()
        };
        attributes.record(&mut seen);
        // Ids of closed spans are used again.
        let number = self.spans().len() as u64;
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(number);
        }
        self.spans().insert(number, seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.change(id, &context, |seen| values.record(seen));
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.change(id, &context, |seen| seen.was_entered = true);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.change(&id, &context, |seen| seen.is_closed = true);
    }
}

impl Recorder {
    fn change<S>(&self, id: &Id, context: &Context<'_, S>, change: impl FnOnce(&mut Seen))
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        let span = context.span(id);
        let number = span.and_then(|span| span.extensions().get::<u64>().copied());
        if let Some(seen) = number.and_then(|number| self.spans().get_mut(&number).cloned()) {
            let mut seen = seen;
            change(&mut seen);
            self.spans().insert(number.unwrap_or(0), seen);
        }
    }
}

/// Has this thread record its spans until the returned value is dropped.
fn record() -> (Recorder, tracing::subscriber::DefaultGuard) {
    // While there is one dispatcher, the thread that is first to reach a span's place in the code
    // decides for all threads whether that span is wanted: the thread of another test would
    // decide that it is not. With two, each thread is asked.
    static SECOND: OnceLock<Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(NoSubscriber::new()));
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry().with(recorder.clone());
    let guard = tracing::subscriber::set_default(subscriber);
    (recorder, guard)
}

#[actix_rt::test]
async fn an_accepted_connection_has_a_span_with_its_ids_until_it_has_ended() {
    let (recorder, _guard) = record();
    let mut test = TestApp::on(Registry::new()).await;
    let (server, at) = test.listen().await;
    let mut peer = dial(at).await;
    let client = test.accepted().await;
    client.set_paused(false).await.expect("it is open");
    peer.write_all(b"hello").await.expect("it is open");
    assert_eq!(test.received(client.id(), 5).await, b"hello");
    let spans = recorder.all("connection");
    let [span] = spans.as_slice() else {
        panic!("{spans:#?}");
    };
    let address = peer.local_addr().expect("it is connected");
    for (field, value) in [
        ("app", "test".to_owned()),
        ("server_socket_id", server.to_string()),
        ("socket_id", client.id().to_string()),
        ("peer", address.to_string()),
    ] {
        assert_eq!(span.fields[field], value, "{field}");
    }
    assert!(span.was_entered && !span.is_closed && span.parent.is_none());
    client.close().await.expect("it is open");
    let mut rest = Vec::new();
    let _ = within("the end", peer.read_to_end(&mut rest)).await;
    drop(peer);
    until("the end of the span", || {
        recorder.all("connection")[0].is_closed
    })
    .await;
}

#[actix_rt::test]
async fn an_outbound_connection_has_a_span_with_its_ids() {
    let (recorder, _guard) = record();
    let test = TestApp::on(Registry::new()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("it listens");
    let id = test.create().await;
    let connected = test
        .app
        .tcp
        .connect(id, "127.0.0.1", at.port().into(), DnsQueryType::Any);
    within("the answer", connected).await.expect("it listens");
    let span = recorder.all("connection").pop().expect("a span");
    assert_eq!(span.fields["socket_id"], id.to_string());
    assert_eq!(span.fields["peer"], at.to_string());
    assert_eq!(span.fields.get("server_socket_id"), None);
}

#[actix_rt::test]
async fn each_call_has_a_span_with_its_name_its_socket_and_its_error() {
    let (recorder, _guard) = record();
    let mut test = TestApp::on(Registry::new()).await;
    let (server, at) = test.listen().await;
    let _peer = dial(at).await;
    let client = test.accepted().await;
    for (call, id) in [
        ("tcp_server.create", server.to_string()),
        ("tcp_server.listen", server.to_string()),
        ("tcp_server.getInfo", server.to_string()),
    ] {
        let span = recorder.call(call);
        assert_eq!(span.fields["socket_id"], id, "{call}");
        assert_eq!(span.fields["app"], "test");
        assert!(span.is_closed, "{call} is answered");
        assert_eq!(span.fields.get("error"), None);
    }
    let id = client.id();
    let outer = tracing::info_span!(target: "app", "outer");
    let calls = outer.in_scope(|| {
        // By id, by handle, without an answer, and sends.
        let by_id = test.app.tcp.set_no_delay(id, true);
        let by_handle = client.get_info();
        client.do_set_keep_alive(true, None);
        (by_id, by_handle, client.send(&b"hi"[..]))
    });
    calls.0.await.expect("it is open");
    calls.1.await.expect("it is open");
    calls.2.await.expect("it is open");
    for call in [
        "tcp.setNoDelay",
        "tcp.getInfo",
        "tcp.setKeepAlive",
        "tcp.send",
    ] {
        let span = recorder.call(call);
        assert_eq!(span.fields["socket_id"], id.to_string(), "{call}");
        assert_eq!(span.parent, Some("outer"), "{call}");
        until(call, || recorder.call(call).is_closed).await;
    }
    client.do_close();
    let closed = test.app.tcp.disconnect(id).await;
    assert_eq!(closed, Err(Error::SocketNotFound));
    assert_eq!(
        recorder.call("tcp.close").fields["socket_id"],
        id.to_string()
    );
    let failed = recorder.call("tcp.disconnect");
    assert_eq!(failed.fields["error"], Error::SocketNotFound.to_string());
    let udp = &test.app.udp;
    let id = udp
        .create(Default::default())
        .await
        .expect("create")
        .socket_id;
    udp.bind(id, "127.0.0.1", 0).await.expect("bind");
    assert_eq!(
        recorder.call("udp.bind").fields["socket_id"],
        id.to_string()
    );
}

#[actix_rt::test]
async fn the_span_of_a_connection_surrounds_its_handshake() {
    let (recorder, _guard) = record();
    let authority = Authority::new();
    let mut test = TestApp::on(Registry::new()).await;
    let (id, at) = test.listen().await;
    let server = authority.issue("localhost").server();
    let set = test.app.tcp_server.set_tls(id, Some(server)).await;
    set.expect("it exists");
    let mut stranger = dial(at).await;
    until("the span", || !recorder.all("connection").is_empty()).await;
    until("the handshake", || {
        recorder.all("connection")[0].was_entered
    })
    .await;
    assert_eq!(recorder.all("connection")[0].fields.get("socket_id"), None);
    stranger
        .write_all(b"no handshake\r\n\r\n")
        .await
        .expect("sent");
    let mut rest = Vec::new();
    let _ = within("the end", stranger.read_to_end(&mut rest)).await;
    until("the end of the span", || {
        recorder.all("connection")[0].is_closed
    })
    .await;
    let _peer = connect(at, &authority).await.expect("a handshake");
    let client = test.accepted().await;
    let span = recorder.all("connection").pop().expect("a span");
    assert_eq!(span.fields["socket_id"], client.id().to_string());
}
