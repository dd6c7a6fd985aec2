//! Shows what becomes of the links of a running node.

use std::net::SocketAddr;

use crdt_core::effect::PeerId;
use crdt_relayer::address::PlainText;
use crdt_relayer::dial::LinkEvent;
use crdt_relayer::ended::Cause;
use crdt_relayer::http::Left;
use serde_json::json;
use tokio::time::Instant;

use super::{Knock, Watch};
use crate::links::{Answered, Kind, Named, Phase};
use crate::screen::Format;
use crate::show;

/// Said where others than this machine can connect.
const PLAIN_TEXT: &str = "connections are plain text: whoever is on the way can read what passes, \
     unless a proxy or tunnel encrypts it";

impl Watch {
    /// What becomes of a link that this node dials.
    pub(super) fn link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { url, peer } => {
                let Answered { parted, connected } = self.links.answered(&url, peer);
                if let Some(before) = parted {
                    self.progress.forget(&before.name);
                }
                if let Some(named) = connected {
                    self.told.clear();
                    self.connected(&named);
                }
            }
            LinkEvent::Down { url, reason, retry_ms, cause } => {
                let phase = if cause.is_refusal() { Phase::Refused } else { Phase::Down };
                let reason = match cause {
                    Cause::UnknownKey => format!("{reason}; give it yours: {}", self.author),
                    Cause::Lost | Cause::Twin | Cause::Refused => reason,
                };
                let news = self.links.down(&url, phase, &reason, retry_ms);
                // Still the same: told once.
                let Some(link) = news else { return };
                let reason = link.reason.as_deref().unwrap_or_default();
                let fields = json!({
                    "event": "link", "state": phase.word(), "reason": reason, "retry_ms": retry_ms,
                });
                let fields = link.kind.named(&url, fields);
                let text = || match phase {
                    Phase::Refused => format!("{url} is refused: {reason}; you can keep writing"),
                    Phase::Connecting | Phase::Connected | Phase::Down => {
                        format!("no connection to {url} ({reason}); you can keep writing")
                    }
                };
                self.lines.tell(&fields, text);
            }
        }
    }

    /// A peer that was refused before may have been let in.
    pub(super) fn heard(&mut self, peer: PeerId) {
        if let Some(named) = self.links.heard(peer) {
            self.told.clear();
            self.connected(&named);
        }
    }

    pub(super) fn connected(&mut self, Named { kind, name }: &Named) {
        let fields = json!({"event": "link", "state": Phase::Connected.word()});
        let fields = kind.named(name, fields);
        let text = || match kind {
            Kind::Relay => format!("connected to {name}"),
            Kind::Peer => format!("connected to peer {name}"),
        };
        self.lines.tell(&fields, text);
    }

    /// Whether to tell of somebody who connects: programs always, people at most once a minute.
    pub(super) fn may_tell(&mut self, knock: Knock) -> bool {
        self.lines.format() == Format::Json || self.knocks.may_tell(knock, Instant::now())
    }

    /// Somebody has connected and is let in.
    pub(super) fn came(&mut self, named: &Named) {
        if self.may_tell(Knock::Came) {
            self.connected(named);
        }
    }

    /// Somebody who had connected has gone, with this link, if it had one.
    pub(super) fn left(&mut self, named: Option<&Named>, left: &Left) {
        let refused = left.cause.is_refusal();
        let (knock, state) =
            if refused { (Knock::Refused, "refused") } else { (Knock::Left, "gone") };
        // Who was never let in has no name, and is worth a word only if that is why.
        if (named.is_none() && !refused) || !self.may_tell(knock) {
            return;
        }
        let reason = show::safe(&left.reason);
        let name = named.map_or("a stranger", |named| &named.name);
        let fields = json!({"event": "link", "state": state, "reason": reason, "side": "accepted"});
        let fields = Kind::Peer.named(name, fields);
        self.lines.tell(&fields, || format!("peer {name} has gone ({reason})"));
    }

    /// This node lets others in.
    pub(crate) fn listening(&mut self, address: SocketAddr, url: &str) {
        let mut fields = json!({"event": "listening", "addr": address.to_string(), "url": url});
        let scheme = if url.starts_with("wss://") { "wss" } else { "ws" };
        let local = PlainText::Loopback.may_pass(address.ip());
        let warning = (scheme == "ws" && !local).then_some(PLAIN_TEXT);
        if let Some(warning) = warning {
            fields["warning"] = json!(warning);
        }
        let text = || {
            let whole = if address.ip().is_unspecified() {
                format!(
                    "listening on {address}   others dial {scheme}://THIS-MACHINE:{}/websocket",
                    address.port()
                )
            } else {
                format!("listening   others dial {url}")
            };
            warning.map_or(whole.clone(), |warning| format!("{whole}\nWARNING  {warning}"))
        };
        self.lines.tell(&fields, text);
    }
}
