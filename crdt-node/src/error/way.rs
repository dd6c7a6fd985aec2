//! What may help a run to which nobody has answered.

use crate::links::{Links, Phase};

/// How the ways to others are when a run gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// There is none: nothing is dialled, and nobody can come.
    None,
    /// None is connected, and one that is dialled was refused by the other machine, or lost.
    Down,
    /// Somebody is connected, or does not want this node, or nobody has come.
    Other,
}

impl Way {
    /// How they are now.
    pub fn of(links: &Links) -> Self {
        let all = links.all();
        let is = |phase| all.iter().any(|(_, link)| link.phase == phase);
        if all.is_empty() && links.listens().is_none() {
            Self::None
        } else if is(Phase::Down) && !is(Phase::Connected) {
            Self::Down
        } else {
            Self::Other
        }
    }

    /// What to do, after what was said before.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::None => "; give --relay or --peer, or add one to config.toml",
            Self::Down => "; is the other side up?",
            Self::Other => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Kind;

    #[test]
    fn only_of_who_was_dialled_and_is_away_it_is_asked_whether_it_is_up() {
        let url = "ws://127.0.0.1:1/websocket";
        let links = Links::default();
        assert_eq!(Way::of(&links), Way::None);
        links.added(Kind::Relay, url);
        assert_eq!(Way::of(&links), Way::Other, "nobody knows yet");
        links.down(url, Phase::Down, "connection refused", 100);
        assert_eq!(Way::of(&links), Way::Down);
        links.down(url, Phase::Refused, "the other side answers HTTP 404 Not Found", 100);
        assert_eq!(Way::of(&links), Way::Other);
    }
}
