//! The rooms of a relayer.

use serde_json::{Value, json};

use super::remote::Remote;
use super::{Format, Target, bytes, print, table};
use crate::failure::Failure;

/// Digits of a digest that are shown to people.
const DIGITS_SHOWN: usize = 12;

/// Lists all rooms.
pub(crate) async fn rooms(target: &Target, format: Format) -> Result<(), Failure> {
    let remote = target.remote()?;
    let rooms = all(&remote).await?;
    let row = |room: &Value| {
        let name = room["name"].as_str().or(room["id"].as_str()).unwrap_or_default().to_owned();
        let number = |key: &str| room[key].to_string();
        let set: String =
            room["set"].as_str().unwrap_or_default().chars().take(DIGITS_SHOWN).collect();
        vec![
            name,
            number("ops"),
            number("entries"),
            bytes(room["bytes"].as_u64().unwrap_or_default()),
            number("heads"),
            number("members"),
            number("equivocations"),
            set,
        ]
    };
    let rows: Vec<Vec<String>> = rooms.iter().map(row).collect();
    let text = if rows.is_empty() {
        format!("{} has no rooms", remote.url)
    } else {
        table(&["room", "ops", "entries", "bytes", "heads", "members", "forks", "set"], &rows)
    };
    let report = json!({
        "schema": "crdt-relayer/rooms/1", "ok": true, "code": 0, "url": remote.url, "rooms": rooms,
    });
    print(format, &text, &report)
}

/// All rooms of a relayer, page by page.
pub(super) async fn all(remote: &Remote) -> Result<Vec<Value>, Failure> {
    let mut rooms = Vec::new();
    let mut after = String::new();
    loop {
        let mut page = remote.json(&format!("/v1/rooms?limit=1000{after}")).await?;
        if let Some(more) = page["rooms"].as_array_mut() {
            rooms.append(more);
        }
        match page["next"].as_str() {
            // A relayer that names the same place again has no end.
            Some(next) if after != format!("&after={next}") => after = format!("&after={next}"),
            Some(_) | None => return Ok(rooms),
        }
    }
}
