//! Bounds the bytes of one app that wait to be sent.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use crate::error::Error;

/// A send counts at least this many bytes, so that empty sends are bounded too.
const MIN_CHARGE: usize = 64;

/// The sends of one app that are not complete, against their limit.
pub(crate) struct WriteQuota {
    limit: usize,
    unsent: AtomicUsize,
}

impl WriteQuota {
    pub(in crate::tcp) fn new(limit: usize) -> Self {
        WriteQuota {
            limit,
            unsent: AtomicUsize::new(0),
        }
    }

    /// Charges a send to the quota. Returns the amount to refund.
    pub(crate) fn charge(&self, bytes: usize) -> Result<usize, Error> {
        let charge = bytes.max(MIN_CHARGE);
        self.unsent
            .fetch_update(SeqCst, SeqCst, |unsent| {
                unsent.checked_add(charge).filter(|sum| *sum <= self.limit)
            })
            .map(|_| charge)
            .map_err(|_| Error::WriteQuotaExceeded)
    }

    /// Whether the quota has room for any send.
    pub(in crate::tcp) fn may_send(&self) -> Result<(), Error> {
        match self.unsent.load(SeqCst) < self.limit {
            true => Ok(()),
            false => Err(Error::WriteQuotaExceeded),
        }
    }

    /// Charges bytes that were sent already, even beyond the quota. Returns the amount to refund.
    pub(in crate::tcp) fn charge_unchecked(&self, bytes: usize) -> usize {
        let charge = bytes.max(MIN_CHARGE);
        self.unsent.fetch_add(charge, SeqCst);
        charge
    }

    /// Whether a send is in flight.
    pub(crate) fn is_sending(&self) -> bool {
        self.unsent.load(SeqCst) > 0
    }

    pub(crate) fn refund(&self, charge: usize) {
        self.unsent.fetch_sub(charge, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_refuses_what_exceeds_it_until_bytes_are_refunded() {
        let quota = WriteQuota::new(1000);
        assert_eq!(quota.charge(600), Ok(600));
        assert_eq!(quota.charge(401), Err(Error::WriteQuotaExceeded));
        assert_eq!(quota.charge(400), Ok(400));
        assert_eq!(quota.charge(0), Err(Error::WriteQuotaExceeded));
        quota.refund(600);
        assert_eq!(quota.charge(0), Ok(MIN_CHARGE));
        assert_eq!(quota.charge(usize::MAX), Err(Error::WriteQuotaExceeded));
    }
}
