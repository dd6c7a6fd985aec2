//! How events and values look: one JSON object a line for programs, one line of text for people.
//! Nothing from another node reaches a terminal as it came.

use std::collections::BTreeSet;

use crdt_core::id::AuthorId;
use crdt_core::json::{Canonical, Value};
use crdt_core::op::Op;
use crdt_core::own::Learning;
pub use crdt_relayer::escape::{safe, safe_json};
use serde::Serialize;
use serde_json::value::RawValue;

/// The first digits of a key or id.
pub fn short(id: &impl ToString) -> String {
    id.to_string().chars().take(8).collect()
}

/// Who signed an op, as its reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signer {
    own: bool,
    /// The author is known to have signed two different ops at one place.
    liar: bool,
}

impl Signer {
    /// What the reader `own` knows of an author.
    pub fn of(author: AuthorId, own: AuthorId, liars: &BTreeSet<AuthorId>) -> Self {
        Self { own: author == own, liar: liars.contains(&author) }
    }
}

/// One entry for programs.
#[derive(Serialize)]
struct EntryLine<'e> {
    author: String,
    depth: u64,
    event: &'static str,
    index: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    liar: bool,
    op: String,
    seq: u64,
    ts: i64,
    /// Keeps its bytes.
    data: Option<&'e RawValue>,
}

/// One entry for programs. An author who is known to lie is marked.
pub fn entry_json(op: &Op, index: usize, entry: &Canonical, by: Signer) -> String {
    let head = op.head();
    let line = EntryLine {
        author: head.author.to_string(),
        depth: head.depth.number(),
        event: "entry",
        index,
        liar: by.liar,
        op: op.id().to_string(),
        seq: head.seq.number(),
        ts: head.ts.as_ms(),
        data: serde_json::from_str(entry.as_str()).ok(),
    };
    // Numbers, texts and what was JSON before: there is nothing that cannot be written.
    safe_json(&serde_json::to_string(&line).unwrap_or_default())
}

/// One entry for people. An author who is known to lie is marked with `!`.
pub fn entry_text(op: &Op, entry: &Canonical, by: Signer) -> String {
    let head = op.head();
    let author = if by.own { "you".to_owned() } else { short(&head.author) };
    let author = if by.liar { format!("!{author}") } else { author };
    let time = clock(head.ts.as_ms());
    let what = describe(entry);
    format!("{time}  {author:<9} #{:<4} {what:<44}  {}", head.seq.number(), short(&op.id()))
}

/// A transaction as it would be typed, or as JSON.
pub fn describe(entry: &Canonical) -> String {
    let value = Value::parse(entry.as_str().as_bytes(), crdt_core::limits::FRAME_DEPTH_MAX);
    let Ok(value) = value else { return safe(entry.as_str()) };
    let field = |name: &str| value.member(name).and_then(Value::as_str);
    let text = match (field("type"), &value) {
        (Some("note"), Value::Object(members)) if members.len() == 2 => {
            field("text").map(str::to_owned)
        }
        (Some("pay"), Value::Object(members)) if members.len() <= 4 => {
            field("to").zip(field("amount")).map(|(to, amount)| match field("memo") {
                Some(memo) => format!("pay {to} {amount} \"{memo}\""),
                None => format!("pay {to} {amount}"),
            })
        }
        _ => None,
    };
    safe(&text.unwrap_or_else(|| entry.to_string()))
}

/// The time of day a timestamp claims, in the local zone; with its date if it is not today's.
pub fn clock(ms: i64) -> String {
    let Ok(claimed) = jiff::Timestamp::from_millisecond(ms) else { return "??:??:??".into() };
    let zone = jiff::tz::TimeZone::system();
    let claimed = claimed.to_zoned(zone.clone());
    let today = jiff::Timestamp::now().to_zoned(zone);
    if claimed.date() == today.date() {
        claimed.strftime("%H:%M:%S").to_string()
    } else {
        claimed.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

/// A time for programs: RFC 3339, UTC.
pub fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |time| time.to_string())
}

/// Why nothing is signed, and what becomes of the lines that are typed.
pub fn learning(learning: Learning, unsigned: usize) -> String {
    let why = match learning.signed {
        Some(signed) => {
            format!("an old copy: your key has signed {signed} ops, this log holds fewer")
        }
        None => "another machine: nothing here says how many ops your key has signed".to_owned(),
    };
    format!(
        "LEARNING {why}.\n         Lines are kept ({unsigned} so far) and signed once your own ops have \
         come from a relay or peer.\n         --trust-store signs at once, and forks your log if it is not whole."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_shown_as_they_are_typed() {
        let shown = |json: &str| describe(&Canonical::parse(json.as_bytes()).unwrap());
        assert_eq!(shown(r#"{"type":"note","text":"hi\u001b[0m"}"#), "hi\\u{1b}[0m");
        assert_eq!(
            shown(r#"{"type":"pay","to":"bob","amount":"1","memo":"x"}"#),
            "pay bob 1 \"x\""
        );
        assert_eq!(shown(r#"{"type":"pay","to":"bob"}"#), r#"{"to":"bob","type":"pay"}"#);
        assert_eq!(
            shown(r#"{"type":"note","text":"a","x":1}"#),
            r#"{"text":"a","type":"note","x":1}"#
        );
    }
}
