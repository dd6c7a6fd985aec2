//! The stream of this side's ops to one peer, and how it waits where the peer takes no more of it:
//! it goes back to the first message of which something was put off, and on from there after a
//! pause that grows while nothing is taken. Source: `docs/PROTOCOL.md`, "Synchronisation" and "Put
//! off".

use crate::id::Position;
use crate::limits;
use crate::time::{Span, Timestamp};

/// The stream of our ops, in our order of arrival.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Sent, or skipped because the peer's store is where it came from.
    pub(crate) sent: Position,
    /// The page after this position is being read.
    pub(crate) loading: Option<Position>,
    /// Something was not stored: acknowledgements prove nothing until the heads are equal.
    pub(crate) doubtful: bool,
    /// Everything is sent once more, whatever its source: the peer lacks what it said it had.
    pub(crate) again: bool,
    /// Nobody knows which of the ops sent, or skipped, the peer has. Until that is settled nothing
    /// newer is sent, which might build on what it lacks, and acknowledgements prove nothing. When
    /// that began.
    pub(crate) filling: Option<Timestamp>,
    /// Acknowledged in the stream.
    pub(crate) acked: Position,
    /// Answered in the stream, and nothing of it was put off.
    answered: Position,
    /// Where it began.
    pub(crate) from: Position,
    /// Whether it waits until the peer takes more.
    pub(crate) hold: Hold,
}

/// Whether a stream waits.
#[derive(Debug)]
pub(crate) struct Hold {
    /// Until when, and whether acknowledgements proved nothing before.
    waits: Option<(Timestamp, bool)>,
    /// The next pause.
    pause: Span,
}

impl Default for Hold {
    fn default() -> Self {
        Self { waits: None, pause: limits::PUT_OFF_WAIT }
    }
}

impl Hold {
    pub(crate) fn is_on(&self) -> bool {
        self.waits.is_some()
    }

    /// A message more was taken.
    fn taken(&mut self) {
        self.pause = limits::PUT_OFF_WAIT;
    }
}

impl Outgoing {
    pub(crate) fn from(cursor: Position) -> Self {
        Self {
            sent: cursor,
            loading: None,
            doubtful: false,
            again: false,
            filling: None,
            acked: Position::START,
            answered: Position::START,
            from: cursor,
            hold: Hold::default(),
        }
    }

    /// Whether everything up to here was sent and nothing is on its way from disk.
    pub(crate) fn is_live(&self, end: Position) -> bool {
        let moves = self.filling.is_none() && !self.hold.is_on();
        self.sent == end && self.loading.is_none() && moves
    }

    /// The stream that takes the place of this one: what was in doubt stays so, and a pause goes
    /// on.
    pub(crate) fn again_from(&mut self, cursor: Position) -> Self {
        let hold = core::mem::take(&mut self.hold);
        Self { doubtful: self.doubtful, hold, ..Self::from(cursor) }
    }

    /// Both hold the same, up to here: where the stream stood still it goes on from here.
    pub(crate) fn agreed(&mut self, end: Position) {
        let stood = self.filling.is_some() || self.hold.is_on();
        self.sent = if stood { end } else { self.sent };
        self.acked = self.sent.max(self.acked);
        (self.doubtful, self.filling, self.hold) = (false, None, Hold::default());
    }

    /// Acknowledgements prove nothing until both hold the same.
    pub(crate) fn doubt(&mut self) {
        self.doubtful = true;
        if let Some((_, before)) = &mut self.hold.waits {
            *before = true;
        }
    }

    /// Stops until later, for `most` at the longest. Acknowledgements of what was sent meanwhile
    /// prove nothing.
    pub(crate) fn hold(&mut self, now: Timestamp, most: Span) -> Timestamp {
        if let Some((until, _)) = self.hold.waits {
            return until;
        }
        let until = now.after(self.hold.pause.min(most));
        self.hold.waits = Some((until, self.doubtful));
        self.hold.pause = self.hold.pause.doubled(most);
        self.doubtful = true;
        until
    }

    /// The peer answered a message of the stream and put nothing of it off. What it parked or
    /// refused is found when sets are compared.
    pub(crate) fn answered(&mut self, cursor: Position) {
        if !self.hold.is_on() && cursor > self.answered {
            self.answered = cursor;
            self.hold.taken();
        }
    }

    /// Goes on if it is time: from where something was put off first. Returns when to look again.
    pub(crate) fn resume(&mut self, now: Timestamp, all_acked: bool) -> Option<Timestamp> {
        let (until, doubtful) = self.hold.waits?;
        if now < until {
            return Some(until);
        }
        if !all_acked {
            // What is on its way is answered first: it may be put off too.
            return Some(now.after(limits::PUT_OFF_WAIT));
        }
        self.hold.waits = None;
        self.doubtful = doubtful;
        if self.filling.is_none() {
            self.sent = self.acked.max(self.answered).max(self.from);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_off_again_waits_longer_until_something_is_taken_and_no_more_once_both_agree() {
        let now = Timestamp::from_ms(0);
        let at = |number| Position::new(number).unwrap();
        let mut stream = Outgoing::from(Position::START);
        let pause = |stream: &mut Outgoing| {
            let until = stream.hold(now, limits::PUT_OFF_RATE_WAIT_MAX);
            stream.resume(until, true);
            until.as_ms()
        };
        assert_eq!([(); 5].map(|()| pause(&mut stream)), [1_000, 2_000, 4_000, 8_000, 8_000]);
        // Something before it was parked: it counts all the same.
        stream.doubt();
        stream.answered(at(3));
        assert_eq!([(); 2].map(|()| pause(&mut stream)), [1_000, 2_000]);
        stream.hold(now, limits::PUT_OFF_WAIT_MAX);
        stream.agreed(at(9));
        assert!(!stream.hold.is_on() && !stream.doubtful && stream.is_live(at(9)));
        assert_eq!(pause(&mut stream), 1_000);
    }

    #[test]
    fn a_stream_that_takes_the_place_of_one_that_waits_waits_too_and_is_not_in_doubt_for_ever() {
        let now = Timestamp::from_ms(0);
        let mut stream = Outgoing::from(Position::START);
        let until = stream.hold(now, limits::PUT_OFF_WAIT_MAX);
        let mut again = stream.again_from(Position::START);
        assert!(again.hold.is_on() && again.doubtful);
        assert_eq!(again.resume(until, true), None);
        assert!(!again.hold.is_on() && !again.doubtful);
        // Only what was put off is sent once more, though something before it was parked.
        let [parked, put_off] = [3, 5].map(|number| Position::new(number).unwrap());
        again.doubt();
        again.sent = put_off;
        again.answered(parked);
        let until = again.hold(until, limits::PUT_OFF_WAIT_MAX);
        again.answered(put_off);
        assert_eq!((again.resume(until, true), again.sent), (None, parked));
        again.doubtful = false;
        // What is in doubt for another reason stays so.
        again.hold(until, limits::PUT_OFF_WAIT_MAX);
        again.doubt();
        let until = until.after(limits::PUT_OFF_WAIT_MAX);
        assert_eq!((again.resume(until, true), again.doubtful), (None, true));
    }
}
