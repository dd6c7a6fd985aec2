//! Ed25519 by hand, so that signatures can be made which no honest signer makes.

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};
use sha2::{Digest, Sha512};

/// What is signed: the tag, then the id.
pub(crate) fn signed_bytes(id: &[u8]) -> Vec<u8> {
    [b"bft-crdt/v1/sig\0", id].concat()
}

/// A secret key (RFC 8032, section 5.1.5).
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) scalar: Scalar,
    prefix: [u8; 32],
    pub(crate) public: [u8; 32],
}

impl Key {
    pub(crate) fn from_seed(seed: [u8; 32]) -> Self {
        let hash: [u8; 64] = Sha512::digest(seed).into();
        let (low, high) = hash.split_at(32);
        let scalar = Scalar::from_bytes_mod_order(clamp_integer(low.try_into().unwrap()));
        let public = EdwardsPoint::mul_base(&scalar).compress().to_bytes();
        Self { scalar, prefix: high.try_into().unwrap(), public }
    }

    /// The signature of RFC 8032, section 5.1.6.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.sign_with(wide(&[&self.prefix, message]), message)
    }

    /// A signature with a nonce of choice.
    pub(crate) fn sign_with(&self, nonce: Scalar, message: &[u8]) -> [u8; 64] {
        let r = EdwardsPoint::mul_base(&nonce).compress().to_bytes();
        let s = nonce + challenge(&r, &self.public, message) * self.scalar;
        join(r, s.to_bytes())
    }
}

pub(crate) fn join(r: [u8; 32], s: [u8; 32]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s);
    signature
}

/// SHA-512 over R, A and the message, reduced modulo the group order L.
pub(crate) fn challenge(r: &[u8; 32], a: &[u8; 32], message: &[u8]) -> Scalar {
    wide(&[r, a, message])
}

/// The same hash before it is reduced, modulo 8.
pub(crate) fn challenge_mod_8(r: &[u8; 32], a: &[u8; 32], message: &[u8]) -> u8 {
    Sha512::new().chain_update(r).chain_update(a).chain_update(message).finalize()[0] & 7
}

fn wide(parts: &[&[u8]]) -> Scalar {
    let hash: [u8; 64] = Sha512::digest(parts.concat()).into();
    Scalar::from_bytes_mod_order_wide(&hash)
}
