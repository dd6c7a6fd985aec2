//! How many ops a key has signed on this machine: kept outside the node's home, so that a home that
//! was replaced by an older copy of itself, or carried here from another machine, is noticed before
//! it signs. Source: `docs/ARCHITECTURE.md`, "Own chain".

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crdt_core::effect::Event;
use crdt_core::id::{AuthorId, RoomId};
use crdt_core::own::Signed;
use crdt_relayer::home::{self, HomeError, Lock};
use serde::{Deserialize, Serialize};

use crate::error::NodeError;

const FILE: &str = "signed.json";

/// `signed.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The key was made on this machine, and this file with it: in rooms it does not list, the key
    /// has signed nothing.
    made_here: bool,
    /// Ops signed, by room.
    rooms: BTreeMap<String, u64>,
}

/// The high-water marks of one key. While they are held, no other process of this machine signs
/// with the key, wherever its home is.
#[derive(Debug)]
pub struct Marks {
    folder: PathBuf,
    kept: Kept,
    /// Whether the file says something else.
    changed: bool,
    _lock: Lock,
}

/// The folder in which the marks of all keys are kept: under the state folder of the user, or the
/// data folder where the system has none. Never in the folder of the homes: who copies that would
/// copy the marks along.
///
/// # Errors
/// The user has neither.
pub fn folder() -> Result<PathBuf, NodeError> {
    let state = dirs::state_dir().or_else(dirs::data_local_dir);
    let none = || NodeError::Usage("this user has no state folder: set XDG_STATE_HOME".into());
    Ok(folder_in(&state.ok_or_else(none)?))
}

/// The same under a state folder of one's own.
pub fn folder_in(state: &Path) -> PathBuf {
    state.join("crdt-node-signed")
}

/// Where the marks of one key are.
pub(crate) fn folder_of(all: &Path, author: AuthorId) -> PathBuf {
    all.join(author.to_string())
}

/// What is noted of a key, without taking its lock; `None` if nothing is.
///
/// # Errors
/// The note cannot be read; malformed is [`io::ErrorKind::InvalidData`], and [`Marks::open`] then
/// knows nothing.
pub(crate) fn noted(all: &Path, author: AuthorId) -> Result<Option<Signed>, NodeError> {
    let path = folder_of(all, author).join(FILE);
    let kept = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str::<Kept>(&text).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error),
    };
    kept.map(|kept| Some(kept.signed(0))).map_err(|source| NodeError::File { path, source })
}

impl Kept {
    fn signed(&self, peers: usize) -> Signed {
        let room = |(id, ops): (&String, &u64)| Some((RoomId::parse(id).ok()?, *ops));
        let others = self.made_here.then_some(0);
        Signed { rooms: self.rooms.iter().filter_map(room).collect(), others, peers }
    }
}

impl Marks {
    /// Opens the marks of a key. If there are none, or they cannot be read, nothing is known of
    /// what it has signed.
    ///
    /// # Errors
    /// Another process signs with this key, or the folder cannot be used.
    pub fn open(all: &Path, author: AuthorId) -> Result<Self, NodeError> {
        let folder = folder_of(all, author);
        home::make(&folder)?;
        let lock = home::lock(&folder).map_err(|error| match error {
            HomeError::Busy(_) => NodeError::KeyBusy { author },
            error @ HomeError::Io { .. } => error.into(),
        })?;
        let text = fs::read_to_string(folder.join(FILE)).unwrap_or_default();
        let kept = serde_json::from_str(&text).unwrap_or_default();
        Ok(Self { folder, kept, changed: false, _lock: lock })
    }

    /// Notes that a key was just made here.
    ///
    /// # Errors
    /// As [`Marks::open`], and the marks cannot be written.
    pub fn create(all: &Path, author: AuthorId) -> Result<Self, NodeError> {
        let mut marks = Self::open(all, author)?;
        marks.kept = Kept { made_here: true, rooms: BTreeMap::new() };
        marks.sync()?;
        Ok(marks)
    }

    /// Takes the store at its word, as the user wants it: these are all the ops the key has signed.
    ///
    /// # Errors
    /// The marks cannot be written.
    pub fn believe(&mut self, rooms: impl Iterator<Item = (RoomId, u64)>) -> Result<(), NodeError> {
        let rooms = rooms.map(|(room, ops)| (room.to_string(), ops)).collect();
        self.kept = Kept { made_here: true, rooms };
        self.sync()
    }

    /// What the key is known to have signed, where so many `peers` can be asked for more.
    pub fn signed(&self, peers: usize) -> Signed {
        self.kept.signed(peers)
    }

    /// Notes that an op of the key is known, so that it has signed so many in a room. Where nothing
    /// is known yet, one op says nothing of how many there are: then this changes nothing.
    pub fn raise(&mut self, room: RoomId, ops: u64) {
        if self.kept.made_here || self.kept.rooms.contains_key(&room.to_string()) {
            self.note(room, ops);
        }
    }

    /// Notes that the key has signed so many ops in a room. [`Marks::save`] writes it.
    pub fn note(&mut self, room: RoomId, ops: u64) {
        let mark = self.kept.rooms.entry(room.to_string()).or_default();
        if ops > *mark {
            *mark = ops;
            self.changed = true;
        }
    }

    /// Notes how much this author, whose key it is, has signed, as far as events tell it.
    pub fn learn(&mut self, author: AuthorId, events: &[Event]) {
        for event in events {
            match event {
                Event::Admitted { room, op, .. } if op.head().author == author => {
                    self.raise(*room, op.head().seq.number() + 1);
                }
                Event::Durable { room, seq, .. } => self.note(*room, seq.number() + 1),
                Event::Learnt { room, signed } => self.note(*room, *signed),
                Event::Admitted { .. }
                | Event::Refused { .. }
                | Event::SignedElsewhere { .. }
                | Event::Withheld { .. }
                | Event::PutOff { .. }
                | Event::Withdrawn { .. }
                | Event::Acked { .. }
                | Event::PeerReady { .. }
                | Event::Synced { .. }
                | Event::PeerProblem { .. }
                | Event::Blamed { .. } => {}
            }
        }
    }

    /// Writes what was noted, if anything was.
    ///
    /// The file is not synced: it survives the process, and after a power failure it may be some
    /// seconds old. That is enough, because only a copy of the home taken in those same seconds
    /// would go unnoticed.
    ///
    /// # Errors
    /// The marks cannot be written.
    pub fn save(&mut self) -> Result<(), NodeError> {
        if self.changed {
            self.write(|_| Ok(()))?;
        }
        Ok(())
    }

    /// Writes them so that they survive a power failure.
    ///
    /// # Errors
    /// The marks cannot be written.
    pub fn sync(&mut self) -> Result<(), NodeError> {
        self.write(File::sync_all)
    }

    fn write(&mut self, finish: impl Fn(&File) -> io::Result<()>) -> Result<(), NodeError> {
        let (path, new) = (self.folder.join(FILE), self.folder.join("signed.new"));
        let written = || {
            let mut file = File::create(&new)?;
            serde_json::to_writer(&file, &self.kept)?;
            file.write_all(b"\n")?;
            finish(&file)?;
            fs::rename(&new, &path)
        };
        written().map_err(|source| NodeError::Marks { path: path.clone(), source })?;
        self.changed = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const AUTHOR: AuthorId = AuthorId::from_bytes([1; 32]);
    const ROOM: RoomId = RoomId::from_bytes([2; 32]);

    #[test]
    fn marks_only_rise_and_outlive_the_process() {
        let folder = TempDir::new().unwrap();
        let mut marks = Marks::create(folder.path(), AUTHOR).unwrap();
        assert_eq!(marks.signed(1).in_room(ROOM), Some(0));
        marks.note(ROOM, 7);
        marks.note(ROOM, 3);
        marks.save().unwrap();
        drop(marks);
        let marks = Marks::open(folder.path(), AUTHOR).unwrap();
        assert_eq!(marks.signed(1).in_room(ROOM), Some(7));
        assert_eq!(marks.signed(1).in_room(RoomId::from_bytes([3; 32])), Some(0));
    }

    #[test]
    fn without_a_readable_file_nothing_is_known_but_what_is_learnt() {
        let folder = TempDir::new().unwrap();
        let mut marks = Marks::open(folder.path(), AUTHOR).unwrap();
        assert_eq!(marks.signed(0), Signed::default());
        marks.raise(ROOM, 5);
        assert_eq!(marks.signed(1).in_room(ROOM), None, "an op says nothing of how many there are");
        marks.note(ROOM, 7);
        marks.save().unwrap();
        drop(marks);
        let marks = Marks::open(folder.path(), AUTHOR).unwrap();
        assert_eq!(marks.signed(1).in_room(ROOM), Some(7));
        assert_eq!(marks.signed(1).others, None, "other rooms stay unknown");
        fs::write(marks.folder.join(FILE), "{\"made_here\":tr").unwrap();
        drop(marks);
        assert_eq!(Marks::open(folder.path(), AUTHOR).unwrap().signed(0), Signed::default());
    }

    #[test]
    fn one_process_signs_with_a_key() {
        let folder = TempDir::new().unwrap();
        let _marks = Marks::create(folder.path(), AUTHOR).unwrap();
        let second = Marks::open(folder.path(), AUTHOR);
        assert!(matches!(second, Err(NodeError::KeyBusy { .. })));
    }
}
