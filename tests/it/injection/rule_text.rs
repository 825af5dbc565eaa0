//! Parsing and formatting of rules.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use chrome_sockets::testing::{AddressFilter, Errno, Fault, Operation, Rule, RuleError};
use proptest::collection::vec;
use proptest::prelude::*;

fn rule(text: &str) -> Rule {
    let rule = text.parse();
    rule.unwrap_or_else(|error: RuleError| panic!("{text}: {error}"))
}

#[test]
fn a_rule_is_parsed_from_its_text() {
    let accept = Rule::new(Operation::Accept, Fault::Error(Errno::EMFILE)).expect("a rule");
    let peer: SocketAddr = "[::1]:80".parse().expect("an address");
    let every: IpAddr = "10.0.0.1".parse().expect("an address");
    let second = Duration::from_secs(1);
    for (text, expected) in [
        ("accept=EMFILE", Ok(accept.clone())),
        (
            " accept = emfile , every = 50 ",
            Ok(accept.clone().every(50)),
        ),
        ("accept=24,times=0", Ok(accept.clone().times(0))),
        ("accept=EMFILE,listener=10.0.0.1", accept.listener(every)),
        (
            "read=reset,p=0.001,peer=[::1]:80,after=3",
            Rule::new(Operation::Read, Fault::Reset)
                .and_then(|rule| Ok(rule.peer(peer)?.probability(0.001).after(3))),
        ),
        ("write=short", Rule::new(Operation::Write, Fault::short(1))),
        (
            "write=short,bytes=9",
            Rule::new(Operation::Write, Fault::short(9)),
        ),
        ("read=end", Rule::new(Operation::Read, Fault::End)),
        ("read=panic", Rule::new(Operation::Read, Fault::Panic)),
        ("panic=server", Rule::new(Operation::Server, Fault::Panic)),
        (
            "clients=panic",
            Rule::new(Operation::ClientSockets, Fault::Panic),
        ),
        ("stop=registry", Rule::new(Operation::Registry, Fault::Stop)),
        (
            "arbiter=clients,times=1",
            Rule::new(Operation::ClientSockets, Fault::EndArbiter).map(|rule| rule.times(1)),
        ),
        (
            "resolve=stall",
            Rule::new(Operation::Resolve, Fault::Stall(None)),
        ),
        (
            "connect=stall,for=1000ms",
            Rule::new(Operation::Connect, Fault::Stall(Some(second))),
        ),
        (
            "panic=clients,every=9",
            Rule::new(Operation::ClientSockets, Fault::Panic).map(|rule| rule.every(9)),
        ),
        (
            "stop=subscriber",
            Rule::new(Operation::Subscriber, Fault::Stop),
        ),
        (
            "subscriber=stall,for=1s",
            Rule::new(Operation::Subscriber, Fault::Stall(Some(second))),
        ),
    ] {
        assert_eq!(Ok(rule(text)), expected, "{text}");
    }
}

#[test]
fn an_invalid_rule_is_an_error_with_the_expected_syntax() {
    for (text, words) in [
        ("", "like accept=EMFILE"),
        ("accept", "write OPERATION=FAULT"),
        (
            "explode=EMFILE",
            "one of listen, accept, resolve, connect, read, write",
        ),
        ("panic=nobody", "one of listen, accept"),
        ("stop=accept", "one of listen, accept"),
        (
            "server=EMFILE",
            "write panic, stop or arbiter before its name",
        ),
        ("accept=stop", "write stop=server"),
        (
            "panic=clients,listener=127.0.0.1",
            "clients has no listener",
        ),
        ("accept=EMFILES", "short, reset, end or panic"),
        ("accept=0", "short, reset, end or panic"),
        ("accept=short", "short is for read and write"),
        ("accept=reset", "ECONNABORTED for accept"),
        ("write=end", "end is for read"),
        (
            "listen=stall",
            "listen, bind and the actors of the crate cannot stall",
        ),
        (
            "clients=stall",
            "listen, bind and the actors of the crate cannot stall",
        ),
        (
            "subscriber=EIO",
            "write panic, stop or arbiter before its name",
        ),
        ("stop=subscriber,peer=127.0.0.1", "subscriber has no peer"),
        ("accept=EMFILE,", "write one of listener=ADDRESS"),
        ("accept=EMFILE,often", "write one of listener=ADDRESS"),
        ("accept=EMFILE,for=1s", "for=TIME after stall"),
        ("accept=stall,bytes=1", "bytes=N after short"),
        (
            "accept=EMFILE,every=0",
            "every=\"0\" is invalid: write a whole number from 1",
        ),
        ("accept=EMFILE,every=-1", "a whole number from 1 upward"),
        ("accept=EMFILE,times=many", "a whole number"),
        ("accept=EMFILE,times=1,times=2", "times= is given twice"),
        ("accept=EMFILE,p=1.1", "from 0 (never) to 1 (always)"),
        ("accept=EMFILE,p=NaN", "from 0 (never) to 1 (always)"),
        ("accept=EMFILE,peer=127.0.0.1", "accept has no peer"),
        ("receive=EIO,peer=127.0.0.1", "receive has no peer"),
        (
            "bind=stall",
            "listen, bind and the actors of the crate cannot stall",
        ),
        ("send=short", "short is for read and write"),
        ("udp=EIO", "write panic, stop or arbiter before its name"),
        (
            "connect=EINTR,listener=127.0.0.1",
            "connect has no listener",
        ),
        ("read=reset,peer=localhost", "an IP address, 127.0.0.1"),
        ("read=stall,for=2", "like 200ms"),
        ("read=stall,for=1.5s", "like 200ms"),
        (
            "read=stall,for=99999999999999999999999999999999999999s",
            "like 200ms",
        ),
        ("read=short,bytes=0", "a whole number from 1 upward"),
    ] {
        let error = text.parse::<Rule>().expect_err(text).to_string();
        assert!(error.contains(words), "{text:?}: {error}");
    }
}

fn faults() -> impl Strategy<Value = Fault> {
    let time = (0..=u64::MAX, 0..1_000_000_000_u32).prop_map(|(s, ns)| Duration::new(s, ns));
    let round = (0..10_000_u64).prop_map(Duration::from_millis);
    prop_oneof![
        (1..=4095).prop_map(|n| Fault::Error(Errno::new(n).expect("within the range"))),
        Just(Fault::Stall(None)),
        prop_oneof![time, round].prop_map(|time| Fault::Stall(Some(time))),
        any::<usize>().prop_map(Fault::short),
        Just(Fault::Reset),
        Just(Fault::End),
        Just(Fault::Panic),
        Just(Fault::Stop),
        Just(Fault::EndArbiter),
    ]
}

fn addresses() -> impl Strategy<Value = AddressFilter> {
    prop_oneof![
        any::<(IpAddr, u16)>().prop_map(|address| SocketAddr::from(address).into()),
        any::<IpAddr>().prop_map(AddressFilter::from),
    ]
}

prop_compose! {
    fn rules()(
        operation in prop::sample::select(Operation::ALL.to_vec()),
        fault in faults(),
        listener in prop::option::of(addresses()),
        peer in prop::option::of(addresses()),
        after in any::<u64>(),
        every in any::<u64>(),
        p in prop_oneof![Just(1.0), 0.0..1.0_f64, any::<f64>()],
        times in prop::option::of(any::<u64>()),
    ) -> Option<Rule> {
        let mut rule = Rule::new(operation, fault).ok()?;
        rule = rule.after(after).every(every).probability(p);
        if let Some(address) = listener {
            rule = rule.clone().listener(address).unwrap_or(rule);
        }
        if let Some(address) = peer {
            rule = rule.clone().peer(address).unwrap_or(rule);
        }
        Some(match times {
            Some(times) => rule.times(times),
            None => rule,
        })
    }
}

proptest! {
    #[test]
    fn a_formatted_rule_parses_to_the_same_rule(rule in rules()) {
        if let Some(rule) = rule {
            let text = rule.to_string();
            prop_assert_eq!(text.parse(), Ok(rule), "{}", text);
        }
    }

    #[test]
    fn any_text_is_a_rule_or_an_error(
        text in "\\PC*",
        keys in vec("(times|every|p|after|for|bytes|peer|listener)=[0-9a-z.:-]{0,30}", 0..4),
        first in "(accept|read|write)=(EMFILE|stall|short|[0-9]{1,6})",
    ) {
        let _ = text.parse::<Rule>();
        if let Ok(rule) = format!("{first},{}", keys.join(",")).parse::<Rule>() {
            prop_assert_eq!(rule.to_string().parse(), Ok(rule));
        }
    }
}
