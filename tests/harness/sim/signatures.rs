//! Signatures that were checked once are not checked again for each replica that receives them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crdt_core::id::{AuthorId, OpId};
use crdt_core::key::{CheckSignature, Claim, EachTime, KeyError, PublicKey, Signature};

/// One seed in so many checks every signature whenever it comes.
const EACH_TIME_EVERY: u64 = 100;

/// What is known of signatures.
#[derive(Debug, Default)]
struct Remembered(Mutex<HashMap<Claimed, Result<(), KeyError>>>);

/// Whose, over what, and all of the signature.
type Claimed = (AuthorId, OpId, [u8; 64]);

impl CheckSignature for Remembered {
    fn check(&self, key: &PublicKey, id: OpId, signature: &Signature) -> Result<(), KeyError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let claim = (key.author(), id, *signature.as_bytes());
        *known.entry(claim).or_insert_with(|| key.verify(id, signature))
    }

    fn ahead(&self, claims: &mut dyn Iterator<Item = Claim>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |claim: &Claim| (claim.key.author(), claim.id, *claim.signature.as_bytes());
        let claims: Vec<Claim> = claims.filter(|claim| !known.contains_key(&name(claim))).collect();
        let verdicts = EachTime.check_all(&claims);
        if let (Some(claim), Some(verdict)) = (claims.first(), verdicts.first()) {
            let alone = claim.key.verify(claim.id, &claim.signature);
            assert_eq!(*verdict, alone, "together as alone");
        }
        known.extend(claims.iter().map(name).zip(verdicts));
    }
}

/// How a run with this seed checks signatures.
pub(super) fn of_seed(seed: u64) -> Arc<dyn CheckSignature> {
    if seed.is_multiple_of(EACH_TIME_EVERY) {
        Arc::new(EachTime)
    } else {
        Arc::<Remembered>::default()
    }
}

#[cfg(test)]
mod tests {
    use crdt_core::key::SecretKey;

    use super::*;

    #[test]
    fn what_is_remembered_is_what_a_check_says() {
        let id = OpId::from_bytes([7; 32]);
        let key = SecretKey::from_seed(&[1; 32]);
        let public = PublicKey::of(key.author()).unwrap();
        let other = PublicKey::of(SecretKey::from_seed(&[2; 32]).author()).unwrap();
        let good = key.sign(id);
        let mut flipped = *good.as_bytes();
        flipped[40] ^= 1;
        let bad = Signature::from_bytes(flipped);
        let remembered = Remembered::default();
        for _ in 0..2 {
            for (key, id, signature) in [
                (&public, id, &good),
                (&public, id, &bad),
                (&other, id, &good),
                (&public, OpId::from_bytes([8; 32]), &good),
            ] {
                assert_eq!(remembered.check(key, id, signature), key.verify(id, signature));
            }
        }
    }
}
