//! Keys and signatures. The only place that names the signature crates, and where a signature is
//! checked: strictly, each for itself, never as a batch, because batches accept what single checks
//! refuse. Source: `docs/PROTOCOL.md`, "Hashes and signatures".

mod together;

use alloc::vec::Vec;
use core::fmt;

use ed25519_dalek::{Signature as DalekSignature, Signer, SigningKey, Verifier, VerifyingKey};

use crate::id::{AuthorId, HexError, Nonce, OpId, StoreId, parse_hex, push_hex, tag};

/// Bytes that are signed: the tag, then the id of the op.
fn signed_bytes(id: OpId) -> [u8; SIGNED_LEN] {
    let mut bytes = [0; SIGNED_LEN];
    let (head, tail) = bytes.split_at_mut(tag::SIG.len());
    head.copy_from_slice(tag::SIG);
    tail.copy_from_slice(id.as_bytes());
    bytes
}

const SIGNED_LEN: usize = tag::SIG.len() + 32;

/// The eight points of small order in their canonical encodings.
const SMALL_ORDER: [[u8; 32]; 8] = [
    [
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0x7f,
    ],
    [
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00,
    ],
    [
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x80,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x85,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0xfa,
    ],
];

/// An author's Ed25519 secret key (RFC 8032). Zeroed when dropped; never printed or copied.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key with this 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The author this key signs for.
    pub fn author(&self) -> AuthorId {
        AuthorId::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// Signs a challenge, which proves to whoever posed it that this key is here.
    pub fn prove(&self, challenge: &Challenge) -> Signature {
        Signature(self.0.sign(&challenge.0).to_bytes())
    }

    /// Signs an op's id.
    pub fn sign(&self, id: OpId) -> Signature {
        Signature(self.0.sign(&signed_bytes(id)).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({:?})", self.author())
    }
}

/// Why a key or signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The 32 bytes are no point of the curve, not its canonical encoding, or of small order.
    #[error("not an acceptable Ed25519 public key")]
    Key,
    /// The signature does not belong to this key and id.
    #[error("the signature is not by this key over this id")]
    Signature,
}

/// A decoded public key: canonical and not of small order.
#[derive(Clone, Debug)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Decodes an author's key.
    ///
    /// # Errors
    /// [`KeyError::Key`].
    pub fn of(author: AuthorId) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(author.as_bytes()).map_err(|_| KeyError::Key)?;
        if key.is_weak() || !is_reduced(author.as_bytes()) {
            return Err(KeyError::Key);
        }
        Ok(Self(key))
    }

    /// The author whose key it is.
    pub fn author(&self) -> AuthorId {
        AuthorId::from_bytes(self.0.to_bytes())
    }

    /// Checks a signature over an op's id by the strict rule: S below the group order, R canonical
    /// and not of small order, the equation without cofactor.
    ///
    /// # Errors
    /// [`KeyError::Signature`].
    pub fn verify(&self, id: OpId, signature: &Signature) -> Result<(), KeyError> {
        self.check(&signed_bytes(id), signature)
    }

    /// Checks a proof of key by the same rule.
    ///
    /// # Errors
    /// [`KeyError::Signature`].
    pub fn verify_proof(&self, challenge: &Challenge, proof: &Signature) -> Result<(), KeyError> {
        self.check(&challenge.0, proof)
    }

    fn check(&self, signed: &[u8], signature: &Signature) -> Result<(), KeyError> {
        let signature = DalekSignature::from_bytes(&signature.0);
        // `verify` compares R with the canonical encoding of the point that it has to be. What it
        // accepts is therefore canonical, and of small order only if it is one of these: that is
        // all that `verify_strict` finds out by decoding R, which takes a fifth of its time.
        if SMALL_ORDER.contains(signature.r_bytes()) {
            return Err(KeyError::Signature);
        }
        self.0.verify(signed, &signature).map_err(|_| KeyError::Signature)
    }
}

/// Says whether an op's signature is good. One who runs many replicas at once may remember what was
/// checked before; nobody may say anything else than [`PublicKey::verify`] would.
pub trait CheckSignature: fmt::Debug + Send + Sync {
    /// Checks a signature over an op's id.
    ///
    /// # Errors
    /// [`KeyError::Signature`].
    fn check(&self, key: &PublicKey, id: OpId, signature: &Signature) -> Result<(), KeyError>;

    /// Checks several. Each is accepted or refused as if it came alone.
    fn check_all(&self, claims: &[Claim]) -> Vec<Result<(), KeyError>> {
        claims.iter().map(|claim| self.check(&claim.key, claim.id, &claim.signature)).collect()
    }

    /// Says what is likely to be checked soon, in that order; what was said before may be said again.
    /// Who can do several things at a time may check it meanwhile; nothing depends on it.
    fn ahead(&self, _claims: &mut dyn Iterator<Item = Claim>) {}
}

/// An op's signature, still to be checked.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whose it claims to be.
    pub key: PublicKey,
    /// The op's id.
    pub id: OpId,
    /// The signature.
    pub signature: Signature,
}

/// Checks every signature when it comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct EachTime;

impl CheckSignature for EachTime {
    fn check(&self, key: &PublicKey, id: OpId, signature: &Signature) -> Result<(), KeyError> {
        key.verify(id, signature)
    }

    fn check_all(&self, claims: &[Claim]) -> Vec<Result<(), KeyError>> {
        together::verify_all(claims)
    }
}

/// What a proof of key is signed over: fresh numbers of both sides, so that it is of no use on
/// another connection, and both stores, so that it is of no use with another peer. Never the bytes
/// of an op: it starts with a tag of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge(Vec<u8>);

impl Challenge {
    /// Of whoever asks for the proof first, of whoever proves second.
    pub(crate) fn of(nonces: [Nonce; 2], stores: [StoreId; 2]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(nonces.iter().flat_map(Nonce::as_bytes));
        bytes.extend(stores.iter().flat_map(StoreId::as_bytes));
        Self::tagged(&bytes)
    }

    fn tagged(bytes: &[u8]) -> Self {
        Self([tag::AUTH, bytes].concat())
    }
}

/// Whether the y coordinate is below p = 2^255 − 19. (Encodings of x = 0 with the sign bit set
/// also have two spellings, but those points are of small order.)
fn is_reduced(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    *first < 0xed || middle.iter().any(|byte| *byte != 0xff) || last & 0x7f != 0x7f
}

/// 64 bytes that claim to be a signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// The signature made of these bytes.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// Its 64 bytes.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// Reads 128 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, HexError> {
        parse_hex(text).map(Self)
    }

    pub(crate) fn push_to(&self, out: &mut alloc::string::String) {
        push_hex(&self.0, out);
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use curve25519_dalek::constants::EIGHT_TORSION;
    use curve25519_dalek::edwards::EdwardsPoint;
    use curve25519_dalek::scalar::Scalar;
    use sha2::{Digest, Sha512};

    use super::*;

    const ID: OpId = OpId::from_bytes([7; 32]);

    #[test]
    fn a_signature_holds_for_its_key_and_id_only() {
        let key = SecretKey::from_seed(&[1; 32]);
        let signature = key.sign(ID);
        let public = PublicKey::of(key.author()).unwrap();
        assert_eq!(public.verify(ID, &signature), Ok(()));
        let other = PublicKey::of(SecretKey::from_seed(&[2; 32]).author()).unwrap();
        assert_eq!(other.verify(ID, &signature), Err(KeyError::Signature));
        assert_eq!(public.verify(OpId::from_bytes([8; 32]), &signature), Err(KeyError::Signature));
        for bit in 0..512 {
            let mut bytes = *signature.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let flipped = Signature::from_bytes(bytes);
            assert_eq!(public.verify(ID, &flipped), Err(KeyError::Signature), "bit {bit}");
        }
    }

    #[test]
    fn a_proof_is_never_the_signature_of_an_op() {
        let key = SecretKey::from_seed(&[1; 32]);
        let public = PublicKey::of(key.author()).unwrap();
        let challenge = Challenge::tagged(ID.as_bytes());
        assert!(public.verify(ID, &key.prove(&challenge)).is_err());
        assert!(public.verify_proof(&challenge, &key.sign(ID)).is_err());
    }

    #[test]
    fn small_order_and_unreduced_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        let zero = [0; 32];
        // y = p + 3: the point with y = 3 exists, so only the encoding is wrong.
        let mut unreduced = [0xff; 32];
        unreduced[0] = 0xf0;
        unreduced[31] = 0x7f;
        let mut reduced = [0; 32];
        reduced[0] = 3;
        assert!(PublicKey::of(AuthorId::from_bytes(reduced)).is_ok());
        assert!(VerifyingKey::from_bytes(&unreduced).is_ok(), "the library alone would take it");
        for bad in [identity, minus_one, zero, unreduced, [2; 32]] {
            assert_eq!(PublicKey::of(AuthorId::from_bytes(bad)).err(), Some(KeyError::Key));
        }
    }

    #[test]
    fn the_points_of_small_order_are_all_there() {
        let all = EIGHT_TORSION.map(|point| point.compress().to_bytes());
        assert!(all.iter().all(|point| SMALL_ORDER.contains(point)));
        assert!(SMALL_ORDER.iter().all(|point| all.contains(point)));
    }

    /// Signatures of keys and with an R that have a part of small order, some of which fulfil the
    /// equation: the check gives the verdicts of the library's strict one.
    #[test]
    fn the_check_says_what_the_librarys_strict_check_says() {
        let (mut accepted, mut refused_though_equal) = (0, 0);
        let (mut claims, mut verdicts) = (Vec::new(), Vec::new());
        let secret = Scalar::from(0x5eed_u64);
        for key_part in EIGHT_TORSION {
            let key_point = (EdwardsPoint::mul_base(&secret) + key_part).compress();
            let key = PublicKey::of(AuthorId::from_bytes(key_point.to_bytes())).unwrap();
            let parts =
                EIGHT_TORSION.into_iter().flat_map(|part| [0, 1_u64, 77].map(|r| (part, r)));
            for ((part, r), number) in parts.flat_map(|both| (0..16).map(move |id| (both, id))) {
                let r = Scalar::from(r);
                let mut encodings = vec![(EdwardsPoint::mul_base(&r) + part).compress().to_bytes()];
                // The same y with the sign of x turned: the other point, or no canonical encoding.
                encodings.push(encodings[0]);
                encodings[1][31] ^= 0x80;
                for encoding in encodings {
                    let id = OpId::from_bytes([number; 32]);
                    let hashed = [&encoding[..], key.0.as_bytes(), &signed_bytes(id)].concat();
                    let k = Scalar::from_bytes_mod_order_wide(&Sha512::digest(&hashed).into());
                    let s = r + k * secret;
                    let bytes = [encoding, s.to_bytes()].concat().try_into().unwrap();
                    let theirs = DalekSignature::from_bytes(&bytes);
                    let strict = key.0.verify_strict(&signed_bytes(id), &theirs).is_ok();
                    let plain = key.0.verify(&signed_bytes(id), &theirs).is_ok();
                    let signature = Signature(bytes);
                    let verdict = key.verify(id, &signature);
                    assert_eq!(verdict.is_ok(), strict);
                    claims.push(Claim { key: key.clone(), id, signature });
                    verdicts.push(verdict);
                    accepted += u32::from(strict);
                    refused_though_equal += u32::from(plain && !strict);
                }
            }
        }
        assert!(accepted > 100 && refused_though_equal > 100, "{accepted} {refused_though_equal}");
        assert_eq!(EachTime.check_all(&claims), verdicts);
    }

    /// Claims of which every bit of the signature is flipped once, and some that are as signed.
    #[test]
    fn together_each_signature_is_accepted_or_refused_as_if_it_came_alone() {
        let keys = [1, 2, 3].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let claim = |bit: usize| {
            let (id, key) = (OpId::from_bytes([bit.to_le_bytes()[0]; 32]), &keys[bit % 3]);
            let mut bytes = *key.sign(id).as_bytes();
            if !bit.is_multiple_of(5) {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Claim { key: PublicKey::of(key.author()).unwrap(), id, signature: Signature(bytes) }
        };
        let all: Vec<Claim> = (0..512).map(claim).collect();
        for count in [0, 1, 2, 3, 64, 512] {
            let claims = &all[..count];
            let alone = |claim: &Claim| claim.key.verify(claim.id, &claim.signature);
            let alone: Vec<_> = claims.iter().map(alone).collect();
            assert_eq!(EachTime.check_all(claims), alone);
            assert_eq!(alone.iter().filter(|verdict| verdict.is_ok()).count(), count.div_ceil(5));
        }
    }

    #[test]
    fn s_plus_the_group_order_is_refused() {
        const ORDER: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let key = SecretKey::from_seed(&[1; 32]);
        let mut bytes = *key.sign(ID).as_bytes();
        let mut carry = 0u16;
        for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
            carry += u16::from(*byte) + u16::from(order);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        let public = PublicKey::of(key.author()).unwrap();
        let signature = Signature::from_bytes(bytes);
        assert_eq!(public.verify(ID, &signature), Err(KeyError::Signature));
        let claim = Claim { key: public, id: ID, signature };
        assert_eq!(EachTime.check_all(&[claim]), [Err(KeyError::Signature)]);
    }

    #[test]
    fn a_secret_key_does_not_print_itself() {
        let key = SecretKey::from_seed(&[1; 32]);
        let shown = alloc::format!("{key:?}");
        assert!(!shown.contains("0101"), "{shown}");
    }
}
