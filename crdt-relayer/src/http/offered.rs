//! The ops in a body, each judged by itself: one that is no JSON spoils no other.

use axum::http::StatusCode;
use crdt_core::id::OpId;
use crdt_core::json::Value;
use crdt_core::limits::{DATA_BYTES_MAX, DATA_DEPTH_MAX, HEAD_BYTES_MAX};
use serde_json::value::RawValue;

use super::problem::Problem;

/// Ops in one body.
pub(crate) const OFFERED_MAX: usize = 1_000;

/// Bytes of one op in canonical JSON: data, head, and what holds them together.
const OP_BYTES_MAX: usize = DATA_BYTES_MAX + HEAD_BYTES_MAX + 1_024;

/// How a body is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spelling {
    /// One array.
    Array,
    /// One op on each line.
    Lines,
}

/// An op as somebody offers it.
#[derive(Debug)]
pub(crate) struct Offered {
    /// Its canonical text, or the code of why there is none to bring to the replica.
    pub(crate) text: Result<String, &'static str>,
    /// The id it says it has.
    pub(crate) id: Option<OpId>,
    /// How deep it says it is.
    pub(crate) depth: u64,
}

impl Offered {
    /// The ops in a body.
    pub(crate) fn parse(body: &[u8], spelling: Spelling) -> Result<Vec<Self>, Problem> {
        let text = std::str::from_utf8(body).map_err(|_| json("it is not UTF-8"))?;
        let parts: Vec<&str> = match spelling {
            Spelling::Array => {
                let array: Vec<&RawValue> =
                    serde_json::from_str(text).map_err(|error| json(&error.to_string()))?;
                array.into_iter().map(RawValue::get).collect()
            }
            Spelling::Lines => text.lines().collect(),
        };
        if parts.len() > OFFERED_MAX {
            let detail = "A body holds at most 1000 ops; send them in several requests.";
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "size", detail));
        }
        Ok(parts.into_iter().map(Self::read).collect())
    }

    fn read(text: &str) -> Self {
        // An op nested in a list of a message must not be deeper than a frame may be.
        let Ok(value) = Value::parse(text.as_bytes(), DATA_DEPTH_MAX + 1) else {
            return Self { text: Err("json"), id: None, depth: 0 };
        };
        let id = value.member("id").and_then(Value::as_str).and_then(|id| OpId::parse(id).ok());
        let depth = value.member("head").and_then(|head| head.member("depth"));
        let depth = depth.and_then(Value::as_count).unwrap_or(0);
        let mut text = String::new();
        value.write(&mut text);
        let text = if text.len() > OP_BYTES_MAX { Err("size") } else { Ok(text) };
        Self { text, id, depth }
    }
}

fn json(why: &str) -> Problem {
    Problem::malformed("json", format!("The body is not what it should be: {why}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str, spelling: Spelling) -> Vec<Result<String, &'static str>> {
        let offered = Offered::parse(body.as_bytes(), spelling).unwrap();
        offered.into_iter().map(|op| op.text).collect()
    }

    #[test]
    fn each_op_is_read_by_itself_and_written_canonically() {
        let (good, bad) = (Ok("{\"a\":1,\"b\":[]}".to_owned()), Err("json"));
        let array = r#" [ {"b":[], "a":1}, {"a":1.5}, {"a":1,"a":1} ] "#;
        assert_eq!(texts(array, Spelling::Array), [good.clone(), bad.clone(), bad.clone()]);
        let lines = "{\"b\":[],\"a\":1}\r\n\nnonsense\n";
        assert_eq!(texts(lines, Spelling::Lines), [good, bad.clone(), bad]);
        assert!(texts("", Spelling::Lines).is_empty() && texts("[]", Spelling::Array).is_empty());
    }

    #[test]
    fn what_is_no_list_or_too_long_is_a_problem_and_a_large_op_is_refused_alone() {
        for body in ["", "{}", "[", "[1]x", "[1,]"] {
            assert!(Offered::parse(body.as_bytes(), Spelling::Array).is_err(), "{body}");
        }
        assert!(Offered::parse(b"[\xff]", Spelling::Array).is_err());
        assert!(Offered::parse(&b"1\n".repeat(OFFERED_MAX + 1), Spelling::Lines).is_err());
        let large = format!("[\"{}\",1]", "x".repeat(OP_BYTES_MAX));
        assert_eq!(texts(&large, Spelling::Array), [Err("size"), Ok("1".to_owned())]);
    }
}
