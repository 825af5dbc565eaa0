//! Connects to the first of several addresses that answers (happy eyeballs, RFC 8305).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_rt::time::timeout;
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::net_error::{self, NetError};
use crate::os::Stream;

/// How long an attempt is alone before the next address is tried too: the value that RFC 8305
/// recommends.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How many attempts of one `connect` run at once: each has a descriptor. Beyond it the next address
/// waits until an attempt fails.
const MAX_ATTEMPTS: usize = 8;

/// Orders addresses so that the families alternate, beginning with that of the first address. Within
/// a family the order stays.
pub(super) fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else {
        return addresses;
    };
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|it| it.is_ipv4() == first);
    let mut ordered = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return ordered;
        }
        ordered.extend(pair.into_iter().flatten());
    }
}

/// Tries the addresses in this order, the next one [`ATTEMPT_DELAY`] after the one before it, or as
/// soon as an attempt fails. The first success ends the other attempts.
///
/// # Errors
/// If no attempt succeeds: `NETWORK_ACCESS_DENIED` if any address was denied, otherwise the error of
/// the last address.
pub(super) async fn connect<F>(
    addresses: Vec<SocketAddr>,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<(Box<dyn Stream>, SocketAddr), NetError>
where
    F: Future<Output = io::Result<Box<dyn Stream>>>,
{
    let mut errors = vec![None; addresses.len()];
    let mut waiting = addresses.into_iter().enumerate();
    let mut running = FuturesUnordered::new();
    loop {
        if running.len() < MAX_ATTEMPTS
            && let Some((index, peer)) = waiting.next()
        {
            let connecting = attempt(peer);
            running.push(async move { (index, peer, connecting.await) });
        }
        let may_start = waiting.len() > 0 && running.len() < MAX_ATTEMPTS;
        let finished = match may_start {
            true => match timeout(ATTEMPT_DELAY, running.next()).await {
                Ok(finished) => finished,
                Err(_) => continue,
            },
            false => running.next().await,
        };
        match finished {
            Some((_, peer, Ok(stream))) => return Ok((stream, peer)),
            Some((index, _, Err(error))) => errors[index] = Some(net_error::connect(&error)),
            None => return Err(worst(&errors)),
        }
    }
}

/// The error that is reported if no address answers. A denial is not hidden by another address.
fn worst(errors: &[Option<NetError>]) -> NetError {
    let denied = Some(NetError::NETWORK_ACCESS_DENIED);
    let last = errors.iter().copied().flatten().last();
    let error = match errors.contains(&denied) {
        true => denied,
        false => last,
    };
    error.unwrap_or(NetError::NAME_NOT_RESOLVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_keep_their_order() {
        for (addresses, expected) in [
            ("", ""),
            ("4", "4"),
            ("666", "666"),
            ("6644", "6464"),
            ("4466", "4646"),
            ("66644", "64646"),
            ("4666", "4666"),
            ("66664", "64666"),
        ] {
            let address = |(index, family): (usize, char)| match family {
                '4' => SocketAddr::from(([192, 0, 2, index as u8], 1)),
                _ => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, index as u16], 1)),
            };
            let addresses: Vec<_> = addresses.chars().enumerate().map(address).collect();
            let ordered = interleave(addresses.clone());
            let family = |it: &SocketAddr| if it.is_ipv4() { '4' } else { '6' };
            assert_eq!(ordered.iter().map(family).collect::<String>(), expected);
            for is_v4 in [true, false] {
                let of_family = |all: &[SocketAddr]| -> Vec<SocketAddr> {
                    let all = all.iter().copied();
                    all.filter(|it| it.is_ipv4() == is_v4).collect()
                };
                assert_eq!(of_family(&ordered), of_family(&addresses));
            }
        }
    }

    #[test]
    fn a_denial_is_not_hidden_and_otherwise_the_last_address_counts() {
        let refused = Some(NetError::CONNECTION_REFUSED);
        let unreachable = Some(NetError::ADDRESS_UNREACHABLE);
        let denied = Some(NetError::NETWORK_ACCESS_DENIED);
        for (errors, expected) in [
            (vec![refused, unreachable], unreachable),
            (vec![unreachable, refused], refused),
            (vec![denied, refused], denied),
            (vec![refused, denied], denied),
        ] {
            assert_eq!(Some(worst(&errors)), expected);
        }
    }
}
