//! What a replica says became of the ops that a peer in this process brought.
//! Source: `docs/PROTOCOL.md`, "Acknowledgement".

use serde::Deserialize;

/// What became of an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the log, on disk.
    Stored,
    /// It waits for a dependency.
    Parked,
    /// It never will be in the log; with the code of the reason.
    Rejected(String),
    /// Nothing is wrong with it, and there is no room for it now; with the code of what is lacking.
    Later(String),
}

impl Verdict {
    /// The code of what is lacking, if that is why it is not stored.
    pub fn later(&self) -> Option<&str> {
        if let Self::Later(code) = self { Some(code) } else { None }
    }
}

/// The part of a message that matters here.
#[derive(Deserialize)]
struct Said {
    r#type: String,
    #[serde(default)]
    except: Vec<Except>,
}

#[derive(Deserialize)]
struct Except {
    index: usize,
    verdict: String,
    code: Option<String>,
}

impl Except {
    fn verdict(self) -> Verdict {
        match self.code {
            Some(code) if self.verdict == "later" => Verdict::Later(code),
            Some(code) => Verdict::Rejected(code),
            None => Verdict::Parked,
        }
    }
}

/// What an `ack` says of each of so many ops; `None` if the message is none.
pub(crate) fn read(message: &str, ops: usize) -> Option<Vec<Verdict>> {
    let said: Said =
        serde_json::from_str(message).ok().filter(|said: &Said| said.r#type == "ack")?;
    let mut verdicts = vec![Verdict::Stored; ops];
    for except in said.except {
        if let Some(verdict) = verdicts.get_mut(except.index) {
            *verdict = except.verdict();
        }
    }
    Some(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_excepted_is_stored() {
        let ack = r#"{"type":"ack","room":"x","stored":1,"except":[{"index":0,"verdict":"parked"},
            {"index":2,"verdict":"rejected","code":"sig"},{"index":9,"verdict":"parked"},
            {"index":3,"verdict":"later","code":"disk"}]}"#;
        let (rejected, later) = (Verdict::Rejected("sig".into()), Verdict::Later("disk".into()));
        let expected = [Verdict::Parked, Verdict::Stored, rejected, later];
        assert_eq!(read(ack, 4).as_deref(), Some(&expected[..]));
        assert_eq!(read(r#"{"type":"heads"}"#, 3), None);
    }
}
