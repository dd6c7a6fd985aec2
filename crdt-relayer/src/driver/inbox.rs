//! What is on its way to a driver's thread. That thread need not be woken for each: it may wait until
//! several have come, as network cards do before they interrupt (interrupt coalescing).

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Stopped;

/// Where things are put. The last one that is dropped closes it.
pub(super) struct Sender<T>(Arc<Open<T>>);

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Open<T>(Arc<Shared<T>>);

/// Where they are taken from.
pub(super) struct Inbox<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    enough: Condvar,
}

struct State<T> {
    sent: VecDeque<T>,
    /// While the thread waits: how many make it look.
    wanted: Option<usize>,
    /// Something came for which the thread always looks.
    urgent: bool,
    /// Nobody can send any more, or nobody takes any.
    closed: bool,
}

impl<T> State<T> {
    fn is_enough(&self, wanted: usize) -> bool {
        self.sent.len() >= wanted || self.urgent || self.closed
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A thread that panicked in between leaves it usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An empty inbox.
pub(super) fn inbox<T>() -> (Sender<T>, Inbox<T>) {
    let state = State { sent: VecDeque::new(), wanted: None, urgent: false, closed: false };
    let shared = Arc::new(Shared { state: Mutex::new(state), enough: Condvar::new() });
    (Sender(Arc::new(Open(Arc::clone(&shared)))), Inbox(shared))
}

impl<T> Sender<T> {
    /// Puts something in.
    ///
    /// # Errors
    /// [`Stopped`] if nobody takes it any more.
    pub(super) fn send(&self, it: T, urgent: bool) -> Result<(), Stopped> {
        let shared = &self.0.0;
        let mut state = shared.lock();
        if state.closed {
            return Err(Stopped);
        }
        state.urgent |= urgent;
        state.sent.push_back(it);
        // Who does not wait need not be woken, nor anybody twice.
        let wakes = state.wanted.is_some_and(|wanted| state.is_enough(wanted));
        if wakes {
            state.wanted = None;
        }
        drop(state);
        if wakes {
            shared.enough.notify_one();
        }
        Ok(())
    }
}

impl<T> Drop for Open<T> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.enough.notify_one();
    }
}

impl<T> Inbox<T> {
    /// Takes all that came.
    pub(super) fn take(&self) -> VecDeque<T> {
        let mut state = self.0.lock();
        state.urgent = false;
        std::mem::take(&mut state.sent)
    }

    /// Waits until so many have come, or something urgent, but no longer than that. Returns whether
    /// there is, or may still be, something to take.
    pub(super) fn wait(&self, wanted: usize, most: Option<Duration>) -> bool {
        let deadline = most.map(|most| Instant::now() + most);
        let mut state = self.0.lock();
        while !state.is_enough(wanted) {
            state.wanted = Some(wanted);
            let Some(deadline) = deadline else {
                state = self.0.enough.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.0.enough.wait_timeout(state, left);
            (state, _) = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.wanted = None;
        !state.closed || !state.sent.is_empty()
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        // Whoever waits for an answer hears that there is none.
        let unheard = std::mem::take(&mut state.sent);
        drop(state);
        drop(unheard);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// Longer than anything takes.
    const LONG: Duration = Duration::from_mins(1);

    fn waits<T>(sender: &Sender<T>) -> bool {
        sender.0.0.lock().wanted.is_some()
    }

    fn until_it_waits<T>(sender: &Sender<T>) {
        while !waits(sender) {
            thread::yield_now();
        }
    }

    /// What somebody takes who waits for so many, when these are sent; the last one wakes it.
    fn taken(wanted: usize, sent: &[(u32, bool)]) -> Vec<u32> {
        let (sender, inbox) = inbox();
        let waiting = thread::spawn(move || {
            let start = Instant::now();
            assert!(inbox.wait(wanted, Some(LONG)) && start.elapsed() < LONG);
            inbox.take().into()
        });
        until_it_waits(&sender);
        for (number, (it, urgent)) in (1..).zip(sent) {
            sender.send(*it, *urgent).unwrap();
            assert_eq!(waits(&sender), number < sent.len());
        }
        waiting.join().unwrap()
    }

    #[test]
    fn who_waits_is_woken_by_as_many_as_it_wants() {
        assert_eq!(taken(3, &[(1, false), (2, false), (3, false)]), [1, 2, 3]);
    }

    #[test]
    fn what_is_urgent_is_not_waited_with() {
        assert_eq!(taken(3, &[(1, false), (2, true)]), [1, 2]);
    }

    #[test]
    fn what_does_not_come_is_waited_for_as_long_as_was_said() {
        let (sender, inbox) = inbox();
        sender.send(1, false).unwrap();
        let (start, most) = (Instant::now(), Duration::from_millis(20));
        assert!(inbox.wait(2, Some(most)));
        assert!(start.elapsed() >= most);
        assert_eq!(inbox.take(), [1]);
        assert!(inbox.take().is_empty());
    }

    #[test]
    fn what_was_urgent_once_is_not_for_ever() {
        let (sender, inbox) = inbox();
        sender.send(1, true).unwrap();
        assert_eq!(inbox.take(), [1]);
        let (start, most) = (Instant::now(), Duration::from_millis(20));
        assert!(inbox.wait(1, Some(most)));
        assert!(start.elapsed() >= most);
    }

    #[test]
    fn when_nobody_can_send_any_more_who_waits_has_what_came_and_then_hears_so() {
        let (sender, inbox) = inbox();
        let other = sender.clone();
        sender.send(1, false).unwrap();
        drop(sender);
        other.send(2, false).unwrap();
        let waiting = thread::spawn(move || {
            let start = Instant::now();
            assert!(inbox.wait(9, Some(LONG)) && start.elapsed() < LONG);
            assert_eq!(inbox.take(), [1, 2]);
            assert!(!inbox.wait(1, None));
        });
        until_it_waits(&other);
        drop(other);
        waiting.join().unwrap();
    }

    #[test]
    fn what_nobody_took_is_dropped_and_nothing_more_is_taken() {
        let (sender, inbox) = inbox();
        let unheard = Arc::new(());
        sender.send(Arc::clone(&unheard), false).unwrap();
        drop(inbox);
        assert_eq!(Arc::strong_count(&unheard), 1);
        assert_eq!(sender.send(Arc::clone(&unheard), false), Err(Stopped));
    }
}
