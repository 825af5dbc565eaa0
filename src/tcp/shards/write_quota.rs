//! Bounds the bytes of one app that wait to be sent.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use crate::error::Error;
use crate::tcp::{RESERVED_SEND, RESERVED_SENDS, RESERVED_SENDS_OF_APP};

/// A send counts at least this many bytes, so that empty sends are bounded too.
const MIN_CHARGE: usize = 64;

/// The sends of one app that are not complete, against their limit.
pub(crate) struct WriteQuota {
    limit: usize,
    unsent: AtomicUsize,
    /// How many sends are beyond the limit.
    reserved: AtomicUsize,
    reserve: Arc<SendReserve>,
}

/// Counts the sends beyond the quotas of all apps of a registry.
#[derive(Default)]
pub(crate) struct SendReserve(AtomicUsize);

/// What one send takes of its app's quota, until it is refunded.
#[derive(PartialEq, Eq, Debug, Default)]
#[must_use = "it has to be refunded"]
pub(crate) struct Charge(usize);

impl Charge {
    /// Nothing of the quota, but a place in the reserve.
    const RESERVED: usize = usize::MAX;

    pub(in crate::tcp) fn is_none(&self) -> bool {
        self.0 == 0
    }
}

impl WriteQuota {
    pub(crate) fn new(limit: usize, reserve: Arc<SendReserve>) -> Self {
        WriteQuota {
            limit,
            unsent: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
            reserve,
        }
    }

    /// Charges a send to the quota.
    pub(crate) fn charge(&self, bytes: usize) -> Result<Charge, Error> {
        let charge = bytes.max(MIN_CHARGE);
        self.unsent
            .fetch_update(SeqCst, SeqCst, |unsent| {
                unsent.checked_add(charge).filter(|sum| *sum <= self.limit)
            })
            .map(|_| Charge(charge))
            .map_err(|_| Error::WriteQuotaExceeded)
    }

    /// Admits a send beyond the quota. Only for a socket of which nothing waits: peers that do not
    /// read may use the quota up, and must not keep the others from their answers.
    #[cold]
    pub(in crate::tcp) fn charge_reserve(&self, bytes: usize) -> Result<Charge, Error> {
        if bytes > RESERVED_SEND || !take_place(&self.reserved, RESERVED_SENDS_OF_APP) {
            return Err(Error::WriteQuotaExceeded);
        }
        if !take_place(&self.reserve.0, RESERVED_SENDS) {
            self.reserved.fetch_sub(1, SeqCst);
            return Err(Error::WriteQuotaExceeded);
        }
        Ok(Charge(Charge::RESERVED))
    }

    /// Whether the quota has room for any send.
    pub(in crate::tcp) fn may_send(&self) -> bool {
        self.unsent.load(SeqCst) < self.limit
    }

    /// Charges bytes that were sent already, even beyond the quota.
    pub(in crate::tcp) fn charge_unchecked(&self, bytes: usize) -> Charge {
        let charge = bytes.max(MIN_CHARGE);
        self.unsent.fetch_add(charge, SeqCst);
        Charge(charge)
    }

    /// What is charged, for information.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.load(SeqCst)
    }

    /// Whether a send is in flight.
    pub(crate) fn is_sending(&self) -> bool {
        self.unsent.load(SeqCst) > 0 || self.reserved.load(SeqCst) > 0
    }

    #[inline]
    pub(crate) fn refund(&self, charge: Charge) {
        match charge.0 {
            0 => {}
            Charge::RESERVED => self.release_place(),
            bytes => {
                self.unsent.fetch_sub(bytes, SeqCst);
            }
        }
    }

    #[cold]
    fn release_place(&self) {
        self.reserved.fetch_sub(1, SeqCst);
        self.reserve.0.fetch_sub(1, SeqCst);
    }
}

fn take_place(taken: &AtomicUsize, most: usize) -> bool {
    let more = |count| (count < most).then_some(count + 1);
    taken.fetch_update(SeqCst, SeqCst, more).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_refuses_what_exceeds_it_until_bytes_are_refunded() {
        let quota = WriteQuota::new(1000, Arc::default());
        let exceeded = || Err(Error::WriteQuotaExceeded);
        let first = quota.charge(600);
        assert_eq!(first, Ok(Charge(600)));
        assert_eq!(quota.charge(401), exceeded());
        assert_eq!(quota.charge(400), Ok(Charge(400)));
        assert_eq!(quota.charge(0), exceeded());
        quota.refund(first.expect("it was charged"));
        assert_eq!(quota.charge(0), Ok(Charge(MIN_CHARGE)));
        assert_eq!(quota.charge(usize::MAX), exceeded());
    }

    #[test]
    fn the_reserve_has_so_many_places_for_an_app_and_for_all_apps() {
        let reserve = Arc::<SendReserve>::default();
        let exceeded = || Err(Error::WriteQuotaExceeded);
        let mut places = Vec::new();
        let quotas: Vec<_> = (0..RESERVED_SENDS / RESERVED_SENDS_OF_APP)
            .map(|_| WriteQuota::new(0, reserve.clone()))
            .collect();
        for quota in &quotas {
            assert_eq!(quota.charge_reserve(RESERVED_SEND + 1), exceeded());
            for _ in 0..RESERVED_SENDS_OF_APP {
                let place = quota.charge_reserve(RESERVED_SEND);
                places.push((quota, place.expect("there is a place")));
            }
            assert_eq!(quota.charge_reserve(1), exceeded());
            assert!(quota.is_sending());
        }
        let late = WriteQuota::new(0, reserve.clone());
        assert_eq!(late.charge_reserve(1), exceeded());
        for (quota, place) in places {
            quota.refund(place);
        }
        assert!(quotas.iter().all(|quota| !quota.is_sending()));
        // The refused one has left nothing behind.
        for _ in 0..RESERVED_SENDS_OF_APP {
            assert_eq!(late.charge_reserve(1), Ok(Charge(Charge::RESERVED)));
        }
    }
}
