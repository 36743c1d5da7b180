//! What waits for a shard: bounded, and shared out among those who ask.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::caller::Share;

/// Why something was not taken into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotQueued {
    Full,
    Closed,
}

/// A queue with a line for each caller.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Notify,
    limit: usize,
}

struct State<T> {
    /// None is empty.
    lines: HashMap<Share, VecDeque<T>, BuildHasherDefault<DefaultHasher>>,
    /// Whose turn it is, of those who have a line.
    turns: VecDeque<Share>,
    length: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(limit: usize) -> Self {
        let state = State { lines: HashMap::default(), turns: VecDeque::new(), length: 0, closed: false };
        Self { state: Mutex::new(state), arrived: Notify::new(), limit: limit.max(1) }
    }

    /// If the queue is full, the newest of the caller who has the most of it gives way, and comes back; unless that is
    /// this caller.
    pub(super) fn push(&self, caller: Share, item: T) -> Result<Option<T>, NotQueued> {
        let mut state = self.state();
        if state.closed {
            return Err(NotQueued::Closed);
        }
        let gives_way = if state.length < self.limit { None } else { Some(state.make_room(caller)?) };
        state.add(caller, item);
        drop(state);
        self.arrived.notify_one();
        Ok(gives_way)
    }

    /// What waits, one of each caller in turn, up to a number.
    pub(super) fn take(&self, most: usize) -> Vec<T> {
        let mut state = self.state();
        let mut taken = Vec::with_capacity(most.min(state.length));
        while taken.len() < most {
            let Some(item) = state.next() else { break };
            taken.push(item);
        }
        taken
    }

    /// Waits until something is in it. False: nothing is, and nothing more will be.
    pub(super) async fn ready(&self) -> bool {
        loop {
            {
                let state = self.state();
                if state.length > 0 || state.closed {
                    return state.length > 0;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Takes nothing more in.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn add(&mut self, caller: Share, item: T) {
        let line = self.lines.entry(caller).or_default();
        if line.is_empty() {
            self.turns.push_back(caller);
        }
        line.push_back(item);
        self.length += 1;
    }

    fn next(&mut self) -> Option<T> {
        let caller = self.turns.pop_front()?;
        let line = self.lines.get_mut(&caller)?;
        let item = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&caller);
        } else {
            self.turns.push_back(caller);
        }
        self.length -= usize::from(item.is_some());
        item
    }

    fn make_room(&mut self, caller: Share) -> Result<T, NotQueued> {
        let own = self.lines.get(&caller).map_or(0, VecDeque::len);
        let longest = self.turns.iter().filter_map(|other| Some((self.lines.get(other)?.len(), *other)));
        let (length, longest) = longest.max_by_key(|(length, _)| *length).ok_or(NotQueued::Full)?;
        if length <= own + 1 {
            return Err(NotQueued::Full);
        }
        // It has more than one, so its line stays.
        let item = self.lines.get_mut(&longest).and_then(VecDeque::pop_back).ok_or(NotQueued::Full)?;
        self.length -= 1;
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_has_the_whole_queue_while_no_other_asks() {
        let (queue, flood) = (Queue::new(4), Share::of("flood"));
        for number in 0..4 {
            assert_eq!(queue.push(flood, number), Ok(None));
        }
        assert_eq!(queue.push(flood, 4), Err(NotQueued::Full));
        assert_eq!(queue.take(9), [0, 1, 2, 3]);
    }

    #[test]
    fn in_a_full_queue_the_newest_of_who_has_the_most_gives_way_until_all_have_the_same() {
        let (queue, flood, polite) = (Queue::new(4), Share::of("flood"), Share::of("polite"));
        for number in 0..4 {
            queue.push(flood, number).unwrap();
        }
        assert_eq!(queue.push(polite, 10), Ok(Some(3)));
        assert_eq!(queue.push(flood, 4), Err(NotQueued::Full));
        assert_eq!(queue.push(polite, 11), Ok(Some(2)));
        assert_eq!(queue.push(polite, 12), Err(NotQueued::Full), "each has a half");
        assert_eq!(queue.push(Share::of("third"), 20), Ok(Some(11)));
        assert_eq!(queue.take(9), [0, 10, 20, 1], "in turns");
    }

    #[tokio::test]
    async fn what_was_in_it_when_it_was_closed_is_still_taken() {
        let queue = Queue::new(4);
        queue.push(Share::default(), 1).unwrap();
        queue.close();
        assert_eq!(queue.push(Share::default(), 2), Err(NotQueued::Closed));
        assert!(queue.ready().await);
        assert_eq!(queue.take(1), [1]);
        assert!(!queue.ready().await);
    }
}
