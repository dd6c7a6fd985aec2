//! The home: its folder, key, configuration and the room left on its disk.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crdt_core::id::{AuthorId, RoomName};
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{Check, LOCAL, Mend, link, word};
use crate::error::NodeError;
use crate::home::{Home, Settings};
use crate::identity::{self, Passphrase};
use crate::show;

/// Rights of a home: its owner's alone.
const HOME_MODE: u32 = 0o700;

/// Rights of a key file.
const KEY_MODE: u32 = 0o600;

const MIB: u64 = 1024 * 1024;

/// Below this much free space a node should not be started.
const FREE_LEAST: u64 = 64 * MIB;

/// Below this much free space somebody should look after it.
const FREE_LITTLE: u64 = 1024 * MIB;

/// The folder: it is there, its owner's alone, and can be written to.
pub(super) fn folder(home: &Home, mend: Mend) -> Check {
    let path = home.path();
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => rights(path, found.mode() & 0o777, mend),
        Ok(_) => failed("home", path, io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => missing("home", home),
        Err(error) => failed("home", path, error),
    }
}

fn rights(path: &Path, mode: u32, mend: Mend) -> Check {
    let shown = path.display();
    if mode != HOME_MODE && mend == Mend::Permissions {
        return match fs::set_permissions(path, Permissions::from_mode(HOME_MODE)) {
            Ok(()) => Check::ok("home", format!("{shown}: mode was {mode:04o}, mended to 0700")),
            Err(error) => failed("home", path, error),
        };
    }
    let fix = format!("chmod 700 {}", word(path));
    if mode & HOME_MODE != HOME_MODE {
        let message = format!("{shown} is closed to its owner (mode {mode:04o})");
        return Check::error("home", LOCAL, message, fix);
    }
    if mode & 0o022 != 0 {
        let message = format!("other users may replace what is in {shown} (mode {mode:04o})");
        return Check::error("home", LOCAL, message, fix);
    }
    if let Err(error) = access(path, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK) {
        return failed("home", path, error.into());
    }
    if mode == HOME_MODE {
        Check::ok("home", format!("{shown} is its owner's alone and can be written to"))
    } else {
        let message = format!("other users may look into {shown} (mode {mode:04o})");
        Check::warning("home", message, fix)
    }
}

/// The key file: its owner's alone, a key, and the one that the public key file names.
pub(super) fn key(home: &Home, passphrase: Option<&Path>, mend: Mend) -> Check {
    let path = home.key();
    if !path.exists() {
        return missing("key", home);
    }
    let mended = match identity::check_mode(&path) {
        Ok(()) => String::new(),
        Err(NodeError::KeyMode { mode, .. }) if mend == Mend::Permissions => {
            if let Err(error) = fs::set_permissions(&path, Permissions::from_mode(KEY_MODE)) {
                return failed("key", &path, error);
            }
            format!("; its mode was {mode:04o}, mended to 0600: others may have read it before")
        }
        Err(error @ NodeError::KeyMode { .. }) => {
            let fix = format!("chmod 600 {}", word(&path));
            return Check::error("key", LOCAL, error.to_string(), fix);
        }
        Err(error) => return Check::failed("key", &error),
    };
    match opened(&path, passphrase) {
        Ok(secret) => match identity::load_public(&path) {
            Ok(public) if secret.is_none_or(|secret| secret == public) => {
                let how = if secret.is_some() { "opens" } else { "is encrypted, not opened" };
                let (key, author) = (path.display(), show::short(&public));
                Check::ok("key", format!("{key} {how}; its author is {author}{mended}"))
            }
            Ok(public) => {
                let message = format!("{} is not the key of {}", path.display(), public);
                Check::error("key", LOCAL, message, public_anew(&path, "if key.pem is yours: "))
            }
            Err(error) => Check::error("key", LOCAL, error.to_string(), public_anew(&path, "")),
        },
        Err(error) => Check::failed("key", &error),
    }
}

/// Whose the key is; `None` if it is encrypted and no passphrase was given.
fn opened(key: &Path, passphrase: Option<&Path>) -> Result<Option<AuthorId>, NodeError> {
    let passphrase = match passphrase {
        None if identity::is_encrypted(key)? => return Ok(None),
        None => Passphrase::Ask,
        Some(file) => Passphrase::File(file.to_owned()),
    };
    Ok(Some(identity::load(key, &passphrase)?.author()))
}

fn public_anew(key: &Path, condition: &str) -> String {
    let (secret, public) = (word(key), word(&key.with_extension("pub")));
    format!("{condition}openssl pkey -in {secret} -pubout -out {public}")
}

/// The configuration, and what it says if it can be used.
pub(super) fn config(home: &Home) -> (Check, Option<Settings>) {
    match checked(home) {
        Ok(settings) if link::of(&settings).is_empty() => {
            let message = "no relay is configured: nothing leaves this machine";
            let fix = format!("name one in {}", word(&home.config()));
            (Check::warning("config", message, fix), Some(settings))
        }
        Ok(settings) => {
            let config = home.config();
            let (links, rooms) = (link::of(&settings).len(), settings.rooms.len());
            let message = format!("{}: connects to {links}, rooms: {rooms}", config.display());
            (Check::ok("config", message), Some(settings))
        }
        Err(error) => (Check::failed("config", &error), None),
    }
}

fn checked(home: &Home) -> Result<Settings, NodeError> {
    let settings = home.settings()?;
    for room in &settings.rooms {
        RoomName::parse(room).map_err(|error| NodeError::Config {
            path: home.config(),
            reason: format!("room {room:?}: {error}"),
        })?;
    }
    Ok(settings)
}

/// Whether the file system of a folder has room for more.
pub(super) fn disk(home: &Path) -> Check {
    match statvfs(home) {
        Ok(found) => {
            let blocks = found.blocks_available();
            free(home, blocks.saturating_mul(found.fragment_size()))
        }
        Err(error) => failed("disk", home, error.into()),
    }
}

fn free(home: &Path, bytes: u64) -> Check {
    let message = format!("{} MiB free for {}", bytes / MIB, home.display());
    let fix = format!("free some space: df -h {}", word(home));
    if bytes < FREE_LEAST {
        Check::error("disk", LOCAL, message, fix)
    } else if bytes < FREE_LITTLE {
        Check::warning("disk", message, fix)
    } else {
        Check::ok("disk", message)
    }
}

fn missing(check: &str, home: &Home) -> Check {
    let (home, name) = (home.path().to_owned(), home.name().to_owned());
    Check::failed(check, &NodeError::NoIdentity { home, name })
}

fn failed(check: &str, path: &Path, source: io::Error) -> Check {
    Check::failed(check, &NodeError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_disk_that_fills_up_is_told_in_time() {
        let verdict = |bytes| free(Path::new("/h"), bytes).verdict;
        assert_eq!(verdict(FREE_LITTLE), Verdict::Ok);
        assert_eq!(verdict(FREE_LITTLE - 1), Verdict::Warning);
        assert_eq!(verdict(FREE_LEAST), Verdict::Warning);
        assert_eq!(verdict(FREE_LEAST - 1), Verdict::Error(3));
    }

    #[test]
    fn a_home_open_to_others_is_told_and_mended_only_if_asked() {
        let folder = TempDir::new().unwrap();
        let home = Home::of("alice", Some(folder.path())).unwrap();
        let mode = || fs::metadata(folder.path()).unwrap().mode() & 0o777;
        for (open, verdict) in [(0o755, Verdict::Warning), (0o770, Verdict::Error(3))] {
            fs::set_permissions(folder.path(), Permissions::from_mode(open)).unwrap();
            let check = super::folder(&home, Mend::Nothing);
            assert_eq!((check.verdict, mode()), (verdict, open));
            assert_eq!(check.fix.unwrap(), format!("chmod 700 {}", folder.path().display()));
        }
        assert_eq!(super::folder(&home, Mend::Permissions).verdict, Verdict::Ok);
        assert_eq!(mode(), 0o700);
        assert_eq!(super::folder(&home, Mend::Nothing).verdict, Verdict::Ok);
    }
}
