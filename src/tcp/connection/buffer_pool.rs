//! The buffers for reading.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use crate::tcp::WINDOW;
use crate::tcp::shards::receive_windows::MIN_EVENT_CHARGE;

/// How many spare buffers are kept: 1 MiB in all.
const MAX_SPARE: usize = 16;

/// The size of the blocks that small pieces share. An event counts this much in the windows at
/// least, so the bounds cover a listener that keeps one piece of each block.
const BLOCK: usize = MIN_EVENT_CHARGE;

/// Pieces of at most this size share a block: four or more, so that the block with its reference
/// count costs less than an allocation for each, if that is dear.
const MAX_SHARED: usize = BLOCK / 4;

/// So many small pieces of a turn have allocations of their own. The allocator caches a few of one
/// size for a thread, which cost less than a block; more in a row are dear.
const UNSHARED: usize = 4;

/// One buffer for reading, and spare ones.
///
/// Received data is copied out of the buffer, so that an event holds only its own bytes, or a
/// [`BLOCK`] that small ones share. If one
/// event fills at least half of the buffer, the event gets the buffer itself. Copying 64 KiB and
/// allocating them for each event took half of the time of a bulk echo.
pub(in crate::tcp) struct BufferPool {
    buffer: Box<[u8]>,
    spare: Spare,
    small_pieces: SmallPieces,
    /// How many bytes this turn has given away.
    turn_bytes: usize,
}

/// Copies received data. Small pieces share blocks.
pub(crate) struct SmallPieces {
    /// How many this turn has made.
    count: usize,
    /// The rest of the current block.
    block: BytesMut,
}

/// What was read.
pub(in crate::tcp) enum Filled<'a> {
    Borrowed(&'a [u8]),
    /// The buffer itself.
    Lent(Bytes),
}

impl Filled<'_> {
    pub(in crate::tcp) fn len(&self) -> usize {
        match self {
            Filled::Borrowed(data) => data.len(),
            Filled::Lent(data) => data.len(),
        }
    }
}

type Spare = Arc<Mutex<Vec<Box<[u8]>>>>;

impl BufferPool {
    pub(in crate::tcp) fn new() -> Self {
        BufferPool {
            buffer: new_buffer(),
            spare: Spare::default(),
            small_pieces: SmallPieces::new(),
            turn_bytes: 0,
        }
    }

    #[inline]
    pub(in crate::tcp) fn begin_turn(&mut self) {
        self.small_pieces.begin_turn();
        self.turn_bytes = 0;
    }

    /// How many bytes this turn has given away.
    #[inline]
    pub(in crate::tcp) fn turn_bytes(&self) -> usize {
        self.turn_bytes
    }

    /// The first `limit` bytes of the buffer.
    pub(in crate::tcp) fn buffer(&mut self, limit: usize) -> &mut [u8] {
        let limit = limit.min(self.buffer.len());
        &mut self.buffer[..limit]
    }

    /// Gives away the first `count` bytes, which were read, in pieces of at most `chunk` bytes.
    #[inline]
    pub(in crate::tcp) fn each_piece(
        &mut self,
        count: usize,
        chunk: usize,
        mut take: impl FnMut(Bytes),
    ) {
        // A stream that claims to have read more than fits raises nothing: this panics.
        let count = self.buffer[..count].len();
        self.turn_bytes += count;
        let is_lent = count <= chunk && count * 2 >= self.buffer.len();
        let mut start = 0;
        while start < count {
            let end = count.min(start.saturating_add(chunk));
            let piece = match is_lent {
                true => self.lend(count),
                false => self.small_pieces.copy(&self.buffer[start..end]),
            };
            start = end;
            take(piece);
        }
    }

    /// The first `count` bytes, which were read, for a receiver that copies a small part itself.
    pub(in crate::tcp) fn filled(&mut self, count: usize) -> Filled<'_> {
        self.turn_bytes += count;
        match count * 2 >= self.buffer.len() {
            true => Filled::Lent(self.lend(count)),
            false => Filled::Borrowed(&self.buffer[..count]),
        }
    }

    #[cold]
    fn lend(&mut self, count: usize) -> Bytes {
        let spare = self.spare.lock().pop();
        let buffer = std::mem::replace(&mut self.buffer, spare.unwrap_or_else(new_buffer));
        Bytes::from_owner(LentBuffer {
            buffer,
            count,
            spare: self.spare.clone(),
        })
    }
}

impl SmallPieces {
    pub(crate) fn new() -> Self {
        SmallPieces {
            count: 0,
            block: BytesMut::new(),
        }
    }

    /// What the allocator caches is available again: listeners have dropped events.
    #[inline]
    pub(crate) fn begin_turn(&mut self) {
        self.count = 0;
    }

    #[inline]
    pub(crate) fn copy(&mut self, piece: &[u8]) -> Bytes {
        if piece.len() > MAX_SHARED || self.count < UNSHARED {
            self.count += 1;
            return Bytes::copy_from_slice(piece);
        }
        if self.block.len() < piece.len() {
            // Not `zeroed`, which the allocator does not serve from its cache.
            self.block = BytesMut::with_capacity(BLOCK);
            self.block.resize(BLOCK, 0);
        }
        // Cheaper than to append and to split off. The last piece is the rest of the block, which
        // counts no further reference.
        let mut copy = match self.block.len() == piece.len() {
            true => std::mem::take(&mut self.block),
            false => self.block.split_to(piece.len()),
        };
        copy.copy_from_slice(piece);
        copy.freeze()
    }
}

fn new_buffer() -> Box<[u8]> {
    vec![0; WINDOW].into_boxed_slice()
}

/// A buffer that an event owns. It returns to the pool when the last part of it is dropped.
struct LentBuffer {
    buffer: Box<[u8]>,
    count: usize,
    spare: Spare,
}

impl AsRef<[u8]> for LentBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.count]
    }
}

impl Drop for LentBuffer {
    fn drop(&mut self) {
        let mut spare = self.spare.lock();
        if spare.len() < MAX_SPARE {
            spare.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pool: &mut BufferPool, count: usize, chunk: usize) -> Vec<Bytes> {
        for (i, byte) in pool.buffer(count).iter_mut().enumerate() {
            *byte = (i % 251) as u8;
        }
        let mut pieces = Vec::new();
        pool.each_piece(count, chunk, |piece| pieces.push(piece));
        pieces
    }

    #[test]
    fn pieces_are_no_larger_than_asked_for_and_lose_nothing() {
        let mut pool = BufferPool::new();
        for (count, chunk) in [
            (1, 1),
            (10, 3),
            (WINDOW, 4096),
            (WINDOW, WINDOW),
            (40_000, 1 << 20),
        ] {
            let pieces = filled(&mut pool, count, chunk);
            assert!(
                pieces
                    .iter()
                    .all(|piece| (1..=chunk).contains(&piece.len()))
            );
            let all = pieces.concat();
            assert_eq!(all.len(), count);
            assert!(
                all.iter()
                    .enumerate()
                    .all(|(i, byte)| *byte == (i % 251) as u8)
            );
        }
    }

    #[test]
    fn a_lent_buffer_keeps_its_bytes_and_returns() {
        let mut pool = BufferPool::new();
        let given = filled(&mut pool, WINDOW, WINDOW).remove(0);
        pool.buffer(WINDOW).fill(0xff);
        assert_eq!(given[1], 1);
        assert_eq!(pool.spare.lock().len(), 0);
        drop(given);
        assert_eq!(pool.spare.lock().len(), 1);
    }

    #[test]
    fn small_pieces_share_blocks_that_are_no_larger_than_the_least_charge() {
        let mut pool = BufferPool::new();
        for piece in 1..=MAX_SHARED + 1 {
            let pieces = filled(&mut pool, 64 * piece, piece);
            assert!(
                pieces
                    .iter()
                    .flatten()
                    .enumerate()
                    .all(|(i, byte)| *byte == (i % 251) as u8)
            );
            // What lies between pieces of one block is less than the block.
            let mut ends: Vec<_> = pieces.iter().map(|it| it.as_ptr_range()).collect();
            ends.sort_by_key(|range| range.start);
            let in_row = |row: &[std::ops::Range<*const u8>]| row[0].end == row[1].start;
            let longest = ends
                .chunk_by(|one, next| one.end == next.start)
                .map(|row| row.len() * piece)
                .max();
            if piece > MAX_SHARED {
                assert!(!ends.windows(2).any(in_row), "each has its own allocation");
            } else {
                assert!(longest > Some(piece) && longest <= Some(BLOCK));
            }
        }
    }

    #[test]
    fn small_reads_are_copied_and_spare_buffers_are_few() {
        let mut pool = BufferPool::new();
        let small = filled(&mut pool, WINDOW / 2 - 1, WINDOW);
        drop(small);
        assert_eq!(pool.spare.lock().len(), 0, "a copy has no buffer");
        let many: Vec<_> = (0..2 * MAX_SPARE)
            .map(|_| filled(&mut pool, WINDOW, WINDOW))
            .collect();
        drop(many);
        assert_eq!(pool.spare.lock().len(), MAX_SPARE);
    }
}
