//! Delays further attempts from an address and page after several wrong tokens.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The address and page that a token came from.
pub(crate) type TokenSource = (IpAddr, Option<Arc<str>>);

/// The wrong tokens that cause no delay.
const FREE_ATTEMPTS: u32 = 5;

const MIN_DELAY: Duration = Duration::from_millis(100);

/// Short, because clients with the right token may share the address.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// The time after which wrong tokens no longer count.
const EXPIRY: Duration = Duration::from_secs(60);

/// The most sources that are counted separately. All others share one count.
const SOURCES: usize = 1024;

struct Failures {
    count: u32,
    last: Instant,
}

impl Failures {
    fn delay(&self) -> Duration {
        match self.count.checked_sub(FREE_ATTEMPTS) {
            None | Some(0) => Duration::ZERO,
            Some(over) => (MIN_DELAY * 2_u32.pow((over - 1).min(8))).min(MAX_DELAY),
        }
    }
}

#[derive(Default)]
pub(crate) struct WrongTokens(RefCell<HashMap<TokenSource, Failures>>);

impl WrongTokens {
    pub(crate) fn is_delayed(&self, source: &TokenSource) -> bool {
        self.is_delayed_at(source, Instant::now())
    }

    fn is_delayed_at(&self, source: &TokenSource, now: Instant) -> bool {
        let sources = self.0.borrow();
        let failures = sources.get(&key(source, &sources));
        failures.is_some_and(|failures| now - failures.last < failures.delay())
    }

    pub(crate) fn record(&self, source: &TokenSource) {
        self.record_at(source, Instant::now());
    }

    fn record_at(&self, source: &TokenSource, now: Instant) {
        let mut sources = self.0.borrow_mut();
        if sources.len() >= SOURCES {
            sources.retain(|_, failures| now - failures.last < EXPIRY);
        }
        let key = key(source, &sources);
        let failures = sources.entry(key).or_insert(Failures {
            count: 0,
            last: now,
        });
        if now - failures.last >= EXPIRY {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// Forgets the failures of a source that showed the right token.
    pub(crate) fn clear(&self, source: &TokenSource) {
        let mut sources = self.0.borrow_mut();
        let key = key(source, &sources);
        sources.remove(&key);
    }
}

/// The source that failures are counted for. One machine has many loopback addresses, and many
/// IPv6 addresses in its /64 network: they count as one.
fn key((address, page): &TokenSource, sources: &HashMap<TokenSource, Failures>) -> TokenSource {
    let address = match *address {
        ip if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        ip => ip,
    };
    let source = (address, page.clone());
    match sources.len() >= SOURCES && !sources.contains_key(&source) {
        true => (Ipv4Addr::UNSPECIFIED.into(), None),
        false => source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_tokens_delay_their_address_and_page_longer_each_time() {
        let tokens = WrongTokens::default();
        let source =
            |n: u8, page: Option<&str>| (IpAddr::from([127, 0, 0, n]), page.map(Arc::from));
        let start = Instant::now();
        for _ in 0..FREE_ATTEMPTS {
            tokens.record_at(&source(1, None), start);
            assert!(!tokens.is_delayed_at(&source(1, None), start));
        }
        tokens.record_at(&source(2, None), start);
        assert!(
            tokens.is_delayed_at(&source(3, None), start),
            "loopback addresses count as one"
        );
        assert!(!tokens.is_delayed_at(&source(1, Some("https://a")), start));
        assert!(!tokens.is_delayed_at(&source(1, None), start + MIN_DELAY));
        for _ in 0..100 {
            tokens.record_at(&source(1, None), start);
        }
        assert!(tokens.is_delayed_at(&source(1, None), start + MAX_DELAY / 2));
        assert!(!tokens.is_delayed_at(&source(1, None), start + MAX_DELAY));
        tokens.clear(&source(1, None));
        assert!(!tokens.is_delayed_at(&source(1, None), start));
    }

    #[test]
    fn memory_is_bounded_for_any_number_of_sources() {
        let tokens = WrongTokens::default();
        let start = Instant::now();
        for n in 0..10_000_u32 {
            let address = IpAddr::V4((0x0a00_0000 + n).into());
            tokens.record_at(&(address, None), start);
        }
        assert!(tokens.0.borrow().len() <= SOURCES + 1);
    }
}
