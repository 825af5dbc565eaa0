//! The fuzz target for the records of a handover.

use std::collections::HashMap;

use bytes::Bytes;

use super::wire;
use crate::handover_state::HandoverState;
use crate::registry::AppLimits;
use crate::tcp_server::Settings;

/// `None` if the records are refused.
fn decode(records: &[u8]) -> Option<HandoverState> {
    wire::read_stored(records, HashMap::new()).ok()
}

fn encode(state: &HandoverState) -> Option<Vec<u8>> {
    let mut encoded = Vec::new();
    for record in wire::records(state).ok()? {
        record.write_to(&mut encoded).ok()?;
    }
    Some(encoded)
}

/// Decodes records and the settings in them. Encoding the result and decoding that must give the
/// same result.
pub(crate) fn records(records: &[u8]) {
    let Some(state) = decode(records) else {
        return;
    };
    for server in &state.servers {
        let _ = Settings::read(&server.record);
        if let Some(limits) = &server.record.app_limits {
            let _ = AppLimits::from(**limits).accepted.check();
        }
    }
    let Some(encoded) = encode(&state) else {
        return;
    };
    let again = decode(&encoded);
    assert!(again.is_some(), "encoded records are refused");
    let Some(again) = again else {
        return;
    };
    assert_eq!(encode(&again).as_ref(), Some(&encoded), "another state");
    let unsent = |state: &HandoverState| -> usize {
        let data = state.clients.iter().flat_map(|client| &client.unsent);
        data.map(Bytes::len).sum()
    };
    assert_eq!(unsent(&state), unsent(&again));
}
