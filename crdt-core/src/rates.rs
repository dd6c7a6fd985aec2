//! How fast something is taken: so much a second, and a burst at once. What was taken beyond that
//! is owed, and paid by waiting. Source: `docs/PROTOCOL.md`, "Put off".

use alloc::collections::BTreeMap;

use crate::id::AuthorId;
use crate::limits;
use crate::time::{Span, Timestamp};

const MICROS: u64 = 1_000_000;

/// So much a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How much; at least 1.
    pub per_second: u64,
    /// What comes in so much time may come at once.
    pub burst: Span,
}

/// What was taken of somebody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Until when all of it was paid for at its rate, in microseconds since 1970.
    paid_us: i64,
}

fn micros(at: Timestamp) -> i64 {
    at.as_ms().saturating_mul(1_000)
}

impl Account {
    /// So much is taken.
    pub fn take(&mut self, now: Timestamp, rate: Rate, amount: u64) {
        let cost = amount.saturating_mul(MICROS) / rate.per_second.max(1);
        let cost = i64::try_from(cost).unwrap_or(i64::MAX);
        self.paid_us = self.paid_us.max(micros(now)).saturating_add(cost);
    }

    /// How long to wait until what was taken beyond the burst is paid for.
    pub fn owes(&self, now: Timestamp, rate: Rate) -> Span {
        let free = micros(now).saturating_add(rate.burst.as_ms().saturating_mul(1_000));
        let over = self.paid_us.saturating_sub(free).max(0);
        Span::from_ms(over.saturating_add(999) / 1_000)
    }

    /// Whether it says no more than one that nothing was taken of.
    pub fn is_level(&self, now: Timestamp) -> bool {
        self.paid_us <= micros(now)
    }
}

/// How fast ops of one author are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRates {
    /// Ops; `None` for no limit.
    pub ops: Option<Rate>,
    /// Bytes of ops; `None` for no limit.
    pub bytes: Option<Rate>,
}

/// What was taken of each author lately.
#[derive(Debug, Default)]
pub(crate) struct Authors {
    accounts: BTreeMap<AuthorId, [Account; 2]>,
}

impl Authors {
    /// An op of so many bytes was taken.
    pub(crate) fn take(&mut self, now: Timestamp, rates: KeyRates, author: AuthorId, bytes: u64) {
        if rates == KeyRates::default() {
            return;
        }
        if self.accounts.len() >= limits::AUTHORS_PACED_MAX && !self.accounts.contains_key(&author)
        {
            self.accounts.retain(|_, accounts| !accounts.iter().all(|a| a.is_level(now)));
            if self.accounts.len() >= limits::AUTHORS_PACED_MAX {
                // So many at once are more than the rates are for: all begin anew.
                self.accounts.clear();
            }
        }
        let accounts = self.accounts.entry(author).or_default();
        let amounts = [(rates.ops, 1), (rates.bytes, bytes)];
        for (account, (rate, amount)) in accounts.iter_mut().zip(amounts) {
            if let Some(rate) = rate {
                account.take(now, rate, amount);
            }
        }
    }

    /// How long to wait until what was taken of an author is paid for.
    pub(crate) fn owes(&self, now: Timestamp, rates: KeyRates, author: AuthorId) -> Span {
        let Some(accounts) = self.accounts.get(&author) else { return Span::from_ms(0) };
        let owed = accounts.iter().zip([rates.ops, rates.bytes]);
        let owed = owed.filter_map(|(account, rate)| Some(account.owes(now, rate?)));
        owed.max().unwrap_or(Span::from_ms(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Author;

    const RATE: Rate = Rate { per_second: 200, burst: Span::from_ms(5_000) };

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    #[test]
    fn a_burst_is_free_and_what_goes_beyond_is_paid_for_by_waiting() {
        let mut account = Account::default();
        account.take(at(1_000), RATE, 1_000);
        assert_eq!(account.owes(at(1_000), RATE), Span::from_ms(0));
        account.take(at(1_000), RATE, 1);
        assert_eq!(account.owes(at(1_000), RATE), Span::from_ms(5));
        account.take(at(1_000), RATE, 199);
        assert_eq!(account.owes(at(1_000), RATE), Span::from_ms(1_000));
        assert_eq!(account.owes(at(1_400), RATE), Span::from_ms(600));
        assert_eq!(account.owes(at(2_000), RATE), Span::from_ms(0));
        assert!(!account.is_level(at(6_999)) && account.is_level(at(7_000)));
        account.take(at(60_000), RATE, 1_000);
        assert_eq!(account.owes(at(60_000), RATE), Span::from_ms(0), "time does not add up");
    }

    #[test]
    fn authors_have_their_own_rates_and_those_who_are_quiet_are_forgotten() {
        let rates = KeyRates { ops: Some(RATE), bytes: None };
        let mut authors = Authors::default();
        let [loud, quiet] = [1, 2].map(|number| Author::new(number).id());
        for _ in 0..2_000 {
            authors.take(at(0), rates, loud, 1);
        }
        assert_eq!(authors.owes(at(0), rates, loud), Span::from_ms(5_000));
        assert_eq!(authors.owes(at(0), rates, quiet), Span::from_ms(0));
        let bytes = KeyRates { ops: None, bytes: Some(Rate { per_second: 1_000, ..RATE }) };
        authors.take(at(20_000), bytes, quiet, 6_000);
        assert_eq!(authors.owes(at(20_000), bytes, quiet), Span::from_ms(1_000));
        for number in 0..limits::AUTHORS_PACED_MAX as u64 {
            let mut id = [7; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            let now = at(20_000 + i64::try_from(number).unwrap() / 100);
            authors.take(now, rates, AuthorId::from_bytes(id), 1);
        }
        assert!(authors.accounts.len() <= limits::AUTHORS_PACED_MAX);
        assert!(!authors.accounts.contains_key(&loud));
        assert_eq!(authors.owes(at(20_000), bytes, quiet), Span::from_ms(1_000), "it still owes");
    }
}
