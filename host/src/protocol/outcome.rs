//! The outcomes of calls, and the messages that answer them.

use std::future::poll_fn;
use std::net::IpAddr;
use std::task::{Poll, ready};

use actix::prelude::Arbiter;
use chrome_sockets::{Answer, Error, NetError, tcp, tcp_server, udp};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

/// What a call answers.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// `chrome.runtime.lastError`, if the call failed.
    pub(crate) last_error: Option<String>,
    /// The arguments of the callback.
    pub(crate) values: Vec<Value>,
    /// The error whose text is `last_error`, unless the host itself refused the call.
    pub(crate) error: Option<Error>,
    /// The socket that a `create` made.
    pub(crate) created: Option<u64>,
}

pub(crate) type OutcomeFuture = LocalBoxFuture<'static, Outcome>;

impl Outcome {
    /// A refusal by the host itself.
    pub(crate) fn refused(text: impl Into<String>) -> Self {
        Outcome {
            last_error: Some(text.into()),
            ..Outcome::default()
        }
    }

    pub(crate) fn value(value: Value) -> Self {
        Outcome {
            values: vec![value],
            ..Outcome::default()
        }
    }

    fn failed_with(error: Error, value: Option<Value>) -> Self {
        Outcome {
            values: value.into_iter().collect(),
            ..Outcome::from(error)
        }
    }

    /// The message that answers the call.
    pub(crate) fn message(self, id: u64) -> String {
        let mut message = match self.last_error {
            Some(text) => vec!["error".into(), id.into(), text.into()],
            None => vec!["answer".into(), id.into()],
        };
        message.extend(self.values);
        Value::Array(message).to_string()
    }
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Outcome {
            error: Some(error),
            ..Outcome::refused(error.last_error())
        }
    }
}

/// The outcome of a call with a result.
pub(crate) fn value_outcome<T: Unpin + 'static>(
    answer: Answer<T>,
    outcome: impl FnOnce(T) -> Outcome + 'static,
) -> OutcomeFuture {
    let outcome = answer.map(|result| result.map_or_else(Outcome::from, outcome));
    outcome.boxed_local()
}

/// The outcome of a call without a result.
pub(crate) fn empty_outcome(answer: Answer<()>) -> OutcomeFuture {
    value_outcome(answer, |()| Outcome::default())
}

/// The outcome of `setPaused`. Events that the client has not acknowledged are no failure here:
/// they precede the answer in the client's stream, so no event follows the answer.
pub(crate) fn pause_outcome(answer: Answer<()>) -> OutcomeFuture {
    let outcome = answer.map(|result| match result {
        Ok(()) | Err(Error::EventsInFlight) => Outcome::default(),
        Err(error) => error.into(),
    });
    outcome.boxed_local()
}

/// The outcome of a call whose result is 0 or a net error. `not_found` is the code for a missing
/// socket, which Chrome gives only with some functions.
pub(crate) fn code_outcome(answer: Answer<()>, not_found: Option<NetError>) -> OutcomeFuture {
    let outcome = answer.map(move |result| code_result(result, not_found));
    outcome.boxed_local()
}

fn code_result(result: Result<(), Error>, not_found: Option<NetError>) -> Outcome {
    match result {
        Ok(()) => Outcome::value(0.into()),
        Err(error) => {
            let code = match error {
                Error::SocketNotFound => not_found,
                error => error.net_error(),
            };
            Outcome::failed_with(error, code.map(|code| code.code().into()))
        }
    }
}

/// The outcome of `listen`. Its answer is awaited also after the client has gone: the crate logs
/// errors that nobody awaits, and a client that goes at once must not fill the log.
pub(crate) fn listen_outcome(answer: Answer<()>) -> OutcomeFuture {
    let mut answer = AwaitedOnDrop(Some(answer));
    let completed = poll_fn(move |cx| {
        let result = match &mut answer.0 {
            Some(answer) => ready!(answer.poll_unpin(cx)),
            None => Err(Error::Stopped),
        };
        answer.0 = None;
        Poll::Ready(result)
    });
    let outcome = completed.map(|result| code_result(result, None));
    outcome.boxed_local()
}

struct AwaitedOnDrop(Option<Answer<()>>);

impl Drop for AwaitedOnDrop {
    fn drop(&mut self) {
        if let (Some(answer), Some(arbiter)) = (self.0.take(), Arbiter::try_current()) {
            // Fails if the arbiter has ended, and its sockets with it.
            arbiter.spawn(answer.map(drop));
        }
    }
}

/// The outcome of a `send`.
pub(crate) fn send_outcome(answer: Answer<tcp::SendInfo>) -> OutcomeFuture {
    let outcome = answer.map(|result| match result {
        Ok(info) => Outcome::value(json!({ "resultCode": 0, "bytesSent": info.bytes_sent })),
        Err(error) => {
            let code = error.net_error();
            let value = code.map(|code| json!({ "resultCode": code.code() }));
            Outcome::failed_with(error, value)
        }
    });
    outcome.boxed_local()
}

pub(crate) fn server_info(info: tcp_server::SocketInfo) -> Value {
    without_nulls(json!({
        "socketId": info.socket_id.get(),
        "persistent": info.persistent,
        "name": info.name,
        "paused": info.paused,
        "localAddress": text(info.local_address),
        "localPort": info.local_port,
    }))
}

/// Only Chrome's fields: it shows no local address of an accepted socket, which `info.local` has.
pub(crate) fn tcp_info(info: tcp::SocketInfo) -> Value {
    without_nulls(json!({
        "socketId": info.socket_id.get(),
        "persistent": info.persistent,
        "name": info.name,
        "bufferSize": info.buffer_size,
        "paused": info.paused,
        "connected": info.connected,
        "localAddress": text(info.local_address),
        "localPort": info.local_port,
        "peerAddress": text(info.peer_address),
        "peerPort": info.peer_port,
    }))
}

/// Only Chrome's fields: `info.dropped_datagrams` is for admins.
pub(crate) fn udp_info(info: udp::SocketInfo) -> Value {
    without_nulls(json!({
        "socketId": info.socket_id.get(),
        "persistent": info.persistent,
        "name": info.name,
        "bufferSize": info.buffer_size,
        "paused": info.paused,
        "localAddress": text(info.local_address),
        "localPort": info.local_port,
    }))
}

fn text(address: Option<IpAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}

/// Chrome omits missing fields instead of setting them to null.
fn without_nulls(mut info: Value) -> Value {
    if let Some(fields) = info.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    info
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::SeqCst;

    use chrome_sockets::{App, Registry};

    use super::*;

    /// Counts the lines about answers that nobody awaits.
    struct CountingLog(Arc<AtomicUsize>);

    impl log::Log for CountingLog {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            let text = record.args().to_string();
            self.0
                .fetch_add(usize::from(text.contains("nobody awaits")), SeqCst);
        }

        fn flush(&self) {}
    }

    #[actix_rt::test]
    async fn a_listen_that_fails_after_its_client_has_gone_is_not_logged() {
        let count = Arc::new(AtomicUsize::new(0));
        let logger = Box::new(CountingLog(count.clone()));
        log::set_boxed_logger(logger).expect("no other test has a logger");
        log::set_max_level(log::LevelFilter::Warn);
        let app = App::new("gone", &Registry::new().start());
        let created = app.tcp_server.create(Default::default()).await;
        let id = created.expect("create").socket_id;
        let listen = || app.tcp_server.listen(id, "nowhere", 0, None);
        drop(listen_outcome(listen()));
        // It has failed already.
        let outcome = listen_outcome(listen());
        app.tcp_server.get_info(id).await.expect("it exists");
        drop(outcome);
        app.tcp_server.get_info(id).await.expect("it exists");
        actix_rt::task::yield_now().await;
        assert_eq!(count.load(SeqCst), 0);
        // An answer that is dropped itself is.
        drop(listen());
        app.tcp_server.get_info(id).await.expect("it exists");
        assert_eq!(count.load(SeqCst), 1);
    }
}
