//! Reads the arguments of a call with the types that its function expects.

use std::borrow::Cow;

use bytes::Bytes;
use chrome_sockets::tcp::MAX_ALPN;
use chrome_sockets::{MAX_ID, MAX_NAME, tcp, tcp_server, udp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::excerpt::for_answer;
use crate::limits::{MAX_CERTIFICATES, MAX_PRIVATE_KEY};
use crate::protocol::frame::{Data, FrameError, parse_object};
use crate::protocol::message::{Message, Parts, Text};

/// Why a call is not carried out.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum CallError {
    /// The call is invalid, and answered with this text.
    Call(String),
    /// The frame is invalid, which closes the connection.
    Frame(FrameError),
}

impl From<FrameError> for CallError {
    fn from(error: FrameError) -> Self {
        CallError::Frame(error)
    }
}

/// The arguments of one call, read in order.
pub(crate) struct Arguments<'a, 'd> {
    pub(crate) function: Cow<'a, str>,
    rest: Parts<'a>,
    data: &'d mut Data,
}

/// The properties of all namespaces. Only `tcp` and `udp` have `bufferSize`, and only `tcp` has
/// `allowHalfOpen`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Properties<'a> {
    persistent: Option<bool>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    buffer_size: Option<i32>,
    allow_half_open: Option<bool>,
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

/// The options of `setTls`. Without `Debug`: nothing may print the key.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tls<'a> {
    #[serde(borrow)]
    certificate: Text<'a>,
    #[serde(borrow)]
    private_key: Text<'a>,
    #[serde(borrow, default)]
    alpn: Option<Vec<Text<'a>>>,
}

/// What `setTls` got: the certificates and the private key in PEM, and the protocols (ALPN).
pub(crate) struct TlsOptions {
    pub(crate) certificates: String,
    pub(crate) private_key: String,
    pub(crate) alpn: Vec<String>,
}

impl TlsOptions {
    /// The bytes of all its texts.
    pub(crate) fn bytes(&self) -> usize {
        let alpn = self.alpn.iter().map(String::len).sum::<usize>();
        self.certificates.len() + self.private_key.len() + alpn
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a RawValue) -> Option<T> {
    serde_json::from_str(text.get()).ok()
}

/// Cuts a text that is longer than any valid one: the call fails with its beginning too.
fn truncate(text: Cow<'_, str>) -> String {
    if text.len() <= MAX_NAME {
        return text.into_owned();
    }
    text.chars().take(MAX_NAME + 1).collect()
}

/// Maps every number that cannot be a socket id to 0, which no socket has.
fn valid_id(id: i64) -> u64 {
    let id = u64::try_from(id).ok().filter(|id| *id <= MAX_ID);
    id.unwrap_or(0)
}

const INTEGER: &str = "a 32-bit integer here";

impl<'a, 'd> Arguments<'a, 'd> {
    pub(crate) fn read(message: Message<'a>, data: &'d mut Data) -> Result<Self, CallError> {
        match message.into_call() {
            Some((function, rest)) => Ok(Arguments {
                function,
                rest,
                data,
            }),
            None => Err(CallError::Call(
                "Invalid call: it names no function".to_owned(),
            )),
        }
    }

    pub(crate) fn unknown_function(&self) -> CallError {
        let function = for_answer(&self.function);
        CallError::Call(format!("Invalid call: there is no {function}"))
    }

    pub(crate) fn invalid(&self, expected: &str) -> CallError {
        let function = for_answer(&self.function);
        CallError::Call(format!("Invalid call: {function} takes {expected}"))
    }

    fn require<T>(&self, value: Option<T>, expected: &str) -> Result<T, CallError> {
        value.ok_or_else(|| self.invalid(expected))
    }

    /// A socket id. Out of range it is 0, so that the call fails with `Socket not found`.
    pub(crate) fn socket_id(&mut self) -> Result<u64, CallError> {
        let id = self.optional_socket_id()?;
        self.require(id, "an integer socketId")
    }

    pub(crate) fn optional_socket_id(&mut self) -> Result<Option<u64>, CallError> {
        let Some(id) = self.rest.next() else {
            return Ok(None);
        };
        let id = self.require(id.get().parse().ok(), "an integer socketId")?;
        Ok(Some(valid_id(id)))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, CallError> {
        let flag = self.rest.next().and_then(parse);
        self.require(flag, "a boolean here")
    }

    pub(crate) fn optional_flag(&mut self) -> Result<bool, CallError> {
        match self.rest.next() {
            None => Ok(false),
            Some(flag) => self.require(parse(flag), "a boolean here"),
        }
    }

    pub(crate) fn text(&mut self) -> Result<String, CallError> {
        let text = self.rest.next().and_then(parse::<Text<'_>>);
        self.require(text, "a string here")
            .map(|text| truncate(text.0))
    }

    pub(crate) fn int(&mut self) -> Result<i32, CallError> {
        let int = self.optional_int()?;
        self.require(int, INTEGER)
    }

    pub(crate) fn optional_int(&mut self) -> Result<Option<i32>, CallError> {
        let Some(value) = self.rest.next() else {
            return Ok(None);
        };
        self.require(value.get().parse().ok(), INTEGER).map(Some)
    }

    pub(crate) fn data(&mut self) -> Result<Bytes, CallError> {
        let value = self.rest.next();
        let data = value.map(|value| self.data.take(value)).transpose()?;
        let data = data.flatten().filter(|data| data.len() <= self.data.max);
        self.require(data, "data within the limits of the welcome")
    }

    pub(crate) fn dns_query_type(&mut self) -> Result<tcp::DnsQueryType, CallError> {
        let Some(value) = self.rest.next() else {
            return Ok(tcp::DnsQueryType::Any);
        };
        let text = parse::<Text<'_>>(value);
        let query_type = match text.as_ref().map(|text| &*text.0) {
            Some("any") => Some(tcp::DnsQueryType::Any),
            Some("ipv4") => Some(tcp::DnsQueryType::Ipv4),
            Some("ipv6") => Some(tcp::DnsQueryType::Ipv6),
            _ => None,
        };
        self.require(query_type, r#"one of "any", "ipv4", "ipv6""#)
    }

    /// An object, or the default if the argument is missing.
    fn object<T: Deserialize<'a> + Default>(&mut self, expected: &str) -> Result<T, CallError> {
        match self.rest.next() {
            None => Ok(T::default()),
            Some(text) => self.require(parse_object(text.get().as_bytes()).ok(), expected),
        }
    }

    pub(crate) fn tcp_properties(&mut self) -> Result<tcp::SocketProperties, CallError> {
        let given: Properties<'a> = self.object("valid properties")?;
        Ok(tcp::SocketProperties {
            persistent: given.persistent,
            name: given.name.map(|name| truncate(name.0)),
            buffer_size: given.buffer_size,
            allow_half_open: given.allow_half_open,
            ..tcp::SocketProperties::default()
        })
    }

    pub(crate) fn server_properties(&mut self) -> Result<tcp_server::SocketProperties, CallError> {
        let tcp::SocketProperties {
            persistent,
            name,
            buffer_size,
            allow_half_open,
            ..
        } = self.tcp_properties()?;
        match (buffer_size, allow_half_open) {
            (None, None) => Ok(tcp_server::SocketProperties { persistent, name }),
            _ => Err(self.invalid("valid properties")),
        }
    }

    /// The options of `setTls`; `None` if the argument is missing or `null`.
    pub(crate) fn tls_options(&mut self) -> Result<Option<TlsOptions>, CallError> {
        let Some(text) = self.rest.next() else {
            return Ok(None);
        };
        let given = parse_object::<Tls<'a>>(text.get().as_bytes()).ok();
        let given = self.require(given, "an object with certificate, privateKey and alpn")?;
        let within =
            |text: Text<'a>, max: usize| (text.0.len() <= max).then(|| text.0.into_owned());
        let certificates = within(given.certificate, MAX_CERTIFICATES);
        let certificates = self.require(certificates, "at most 65536 bytes as certificate")?;
        let private_key = within(given.private_key, MAX_PRIVATE_KEY);
        let private_key = self.require(private_key, "at most 16384 bytes as privateKey")?;
        let alpn = given.alpn.unwrap_or_default();
        let is_valid = alpn.iter().all(|name| (1..=255).contains(&name.0.len()))
            && alpn.iter().map(|name| name.0.len()).sum::<usize>() <= MAX_ALPN;
        self.require(
            is_valid.then_some(()),
            "names of 1 to 255 bytes as alpn, of at most 4096 bytes together",
        )?;
        Ok(Some(TlsOptions {
            certificates,
            private_key,
            alpn: alpn.into_iter().map(|name| name.0.into_owned()).collect(),
        }))
    }

    pub(crate) fn udp_properties(&mut self) -> Result<udp::SocketProperties, CallError> {
        let tcp::SocketProperties {
            persistent,
            name,
            buffer_size,
            allow_half_open,
            ..
        } = self.tcp_properties()?;
        match allow_half_open {
            None => Ok(udp::SocketProperties {
                persistent,
                name,
                buffer_size,
            }),
            Some(_) => Err(self.invalid("valid properties")),
        }
    }

    pub(crate) fn secure_options(&mut self) -> Result<tcp::SecureOptions, CallError> {
        let given: Secure<'a> = self.object("an object here")?;
        let versions = match given.tls_version {
            None => None,
            Some(text) => {
                let versions = parse_object::<Versions<'a>>(text.get().as_bytes()).ok();
                let versions = self.require(versions, "an object as tlsVersion")?;
                let name = |text: Option<&'a RawValue>| text.and_then(parse::<Text<'a>>);
                let (min, max) = (name(versions.min), name(versions.max));
                Some(tcp::TlsVersionConstraints::from_names(
                    min.as_ref().map(|name| &*name.0),
                    max.as_ref().map(|name| &*name.0),
                ))
            }
        };
        Ok(tcp::SecureOptions {
            tls_version: versions,
            ..Default::default()
        })
    }

    /// Checks that no argument is left.
    pub(crate) fn expect_end(&self) -> Result<(), CallError> {
        self.require(self.rest.is_empty().then_some(()), "fewer arguments")
    }
}
