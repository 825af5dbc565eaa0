//! What the two ends of a connection do, chosen by the number of the connection.

/// Bytes sent to a peer whose input stays unread: more than its system buffers while it does not
/// read.
const LONG_ANSWER: usize = 600_000;

/// What the peer sends after its request, and the app does not read.
const EXTRA: &[u8] = b"the body of a request that nobody reads";

/// The kind of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// The app echoes everything; the peer shuts its writing side first.
    Echo,
    /// The app pauses the socket, sends an answer and closes, with input of the peer unread.
    CloseOnUnread,
    /// The peer sends, and then resets the connection.
    PeerResets,
}

/// Picks the behaviour and the data of each connection.
#[derive(Clone, Copy)]
pub struct Behaviours {
    seed: u32,
    long_answer: usize,
}

impl Behaviours {
    /// For real sockets.
    pub fn real(seed: u32) -> Self {
        Behaviours {
            seed,
            long_answer: LONG_ANSWER,
        }
    }

    /// For the scripted network, where unread answers take memory until the test reads them.
    pub fn scripted(seed: u32) -> Self {
        Behaviours {
            seed,
            long_answer: 2_000,
        }
    }

    pub fn of(self, number: u32) -> Behaviour {
        match random(number ^ self.seed.rotate_left(16)) >> 32 & 63 {
            0 => Behaviour::CloseOnUnread,
            1 => Behaviour::PeerResets,
            _ => Behaviour::Echo,
        }
    }

    /// All bytes that the peer of this connection sends.
    pub fn input(self, number: u32) -> Vec<u8> {
        match self.of(number) {
            Behaviour::CloseOnUnread => [&pattern(number), EXTRA].concat(),
            Behaviour::Echo | Behaviour::PeerResets => pattern(number),
        }
    }

    /// All bytes that the app sends on this connection.
    pub fn output(self, number: u32) -> Vec<u8> {
        let pattern = pattern(number);
        match self.of(number) {
            Behaviour::Echo | Behaviour::PeerResets => pattern,
            Behaviour::CloseOnUnread => {
                let endless = pattern.iter().copied().cycle();
                endless.take(self.long_answer).collect()
            }
        }
    }
}

fn random(number: u32) -> u64 {
    let mixed = (u64::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// The data of a connection: its number, its length, and bytes of its own.
pub fn pattern(number: u32) -> Vec<u8> {
    let mut random = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let length = 8 + (random >> 40) as u32 % 120;
    let mut bytes = [number.to_be_bytes(), length.to_be_bytes()].concat();
    while bytes.len() < length as usize {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.push((random >> 56) as u8);
    }
    bytes
}
