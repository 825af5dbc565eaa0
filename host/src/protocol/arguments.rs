//! The arguments of a call, each of the type that it must have.

use std::borrow::Cow;

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::excerpt::repeated;
use crate::limits::DATA;
use crate::protocol::call::{Call, CallError, Kind, Start};
use crate::protocol::frame::{Data, object};
use crate::protocol::message::{Parts, Text};
use crate::protocol::outcome::Outcome;
use chrome_sockets::App;
use chrome_sockets::MAX_ID;
use chrome_sockets::MAX_NAME;
use chrome_sockets::tcp;
use chrome_sockets::tcp_server;

/// The arguments of one call, taken in their order.
pub(crate) struct Arguments<'a, 'd> {
    pub(crate) function: Cow<'a, str>,
    pub(crate) left: Parts<'a>,
    pub(crate) data: &'d mut Data,
}

/// What both namespaces have, and the `bufferSize` of one.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Properties<'a> {
    persistent: Option<bool>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    buffer_size: Option<i32>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Secure<'a> {
    #[serde(borrow)]
    tls_version: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Versions<'a> {
    #[serde(borrow)]
    min: Option<&'a RawValue>,
    #[serde(borrow)]
    max: Option<&'a RawValue>,
}

/// A value of this type, if the text is one.
fn typed<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Option<T> {
    serde_json::from_str(text.get()).ok()
}

/// A text; one that is longer than any that is of use is as wrong as its beginning.
fn cut(text: Cow<'_, str>) -> String {
    if text.len() <= MAX_NAME {
        return text.into_owned();
    }
    text.chars().take(MAX_NAME + 1).collect()
}

/// The id that no socket has, if none can have this one.
fn known_id(id: i64) -> u64 {
    let id = u64::try_from(id).ok().filter(|id| *id <= MAX_ID);
    id.unwrap_or(0)
}

impl<'a> Arguments<'a, '_> {
    pub(crate) fn unknown(&self) -> CallError {
        let function = repeated(&self.function);
        CallError::Call(format!("Invalid call: there is no {function}"))
    }

    pub(crate) fn wrong(&self, expected: &str) -> CallError {
        let function = repeated(&self.function);
        CallError::Call(format!("Invalid call: {function} takes {expected}"))
    }

    fn known<T>(&self, value: Option<T>, expected: &str) -> Result<T, CallError> {
        value.ok_or_else(|| self.wrong(expected))
    }

    /// A socket's id. No socket has 0, and none has a negative one or one above
    /// 2^53.
    pub(crate) fn id(&mut self) -> Result<u64, CallError> {
        let id = self.left.next();
        let id = id.and_then(|id| id.get().parse::<i64>().ok());
        self.known(id, "an integer socketId").map(known_id)
    }

    pub(crate) fn optional_id(&mut self) -> Result<Option<u64>, CallError> {
        let Some(id) = self.left.next() else {
            return Ok(None);
        };
        let id = self.known(id.get().parse::<i64>().ok(), "an integer socketId")?;
        Ok(Some(known_id(id)))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, CallError> {
        let flag = self.left.next().and_then(typed);
        self.known(flag, "a boolean here")
    }

    pub(crate) fn optional_flag(&mut self) -> Result<bool, CallError> {
        match self.left.next() {
            None => Ok(false),
            Some(flag) => self.known(typed(flag), "a boolean here"),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, CallError> {
        let text = self.left.next().and_then(typed::<Text<'_>>);
        self.known(text, "a string here").map(|text| cut(text.0))
    }

    pub(crate) fn int(&mut self) -> Result<i32, CallError> {
        let int = self.optional_int()?;
        self.known(int, INTEGER)
    }

    pub(crate) fn optional_int(&mut self) -> Result<Option<i32>, CallError> {
        let Some(value) = self.left.next() else {
            return Ok(None);
        };
        self.known(value.get().parse().ok(), INTEGER).map(Some)
    }

    pub(crate) fn data(&mut self) -> Result<Bytes, CallError> {
        let value = self.left.next();
        let data = value.map(|value| self.data.take(value)).transpose()?;
        let data = data.flatten().filter(|data| data.len() <= DATA);
        self.known(data, "data within the limits of the welcome")
    }

    pub(crate) fn dns_query_type(&mut self) -> Result<tcp::DnsQueryType, CallError> {
        let Some(value) = self.left.next() else {
            return Ok(tcp::DnsQueryType::Any);
        };
        let text = typed::<Text<'_>>(value);
        let known = match text.as_ref().map(|text| &*text.0) {
            Some("any") => Some(tcp::DnsQueryType::Any),
            Some("ipv4") => Some(tcp::DnsQueryType::Ipv4),
            Some("ipv6") => Some(tcp::DnsQueryType::Ipv6),
            _ => None,
        };
        self.known(known, r#"one of "any", "ipv4", "ipv6""#)
    }

    /// An object; an empty one if there is none.
    fn object<T: Deserialize<'a> + Default>(&mut self, expected: &str) -> Result<T, CallError> {
        match self.left.next() {
            None => Ok(T::default()),
            Some(text) => self.known(object(text.get().as_bytes()).ok(), expected),
        }
    }

    pub(crate) fn tcp_properties(&mut self) -> Result<tcp::SocketProperties, CallError> {
        let given: Properties<'a> = self.object("other properties")?;
        Ok(tcp::SocketProperties {
            persistent: given.persistent,
            name: given.name.map(|name| cut(name.0)),
            buffer_size: given.buffer_size,
        })
    }

    pub(crate) fn server_properties(&mut self) -> Result<tcp_server::SocketProperties, CallError> {
        let tcp::SocketProperties {
            persistent,
            name,
            buffer_size,
        } = self.tcp_properties()?;
        match buffer_size {
            None => Ok(tcp_server::SocketProperties { persistent, name }),
            Some(_) => Err(self.wrong("other properties")),
        }
    }

    pub(crate) fn secure_options(&mut self) -> Result<tcp::SecureOptions, CallError> {
        let given: Secure<'a> = self.object("an object here")?;
        let versions = match given.tls_version {
            None => None,
            Some(text) => {
                let versions = object::<Versions<'a>>(text.get().as_bytes()).ok();
                let versions = self.known(versions, "an object as tlsVersion")?;
                let name = |text: Option<&'a RawValue>| text.and_then(typed::<Text<'a>>);
                let (min, max) = (name(versions.min), name(versions.max));
                Some(tcp::TlsVersionConstraints::from_names(
                    min.as_ref().map(|name| &*name.0),
                    max.as_ref().map(|name| &*name.0),
                ))
            }
        };
        Ok(tcp::SecureOptions {
            tls_version: versions,
        })
    }

    /// There is no other argument.
    pub(crate) fn end(&self) -> Result<(), CallError> {
        match self.left.is_over() {
            true => Ok(()),
            false => Err(self.wrong("fewer arguments")),
        }
    }

    /// There is no other argument: the call is this.
    pub(crate) fn done<F>(&self, start: F) -> Result<Call, CallError>
    where
        F: FnOnce(&App) -> LocalBoxFuture<'static, Outcome> + 'static,
    {
        self.end()?;
        Ok(Call {
            kind: Kind::Other,
            start: Start::Call(Box::new(start)),
        })
    }
}

const INTEGER: &str = "an integer of 32 bits here";
