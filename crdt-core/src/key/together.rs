//! Several signatures checked at a time, each of them for itself. A check ends by encoding the point
//! that R has to be, which takes a division, a sixth of all its time; points that are encoded
//! together share one (Montgomery 1987, section 10.3.1). This is no batch verification: nothing of
//! different signatures is added up, and what is said of one does not depend on the others.

use alloc::vec::Vec;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use ed25519_dalek::Signature as DalekSignature;
use sha2::{Digest, Sha512};

use super::{Claim, KeyError, SMALL_ORDER, signed_bytes};

/// Says of each what [`super::PublicKey::verify`] says.
pub(super) fn verify_all(claims: &[Claim]) -> Vec<Result<(), KeyError>> {
    let expected: Vec<EdwardsPoint> = claims.iter().map(expected_r).collect();
    let encoded = EdwardsPoint::compress_batch_alloc(&expected);
    let verdict = |(claim, expected): (&Claim, CompressedEdwardsY)| {
        let expected = expected.to_bytes();
        let holds = claim.signature.0.starts_with(&expected) && !SMALL_ORDER.contains(&expected);
        if holds { Ok(()) } else { Err(KeyError::Signature) }
    };
    claims.iter().zip(encoded).map(verdict).collect()
}

/// The point that R has to be: [S]B − [k]A (RFC 8032, section 5.1.7). If S is not below the group
/// order the neutral element, which is of small order and no signature's.
fn expected_r(Claim { key, id, signature }: &Claim) -> EdwardsPoint {
    let signature = DalekSignature::from_bytes(&signature.0);
    let s = Scalar::from_canonical_bytes(*signature.s_bytes());
    let Some(s) = s.into_option() else { return EdwardsPoint::identity() };
    let hashed = Sha512::new()
        .chain_update(signature.r_bytes())
        .chain_update(key.0.as_bytes())
        .chain_update(signed_bytes(*id));
    let k = Scalar::from_bytes_mod_order_wide(&hashed.finalize().into());
    EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &-EdwardsPoint::from(key.0), &s)
}
