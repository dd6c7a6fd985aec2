//! Shows what happens to a running node and keeps account of it, until the run is over.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use crdt_core::Replica;
use crdt_core::effect::{CloseReason, Event, PeerId};
use crdt_core::evidence::Equivocation;
use crdt_core::id::{AuthorId, OpId, Position, RoomId};
use crdt_core::op::Op;
use crdt_relayer::driver::Driver;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::error::{NodeError, Way};
use crate::evidence;
use crate::feed::{Fed, refusal};
use crate::links::{Links, Named};
use crate::node::{Happening, Node};
use crate::progress::Progress;
use crate::report;
use crate::run::{Signals, Until};
use crate::screen::{Format, Screen};
use crate::show::{self, Signer};

mod knocks;
mod links;

use knocks::{Knock, Knocks};

/// Time between two looks at whether a run is complete.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is known of a run.
#[derive(Debug)]
pub(crate) struct Watch {
    author: AuthorId,
    progress: Progress,
    links: Links,
    /// What a person is not told yet of those who connect.
    knocks: Knocks,
    /// Rooms whose being in sync was told to a person since the last connection.
    told: HashSet<RoomId>,
    /// Authors who signed two different ops at one place.
    liars: BTreeSet<AuthorId>,
    /// Names of rooms.
    names: HashMap<RoomId, String>,
}

impl Watch {
    /// Of a node of this author that begins in these rooms.
    pub(crate) fn new(author: AuthorId, rooms: Vec<RoomId>, links: Links) -> Self {
        Self {
            author,
            progress: Progress::new(rooms),
            links,
            knocks: Knocks::default(),
            told: HashSet::new(),
            liars: BTreeSet::new(),
            names: HashMap::new(),
        }
    }

    pub(crate) async fn ready(
        &mut self,
        screen: &Screen,
        driver: &Driver,
    ) -> Result<(), NodeError> {
        let author = self.author;
        for report in driver.query(move |replica| report::rooms(replica, author)).await? {
            let status = &report.status;
            let line = match screen.format() {
                Format::Json => json!({
                    "event": "ready",
                    "author": author.to_string(),
                    "room": report.name,
                    "heads": status.heads.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "entries": status.entries,
                })
                .to_string(),
                Format::Text => format!(
                    "you are {}   room {}   {} entries   {} unsent   /help lists commands",
                    show::short(&author),
                    report.name,
                    status.entries,
                    report.unsent
                ),
            };
            screen.show(line).await;
            self.names.insert(status.id, report.name.clone());
            self.liars.extend(&report.liars);
            if let Some(learning) = status.learning {
                let known = json!({
                    "event": "learning", "room": report.name, "signed": learning.signed,
                });
                self.tell(screen, &known, || show::learning(learning, status.unsigned)).await;
            }
        }
        Ok(())
    }

    /// Shows an object to programs or a line to people.
    async fn tell(
        &self,
        screen: &Screen,
        fields: &serde_json::Value,
        text: impl FnOnce() -> String,
    ) {
        let line = match screen.format() {
            Format::Json => fields.to_string(),
            Format::Text => text(),
        };
        screen.show(line).await;
    }

    fn name(&self, room: RoomId) -> String {
        self.names.get(&room).cloned().unwrap_or_else(|| room.to_string())
    }

    /// Shows what happens until the run is over.
    pub(crate) async fn run(
        &mut self,
        node: &mut Node,
        fed: &mut mpsc::Receiver<Fed>,
        screen: &Screen,
        signals: &mut Signals,
        until: Until,
    ) -> Result<(), NodeError> {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ended: Option<Instant> = None;
        loop {
            tokio::select! {
                () = signals.stop() => return Ok(()),
                happening = node.next() => match happening {
                    Happening::Event(event) => {
                        // A link is up before anything comes over it.
                        while let Some(link) = node.try_link() {
                            self.link(screen, link).await;
                        }
                        self.event(screen, event).await;
                    }
                    Happening::Link(link) => self.link(screen, link).await,
                    Happening::Left(left) => {
                        let named = self.links.left(left.peer);
                        if let Some(named) = &named {
                            self.progress.forget(&named.name);
                        }
                        self.left(screen, named.as_ref(), &left).await;
                    }
                    Happening::Ended(how) => return how,
                },
                Some(fed) = fed.recv() => match fed {
                    Fed::Submitted => self.progress.submitted(),
                    Fed::Unreadable => self.progress.unreadable(),
                    Fed::Joined(name) => {
                        self.progress.joined(name.id());
                        self.names.insert(name.id(), name.to_string());
                    }
                    Fed::Removed(url) => self.progress.forget(&url),
                    Fed::Quit if until == Until::Stopped => return self.refusals(),
                    Fed::End | Fed::Quit => ended = Some(Instant::now()),
                },
                () = until_due(self.knocks.due()) => {
                    let sum = self.knocks.sum(Instant::now());
                    screen.show(sum).await;
                }
                _ = look.tick(), if ended.is_some() => {
                    let waited = ended.map_or(Duration::ZERO, |at| at.elapsed());
                    if let Some(over) = self.over(node, until, waited).await {
                        return over;
                    }
                }
            }
        }
    }

    /// Whether a run whose input has ended is over, and how.
    async fn over(
        &self,
        node: &mut Node,
        until: Until,
        waited: Duration,
    ) -> Option<Result<(), NodeError>> {
        let (done, max) = match until {
            Until::Stopped => return None,
            Until::Complete(max) => (self.progress.complete(), max),
            Until::Relayed(max) | Until::Left(max) => (self.progress.all_relayed(), max),
        };
        if done {
            return Some(self.refusals());
        }
        if waited < max {
            return None;
        }
        if matches!(until, Until::Left(_)) {
            return Some(Ok(()));
        }
        let unsent = match self.unsent(node).await {
            Ok(unsent) => unsent,
            Err(error) => return Some(Err(error)),
        };
        let seconds = max.as_secs();
        let reason = if self.links.any_connected() {
            self.progress.lacking().to_owned()
        } else {
            self.links.why_alone()
        };
        let way = Way::of(&self.links);
        Some(Err(match until {
            Until::Relayed(_) => NodeError::NotRelayed { seconds, reason, unsent, way },
            Until::Stopped | Until::Complete(_) | Until::Left(_) => {
                NodeError::NotSynced { seconds, reason, unsent, way }
            }
        }))
    }

    /// Own ops that nobody has acknowledged.
    async fn unsent(&self, node: &mut Node) -> Result<usize, NodeError> {
        let author = self.author;
        let unsent = move |replica: &Replica| {
            replica.rooms().map(|room| replica.unsent(room, author)).sum::<usize>()
        };
        node.ask(unsent).await
    }

    fn refusals(&self) -> Result<(), NodeError> {
        match self.progress.refusals() {
            (0, _) => Ok(()),
            (refused, lines) => Err(NodeError::LinesRefused { refused, lines }),
        }
    }

    async fn event(&mut self, screen: &Screen, event: Event) {
        match event {
            Event::Admitted { room, op, equivocation, .. } => {
                self.admitted(screen, room, &op, equivocation.as_ref()).await;
            }
            Event::Withheld { room, peer, op } => {
                let (op, room) = (show::short(&op), self.name(room));
                let what = format!("op {op} of {room} is kept back: it was named and is not sent");
                self.problem(screen, peer, &what).await;
            }
            Event::SignedElsewhere { room, op } => self.signed_elsewhere(screen, room, op).await,
            Event::Learnt { room, signed } => {
                let name = self.name(room);
                let fields = json!({"event": "learnt", "room": name, "signed": signed});
                let text = || format!("your own ops in {name} are known: {signed}; signing again");
                self.tell(screen, &fields, text).await;
            }
            Event::Durable { room, token, op, index, position, .. } => {
                self.progress.answered();
                self.progress.durable(room, op, position);
                let fields = json!({"event": "durable", "line": token.0, "op": op.to_string(), "index": index});
                only_json(screen, &fields).await;
            }
            Event::Refused { token, error } => {
                self.progress.answered();
                self.progress.refused();
                screen.show(refusal(screen.format(), token.0, error.code(), &error)).await;
            }
            Event::Acked { room, peer, position } => {
                self.acked(screen, room, peer, position).await;
            }
            Event::Synced { room, peer, set, name, entries } => {
                self.heard(screen, peer).await;
                self.progress.synced(room);
                let name = name.map_or_else(|| room.to_string(), |name| name.to_string());
                let Named { kind, name: with } = self.links.of(peer);
                let fields = json!({
                    "event": "synced", "room": name, "set": set.to_string(), "entries": entries,
                });
                only_json(screen, &kind.named(&with, fields)).await;
                if self.told.insert(room) && screen.format() == Format::Text {
                    let set = show::short(&set);
                    let line = format!("in sync   room {name}   {entries} entries   set {set}");
                    screen.show(line).await;
                }
            }
            Event::PeerReady { peer, agent, store } => {
                if let Some(named) = self.links.introduced(peer, &agent, store) {
                    self.introduced(screen, &named).await;
                }
            }
            // What is withdrawn comes after the end; a node puts nothing off.
            Event::Withdrawn { .. } | Event::PutOff { .. } => {}
            // Told as what becomes of the link.
            Event::PeerProblem { code, .. } if code == CloseReason::Auth.as_str() => {}
            Event::PeerProblem { peer, code, message } => {
                let (code, message) = (show::safe(&code), show::safe(&message));
                let who = self.links.of(peer).kind.word();
                self.problem(screen, peer, &format!("a {who} says: {message} ({code})")).await;
            }
            Event::Blamed { peer, code } => {
                let who = self.links.of(peer).kind.word();
                let what = format!("refused what a {who} sent ({code}); nothing was lost");
                self.problem(screen, peer, &what).await;
            }
        }
    }

    /// Shows the entries of an op.
    async fn admitted(
        &mut self,
        screen: &Screen,
        room: RoomId,
        op: &Op,
        equivocation: Option<&Equivocation>,
    ) {
        self.progress.admitted(room);
        if let Some(equivocation) = equivocation {
            self.equivocation(screen, equivocation).await;
        }
        let by = Signer::of(op.head().author, self.author, &self.liars);
        for (index, entry) in op.entries().iter().enumerate() {
            let line = match screen.format() {
                Format::Json => show::entry_json(op, index, entry, by),
                Format::Text => show::entry_text(op, entry, by),
            };
            screen.show(line).await;
        }
    }

    async fn acked(&mut self, screen: &Screen, room: RoomId, peer: PeerId, position: Position) {
        self.heard(screen, peer).await;
        let Named { kind, name } = self.links.of(peer);
        for op in self.progress.acked(room, &name, position, self.links.count()) {
            let fields = json!({"event": "relayed", "op": op.to_string()});
            only_json(screen, &kind.named(&name, fields)).await;
        }
    }

    /// A link is connected: whoever dialled it is told so, and of each room anew.
    async fn introduced(&mut self, screen: &Screen, named: &Named) {
        if self.links.is_accepted(named) {
            self.came(screen, named).await;
        } else {
            self.told.clear();
            self.connected(screen, named).await;
        }
    }

    async fn signed_elsewhere(&self, screen: &Screen, room: RoomId, op: OpId) {
        let name = self.name(room);
        let fields = json!({"event": "signed_elsewhere", "room": name, "op": op.to_string()});
        let text = || {
            format!(
                "WARNING  op {} is signed with your key and was not written here: the key is or was \
                 used elsewhere, or an older copy of this home was. If two write at once, everybody \
                 can prove that you signed two different ops.",
                show::short(&op)
            )
        };
        self.tell(screen, &fields, text).await;
    }

    /// Tells programs of every fork, and people of an author's first.
    async fn equivocation(&mut self, screen: &Screen, equivocation: &Equivocation) {
        let author = equivocation.author;
        let news = self.liars.insert(author);
        if news || screen.format() == Format::Json {
            let fields = evidence::event_json(&self.name(equivocation.room), equivocation);
            let own = author == self.author;
            self.tell(screen, &fields, || evidence::event_text(equivocation, own)).await;
        }
    }

    /// Who has several relays must know which one to do without.
    async fn problem(&mut self, screen: &Screen, peer: PeerId, what: &str) {
        let named = self.links.of(peer);
        let accepted = self.links.is_accepted(&named);
        if accepted && !self.may_tell(screen, Knock::Problem) {
            return;
        }
        let Named { kind, name } = named;
        let fields = kind.named(&name, json!({"event": "problem", "message": what}));
        self.tell(screen, &fields, || format!("WARNING  {what}   {name}")).await;
    }
}

/// Waits until then; for ever if there is no such time.
async fn until_due(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn only_json(screen: &Screen, fields: &serde_json::Value) {
    if screen.format() == Format::Json {
        screen.show(fields.to_string()).await;
    }
}
