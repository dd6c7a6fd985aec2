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
use crate::screen::{Format, Lines, Screen};
use crate::show::{self, Signer};

mod knocks;
mod links;

use knocks::{Knock, Knocks};

/// Time between two looks at whether a run is complete.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Bytes of lines from which on they are shown before there are more.
const TEXT_BYTES: usize = 64 * 1024;

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
    /// What is not shown yet.
    lines: Lines,
}

impl Watch {
    /// Of a node of this author that begins in these rooms.
    pub(crate) fn new(author: AuthorId, rooms: Vec<RoomId>, links: Links, format: Format) -> Self {
        Self {
            author,
            progress: Progress::new(rooms),
            links,
            knocks: Knocks::default(),
            told: HashSet::new(),
            liars: BTreeSet::new(),
            names: HashMap::new(),
            lines: Lines::of(format),
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
            let line = match self.lines.format() {
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
            self.lines.add(&line);
            self.names.insert(status.id, report.name.clone());
            self.liars.extend(&report.liars);
            if let Some(learning) = status.learning {
                let known = json!({
                    "event": "learning", "room": report.name, "signed": learning.signed,
                });
                self.lines.tell(&known, || show::learning(learning, status.unsigned));
            }
        }
        self.flush(screen).await;
        Ok(())
    }

    /// Shows what is not shown yet.
    async fn flush(&mut self, screen: &Screen) {
        if self.lines.bytes() > 0 {
            screen.show(self.lines.take()).await;
        }
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
            self.flush(screen).await;
            tokio::select! {
                () = signals.stop() => return Ok(()),
                happening = node.next() => match happening {
                    Happening::Events(events) => {
                        // A link is up before anything comes over it.
                        while let Some(link) = node.try_link() {
                            self.link(link);
                        }
                        for event in events {
                            self.event(event);
                            // A message may hold ops of many short entries.
                            if self.lines.bytes() >= TEXT_BYTES {
                                self.flush(screen).await;
                            }
                        }
                    }
                    Happening::Link(link) => self.link(link),
                    Happening::Left(left) => {
                        let named = self.links.left(left.peer);
                        if let Some(named) = &named {
                            self.progress.forget(&named.name);
                        }
                        self.left(named.as_ref(), &left);
                    }
                    Happening::Ended(how) => return how,
                },
                Some(fed) = fed.recv() => match fed {
                    Fed::Submitted(lines) => self.progress.submitted(lines),
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
                    self.lines.add(&sum);
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

    fn event(&mut self, event: Event) {
        match event {
            Event::Admitted { room, op, equivocation, .. } => {
                self.admitted(room, &op, equivocation.as_ref());
            }
            Event::Withheld { room, peer, op } => {
                let (op, room) = (show::short(&op), self.name(room));
                let what = format!("op {op} of {room} is kept back: it was named and is not sent");
                self.problem(peer, &what);
            }
            Event::SignedElsewhere { room, op } => self.signed_elsewhere(room, op),
            Event::Learnt { room, signed } => {
                let name = self.name(room);
                let fields = json!({"event": "learnt", "room": name, "signed": signed});
                let text = || format!("your own ops in {name} are known: {signed}; signing again");
                self.lines.tell(&fields, text);
            }
            Event::Durable { room, token, op, index, position, .. } => {
                self.progress.answered();
                self.progress.durable(room, op, position);
                self.lines.only_json(|| {
                    json!({"event": "durable", "line": token.0, "op": op.to_string(), "index": index})
                });
            }
            Event::Refused { token, error } => {
                self.progress.answered();
                self.progress.refused();
                let line = refusal(self.lines.format(), token.0, error.code(), &error);
                self.lines.add(&line);
            }
            Event::Acked { room, peer, position } => {
                self.acked(room, peer, position);
            }
            Event::Synced { room, peer, set, name, entries } => {
                self.heard(peer);
                self.progress.synced(room);
                let name = name.map_or_else(|| room.to_string(), |name| name.to_string());
                let Named { kind, name: with } = self.links.of(peer);
                self.lines.only_json(|| {
                    let fields = json!({
                        "event": "synced", "room": name, "set": set.to_string(), "entries": entries,
                    });
                    kind.named(&with, fields)
                });
                if self.told.insert(room) && self.lines.format() == Format::Text {
                    let set = show::short(&set);
                    let line = format!("in sync   room {name}   {entries} entries   set {set}");
                    self.lines.add(&line);
                }
            }
            Event::PeerReady { peer, agent, store } => {
                if let Some(named) = self.links.introduced(peer, &agent, store) {
                    self.introduced(&named);
                }
            }
            // What is withdrawn comes after the end; a node puts nothing off.
            Event::Withdrawn { .. } | Event::PutOff { .. } => {}
            // Told as what becomes of the link.
            Event::PeerProblem { code, .. } if code == CloseReason::Auth.as_str() => {}
            Event::PeerProblem { peer, code, message } => {
                let (code, message) = (show::safe(&code), show::safe(&message));
                let who = self.links.of(peer).kind.word();
                self.problem(peer, &format!("a {who} says: {message} ({code})"));
            }
            Event::Blamed { peer, code } => {
                let who = self.links.of(peer).kind.word();
                let what = format!("refused what a {who} sent ({code}); nothing was lost");
                self.problem(peer, &what);
            }
        }
    }

    /// Shows the entries of an op.
    fn admitted(&mut self, room: RoomId, op: &Op, equivocation: Option<&Equivocation>) {
        self.progress.admitted(room);
        if let Some(equivocation) = equivocation {
            self.equivocation(equivocation);
        }
        let by = Signer::of(op.head().author, self.author, &self.liars);
        for (index, entry) in op.entries().iter().enumerate() {
            let line = match self.lines.format() {
                Format::Json => show::entry_json(op, index, entry, by),
                Format::Text => show::entry_text(op, entry, by),
            };
            self.lines.add(&line);
        }
    }

    fn acked(&mut self, room: RoomId, peer: PeerId, position: Position) {
        self.heard(peer);
        let Named { kind, name } = self.links.of(peer);
        for op in self.progress.acked(room, &name, position, self.links.count()) {
            self.lines
                .only_json(|| kind.named(&name, json!({"event": "relayed", "op": op.to_string()})));
        }
    }

    /// A link is connected: whoever dialled it is told so, and of each room anew.
    fn introduced(&mut self, named: &Named) {
        if self.links.is_accepted(named) {
            self.came(named);
        } else {
            self.told.clear();
            self.connected(named);
        }
    }

    fn signed_elsewhere(&mut self, room: RoomId, op: OpId) {
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
        self.lines.tell(&fields, text);
    }

    /// Tells programs of every fork, and people of an author's first.
    fn equivocation(&mut self, equivocation: &Equivocation) {
        let author = equivocation.author;
        let news = self.liars.insert(author);
        if news || self.lines.format() == Format::Json {
            let fields = evidence::event_json(&self.name(equivocation.room), equivocation);
            let own = author == self.author;
            self.lines.tell(&fields, || evidence::event_text(equivocation, own));
        }
    }

    /// Who has several relays must know which one to do without.
    fn problem(&mut self, peer: PeerId, what: &str) {
        let named = self.links.of(peer);
        let accepted = self.links.is_accepted(&named);
        if accepted && !self.may_tell(Knock::Problem) {
            return;
        }
        let Named { kind, name } = named;
        let fields = kind.named(&name, json!({"event": "problem", "message": what}));
        self.lines.tell(&fields, || format!("WARNING  {what}   {name}"));
    }
}

/// Waits until then; for ever if there is no such time.
async fn until_due(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
