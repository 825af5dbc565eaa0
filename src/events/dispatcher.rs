//! Sends the events of one turn: each at once, or for listeners of batches all together.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use crate::events::batch::MAX_BATCH;
use crate::events::event_copy::DeliveryProbe;
use crate::events::listeners::{EventListener, Snapshot};
use crate::events::types::Event;

/// The listeners of one turn, with what is collected for those that get batches. It is sent when
/// this is dropped, also by a panic of the turn: no event is lost.
pub(crate) struct Dispatcher<E: Event> {
    listeners: Snapshot<E>,
    /// For the first listener, which nearly always is the only one.
    first: VecDeque<E>,
    /// For the others, by their place in the list. As long as the list only if needed.
    others: Vec<VecDeque<E>>,
}

impl<E: Event> Dispatcher<E> {
    pub(crate) fn new(listeners: Snapshot<E>) -> Self {
        Dispatcher {
            listeners,
            first: VecDeque::new(),
            others: Vec::new(),
        }
    }

    pub(crate) fn listeners(&self) -> &Snapshot<E> {
        &self.listeners
    }

    /// Whether there is one listener alone. Its event needs no copy, and goes by
    /// [`send_alone`](Self::send_alone).
    #[inline]
    pub(crate) fn alone(&self) -> Alone {
        match self.listeners.as_slice() {
            [listener] if listener.gets_batches() || listener.connected() => Alone::Alive,
            [_] => Alone::Dead,
            _ => Alone::No,
        }
    }

    /// Sends the event to the first listener, or collects it for the listener's batch.
    #[inline(always)]
    pub(crate) fn send_alone(&mut self, event: impl FnOnce(&Arc<DeliveryProbe>) -> E) {
        if let Some(listener) = self.listeners.first() {
            let event = event(&listener.probe);
            match listener.gets_batches() {
                true => collect(&mut self.first, listener, event),
                false => listener.send(event),
            }
        }
    }

    /// Sends each live listener the copy that `copy` makes for it, or collects it for the
    /// listener's batch. Returns how many copies there are. Whether a listener of batches lives is
    /// found out when the batch is sent: a dead one leaves all of it unhandled.
    pub(crate) fn dispatch(&mut self, mut copy: impl FnMut(&Arc<DeliveryProbe>) -> E) -> usize {
        let mut sent = 0;
        for (index, listener) in self.listeners.iter().enumerate() {
            if listener.gets_batches() {
                let queue = match index {
                    0 => &mut self.first,
                    _ => other(&mut self.others, index),
                };
                collect(queue, listener, copy(&listener.probe));
            } else if listener.connected() {
                listener.send(copy(&listener.probe));
            } else {
                continue;
            }
            sent += 1;
        }
        sent
    }
}

/// Whether a dispatcher has one listener alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Alone {
    No,
    Alive,
    Dead,
}

#[inline(always)]
fn collect<E: Event>(queue: &mut VecDeque<E>, listener: &EventListener<E>, event: E) {
    if queue.is_empty() {
        begin(queue, listener);
    }
    queue.push_back(event);
    if queue.len() >= MAX_BATCH {
        listener.send_batch(mem::take(queue));
    }
}

#[cold]
fn begin<E: Event>(queue: &mut VecDeque<E>, listener: &EventListener<E>) {
    *queue = listener.spare_queue();
}

#[cold]
fn other<E>(others: &mut Vec<VecDeque<E>>, index: usize) -> &mut VecDeque<E> {
    if others.len() < index {
        others.resize_with(index, VecDeque::new);
    }
    &mut others[index - 1]
}

impl<E: Event> Drop for Dispatcher<E> {
    #[inline]
    fn drop(&mut self) {
        let first = Some(mem::take(&mut self.first)).filter(|it| !it.is_empty());
        if let (Some(batch), Some(listener)) = (first, self.listeners.first()) {
            listener.send_batch(batch);
        }
        for (listener, queue) in self.listeners.iter().skip(1).zip(&mut self.others) {
            if !queue.is_empty() {
                listener.send_batch(mem::take(queue));
            }
        }
    }
}
