//! What is taken of others: as much as there is room for, and as fast as it is granted.
//! Source: `docs/PROTOCOL.md`, "Put off".

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Replica, Rooms};
use crate::effect::{Effect, Event, PeerId};
use crate::id::RoomId;
use crate::intake::{Intake, Shortage};
use crate::message::Message;
use crate::session::{Session, channel};
use crate::time::Span;

impl Replica {
    /// From now on so much is taken of others. Whoever is in and would not be let in now, goes.
    pub(super) fn take_in(&mut self, intake: Intake) {
        if self.config.rooms == Rooms::OnDemand {
            self.config.allowed.clone_from(&intake.allowed);
        }
        self.taking.intake = intake;
        self.make_awaited();
        let listed = |author| self.config.allowed.as_ref().is_none_or(|all| all.contains(author));
        let demands = |session: &Session| self.demands_proof(session.link);
        let sessions = self.sessions.iter().filter(|(_, session)| demands(session));
        let strangers =
            sessions.filter(|(_, session)| !session.proved.as_ref().is_some_and(listed));
        let strangers: Vec<PeerId> = strangers
            .filter(|(_, session)| session.store.is_some())
            .map(|(peer, _)| *peer)
            .collect();
        for peer in strangers {
            self.refuse(peer, "only keys on a list are let in from now on");
        }
    }

    /// Ops of a peer were taken: if that is not so later, it is told once more.
    pub(super) fn taken(&mut self, peer: PeerId, id: RoomId) {
        if let Some(channel) = channel(&mut self.sessions, peer, id) {
            channel.told = None;
        }
    }

    /// A peer brought ops that are not taken now: its user is told why, once until some are taken.
    pub(super) fn put_off(&mut self, peer: PeerId, id: RoomId, shortage: Shortage, ops: u64) {
        let channel = channel(&mut self.sessions, peer, id);
        let told = channel.and_then(|channel| {
            channel.conduct.excused();
            channel.told.replace(shortage)
        });
        // That it is asked to wait is no problem.
        if told != Some(shortage) && shortage != Shortage::Rate {
            let (code, message) = (shortage.code().to_string(), shortage.sentence().to_string());
            self.send(peer, &Message::Err { code, message });
        }
        self.effects.push(Effect::Notify(Event::PutOff { room: id, peer, shortage, ops }));
    }

    /// Grants what is due, once what authors owe is paid whose ops the peer brings.
    pub(super) fn grant(&mut self, peer: PeerId, due: Option<u64>, owed: Span) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let (waiting, at) = &mut session.grant;
        self.grants.remove(&(*at, peer));
        *at = now.after(owed).max(*at);
        *waiting = waiting.saturating_add(due.unwrap_or(0));
        if *waiting > 0 {
            self.grants.insert((*at, peer));
        }
        self.grant_due();
    }

    /// Grants what waited until now.
    pub(super) fn grant_due(&mut self) {
        while let Some((at, peer)) = self.grants.first().copied().filter(|(at, _)| *at <= self.now)
        {
            self.grants.remove(&(at, peer));
            let Some(session) = self.sessions.get_mut(&peer) else { continue };
            let bytes = core::mem::take(&mut session.grant.0);
            self.send(peer, &Message::Credit { bytes });
        }
    }
}
