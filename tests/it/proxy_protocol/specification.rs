//! The tables of the specification.

use chrome_sockets::NetError;
use chrome_sockets::proxy_protocol::{
    Addresses, MAX_HEADER, ProxyError, ProxyHeader, Version, tlv as kind,
};
use chrome_sockets::testing::ScriptedNetwork;
use support::within;
use tokio::io::AsyncWriteExt;

use super::examples::{INET, LONGEST, SIGNATURE, Valid, inet6, tlv, v2, valid};
use super::{Fixture, dial, expect_end, failed, write};

/// What is sent behind each header: the beginning of another one, which is data there.
const BEHIND: &[u8] = b"PROXY TCP4 data behind\r\n\0";

impl Fixture {
    /// Fails unless the next client is that of the header, with its data.
    async fn assert_client(&mut self, valid: &Valid, proxy: std::net::SocketAddr) {
        let info = self.accepted().await;
        let client = valid.client().unwrap_or(proxy);
        assert_eq!(info.peer().socket_addr(), Some(client), "{}", valid.what);
        let proxy_peer = info.proxy_peer().expect("it has a header");
        assert_eq!(proxy_peer.address.socket_addr(), Some(proxy));
        let header = &proxy_peer.header;
        assert_eq!(header.source(), valid.client(), "{}", valid.what);
        let tlvs: Vec<_> = header.tlvs().map(|tlv| (tlv.0, tlv.1.to_vec())).collect();
        assert_eq!(tlvs, valid.tlvs, "{}", valid.what);
        let is_v2 = valid.bytes.starts_with(SIGNATURE);
        assert_eq!(header.version() == Version::V2, is_v2);
        let tcp = &self.test.app.tcp;
        let of_client = tcp.get_info(info.client_socket_id).await;
        let of_client = of_client.expect("it exists");
        assert_eq!(of_client.peer_addr(), Some(client), "{}", valid.what);
        self.assert_receives(&info, BEHIND).await;
    }
}

#[actix_rt::test]
async fn a_header_names_the_client_and_what_is_behind_it_is_data() {
    let mut fixture = Fixture::new().await;
    for valid in valid() {
        let mut proxy = dial(fixture.at).await;
        write(&mut proxy, &[&valid.bytes, BEHIND].concat()).await;
        let address = proxy.local_addr().expect("its address");
        fixture.assert_client(&valid, address).await;
    }
    assert_eq!(fixture.info().await.counts.failed, 0);
}

#[actix_rt::test]
async fn a_header_may_be_split_at_every_byte() {
    let network = ScriptedNetwork::new();
    let mut fixture = Fixture::with_network(network.clone()).await;
    for valid in valid() {
        let all = [&valid.bytes, BEHIND].concat();
        // Of the longest header only the ends: what is between is one read.
        let splits = (1..all.len()).filter(|at| *at < 300 || *at > all.len() - 40);
        for at in splits {
            let proxy = network.client(fixture.at).expect("it listens");
            proxy.send(&all[..at]);
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            proxy.send(&all[at..]);
            fixture.assert_client(&valid, proxy.addr()).await;
        }
    }
}

#[actix_rt::test]
async fn a_header_may_come_byte_by_byte() {
    let network = ScriptedNetwork::new();
    let mut fixture = Fixture::with_network(network.clone()).await;
    for valid in valid() {
        let proxy = network.client(fixture.at).expect("it listens");
        proxy.short_reads(1);
        proxy.send([&valid.bytes, BEHIND].concat());
        fixture.assert_client(&valid, proxy.addr()).await;
    }
    // And on a real connection, each byte in a segment of its own.
    let mut fixture = Fixture::new().await;
    for valid in valid().iter().filter(|it| it.bytes.len() < 200) {
        let mut proxy = dial(fixture.at).await;
        proxy.set_nodelay(true).expect("the option is set");
        for byte in [&valid.bytes, BEHIND].concat() {
            proxy.write_all(&[byte]).await.expect("write");
            tokio::task::yield_now().await;
        }
        let address = proxy.local_addr().expect("its address");
        fixture.assert_client(valid, address).await;
    }
}

#[actix_rt::test]
async fn a_connection_that_ends_in_its_header_is_reported_wherever_it_ends() {
    let network = ScriptedNetwork::new();
    let mut fixture = Fixture::with_network(network.clone()).await;
    let mut count = 0;
    for valid in valid() {
        for at in (0..valid.bytes.len()).take(130) {
            let proxy = network.client(fixture.at).expect("it listens");
            proxy.send(&valid.bytes[..at]);
            proxy.shutdown();
            let info = fixture.error().await;
            let closed = failed(NetError::CONNECTION_CLOSED);
            assert_eq!(info.error, closed, "{} at {at}", valid.what);
            assert_eq!(info.peer, proxy.addr());
            count += 1;
        }
    }
    assert_eq!(fixture.info().await.counts.failed, count);
}

fn invalid() -> Vec<(Vec<u8>, ProxyError)> {
    use ProxyError::{Malformed, NoHeader, TooLong, WrongChecksum};
    let lines = [
        ("GET / HTTP/1.1\r\n\r\n", NoHeader),
        ("\r\n\r\n\0\r\nQUIX\n", NoHeader),
        ("proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n", NoHeader),
        ("PROXX TCP4 1.1.1.1 2.2.2.2 1 2\r\n", NoHeader),
        (" PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", NoHeader),
        ("PROXY  TCP4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed),
        ("PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n", Malformed),
        ("PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed),
        ("PROXY tcp4 1.1.1.1 2.2.2.2 1 2\r\n", Malformed),
        ("PROXY UNKNOWNX\r\n", Malformed),
        ("PROXY UNKNOW\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n", Malformed),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1  2.2.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 01.1.1.1 2.2.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 ::1 ::2 1 2\r\n", Malformed),
        ("PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n", Malformed),
        ("PROXY TCP6 ::g ::1 1 2\r\n", Malformed),
        ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 65536 2\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n", Malformed),
        ("PROXY TCP4 1.1.1.1 2.2.2.2 a 2\r\n", Malformed),
    ];
    let mut invalid: Vec<_> = lines
        .into_iter()
        .map(|(line, error)| (line.into(), error))
        .collect();
    invalid.push((LONGEST.replace("65535\r", "655355\r").into(), TooLong));
    invalid.push((format!("PROXY UNKNOWN {}", "x".repeat(93)).into(), TooLong));
    let with_tlvs = |tlvs: &[u8]| v2(0x21, 0x11, &[INET, tlvs].concat());
    let mut wrong_crc = with_tlvs(&tlv(3, &[0; 4]));
    wrong_crc[31] ^= 1;
    invalid.extend([
        // Version and command.
        (v2(0x11, 0x11, INET), Malformed),
        (v2(0x31, 0x11, INET), Malformed),
        (v2(0x01, 0x11, INET), Malformed),
        (v2(0x22, 0x11, INET), Malformed),
        (v2(0x2f, 0x11, INET), Malformed),
        // Family and protocol.
        (v2(0x21, 0x41, &inet6()), Malformed),
        (v2(0x21, 0x13, INET), Malformed),
        (v2(0x21, 0xf1, &[0; 216]), Malformed),
        // Lengths that are too small for the addresses.
        (v2(0x21, 0x11, &INET[..11]), Malformed),
        (v2(0x21, 0x11, &[]), Malformed),
        (v2(0x21, 0x21, INET), Malformed),
        (v2(0x21, 0x31, &[0; 215]), Malformed),
        // TLVs that end beyond the header, or are incomplete.
        (with_tlvs(&[4, 0, 1]), Malformed),
        (with_tlvs(&[4, 0xff, 0xff, 0]), Malformed),
        (with_tlvs(&[4]), Malformed),
        (with_tlvs(&[4, 0]), Malformed),
        (
            with_tlvs(&[&tlv(1, b"h2")[..], &[4, 0, 9]].concat()),
            Malformed,
        ),
        // Checksums.
        (with_tlvs(&tlv(3, &[0; 4])), WrongChecksum),
        (with_tlvs(&tlv(3, &[0; 3])), Malformed),
        (wrong_crc, WrongChecksum),
        // Lengths beyond the bound, at which the header is not awaited.
        (with_tlvs(&vec![0; MAX_HEADER - 27]), TooLong),
        ([SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(), TooLong),
        ([SIGNATURE, &[0x20, 0x00, 0x0f, 0xf1]].concat(), TooLong),
    ]);
    invalid
}

#[actix_rt::test]
async fn an_invalid_header_closes_its_connection_and_is_reported() {
    let mut fixture = Fixture::new().await;
    let invalid = invalid();
    for (bytes, error) in &invalid {
        let mut proxy = dial(fixture.at).await;
        write(&mut proxy, bytes).await;
        let info = fixture.error().await;
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(info.error, *error, "{text:?}");
        assert_eq!(info.socket_id, fixture.id);
        assert_eq!(info.peer, proxy.local_addr().expect("its address"));
        expect_end(&mut proxy).await;
        assert!(ProxyHeader::parse(bytes).is_err(), "{text:?}");
    }
    let counts = fixture.info().await.counts;
    let count = invalid.len() as u64;
    assert_eq!((counts.accepted, counts.failed), (count, count));
    assert_eq!(counts.delivered, 0);
    fixture.assert_serves().await;
}

#[test]
fn a_header_that_is_written_can_be_read() {
    let address = |text: &str| text.parse().expect("an address");
    let (v4, v6) = (address("192.0.2.1:1"), address("[2001:db8::1]:2"));
    let long = [9; MAX_HEADER - 16 - 36 - 3];
    let headers = [
        ProxyHeader::new(Version::V1, v4, v4),
        ProxyHeader::new(Version::V1, v6, v6),
        ProxyHeader::new(Version::V2, v4, v4).with_checksum(),
        ProxyHeader::new(Version::V2, v6, v6)
            .with_tlv(kind::UNIQUE_ID, b"id")
            .with_checksum()
            .with_tlv(kind::AUTHORITY, b"a.example"),
        ProxyHeader::new(Version::V2, v6, v6).with_tlv(kind::NOOP, &long),
        ProxyHeader::v2(Addresses::Local).with_checksum(),
        ProxyHeader::v2(Addresses::Unknown),
    ];
    for header in headers {
        let bytes = header.to_bytes().expect("it is valid");
        let read = ProxyHeader::parse(&bytes).expect("it is valid");
        assert_eq!(read.addresses(), header.addresses());
        assert_eq!(read.version(), header.version());
        assert_eq!(read.tlvs().count(), header.tlvs().count());
        assert_eq!(read.to_bytes(), Ok(bytes.clone()));
        if header.tlv(kind::CRC32C).is_some() {
            for at in 12..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 0x40;
                // Without its type it is no checksum.
                let is_checked = |it: ProxyHeader| it.tlv(kind::CRC32C).is_some();
                let accepted = ProxyHeader::parse(&changed).is_ok_and(is_checked);
                assert!(!accepted, "byte {at}");
            }
        }
    }
    // Of mixed families.
    let mixed = ProxyHeader::new(Version::V1, v4, v6);
    let line = mixed.to_bytes().expect("it is valid");
    assert_eq!(line, b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n");
    for valid in valid() {
        let header = ProxyHeader::parse(&valid.bytes).expect(valid.what);
        let bytes = header.to_bytes().expect("it can be written");
        assert_eq!(ProxyHeader::parse(&bytes), Ok(header), "{}", valid.what);
    }
}

#[actix_rt::test]
async fn an_unclosed_connection_without_a_whole_header_times_out() {
    let network = ScriptedNetwork::new();
    let mut fixture = Fixture::with_network(network.clone()).await;
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let (silent, slow) = (network.client(fixture.at), network.client(fixture.at));
    let (silent, slow) = (silent.expect("it listens"), slow.expect("it listens"));
    for part in [&b"PROXY "[..], b"TCP4 1.1.1.1", b" "] {
        slow.send(part);
        tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    }
    for peer in [&silent, &slow] {
        let info = fixture.error().await;
        assert_eq!(info.error, failed(NetError::TIMED_OUT));
        assert_eq!(info.peer, peer.addr());
        assert!(peer.is_closed());
    }
    let took = begun.elapsed().as_millis();
    assert!((3000..3100).contains(&took), "{took} ms");
    tokio::time::resume();
    // A header that is in time leaves the client all the time it wants.
    let proxy = network.client(fixture.at).expect("it listens");
    proxy.send("PROXY UNKNOWN\r\n");
    let info = within("onAccept", fixture.accepts.recv()).await;
    let info = info.expect("the listener runs");
    fixture.test.accepted().await;
    tokio::time::pause();
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(!proxy.is_closed());
    proxy.send("late");
    info.client().set_paused(false).await.expect("it is open");
    let data = fixture.test.received(info.client_socket_id, 4).await;
    assert_eq!(data, b"late");
}

#[test]
fn changed_headers_keep_the_rules_of_the_fuzzer() {
    // The fuzz target without a fuzzer: it panics if a beginning of a header is taken for more
    // than the header has, or if what was read cannot be written and read again.
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let mut inputs: Vec<_> = valid().into_iter().map(|it| it.bytes).collect();
    inputs.extend(invalid().into_iter().map(|it| it.0));
    inputs.retain(|it| it.len() < 300);
    for _ in 0..50_000 {
        let mut bytes = inputs[random(inputs.len())].clone();
        for _ in 0..random(4) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] ^= 1 << random(8),
                1 => bytes.insert(at, b"\r\n 0:.\xff"[random(7)]),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        bytes.extend_from_slice(BEHIND);
        chrome_sockets::fuzzing::proxy(&bytes);
    }
}
