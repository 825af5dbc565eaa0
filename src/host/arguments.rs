//! The arguments of a call, each of the type that it must have.

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use serde_json::{Map, Value};

use super::call::{Call, Kind, Wrong};
use super::frame::Data;
use super::limits::DATA;
use super::outcome::Outcome;
use crate::app::App;
use crate::tcp;
use crate::tcp_server;

/// The arguments of one call, taken in their order.
pub(super) struct Arguments<'a> {
    pub(super) function: &'a str,
    pub(super) left: &'a mut [Value],
    pub(super) data: &'a mut Data,
}

impl Arguments<'_> {
    pub(super) fn unknown(&self) -> Wrong {
        Wrong::Call(format!("Invalid call: there is no {}", self.function))
    }

    pub(super) fn wrong(&self, expected: &str) -> Wrong {
        Wrong::Call(format!("Invalid call: {} takes {expected}", self.function))
    }

    /// The next argument; `null` if there is none.
    fn next(&mut self) -> Value {
        let left = std::mem::take(&mut self.left);
        let Some((first, rest)) = left.split_first_mut() else {
            return Value::Null;
        };
        self.left = rest;
        first.take()
    }

    fn known<T>(&self, value: Option<T>, expected: &str) -> Result<T, Wrong> {
        value.ok_or_else(|| self.wrong(expected))
    }

    /// A socket's id. No socket has 0, and none has a negative one.
    pub(super) fn id(&mut self) -> Result<u64, Wrong> {
        let id = self.next().as_i64();
        let id = self.known(id, "an integer socketId")?;
        Ok(id.try_into().unwrap_or(0))
    }

    pub(super) fn optional_id(&mut self) -> Result<Option<u64>, Wrong> {
        match self.left.first() {
            None | Some(Value::Null) => {
                self.next();
                Ok(None)
            }
            Some(_) => self.id().map(Some),
        }
    }

    pub(super) fn flag(&mut self) -> Result<bool, Wrong> {
        let flag = self.next().as_bool();
        self.known(flag, "a boolean here")
    }

    pub(super) fn optional_flag(&mut self) -> Result<bool, Wrong> {
        match self.left.is_empty() {
            true => Ok(false),
            false => self.flag(),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, Wrong> {
        match self.next() {
            Value::String(text) => Ok(text),
            _ => Err(self.wrong("a string here")),
        }
    }

    pub(super) fn int(&mut self) -> Result<i32, Wrong> {
        let int = self.optional_int()?;
        self.known(int, INTEGER)
    }

    pub(super) fn optional_int(&mut self) -> Result<Option<i32>, Wrong> {
        let value = self.next();
        if value.is_null() {
            return Ok(None);
        }
        let int = value.as_i64().and_then(|int| int.try_into().ok());
        self.known(int, INTEGER).map(Some)
    }

    pub(super) fn data(&mut self) -> Result<Bytes, Wrong> {
        let value = self.next();
        let data = self.data.take(&value)?;
        let data = data.filter(|data| data.len() <= DATA);
        self.known(data, "data within the limits of the welcome")
    }

    pub(super) fn dns_query_type(&mut self) -> Result<tcp::DnsQueryType, Wrong> {
        let value = self.next();
        let known = match &value {
            Value::Null => Some(tcp::DnsQueryType::Any),
            Value::String(text) => match text.as_str() {
                "any" => Some(tcp::DnsQueryType::Any),
                "ipv4" => Some(tcp::DnsQueryType::Ipv4),
                "ipv6" => Some(tcp::DnsQueryType::Ipv6),
                _ => None,
            },
            _ => None,
        };
        self.known(known, r#"one of "any", "ipv4", "ipv6""#)
    }

    /// An object; an empty one if there is none.
    fn object(&mut self) -> Result<Map<String, Value>, Wrong> {
        match self.next() {
            Value::Null => Ok(Map::new()),
            Value::Object(fields) => Ok(fields),
            _ => Err(self.wrong("an object here")),
        }
    }

    /// What both namespaces have, and their `bufferSize`.
    fn properties(&mut self) -> Result<tcp::SocketProperties, Wrong> {
        let mut properties = tcp::SocketProperties::default();
        for (field, value) in self.object()? {
            let is_known = match (field.as_str(), value) {
                ("persistent" | "name" | "bufferSize", Value::Null) => true,
                ("persistent", Value::Bool(persistent)) => {
                    properties.persistent = Some(persistent);
                    true
                }
                ("name", Value::String(name)) => {
                    properties.name = Some(name);
                    true
                }
                ("bufferSize", Value::Number(size)) => {
                    properties.buffer_size = size.as_i64().and_then(|size| size.try_into().ok());
                    properties.buffer_size.is_some()
                }
                _ => false,
            };
            self.known(is_known.then_some(()), "other properties")?;
        }
        Ok(properties)
    }

    pub(super) fn tcp_properties(&mut self) -> Result<tcp::SocketProperties, Wrong> {
        self.properties()
    }

    pub(super) fn server_properties(&mut self) -> Result<tcp_server::SocketProperties, Wrong> {
        let tcp::SocketProperties {
            persistent,
            name,
            buffer_size,
        } = self.properties()?;
        match buffer_size {
            None => Ok(tcp_server::SocketProperties { persistent, name }),
            Some(_) => Err(self.wrong("other properties")),
        }
    }

    pub(super) fn secure_options(&mut self) -> Result<tcp::SecureOptions, Wrong> {
        let fields = self.object()?;
        let versions = match fields.get("tlsVersion") {
            None | Some(Value::Null) => None,
            Some(Value::Object(versions)) => Some(tcp::TlsVersionConstraints::from_names(
                versions.get("min").and_then(Value::as_str),
                versions.get("max").and_then(Value::as_str),
            )),
            Some(_) => return Err(self.wrong("an object as tlsVersion")),
        };
        Ok(tcp::SecureOptions {
            tls_version: versions,
        })
    }

    /// There is no other argument.
    pub(super) fn end(&self) -> Result<(), Wrong> {
        match self.left.iter().all(Value::is_null) {
            true => Ok(()),
            false => Err(self.wrong("fewer arguments")),
        }
    }

    /// There is no other argument: the call is this.
    pub(super) fn done<F>(self, start: F) -> Result<Call, Wrong>
    where
        F: FnOnce(&App) -> LocalBoxFuture<'static, Outcome> + 'static,
    {
        self.end()?;
        Ok(Call {
            kind: Kind::Other,
            start: Box::new(start),
        })
    }
}

const INTEGER: &str = "an integer of 32 bits here";
