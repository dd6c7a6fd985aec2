//! What a driver does after its commit, and how frames travel and connections come and go.

use crdt_core::effect::{Effect, Event as Told, Input, Link, PeerId};
use crdt_core::id::{OpId, RoomId};
use crdt_core::message::{Frame, Received};
use crdt_core::op::HashedOp;

use super::check::Violation;
use super::link::Flight;
use super::options::Fault;
use super::party::Seat;
use super::wire::Said;
use super::world::{Event, World};

/// What a liar's frame brings, if it is one that is acknowledged. An op that cannot be read has an
/// id that nobody has.
fn ops_of_a_liar(frame: &str) -> Option<(RoomId, Vec<OpId>)> {
    let Ok(Received::Ops(batch)) = Received::decode(frame.as_bytes()) else { return None };
    let nobody = OpId::from_bytes([0; 32]);
    let ids = batch.ops.iter().map(|op| op.as_ref().map_or(nobody, HashedOp::id)).collect();
    Some((batch.room, ids))
}

impl World {
    /// Carries out one effect that is no write.
    pub(super) fn carry_out(&mut self, who: usize, effect: Effect) -> Result<(), Violation> {
        match effect {
            // Written before anything else was carried out.
            Effect::Persist(_) => {}
            Effect::Load(load) => self.parties[who].loads.push_back(load),
            Effect::Send(peer, frame) => self.send(who, peer, &frame)?,
            Effect::Close(peer, reason) => {
                self.say(|| format!("party {who} closes {peer:?}: {}", reason.as_str()));
                self.check_close(who, peer)?;
                if let Some(Seat { link, end }) = self.parties[who].peers.get(&peer).copied() {
                    self.close_half(link, end);
                }
            }
            Effect::Notify(told) => self.told(who, &told)?,
        }
        Ok(())
    }

    /// What the user would have been told, had the process not been killed: it is durable anyway.
    pub(super) fn note_durable(&mut self, who: usize, effects: &[Effect]) -> Result<(), Violation> {
        for effect in effects {
            if let Effect::Notify(told @ Told::Durable { .. }) = effect {
                self.told(who, told)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, who: usize, peer: PeerId, frame: &Frame) -> Result<(), Violation> {
        let Some(Seat { link, end }) = self.parties[who].peers.get(&peer).copied() else {
            return Ok(());
        };
        if self.parties[who].is_honest() {
            let said = Said::read(frame);
            self.check_send(who, peer, &said)?;
            self.fly(link, 1 - end, Flight { frame: frame.clone(), said });
            return Ok(());
        }
        if let Some(mangler) = self.parties[who].mangler.clone() {
            let sent = mangler.mangle(peer, frame, &mut self.tape);
            if sent.len() != 1 || sent.first() != Some(frame) {
                self.count("frames mangled");
            }
            for frame in sent {
                self.fly(link, 1 - end, Flight { frame, said: Said::Other });
            }
        }
        Ok(())
    }

    /// A frame sets out to one end of a link.
    fn fly(&mut self, link: usize, end: usize, flight: Flight) {
        let delay = self.tape.between(1, self.options.delay_ms);
        let healed = self.is_healed();
        let (slow_until, more) = self.links[link].slow;
        let half = &mut self.links[link].halves[end];
        if !half.open || half.severed {
            return;
        }
        if healed && let Said::Ops { .. } = flight.said {
            half.ops_bytes += u64::try_from(flight.frame.len()).unwrap_or_default();
        }
        let slow = if self.now < slow_until { more } else { 0 };
        half.last_at = half.last_at.max(self.now + delay + slow);
        half.coming.push_back(flight);
        let (at, peer) = (half.last_at, half.peer);
        self.at(at, Event::Deliver { link, end, peer });
    }

    pub(super) fn deliver(&mut self, link: usize, end: usize, peer: PeerId) {
        let from = self.links[link].ends[1 - end];
        let who = self.links[link].ends[end];
        let half = &mut self.links[link].halves[end];
        if !half.open || half.severed || half.peer != peer {
            return;
        }
        let Some(Flight { frame, said }) = half.coming.pop_front() else { return };
        self.trace.add_bytes(frame.as_bytes());
        self.say(|| format!("{from} -> {who}  {}", Said::in_words(&frame)));
        if who >= self.parties.len() {
            for answer in self.liars[who - self.parties.len()].hear(&frame) {
                self.fly(link, 1 - end, Flight { frame: answer, said: Said::Other });
            }
            return;
        }
        if let Some(mangler) = self.parties[who].mangler.clone()
            && let Some(answer) = mangler.swallow(&frame, &mut self.tape)
        {
            self.count("frames thrown away");
            return self.fly(link, 1 - end, Flight { frame: answer, said: Said::Other });
        }
        let ops = match said {
            Said::Ops { room, ids } => Some((room, ids)),
            Said::Other if !self.links[link].honest => ops_of_a_liar(&frame),
            Said::Ack { .. } | Said::Heads { .. } | Said::Other => None,
        };
        if let Some(ops) = ops {
            self.parties[who].awaiting.entry(peer).or_default().push_back(ops);
        }
        self.input(who, Input::received(peer, frame.as_bytes()));
    }

    /// A liar sends a frame.
    pub(super) fn attack(&mut self, liar: usize, peer: PeerId, frame: &Frame) {
        if let Some(Seat { link, end }) = self.liars[liar].peers.get(&peer).copied() {
            self.fly(link, 1 - end, Flight { frame: frame.clone(), said: Said::Other });
        }
    }

    /// One end notices that its connection is gone.
    pub(super) fn notice(&mut self, link: usize, end: usize, peer: PeerId) {
        let half = &self.links[link].halves[end];
        if half.open && half.peer == peer {
            let who = self.links[link].ends[end];
            self.say(|| format!("{who} notices that {peer:?} is gone"));
            self.close_half(link, end);
            if who < self.parties.len() {
                self.input(who, Input::PeerDown(peer));
            }
        }
    }

    /// One end leaves a connection. The other notices after what is on its way to it, and when both
    /// have left the link is dialled again.
    pub(super) fn close_half(&mut self, link: usize, end: usize) {
        let who = self.links[link].ends[end];
        let half = &mut self.links[link].halves[end];
        if !half.open {
            return;
        }
        half.open = false;
        half.coming.clear();
        let peer = half.peer;
        if let Some(party) = self.parties.get_mut(who) {
            party.peers.remove(&peer);
            party.awaiting.remove(&peer);
        } else {
            let liar = who - self.parties.len();
            self.liars[liar].peers.remove(&peer);
        }
        if self.links[link].is_down() {
            let pause = self.tape.between(50, 5_000);
            return self.after(pause, Event::Up(link));
        }
        let other = &self.links[link].halves[1 - end];
        let (last_at, peer) = (other.last_at.max(self.now), other.peer);
        let late = self.tape.between(1, 1_000);
        self.at(last_at + late, Event::Down { link, end: 1 - end, peer });
    }

    /// A link is dialled.
    pub(super) fn dial(&mut self, link: usize) {
        if !self.links[link].is_down() {
            return;
        }
        let runs = |who: &usize| self.parties.get(*who).is_none_or(|party| party.replica.is_some());
        let ends = self.links[link].ends;
        if self.now < self.links[link].blocked_until || !ends.iter().all(runs) {
            let pause = self.tape.between(200, 3_000);
            return self.after(pause, Event::Up(link));
        }
        for end in [0, 1] {
            let (who, peer) = (ends[end], self.new_peer());
            let half = &mut self.links[link].halves[end];
            (half.open, half.severed, half.peer, half.last_at) = (true, false, peer, self.now);
            half.coming.clear();
            let seat = Seat { link, end };
            let nodes = self.parties.len();
            let peers = match self.parties.get_mut(who) {
                Some(party) => &mut party.peers,
                None => &mut self.liars[who - nodes].peers,
            };
            peers.insert(peer, seat);
        }
        self.say(|| format!("link {link} is up between {ends:?}"));
        for end in [0, 1] {
            let (who, peer) = (ends[end], self.links[link].halves[end].peer);
            if who < self.parties.len() {
                self.input(who, Input::PeerUp(peer, Link::DIALLED));
            } else {
                let hello = self.liars[who - self.parties.len()].hello();
                self.fly(link, 1 - end, Flight { frame: hello, said: Said::Other });
            }
        }
    }

    /// A connection breaks: nothing more comes to these ends, and both notice within a time.
    pub(super) fn sever(&mut self, link: usize, ends: &[usize], within_ms: u64) {
        if !self.links[link].is_up() {
            return;
        }
        for end in [0, 1] {
            let half = &mut self.links[link].halves[end];
            if ends.contains(&end) {
                half.severed = true;
                half.coming.clear();
            }
            let peer = half.peer;
            let late = self.tape.between(1, within_ms);
            self.after(late, Event::Down { link, end, peer });
        }
        let fault = if ends.len() == 2 { Fault::Cut } else { Fault::HalfCut };
        self.say(|| format!("link {link}: {}", fault.name()));
    }
}
