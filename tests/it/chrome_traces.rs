//! Recordings of Chromium, replayed step by step against this crate: one test for each.
//! `chrome_traces/README.md` describes the format.

use std::collections::BTreeSet;
use std::path::Path;

#[path = "replay/mod.rs"]
mod replay;

/// A recording's name and JSON.
pub struct Recording {
    pub name: &'static str,
    pub text: &'static str,
}

/// Makes the list and the tests from the names.
macro_rules! recordings {
    (@read $name:ident) => {
        Recording {
            name: stringify!($name),
            text: include_str!(concat!("chrome_traces/", stringify!($name), ".json")),
        }
    };
    ($($name:ident)*) => {
        /// The recordings that have a test.
        const REPLAYED: &[Recording] = &[$(recordings!(@read $name)),*];

        $(
            #[actix_rt::test]
            async fn $name() {
                replay::replay(&recordings!(@read $name)).await;
            }
        )*
    };
}

recordings! {
    server_accept_event
    server_close_ends_the_id
    server_create_defaults
    server_create_with_properties
    server_disconnect_then_listen_again
    server_listen_address_in_use
    server_listen_bad_address
    server_listen_denied
    server_listen_ephemeral_port
    server_listen_ipv6
    server_listen_port_too_large
    server_listen_twice
    server_listen_unknown_id
    server_paused_before_listen_queues
    server_paused_with_accept_pending
    server_resume_with_accept_pending
    server_update_is_partial
    tcp_accepted_starts_paused
    tcp_close_with_unread_input_delivers_what_was_sent
    tcp_connect_and_echo
    tcp_connect_localhost_is_loopback
    tcp_connect_refused
    tcp_connect_twice
    tcp_create_defaults
    tcp_disconnect
    tcp_end_is_told_without_a_receive_listener
    tcp_options
    tcp_peer_close
    tcp_secure_on_accepted
    tcp_send_reaches_peer
    tcp_send_unconnected
    tcp_unknown_id
    udp_bind_and_receive
    udp_bind_bad_address
    udp_bind_in_use
    udp_bind_twice
    udp_buffer_size
    udp_close_ends_the_id
    udp_create_defaults
    udp_create_with_properties
    udp_groups
    udp_multicast_options
    udp_paused
    udp_permission_denied
    udp_send
    udp_send_unbound
    udp_unknown_id
}

#[test]
fn every_recording_is_listed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/chrome_traces");
    let files: BTreeSet<String> = folder
        .read_dir()
        .expect("the folder of the recordings")
        .map(|entry| entry.expect("a file").file_name().into_string())
        .map(|name| name.expect("a name in ASCII"))
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    let listed: Vec<&str> = REPLAYED.iter().map(|recording| recording.name).collect();
    assert_eq!(listed.len(), 47, "all that was recorded");
    let names: BTreeSet<String> = listed.into_iter().map(str::to_owned).collect();
    assert_eq!(names, files);
}
