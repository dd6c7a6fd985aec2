//! Signatures that will be asked for soon, checked ahead: several together, and on all cores of the
//! machine while the driver does something else. Each is checked by the same rule and for itself;
//! only the time at which that happens differs.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crdt_core::id::{AuthorId, OpId};
use crdt_core::key::{CheckSignature, Claim, KeyError, PublicKey, Signature};

/// Signatures that are checked together: enough to share a division, and few to wait for.
const PIECE: usize = 16;

/// Waiting signatures that are worth waking another thread for.
const WAKE_MIN: usize = 2 * PIECE;

/// Signatures that are known ahead. Where more are told, those that nobody has asked for yet are
/// forgotten, and checked when their turn comes.
const AHEAD_MAX: usize = 8_192;

type Verdict = Result<(), KeyError>;

/// Checks as another does, several at a time where several are known to come.
#[derive(Debug)]
pub struct AllCores<C: CheckSignature + 'static> {
    shared: Arc<Shared<C>>,
    /// Threads that may help the one that asks.
    helpers_max: usize,
}

#[derive(Debug)]
struct Shared<C> {
    each: C,
    ahead: Mutex<Ahead>,
    /// There is something to check, or nobody asks any more.
    more: Condvar,
    /// A piece was checked.
    checked: Condvar,
}

/// What is known of claims that will be asked for.
#[derive(Debug, Default)]
struct Ahead {
    claims: HashMap<OpId, Known>,
    /// Claims that nobody checks yet, by the number of their piece: the first is asked for first.
    pieces: BTreeMap<u64, Vec<Claim>>,
    next_piece: u64,
    helpers: usize,
    closed: bool,
}

#[derive(Debug)]
struct Known {
    author: AuthorId,
    signature: [u8; 64],
    piece: u64,
    verdict: Option<Verdict>,
}

impl Known {
    fn is_of(&self, key: &PublicKey, signature: &Signature) -> bool {
        self.author == key.author() && self.signature == *signature.as_bytes()
    }
}

impl Ahead {
    /// Notes a claim, unless one with its id is noted.
    fn add(&mut self, claim: Claim) {
        let (author, signature) = (claim.key.author(), *claim.signature.as_bytes());
        if self.claims.contains_key(&claim.id) {
            return;
        }
        if self.claims.len() >= AHEAD_MAX {
            self.claims.clear();
            self.pieces.clear();
        }
        let last = self.pieces.last_entry().filter(|last| last.get().len() < PIECE);
        let mut last = last.map(|last| (*last.key(), last.into_mut()));
        let piece = last.as_ref().map_or(self.next_piece, |(number, _)| *number);
        self.claims.insert(claim.id, Known { author, signature, piece, verdict: None });
        if let Some((_, claims)) = &mut last {
            claims.push(claim);
        } else {
            self.pieces.insert(piece, vec![claim]);
            self.next_piece += 1;
        }
    }

    /// Signatures that nobody checks yet.
    fn waiting(&self) -> usize {
        self.pieces.len().saturating_sub(1) * PIECE
            + self.pieces.values().last().map_or(0, Vec::len)
    }
}

/// A piece that a thread checks. If it does not come to an end, its claims are checked when their
/// turn comes.
struct Taken<'s, C> {
    shared: &'s Shared<C>,
    claims: Vec<Claim>,
    verdicts: Vec<Verdict>,
}

impl<C> Drop for Taken<'_, C> {
    fn drop(&mut self) {
        let mut ahead = self.shared.lock();
        for (index, claim) in self.claims.iter().enumerate() {
            match (self.verdicts.get(index), ahead.claims.get_mut(&claim.id)) {
                (Some(verdict), Some(known)) if known.is_of(&claim.key, &claim.signature) => {
                    known.verdict = Some(*verdict);
                }
                (None, Some(known)) if known.verdict.is_none() => {
                    ahead.claims.remove(&claim.id);
                }
                (_, None | Some(_)) => {}
            }
        }
        self.shared.checked.notify_all();
    }
}

impl<C> Shared<C> {
    fn lock(&self) -> MutexGuard<'_, Ahead> {
        // A thread that panicked in between leaves it usable.
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: CheckSignature> Shared<C> {
    fn check_piece(&self, claims: Vec<Claim>) {
        let mut taken = Taken { shared: self, claims, verdicts: Vec::new() };
        taken.verdicts = self.each.check_all(&taken.claims);
    }

    /// Checks what waits until nobody asks any more.
    fn help(&self) {
        let mut ahead = self.lock();
        while !ahead.closed {
            if let Some((_, claims)) = ahead.pieces.pop_first() {
                drop(ahead);
                self.check_piece(claims);
                ahead = self.lock();
            } else {
                ahead = self.more.wait(ahead).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl<C: CheckSignature + 'static> AllCores<C> {
    /// Checks as `each` does.
    pub fn of(each: C) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self::with_helpers(each, cores - 1)
    }

    fn with_helpers(each: C, helpers_max: usize) -> Self {
        let (ahead, more, checked) = (Mutex::default(), Condvar::new(), Condvar::new());
        Self { shared: Arc::new(Shared { each, ahead, more, checked }), helpers_max }
    }

    /// Lets others begin with what waits, if it is worth it.
    fn call_for_help(&self, mut ahead: MutexGuard<'_, Ahead>) {
        if ahead.waiting() < WAKE_MIN {
            return;
        }
        if ahead.helpers < self.helpers_max {
            let shared = Arc::clone(&self.shared);
            let helper = thread::Builder::new().name("signatures".to_owned());
            // Where no thread can be started, whoever asks checks everything itself.
            ahead.helpers += usize::from(helper.spawn(move || shared.help()).is_ok());
        }
        let pieces = ahead.pieces.len();
        drop(ahead);
        for _ in 0..self.helpers_max.min(pieces) {
            self.shared.more.notify_one();
        }
    }
}

impl<C: CheckSignature + 'static> Drop for AllCores<C> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.more.notify_all();
    }
}

impl<C: CheckSignature + 'static> CheckSignature for AllCores<C> {
    fn check(&self, key: &PublicKey, id: OpId, signature: &Signature) -> Verdict {
        let mut ahead = self.shared.lock();
        loop {
            let known = ahead.claims.get(&id).filter(|known| known.is_of(key, signature));
            let Some(&Known { piece, verdict, .. }) = known else { break };
            if let Some(verdict) = verdict {
                ahead.claims.remove(&id);
                return verdict;
            }
            // The piece that it is in, or while another thread has that the next one.
            let own = ahead.pieces.remove(&piece);
            if let Some(claims) = own.or_else(|| ahead.pieces.pop_first().map(|(_, next)| next)) {
                drop(ahead);
                self.shared.check_piece(claims);
                ahead = self.shared.lock();
            } else {
                let waited = self.shared.checked.wait(ahead);
                ahead = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
        drop(ahead);
        self.shared.each.check(key, id, signature)
    }

    fn ahead(&self, claims: &mut dyn Iterator<Item = Claim>) {
        // What a claim takes to make is nothing to wait for.
        let claims: Vec<Claim> = claims.collect();
        let mut ahead = self.shared.lock();
        for claim in claims {
            ahead.add(claim);
        }
        self.call_for_help(ahead);
    }
}

#[cfg(test)]
mod tests {
    use std::iter;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    use crdt_core::key::{EachTime, SecretKey};

    use super::*;

    /// Longer than anything takes.
    const LONG: Duration = Duration::from_secs(30);

    /// Counts what it is asked.
    #[derive(Debug, Default)]
    struct Counted(AtomicUsize);

    impl CheckSignature for Counted {
        fn check(&self, key: &PublicKey, id: OpId, signature: &Signature) -> Result<(), KeyError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            EachTime.check(key, id, signature)
        }

        fn check_all(&self, claims: &[Claim]) -> Vec<Result<(), KeyError>> {
            self.0.fetch_add(claims.len(), Ordering::Relaxed);
            EachTime.check_all(claims)
        }
    }

    /// Claims of three authors; every fifth is of the wrong author, every seventh altered.
    fn claims(count: u8) -> Vec<Claim> {
        let secrets = [1, 2, 3].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let claim = |number: u8| {
            let id = OpId::from_bytes([number; 32]);
            let author = usize::from(number) % 3;
            let mut bytes = *secrets[author].sign(id).as_bytes();
            bytes[usize::from(number) % 64] ^= u8::from(number.is_multiple_of(7));
            let claimed = if number.is_multiple_of(5) { (author + 1) % 3 } else { author };
            let key = PublicKey::of(secrets[claimed].author()).unwrap();
            Claim { key, id, signature: Signature::from_bytes(bytes) }
        };
        (0..count).map(claim).collect()
    }

    fn with_helpers(helpers: usize) -> AllCores<Counted> {
        AllCores::with_helpers(Counted::default(), helpers)
    }

    fn counted(all: &AllCores<Counted>) -> usize {
        all.shared.each.0.load(Ordering::Relaxed)
    }

    #[test]
    fn what_was_checked_ahead_is_what_a_check_says_and_each_is_checked_once() {
        for helpers in [0, 1, 2, 7, 63] {
            let all = with_helpers(helpers);
            let claims = claims(200);
            // Told in parts, and some of it twice.
            for part in [0..1, 0..100, 50..51, 99..200] {
                all.ahead(&mut claims[part].iter().cloned());
            }
            for Claim { key, id, signature } in &claims {
                assert_eq!(all.check(key, *id, signature), key.verify(*id, signature));
            }
            assert_eq!(counted(&all), 200, "{helpers} helpers");
            assert!(all.shared.lock().claims.is_empty());
        }
    }

    #[test]
    fn what_is_asked_for_first_does_not_wait_for_what_was_told_before() {
        let all = with_helpers(0);
        let claims = claims(200);
        all.ahead(&mut claims.iter().cloned());
        let Claim { key, id, signature } = &claims[150];
        assert_eq!(all.check(key, *id, signature), key.verify(*id, signature));
        assert_eq!(counted(&all), PIECE, "only what it is checked together with");
    }

    #[test]
    fn an_altered_signature_over_an_id_that_was_checked_ahead_is_checked_itself() {
        for helpers in [0, 1] {
            let all = with_helpers(helpers);
            let claims = claims(100);
            all.ahead(&mut claims.iter().cloned());
            let Claim { key, id, signature } = &claims[1];
            let mut altered = *signature.as_bytes();
            altered[3] ^= 1;
            let altered = Signature::from_bytes(altered);
            assert_eq!(all.check(key, *id, &altered), Err(KeyError::Signature));
            assert_eq!(all.check(key, *id, signature), Ok(()));
            // Nor is it anybody else's.
            let other = &claims[2];
            assert_eq!(
                all.check(&claims[3].key, other.id, &other.signature),
                Err(KeyError::Signature)
            );
            assert_eq!(all.check(&other.key, other.id, &other.signature), Ok(()));
        }
    }

    #[test]
    fn a_few_are_not_worth_a_thread() {
        let all = with_helpers(3);
        let claims = claims(32);
        for (told, helpers) in [(1, 0), (31, 0), (32, 1)] {
            all.ahead(&mut claims[..told].iter().cloned());
            assert_eq!(all.shared.lock().helpers, helpers, "{told}");
        }
    }

    #[test]
    fn a_helper_checks_what_nobody_has_asked_for_yet() {
        let all = with_helpers(1);
        let claims = claims(64);
        all.ahead(&mut claims.iter().cloned());
        let mut ahead = all.shared.lock();
        while ahead.claims.values().any(|known| known.verdict.is_none()) {
            ahead = all.shared.checked.wait(ahead).unwrap();
        }
        drop(ahead);
        assert_eq!(counted(&all), 64);
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten() {
        let all = with_helpers(0);
        let claims = claims(200);
        for number in 0..100 {
            let anew = claims.iter().cloned().map(|claim| {
                let mut id = *claim.id.as_bytes();
                id[31] = number;
                Claim { id: OpId::from_bytes(id), ..claim }
            });
            all.ahead(&mut anew.collect::<Vec<_>>().into_iter());
            let ahead = all.shared.lock();
            assert!(ahead.claims.len() <= AHEAD_MAX && ahead.waiting() <= AHEAD_MAX);
        }
    }

    #[test]
    fn a_piece_that_was_forgotten_meanwhile_says_nothing_of_a_forgery_of_the_same_id() {
        let all = with_helpers(0);
        let good = claims(2).remove(1);
        all.ahead(&mut iter::once(good.clone()));
        let (_, begun) = all.shared.lock().pieces.pop_first().unwrap();
        let others = (0..AHEAD_MAX as u64).map(|number| {
            let mut id = [0xFF; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            Claim { id: OpId::from_bytes(id), ..good.clone() }
        });
        all.ahead(&mut others.collect::<Vec<_>>().into_iter());
        let mut forged = *good.signature.as_bytes();
        forged[3] ^= 1;
        let forged = Signature::from_bytes(forged);
        all.ahead(&mut iter::once(Claim { signature: forged, ..good.clone() }));
        all.shared.check_piece(begun);
        assert_eq!(all.check(&good.key, good.id, &forged), Err(KeyError::Signature));
    }

    #[test]
    fn who_waits_for_a_piece_checks_the_next() {
        let all = with_helpers(0);
        let claims = claims(32);
        all.ahead(&mut claims.iter().cloned());
        let (_, begun) = all.shared.lock().pieces.pop_first().unwrap();
        thread::scope(|scope| {
            let Claim { key, id, signature } = &claims[0];
            let asking = scope.spawn(|| all.check(key, *id, signature));
            let next = |ahead: &mut Ahead| ahead.claims[&claims[31].id].verdict.is_none();
            let (ahead, checked) = (all.shared.lock(), &all.shared.checked);
            let (ahead, waited) = checked.wait_timeout_while(ahead, LONG, next).unwrap();
            drop(ahead);
            all.shared.check_piece(begun);
            assert_eq!(asking.join().unwrap(), key.verify(*id, signature));
            assert!(!waited.timed_out());
        });
        assert_eq!(counted(&all), 32);
    }

    #[test]
    fn its_threads_end_with_it() {
        let all = with_helpers(2);
        all.ahead(&mut claims(200).into_iter());
        let shared = Arc::downgrade(&all.shared);
        drop(all);
        let late = Instant::now() + LONG;
        while shared.strong_count() > 0 {
            assert!(Instant::now() < late);
            thread::yield_now();
        }
    }

    /// Panics where a signature is not good.
    #[derive(Debug)]
    struct Fragile;

    impl CheckSignature for Fragile {
        fn check(&self, key: &PublicKey, id: OpId, signature: &Signature) -> Verdict {
            EachTime.check(key, id, signature)
        }

        fn check_all(&self, claims: &[Claim]) -> Vec<Verdict> {
            let verdicts = EachTime.check_all(claims);
            assert!(verdicts.iter().all(Result::is_ok), "a test of what happens then");
            verdicts
        }
    }

    #[test]
    fn what_a_thread_did_not_come_to_say_is_checked_when_its_turn_comes() {
        let all = AllCores::with_helpers(Fragile, 1);
        let claims = claims(200)[..PIECE].to_vec();
        let taken = claims.clone();
        let shared = Arc::clone(&all.shared);
        all.ahead(&mut claims.iter().cloned());
        shared.lock().pieces.clear();
        assert!(thread::spawn(move || shared.check_piece(taken)).join().is_err());
        for Claim { key, id, signature } in &claims {
            assert_eq!(all.check(key, *id, signature), key.verify(*id, signature));
        }
    }
}
