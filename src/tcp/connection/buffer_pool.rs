//! The buffers for reading.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::tcp::WINDOW;

/// How many spare buffers are kept: 1 MiB in all.
const MAX_SPARE: usize = 16;

/// One buffer for reading, and spare ones.
///
/// Received data is copied out of the buffer, so that an event holds only its own bytes. If one
/// event fills at least half of the buffer, the event gets the buffer itself. Copying 64 KiB and
/// allocating them for each event took half of the time of a bulk echo.
pub(in crate::tcp) struct BufferPool {
    buffer: Box<[u8]>,
    spare: Spare,
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
        }
    }

    /// The first `limit` bytes of the buffer.
    pub(in crate::tcp) fn buffer(&mut self, limit: usize) -> &mut [u8] {
        let limit = limit.min(self.buffer.len());
        &mut self.buffer[..limit]
    }

    /// The first `count` bytes, which were read, in pieces of at most `chunk` bytes.
    pub(in crate::tcp) fn pieces(
        &mut self,
        count: usize,
        chunk: usize,
    ) -> impl Iterator<Item = Bytes> + use<'_> {
        let whole = (count <= chunk && count * 2 >= self.buffer.len()).then(|| self.lend(count));
        let copied = if whole.is_some() { 0 } else { count };
        let copies = self.buffer[..copied].chunks(chunk);
        whole.into_iter().chain(copies.map(Bytes::copy_from_slice))
    }

    /// The first `count` bytes, which were read, for a receiver that copies a small part itself.
    pub(in crate::tcp) fn filled(&mut self, count: usize) -> Filled<'_> {
        match count * 2 >= self.buffer.len() {
            true => Filled::Lent(self.lend(count)),
            false => Filled::Borrowed(&self.buffer[..count]),
        }
    }

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
        pool.pieces(count, chunk).collect()
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
