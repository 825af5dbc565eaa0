//! What comes of a call, as the messages that tell it.

use std::future::Future;
use std::net::IpAddr;

use futures::FutureExt;
use futures::future::{LocalBoxFuture, join_all};
use serde_json::{Value, json};

use chrome_sockets::Answer;
use chrome_sockets::Error;
use chrome_sockets::NetError;
use chrome_sockets::tcp;
use chrome_sockets::tcp_server;

/// What a call answers: `chrome.runtime.lastError`, if it failed, and the
/// arguments of the callback.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) last_error: Option<String>,
    pub(crate) values: Vec<Value>,
}

impl Outcome {
    pub(crate) fn failed(last_error: impl ToString) -> Self {
        Outcome {
            last_error: Some(last_error.to_string()),
            values: Vec::new(),
        }
    }

    fn ok(value: Value) -> Self {
        Outcome {
            last_error: None,
            values: vec![value],
        }
    }

    /// The message that tells it.
    pub(crate) fn message(self, id: u64) -> String {
        let mut message = match self.last_error {
            Some(text) => vec!["error".into(), id.into(), text.into()],
            None => vec!["answer".into(), id.into()],
        };
        message.extend(self.values);
        Value::Array(message).to_string()
    }
}

/// The infos of those that are still there, as one part of a list.
pub(crate) async fn part(
    infos: impl Iterator<Item = impl Future<Output = Result<Value, Error>>>,
) -> Outcome {
    let infos = join_all(infos).await;
    Outcome::ok(infos.into_iter().flatten().collect())
}

pub(crate) fn answer<T: Unpin + 'static>(
    answer: Answer<T>,
    show: impl FnOnce(T) -> Value + 'static,
) -> LocalBoxFuture<'static, Outcome> {
    let shown = answer.map(|answer| match answer {
        Ok(value) => Outcome::ok(show(value)),
        Err(error) => Outcome::failed(error),
    });
    shown.boxed_local()
}

pub(crate) fn nothing(answer: Answer<()>) -> LocalBoxFuture<'static, Outcome> {
    let shown = answer.map(|answer| match answer {
        Ok(()) => Outcome::default(),
        Err(error) => Outcome::failed(error),
    });
    shown.boxed_local()
}

/// A pause is followed by no event on its way to the client: what has been
/// raised before stands before the answer, however long the client takes.
pub(crate) fn paused_now(answer: Answer<()>) -> LocalBoxFuture<'static, Outcome> {
    let shown = answer.map(|answer| match answer {
        Ok(()) | Err(Error::EventsInFlight) => Outcome::default(),
        Err(error) => Outcome::failed(error),
    });
    shown.boxed_local()
}

/// 0 or a net error; some functions have one for a socket that is not there.
pub(crate) fn code(
    answer: Answer<()>,
    not_found: Option<NetError>,
) -> LocalBoxFuture<'static, Outcome> {
    let shown = answer.map(move |answer| match answer {
        Ok(()) => Outcome::ok(0.into()),
        Err(error) => {
            let code = match error {
                Error::SocketNotFound => not_found,
                error => error.net_error(),
            };
            let values = code.map(|code| code.code().into());
            Outcome {
                values: values.into_iter().collect(),
                ..Outcome::failed(error)
            }
        }
    });
    shown.boxed_local()
}

pub(crate) fn sent(answer: Answer<tcp::SendInfo>) -> LocalBoxFuture<'static, Outcome> {
    let shown = answer.map(|answer| match answer {
        Ok(sent) => Outcome::ok(json!({ "resultCode": 0, "bytesSent": sent.bytes_sent })),
        Err(error) => {
            let code = error.net_error();
            let values = code.map(|code| json!({ "resultCode": code.code() }));
            Outcome {
                values: values.into_iter().collect(),
                ..Outcome::failed(error)
            }
        }
    });
    shown.boxed_local()
}

pub(crate) fn created_socket(id: u64) -> Value {
    json!({ "socketId": id })
}

pub(crate) fn server_info(info: tcp_server::SocketInfo) -> Value {
    present(json!({
        "socketId": info.socket_id.get(),
        "persistent": info.persistent,
        "name": info.name,
        "paused": info.paused,
        "localAddress": text(info.local_address),
        "localPort": info.local_port,
    }))
}

pub(crate) fn tcp_info(info: tcp::SocketInfo) -> Value {
    present(json!({
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

fn text(address: Option<IpAddr>) -> Option<String> {
    address.map(|address| address.to_string())
}

/// Chrome leaves out what is not there.
fn present(mut info: Value) -> Value {
    if let Some(fields) = info.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    info
}
