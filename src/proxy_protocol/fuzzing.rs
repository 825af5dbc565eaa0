//! Reads headers as a connection does, for the fuzzer.

use crate::proxy_protocol::parse::{missing, parse};
use crate::proxy_protocol::{Addresses, IpNetwork, MAX_HEADER, Version};

/// The input is a header with data behind it, or a network.
pub(crate) fn header(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(network) = text.parse::<IpNetwork>()
    {
        assert_eq!(network.to_string().parse(), Ok(network));
    }
    let Some(end) = header_end(bytes) else {
        return;
    };
    let Ok(header) = parse(&bytes[..end]) else {
        return;
    };
    // Of an invalid one more may be read: its connection is closed.
    for at in 0..end {
        let missing = missing(&bytes[..at]).expect("the beginning of a header is valid");
        assert!(missing > 0, "the header is longer");
        assert!(at + missing <= end, "data behind the header would be read");
    }
    assert!(header.tlvs().count() <= end);
    let written = header.to_bytes().expect("what was read can be written");
    // The text of an IPv6 address may be longer than the one that was read.
    assert!(header.version() == Version::V1 || written.len() <= end);
    assert_eq!(missing(&written), Ok(0));
    let again = parse(&written).expect("what was written can be read");
    assert_eq!(again.addresses(), header.addresses());
    assert_eq!(again.to_bytes(), Ok(written));
    assert!(
        !matches!(again.addresses(), Addresses::Ip { source, destination }
        if source.is_ipv4() != destination.is_ipv4())
    );
}

/// Where the header ends, if it is complete and its beginning valid.
fn header_end(bytes: &[u8]) -> Option<usize> {
    let mut end = 0;
    loop {
        let count = missing(bytes.get(..end)?).ok()?;
        end += count;
        assert!(end <= MAX_HEADER, "the bound");
        if count == 0 {
            return Some(end);
        }
    }
}
