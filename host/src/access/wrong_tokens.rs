//! Wrong tokens: after some of them, an address and page has to wait before the next is looked at.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The address of a guesser, and its page.
pub(crate) type Guesser = (IpAddr, Option<Arc<str>>);

/// Wrong tokens that cost nothing.
const FREE: u32 = 5;

const FIRST_WAIT: Duration = Duration::from_millis(100);

/// No more than this, since others may have the same address.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// After this long all is forgotten.
const MEMORY: Duration = Duration::from_secs(60);

/// The most guessers that are known apart; those beyond wait together.
const GUESSERS: usize = 1024;

struct Wrong {
    count: u32,
    last: Instant,
}

impl Wrong {
    fn wait(&self) -> Duration {
        match self.count.checked_sub(FREE) {
            None | Some(0) => Duration::ZERO,
            Some(over) => (FIRST_WAIT * 2_u32.pow((over - 1).min(8))).min(LAST_WAIT),
        }
    }
}

#[derive(Default)]
pub(crate) struct WrongTokens(RefCell<HashMap<Guesser, Wrong>>);

impl WrongTokens {
    pub(crate) fn must_wait(&self, from: &Guesser) -> bool {
        self.must_wait_at(from, Instant::now())
    }

    fn must_wait_at(&self, from: &Guesser, now: Instant) -> bool {
        let guesses = self.0.borrow();
        let wrong = guesses.get(&known(from, &guesses));
        wrong.is_some_and(|wrong| now - wrong.last < wrong.wait())
    }

    pub(crate) fn wrong(&self, from: Guesser) {
        self.wrong_at(&from, Instant::now());
    }

    fn wrong_at(&self, from: &Guesser, now: Instant) {
        let mut guesses = self.0.borrow_mut();
        if guesses.len() >= GUESSERS {
            guesses.retain(|_, wrong| now - wrong.last < MEMORY);
        }
        let from = known(from, &guesses);
        let wrong = guesses.entry(from).or_insert(Wrong {
            count: 0,
            last: now,
        });
        if now - wrong.last >= MEMORY {
            wrong.count = 0;
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.last = now;
    }

    pub(crate) fn right(&self, from: &Guesser) {
        let mut guesses = self.0.borrow_mut();
        let from = known(from, &guesses);
        guesses.remove(&from);
    }
}

/// Who is meant: one machine has many addresses of loopback, and of IPv6 a network of them.
fn known((address, page): &Guesser, guesses: &HashMap<Guesser, Wrong>) -> Guesser {
    let address = match *address {
        ip if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        ip => ip,
    };
    let from = (address, page.clone());
    match guesses.len() >= GUESSERS && !guesses.contains_key(&from) {
        true => (Ipv4Addr::UNSPECIFIED.into(), None),
        false => from,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_tokens_make_their_address_and_page_wait_for_longer_and_longer() {
        let guesses = WrongTokens::default();
        let from = |n: u8, page: Option<&str>| (IpAddr::from([127, 0, 0, n]), page.map(Arc::from));
        let start = Instant::now();
        for _ in 0..FREE {
            guesses.wrong_at(&from(1, None), start);
            assert!(!guesses.must_wait_at(&from(1, None), start));
        }
        guesses.wrong_at(&from(2, None), start);
        assert!(
            guesses.must_wait_at(&from(3, None), start),
            "all are loopback"
        );
        assert!(!guesses.must_wait_at(&from(1, Some("https://a")), start));
        assert!(!guesses.must_wait_at(&from(1, None), start + FIRST_WAIT));
        for _ in 0..100 {
            guesses.wrong_at(&from(1, None), start);
        }
        assert!(guesses.must_wait_at(&from(1, None), start + LAST_WAIT / 2));
        assert!(!guesses.must_wait_at(&from(1, None), start + LAST_WAIT));
        guesses.right(&from(1, None));
        assert!(!guesses.must_wait_at(&from(1, None), start));
    }

    #[test]
    fn however_many_guess_what_is_known_of_them_is_bounded() {
        let guesses = WrongTokens::default();
        let start = Instant::now();
        for n in 0..10_000_u32 {
            let address = IpAddr::V4((0x0a00_0000 + n).into());
            guesses.wrong_at(&(address, None), start);
        }
        assert!(guesses.0.borrow().len() <= GUESSERS + 1);
    }
}
