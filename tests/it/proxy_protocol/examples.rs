//! Headers as the specification has them.

use std::net::SocketAddr;

/// The signature of version 2.
pub const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What becomes of a valid header.
pub struct Valid {
    pub what: &'static str,
    pub bytes: Vec<u8>,
    /// `None`: the real peer.
    pub client: Option<&'static str>,
    pub tlvs: Vec<(u8, Vec<u8>)>,
}

impl Valid {
    pub fn client(&self) -> Option<SocketAddr> {
        self.client.map(|it| it.parse().expect("an address"))
    }
}

/// A header of version 2.
pub fn v2(version_and_command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("it is short");
    let fixed = [version_and_command, family];
    [SIGNATURE, &fixed, &length.to_be_bytes(), rest].concat()
}

pub const INET: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 1, 0xdd, 0xd5, 0x01, 0xbb];

pub fn inet6() -> Vec<u8> {
    let source = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let destination = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
    [&source[..], &destination, &[0xdd, 0xd5, 0x01, 0xbb]].concat()
}

/// A TLV.
pub fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("it is short");
    [&[kind], &length.to_be_bytes()[..], value].concat()
}

/// The longest line of version 1: 107 bytes.
pub const LONGEST: &str = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                           ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";

pub fn valid() -> Vec<Valid> {
    let text = |what, line: &str, client| Valid {
        what,
        bytes: line.into(),
        client,
        tlvs: Vec::new(),
    };
    let binary = |what, bytes, client, tlvs: &[(u8, &[u8])]| Valid {
        what,
        bytes,
        client,
        tlvs: tlvs.iter().map(|tlv| (tlv.0, tlv.1.to_vec())).collect(),
    };
    let (v4, v6) = (Some("192.0.2.1:56789"), Some("[2001:db8::1]:56789"));
    let tlvs = [
        tlv(1, b"h2"),
        tlv(2, b"a.example"),
        tlv(4, &[]),
        tlv(0xea, b"\0\xff"),
    ];
    let tlvs = tlvs.concat();
    let read: [(u8, &[u8]); 4] = [(1, b"h2"), (2, b"a.example"), (4, b""), (0xea, b"\0\xff")];
    let filled = tlv(4, &[7; 4096 - 16 - 12 - 3]);
    let unix = [&b"/run/client\0"[..], &[0; 204]].concat();
    vec![
        text(
            "v1 TCP4",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56789 443\r\n",
            v4,
        ),
        text(
            "the shortest v1 TCP4",
            "PROXY TCP4 1.1.1.1 2.2.2.2 0 0\r\n",
            Some("1.1.1.1:0"),
        ),
        text(
            "the longest v1 TCP4",
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            Some("255.255.255.255:65535"),
        ),
        text(
            "v1 TCP6",
            "PROXY TCP6 2001:db8::1 2001:db8::2 56789 443\r\n",
            v6,
        ),
        text(
            "the shortest v1 TCP6",
            "PROXY TCP6 :: :: 0 0\r\n",
            Some("[::]:0"),
        ),
        text(
            "the longest v1 TCP6",
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            Some("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe]:65535"),
        ),
        text(
            "v1 TCP6 with a mapped address",
            "PROXY TCP6 ::ffff:192.0.2.1 ::1 9 8\r\n",
            Some("[::ffff:192.0.2.1]:9"),
        ),
        text("the shortest v1 UNKNOWN", "PROXY UNKNOWN\r\n", None),
        text("the longest v1 UNKNOWN", LONGEST, None),
        text(
            "v1 UNKNOWN with many words",
            "PROXY UNKNOWN a b c d e f g h\r\n",
            None,
        ),
        text("v1 UNKNOWN with a lone CR", "PROXY UNKNOWN \r \r\r\n", None),
        binary("v2 TCP4", v2(0x21, 0x11, INET), v4, &[]),
        binary("v2 TCP6", v2(0x21, 0x21, &inet6()), v6, &[]),
        binary(
            "v2 TCP4 with TLVs",
            v2(0x21, 0x11, &[INET, &tlvs].concat()),
            v4,
            &read,
        ),
        binary(
            "v2 TCP6 with TLVs",
            v2(0x21, 0x21, &[&inet6()[..], &tlvs].concat()),
            v6,
            &read,
        ),
        binary(
            "the longest v2",
            v2(0x21, 0x11, &[INET, &filled].concat()),
            v4,
            &[(4, &[7; 4096 - 16 - 12 - 3])],
        ),
        binary("v2 LOCAL", v2(0x20, 0x00, &[]), None, &[]),
        binary("v2 LOCAL with TLVs", v2(0x20, 0x00, &tlvs), None, &read),
        binary("v2 LOCAL with addresses", v2(0x20, 0x11, INET), None, &[]),
        binary(
            "v2 LOCAL of a family without addresses",
            v2(0x20, 0x21, &[]),
            None,
            &[],
        ),
        binary(
            "v2 LOCAL of an unknown family",
            v2(0x20, 0xff, &[9, 9, 9]),
            None,
            &[],
        ),
        binary("v2 UNSPEC", v2(0x21, 0x00, &[]), None, &[]),
        binary("v2 UNSPEC with TLVs", v2(0x21, 0x00, &tlvs), None, &read),
        binary("v2 UNSPEC with addresses", v2(0x21, 0x00, INET), None, &[]),
        binary("v2 UDP over IPv4", v2(0x21, 0x12, INET), None, &[]),
        binary(
            "v2 UDP over IPv6",
            v2(0x21, 0x22, &[&inet6()[..], &tlvs].concat()),
            None,
            &read,
        ),
        binary("v2 IPv4 of no protocol", v2(0x21, 0x10, INET), None, &[]),
        binary("v2 UNIX stream", v2(0x21, 0x31, &unix), None, &[]),
        binary("v2 UNIX datagram", v2(0x21, 0x32, &unix), None, &[]),
    ]
}
