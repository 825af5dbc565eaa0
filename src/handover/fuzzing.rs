//! Reads records that anybody may have written, for the fuzzer.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use futures::FutureExt;

use super::wire::{Record, Source, pieces, receive_estate};
use crate::handover_state::HandoverState;
use crate::registry::AppLimits;
use crate::tcp_server::Settings;

/// Records without descriptors.
struct Records<'a>(&'a [u8]);

impl Source for Records<'_> {
    async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let Some((first, rest)) = self.0.split_at_checked(buffer.len()) else {
            return Ok(false);
        };
        buffer.copy_from_slice(first);
        self.0 = rest;
        Ok(true)
    }

    fn descriptors(&mut self, _: &Record) -> VecDeque<OwnedFd> {
        VecDeque::new()
    }

    fn may_lack(&self) -> bool {
        true
    }
}

/// `None`: they are refused.
fn handover_state(records: &[u8]) -> Option<HandoverState> {
    let handover_state = receive_estate(&mut Records(records)).now_or_never();
    handover_state.and_then(Result::ok)
}

fn written(handover_state: &HandoverState) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    for piece in pieces(handover_state).ok()? {
        written.extend(piece.head().ok()?);
        piece.data.iter().for_each(|data| written.extend(data));
    }
    Some(written)
}

/// Reads an estate and what it says was set on its sockets, and writes it: what
/// is read of that is the same.
pub(crate) fn records(records: &[u8]) {
    let Some(read) = handover_state(records) else {
        return;
    };
    for server in &read.servers {
        let _ = Settings::read(&server.record);
        if let Some(limits) = &server.record.app_limits {
            let _ = AppLimits::from(**limits).accepted.check();
        }
    }
    let Some(first) = written(&read) else {
        return;
    };
    let again = handover_state(&first);
    assert!(again.is_some(), "what was written is refused");
    let Some(again) = again else {
        return;
    };
    assert_eq!(written(&again).as_ref(), Some(&first), "another estate");
    let lengths = |handover_state: &HandoverState| -> usize {
        let data = handover_state
            .clients
            .iter()
            .flat_map(|client| &client.unsent);
        data.map(Bytes::len).sum()
    };
    assert_eq!(lengths(&read), lengths(&again));
}
