//! Commands that work on the store in a folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crdt_core::id::RoomName;
use crdt_relayer::backup::{self, Occupied};
use crdt_relayer::home::{self, STORE_FILE};
use crdt_relayer::relayer::RelayerError;
use crdt_relayer::store::Store;
use crdt_relayer::verify::{self, Forks, Verification, VerifiedRoom};
use serde_json::{Value, json};

use super::{Format, bytes, print, table};
use crate::failure::Failure;
use crate::settings::{Sources, default_data};

/// The folder of a relayer's state: the one that its settings name.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) Sources);

impl Folder {
    fn path(&self) -> Result<PathBuf, Failure> {
        match self.0.gather()?.data() {
            Some(data) => Ok(data),
            None => default_data(),
        }
    }
}

/// Checks every hash, link, signature and digest again, of a store or of a copy of one. Exit codes:
/// 0 all good, 5 damaged, 6 good and with evidence of equivocation.
pub(crate) fn verify(
    folder: &Folder,
    file: Option<&Path>,
    forks: Forks,
    format: Format,
) -> Result<(), Failure> {
    let path = match file {
        Some(file) => file.to_owned(),
        None => folder.path()?.join(STORE_FILE),
    };
    let found = verify::store(&path).map_err(|error| {
        let failure = Failure::from(RelayerError::from(error));
        if file.is_some() { unusable(&path, failure) } else { failure }
    })?;
    print(format, &shown(&path, &found), &verified(&path, &found, forks))?;
    match (found.exit_code(forks), found.problems.first()) {
        (5, Some(first)) => Err(Failure {
            sentence: format!("the store is damaged: {first}"),
            hint:
                "keep the file as evidence; restore a backup with crdt-relayer restore, or start \
                   with a new --data folder: members send all again"
                    .into(),
            code: 5,
        }),
        (6, _) => Err(Failure {
            sentence: format!(
                "every op is what it claims to be; authors have signed two different ops at one \
                 place, {} times",
                found.equivocations
            ),
            hint: "/v1/rooms/ROOM/evidence names them; --allow-forks makes this no failure".into(),
            code: 6,
        }),
        _ => Ok(()),
    }
}

/// Why a copy is of no use: one that is not there was named wrongly.
fn unusable(copy: &Path, failure: Failure) -> Failure {
    if copy.exists() {
        return failure;
    }
    Failure { hint: "name a copy that backup wrote".into(), ..failure }
}

fn name(room: &VerifiedRoom) -> String {
    room.name.as_ref().map_or_else(|| room.id.to_string(), RoomName::to_string)
}

fn shown(path: &Path, found: &Verification) -> String {
    let mut text = format!("{}\n{}\n", path.display(), found.text());
    let row = |room: &VerifiedRoom| vec![name(room), room.ops.to_string(), room.set.to_string()];
    let rows: Vec<Vec<String>> = found.rooms.iter().map(row).collect();
    if !rows.is_empty() {
        text.push_str(&table(&["room", "ops", "set"], &rows));
    }
    text
}

fn verified(path: &Path, found: &Verification, forks: Forks) -> Value {
    let room = |room: &VerifiedRoom| {
        json!({
            "id": room.id.to_string(),
            "name": room.name.as_ref().map(RoomName::to_string),
            "ops": room.ops,
            "set": room.set.to_string(),
            "log": room.log.to_string(),
        })
    };
    let mut report = found.json("crdt-relayer/verify/1", forks);
    report["file"] = path.display().to_string().into();
    report["rooms"] = found.rooms.iter().map(room).collect();
    report
}

/// Writes a copy of the store, also while a relayer uses it.
pub(crate) fn backup(folder: &Folder, file: &Path, format: Format) -> Result<(), Failure> {
    let data = folder.path()?;
    let size = backup::write(&data, file)?;
    let text = format!(
        "{} of {} are in {}, on disk\ncheck it: crdt-relayer verify {}",
        bytes(size),
        data.display(),
        file.display(),
        file.display()
    );
    let report = json!({
        "schema": "crdt-relayer/backup/1", "ok": true, "code": 0,
        "data": data.display().to_string(), "file": file.display().to_string(), "bytes": size,
    });
    print(format, &text, &report)
}

/// Puts a copy back.
pub(crate) fn restore(
    folder: &Folder,
    file: &Path,
    occupied: Occupied,
    format: Format,
) -> Result<(), Failure> {
    let data = folder.path()?;
    let restored = backup::restore(file, &data, occupied)
        .map_err(|error| unusable(file, Failure::from(error)))?;
    let mut text = format!(
        "{} ops in {} rooms, all verified, are in {}\nstart the relayer: members send it what came \
         after the backup\n",
        restored.ops,
        restored.rooms,
        data.display()
    );
    let aside = restored.aside.iter();
    text.extend(aside.map(|path| format!("what was there before: {}\n", path.display())));
    let report = json!({
        "schema": "crdt-relayer/restore/1", "ok": true, "code": 0,
        "data": data.display().to_string(), "file": file.display().to_string(),
        "ops": restored.ops, "rooms": restored.rooms,
        "aside": restored.aside.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    });
    print(format, &text, &report)
}

/// Makes the store's file as small as it can be. No relayer may run in the folder.
pub(crate) fn compact(folder: &Folder, format: Format) -> Result<(), Failure> {
    let data = folder.path()?;
    let path = data.join(STORE_FILE);
    let io = |source: io::Error| Failure {
        sentence: format!("{}: {source}", path.display()),
        hint: "name the relayer's folder with --data DIR".into(),
        code: 3,
    };
    let before = fs::metadata(&path).map_err(io)?.len();
    let _lock = home::lock(&data).map_err(RelayerError::from)?;
    let mut store = Store::open_existing(&path).map_err(RelayerError::from)?;
    store.compact().map_err(RelayerError::from)?;
    drop(store);
    let after = fs::metadata(&path).map_err(io)?.len();
    let text = format!("{}: {} before, {} now", path.display(), bytes(before), bytes(after));
    let report = json!({
        "schema": "crdt-relayer/compact/1", "ok": true, "code": 0,
        "file": path.display().to_string(), "before_bytes": before, "after_bytes": after,
    });
    print(format, &text, &report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_copy_that_is_not_there_another_name_is_asked_for() {
        let of = |file: &Path| {
            let failure = Failure { sentence: "s".into(), hint: "h".into(), code: 3 };
            let Failure { sentence, hint, code } = unusable(file, failure);
            (sentence, hint, code)
        };
        let there = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert_eq!(of(&there), ("s".into(), "h".into(), 3));
        let absent = there.with_extension("absent");
        assert_eq!(of(&absent), ("s".into(), "name a copy that backup wrote".into(), 3));
    }
}
