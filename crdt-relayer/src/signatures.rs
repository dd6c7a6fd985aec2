//! Signatures of the ops of one message, checked together and on all cores of the machine. Each is
//! checked by the same rule and for itself; only the time at which that happens differs.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crdt_core::id::{AuthorId, OpId};
use crdt_core::key::{CheckSignature, Claim, KeyError, PublicKey, Signature};

/// Fewer signatures for a core are not worth a thread, which costs about as much as one check.
const CLAIMS_FOR_A_CORE_MIN: usize = 16;

/// Signatures that a thread takes at a time: enough to share a division, and few to wait for.
const PIECE: usize = 16;

/// Whose, over what, and all of the signature.
type Claimed = (AuthorId, OpId, [u8; 64]);

/// Checks as another does, several at a time where several are known to come.
#[derive(Debug)]
pub struct AllCores<C> {
    each: C,
    cores: usize,
    /// What was checked ahead: of one message at most.
    checked: Mutex<HashMap<Claimed, Result<(), KeyError>>>,
}

impl<C: CheckSignature> AllCores<C> {
    /// Checks as `each` does.
    pub fn of(each: C) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self { each, cores, checked: Mutex::default() }
    }

    /// Cores that are worth using for so many.
    fn cores_for(&self, claims: usize) -> usize {
        self.cores.min(claims / CLAIMS_FOR_A_CORE_MIN).max(1)
    }

    fn verdicts(&self, claims: &[Claim]) -> Vec<(Claimed, Result<(), KeyError>)> {
        let claimed = |claim: &Claim| (claim.key.author(), claim.id, *claim.signature.as_bytes());
        claims.iter().map(claimed).zip(self.each.check_all(claims)).collect()
    }
}

impl<C: CheckSignature> CheckSignature for AllCores<C> {
    fn check(&self, key: &PublicKey, id: OpId, signature: &Signature) -> Result<(), KeyError> {
        let claimed = (key.author(), id, *signature.as_bytes());
        // A thread that panicked in between leaves the map usable.
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner).remove(&claimed);
        checked.unwrap_or_else(|| self.each.check(key, id, signature))
    }

    fn ahead(&self, claims: &mut dyn Iterator<Item = Claim>) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.clear();
        let claims: Vec<Claim> = claims.collect();
        // One is checked when its turn comes; several cost less together.
        if claims.len() < 2 {
            return;
        }
        let cores = self.cores_for(claims.len());
        let pieces = Mutex::new(claims.chunks(PIECE));
        let work = || {
            let next = || pieces.lock().unwrap_or_else(PoisonError::into_inner).next();
            let mut verdicts = Vec::new();
            while let Some(piece) = next() {
                verdicts.extend(self.verdicts(piece));
            }
            verdicts
        };
        thread::scope(|scope| {
            // What a thread that cannot be started, or panics, does not check is checked when its
            // turn comes.
            let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let others: Vec<_> = (1..cores).filter_map(start).collect();
            checked.extend(work());
            checked.extend(others.into_iter().filter_map(|other| other.join().ok()).flatten());
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use crdt_core::key::{EachTime, SecretKey};

    use super::*;

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

    fn of_cores(cores: usize) -> AllCores<Counted> {
        AllCores { cores, ..AllCores::of(Counted::default()) }
    }

    #[test]
    fn what_was_checked_ahead_is_what_a_check_says_and_each_is_checked_once() {
        for cores in [1, 2, 3, 8, 64] {
            let all = of_cores(cores);
            let claims = claims(200);
            all.ahead(&mut claims.iter().cloned());
            for Claim { key, id, signature } in &claims {
                assert_eq!(all.check(key, *id, signature), key.verify(*id, signature));
            }
            assert_eq!(all.each.0.load(Ordering::Relaxed), 200, "{cores} cores");
            assert!(all.checked.lock().unwrap().is_empty());
        }
    }

    #[test]
    fn an_altered_signature_over_an_id_that_was_checked_ahead_is_checked_itself() {
        let all = of_cores(2);
        let claims = claims(100);
        all.ahead(&mut claims.iter().cloned());
        let Claim { key, id, signature } = &claims[1];
        let mut altered = *signature.as_bytes();
        altered[3] ^= 1;
        assert_eq!(all.check(key, *id, &Signature::from_bytes(altered)), Err(KeyError::Signature));
        assert_eq!(all.check(key, *id, signature), Ok(()));
    }

    #[test]
    fn a_few_are_not_worth_a_thread() {
        let all = of_cores(3);
        let cores = [2, 31, 32, 47, 48, 256].map(|claims| all.cores_for(claims));
        assert_eq!(cores, [1, 1, 2, 2, 3, 3]);
        assert_eq!(of_cores(1).cores_for(256), 1);
    }

    #[test]
    fn one_is_checked_when_its_turn_comes_and_what_nobody_asks_for_is_forgotten() {
        let all = of_cores(2);
        all.ahead(&mut claims(1).into_iter());
        assert_eq!(all.each.0.load(Ordering::Relaxed), 0);
        all.ahead(&mut claims(200).into_iter());
        assert_eq!(all.checked.lock().unwrap().len(), 200);
        all.ahead(&mut claims(1).into_iter());
        assert!(all.checked.lock().unwrap().is_empty());
    }
}
