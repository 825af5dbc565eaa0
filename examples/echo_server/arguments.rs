//! The command line of `echo_server`, and its fault injection.

use std::error::Error;
use std::net::SocketAddr;

use actix::{Handler, Recipient};
use chrome_sockets::{AddListener, Event, OnEvent, Registry};
use lexopt::prelude::*;

pub const USAGE: &str = "\
usage: echo_server [ADDR] [--seed N] [--inject RULE]...

ADDR           where to listen, by default 127.0.0.1:7007
--inject RULE  injects faults, such as accept=EMFILE,every=50
               read=ECONNRESET,p=0.001   write=short,every=7
               accept=stall,for=2s       read=reset,times=3
               panic=server,every=200    panic=clients,every=1000
               panic=registry,every=2000
               panic=subscriber,every=100    stop=subscriber,p=0.001
               subscriber=stall,for=200ms,every=50
--seed N       seed of the rules with a probability, by default 0";

#[derive(Default)]
pub struct Arguments {
    pub help: bool,
    address: Option<SocketAddr>,
    seed: Option<u64>,
    rules: Vec<String>,
}

impl Arguments {
    pub fn parse() -> Result<Self, Box<dyn Error>> {
        let mut arguments = Arguments::default();
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Value(address) if arguments.address.is_none() => {
                    let parsed = address.to_str().and_then(|text| text.parse().ok());
                    let error = || format!("{address:?} is not an address like 127.0.0.1:7007");
                    arguments.address = Some(parsed.ok_or_else(error)?);
                }
                Long("seed") => arguments.seed = Some(parser.value()?.parse()?),
                Long("inject") => arguments.rules.push(parser.value()?.string()?),
                Long("help") | Short('h') => arguments.help = true,
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(arguments)
    }

    pub fn address(&self) -> SocketAddr {
        let default = SocketAddr::from(([127, 0, 0, 1], 7007));
        self.address.unwrap_or(default)
    }
}

#[cfg(feature = "testing")]
mod faults {
    use std::time::Duration;

    use chrome_sockets::os::TokioNetwork;
    use chrome_sockets::supervision::RestartLimit;
    use chrome_sockets::testing::{FaultyNetwork, Rule};

    use super::*;

    /// Interval of the checks whether a listener has died.
    const CHECK: Duration = Duration::from_millis(5);

    /// The faulty network, if any: it wraps listeners, and reports what was injected.
    pub struct Injected(Option<FaultyNetwork>);

    impl Arguments {
        /// A registry on the real network, with the faults of the rules, if any.
        pub fn registry(&self) -> Result<(Registry, Injected), Box<dyn Error>> {
            if self.rules.is_empty() {
                return Ok((Registry::new(), Injected(None)));
            }
            let network = FaultyNetwork::new(TokioNetwork, self.seed.unwrap_or(0));
            for text in &self.rules {
                let rule: Rule = text
                    .parse()
                    .map_err(|error| format!("--inject {text}: {error}"))?;
                network.inject(rule);
            }
            // Injected panics must not use up the restart limit.
            let registry =
                Registry::with_network(network.clone()).restart_limit(RestartLimit::UNLIMITED);
            Ok((registry, Injected(Some(network))))
        }
    }

    impl Injected {
        /// Adds a listener. On a faulty network it may die, and is then replaced.
        pub fn listen<E: Event>(&self, event: &OnEvent<E>, listener: impl Into<Recipient<E>>)
        where
            Registry: Handler<AddListener<E>>,
        {
            let listener = listener.into();
            let Some(network) = self.0.clone() else {
                event.do_add_listener(listener);
                return;
            };
            let event = event.clone();
            actix_rt::spawn(async move {
                loop {
                    let subscriber = network.subscriber(listener.clone());
                    event.do_add_listener(subscriber.clone());
                    while subscriber.connected() {
                        actix_rt::time::sleep(CHECK).await;
                    }
                }
            });
        }

        pub fn print(&self) {
            for rule in self.0.iter().flat_map(FaultyNetwork::report) {
                println!("{rule}");
            }
        }
    }
}

#[cfg(not(feature = "testing"))]
mod faults {
    use super::*;

    pub struct Injected;

    impl Arguments {
        pub fn registry(&self) -> Result<(Registry, Injected), Box<dyn Error>> {
            if self.rules.is_empty() && self.seed.is_none() {
                return Ok((Registry::new(), Injected));
            }
            Err("--seed and --inject need the feature `testing`: \
                 cargo run --features testing --example echo_server -- …"
                .into())
        }
    }

    impl Injected {
        pub fn listen<E: Event>(&self, event: &OnEvent<E>, listener: impl Into<Recipient<E>>)
        where
            Registry: Handler<AddListener<E>>,
        {
            event.do_add_listener(listener.into());
        }

        pub fn print(&self) {}
    }
}
