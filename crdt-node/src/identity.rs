//! The key file: makes it, loads it, refuses one that others can read. The only place where the
//! product draws a key.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use crdt_core::id::AuthorId;
use crdt_core::key::SecretKey;
use pkcs8::der::asn1::{BitStringRef, OctetStringRef};
use pkcs8::der::pem::LineEnding;
use pkcs8::spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use pkcs8::{
    Document, EncryptedPrivateKeyInfoRef, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument,
};
use zeroize::Zeroizing;

use crate::error::NodeError;

/// id-Ed25519 (RFC 8410).
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// DER of an OCTET STRING of 32 bytes: the private key inside PKCS#8 (RFC 8410, section 7).
const OCTETS_32: [u8; 2] = [0x04, 0x20];

const PLAIN: &str = "PRIVATE KEY";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// Where a passphrase comes from.
#[derive(Clone, Debug)]
pub enum Passphrase {
    /// From the terminal, if the key needs one.
    Ask,
    /// The first line of a file.
    File(PathBuf),
}

impl Passphrase {
    fn read(&self, key: &Path, prompt: &str) -> Result<Zeroizing<String>, NodeError> {
        match self {
            Self::File(path) => {
                let text = fs::read_to_string(path)
                    .map_err(|source| NodeError::Input { path: path.clone(), source })?;
                let text = Zeroizing::new(text);
                Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
            }
            Self::Ask if io::stdin().is_terminal() => {
                Ok(Zeroizing::new(rpassword::prompt_password(prompt)?))
            }
            Self::Ask => Err(NodeError::NoPassphrase { key: key.to_owned() }),
        }
    }
}

/// Draws a key and writes it, readable by its owner only. Never overwrites.
///
/// # Errors
/// [`NodeError::Exists`], or the file cannot be written.
pub fn create(key: &Path, passphrase: Option<&Passphrase>) -> Result<AuthorId, NodeError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed)?;
    write(key, &seed, passphrase)
}

/// Writes the key with this seed, readable by its owner only. Never overwrites.
///
/// # Errors
/// As [`create`].
pub fn write(
    key: &Path,
    seed: &[u8; 32],
    passphrase: Option<&Passphrase>,
) -> Result<AuthorId, NodeError> {
    let pem = match passphrase {
        None => encode(key, seed, None)?,
        Some(passphrase) => {
            let secret = passphrase.read(key, "New passphrase: ").map_err(|error| {
                if let NodeError::NoPassphrase { key } = error {
                    return NodeError::NoTerminal { key };
                }
                error
            })?;
            encode(key, seed, Some(&secret))?
        }
    };
    let author = SecretKey::from_seed(seed).author();
    // The secret key last, and whole or not at all: where it is, everything is.
    let public = key.with_extension("pub");
    fs::write(&public, public_pem(author)?).map_err(|source| NodeError::file(&public, source))?;
    let unfinished = key.with_extension("new");
    // Left by a process that was killed here; no key was made yet.
    let _none = fs::remove_file(&unfinished);
    write_new(&unfinished, pem.as_bytes())?;
    let linked = fs::hard_link(&unfinished, key).map_err(|source| NodeError::file(key, source));
    let _left_behind = fs::remove_file(&unfinished);
    linked.map(|()| author)
}

fn encode(
    key: &Path,
    seed: &[u8; 32],
    passphrase: Option<&str>,
) -> Result<Zeroizing<String>, NodeError> {
    let failed = |_| NodeError::KeyFormat { key: key.to_owned() };
    let octets = Zeroizing::new([OCTETS_32.as_slice(), seed].concat());
    let octets = OctetStringRef::new(&octets).map_err(|error| failed(error.into()))?;
    // Version 1, without the public key: the other one is refused by OpenSSL 3.0 and by browsers.
    let info = PrivateKeyInfoRef::new(algorithm(), octets);
    match passphrase {
        None => {
            let document = SecretDocument::try_from(&info).map_err(failed)?;
            document.to_pem(PLAIN, LineEnding::LF).map_err(|error| failed(error.into()))
        }
        Some(passphrase) => {
            let document = info.encrypt(passphrase).map_err(failed)?;
            document.to_pem(ENCRYPTED, LineEnding::LF).map_err(|error| failed(error.into()))
        }
    }
}

fn algorithm<'a>() -> AlgorithmIdentifierRef<'a> {
    AlgorithmIdentifierRef { oid: ED25519, parameters: None }
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), NodeError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let write = || -> io::Result<()> {
        let mut file = options.open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| NodeError::file(path, source))
}

/// The public key as PEM, as `openssl pkey -pubout` prints it.
///
/// # Errors
/// None with a key of 32 bytes.
pub fn public_pem(author: AuthorId) -> Result<String, NodeError> {
    let failed = || NodeError::KeyFormat { key: PathBuf::from("key.pub") };
    let bits = BitStringRef::from_bytes(author.as_bytes()).map_err(|_| failed())?;
    let info = SubjectPublicKeyInfoRef { algorithm: algorithm(), subject_public_key: bits };
    let document = Document::try_from(info).map_err(|_| failed())?;
    document.to_pem("PUBLIC KEY", LineEnding::LF).map_err(|_| failed())
}

/// Reads the author's public key, which needs no passphrase.
///
/// # Errors
/// The file is missing or no key.
pub fn load_public(key: &Path) -> Result<AuthorId, NodeError> {
    let path = key.with_extension("pub");
    let format = || NodeError::KeyFormat { key: path.clone() };
    let pem = fs::read_to_string(&path)
        .map_err(|source| NodeError::File { path: path.clone(), source })?;
    let (_, document) = Document::from_pem(&pem).map_err(|_| format())?;
    let info: SubjectPublicKeyInfoRef<'_> = document.decode_msg().map_err(|_| format())?;
    let bytes = info.subject_public_key.as_bytes().and_then(|bytes| bytes.try_into().ok());
    Ok(AuthorId::from_bytes(bytes.ok_or_else(format)?))
}

/// Whether the secret key needs a passphrase.
///
/// # Errors
/// The file cannot be read or is no key.
pub fn is_encrypted(key: &Path) -> Result<bool, NodeError> {
    let pem = fs::read_to_string(key)
        .map_err(|source| NodeError::File { path: key.to_owned(), source })?;
    let pem = Zeroizing::new(pem);
    let parsed = SecretDocument::from_pem(&pem);
    let (label, _document) = parsed.map_err(|_| NodeError::KeyFormat { key: key.to_owned() })?;
    Ok(label == ENCRYPTED)
}

/// Loads the secret key.
///
/// # Errors
/// It is missing, readable by others, no Ed25519 key, or the passphrase is wrong.
pub fn load(key: &Path, passphrase: &Passphrase) -> Result<SecretKey, NodeError> {
    let format = || NodeError::KeyFormat { key: key.to_owned() };
    check_mode(key)?;
    let pem = fs::read_to_string(key)
        .map_err(|source| NodeError::File { path: key.to_owned(), source })?;
    let pem = Zeroizing::new(pem);
    let (label, mut document) = SecretDocument::from_pem(&pem).map_err(|_| format())?;
    if label == ENCRYPTED {
        let secret = passphrase.read(key, &format!("Passphrase of {}: ", key.display()))?;
        let encrypted = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes());
        let opened = encrypted.map_err(|_| format())?.decrypt(secret.as_bytes());
        document = opened.map_err(|_| NodeError::Passphrase { key: key.to_owned() })?;
    }
    let info = PrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| format())?;
    let octets = info.private_key.as_bytes();
    let seed = octets.strip_prefix(&OCTETS_32).and_then(|seed| <&[u8; 32]>::try_from(seed).ok());
    match seed {
        Some(seed) if info.algorithm.oid == ED25519 => Ok(SecretKey::from_seed(seed)),
        Some(_) | None => Err(format()),
    }
}

/// Group and others have no right at all: the lowest six bits are clear.
#[cfg(unix)]
pub(crate) fn check_mode(key: &Path) -> Result<(), NodeError> {
    use std::os::unix::fs::MetadataExt;
    let metadata =
        fs::metadata(key).map_err(|source| NodeError::File { path: key.to_owned(), source })?;
    let mode = metadata.mode() & 0o777;
    if mode.trailing_zeros() >= 6 {
        Ok(())
    } else {
        Err(NodeError::KeyMode { key: key.to_owned(), mode })
    }
}

#[cfg(not(unix))]
pub(crate) fn check_mode(_key: &Path) -> Result<(), NodeError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_key_reads_back_as_the_same_author() {
        let folder = folder();
        let key = folder.path().join("key.pem");
        let author = create(&key, None).unwrap();
        assert_eq!(load(&key, &Passphrase::Ask).unwrap().author(), author);
        assert_eq!(load_public(&key).unwrap(), author);
    }

    #[test]
    fn a_second_key_never_replaces_the_first() {
        let folder = folder();
        let key = folder.path().join("key.pem");
        create(&key, None).unwrap();
        let before = fs::read(&key).unwrap();
        assert!(matches!(create(&key, None), Err(NodeError::Exists { .. })));
        assert_eq!(fs::read(&key).unwrap(), before);
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_only() {
        let folder = folder();
        let key = folder.path().join("key.pem");
        let right = folder.path().join("right");
        let wrong = folder.path().join("wrong");
        fs::write(&right, "correct horse\n").unwrap();
        fs::write(&wrong, "battery staple\n").unwrap();
        let (right, wrong) = (Passphrase::File(right), Passphrase::File(wrong));
        let author = create(&key, Some(&right)).unwrap();
        assert!(fs::read_to_string(&key).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY"));
        assert_eq!(load(&key, &right).unwrap().author(), author);
        assert!(matches!(load(&key, &wrong), Err(NodeError::Passphrase { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let key = folder.path().join("key.pem");
        create(&key, None).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = load(&key, &Passphrase::Ask);
        assert!(matches!(refused, Err(NodeError::KeyMode { mode: 0o644, .. })));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let folder = folder();
        let key = folder.path().join("key.pem");
        write_new(&key, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        assert!(matches!(load(&key, &Passphrase::Ask), Err(NodeError::KeyFormat { .. })));
    }
}
