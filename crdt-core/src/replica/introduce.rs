//! The start of a connection: `hello`, proof of key where it is demanded, and which of two
//! connections to one peer is kept. Source: `docs/PROTOCOL.md`, "A session".

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Replica, Rooms};
use crate::effect::{CloseReason, Effect, Event, Link, PeerId, Scope, Side};
use crate::id::{AuthorId, Nonce, RoomId, sha256, tag};
use crate::key::{Challenge, PublicKey, Signature};
use crate::limits;
use crate::message::{Hello, Message};
use crate::session::Session;

impl Replica {
    pub(super) fn peer_up(&mut self, peer: PeerId, link: Link) {
        self.peer_down(peer);
        let nonce = self.nonce(peer);
        self.sessions.insert(peer, Box::new(Session::new(link, nonce)));
        let hello = Hello {
            agent: self.config.agent.clone(),
            store: self.config.store,
            window: limits::WINDOW_BYTES,
            nonce: Some(nonce),
            auth: self.demands_proof(link),
        };
        self.send(peer, &Message::Hello(hello));
    }

    /// A number for one connection that nobody can guess who does not see it.
    fn nonce(&self, peer: PeerId) -> Nonce {
        let mut bytes = [0; 72];
        let (seed, rest) = bytes.split_at_mut(32);
        let (store, number) = rest.split_at_mut(32);
        seed.copy_from_slice(&self.config.seed);
        store.copy_from_slice(self.config.store.as_bytes());
        number.copy_from_slice(&peer.0.to_be_bytes());
        Nonce::from_bytes(sha256(tag::NONCE, &bytes))
    }

    /// Whom this replica dialled it trusts to be who it is; whoever dials it must prove it, if only
    /// some are let in. What a peer of this process brings, it was let bring.
    pub(super) fn demands_proof(&self, link: Link) -> bool {
        let accepted = link.side == Side::Accepted && link.scope != Scope::None;
        self.config.allowed.is_some() && accepted
    }

    /// Whether a peer has done what it must before it is listened to.
    pub(super) fn is_let_in(&self, session: &Session) -> bool {
        session.proved.is_some() || !self.demands_proof(session.link)
    }

    pub(super) fn hello(&mut self, peer: PeerId, hello: Hello) {
        let Hello { agent, store, window, nonce, auth } = hello;
        if store == self.config.store {
            return self.close(peer, CloseReason::OwnStore);
        }
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        session.ready(agent.clone(), store, window);
        session.peer_nonce = nonce;
        let (own_nonce, side) = (session.nonce, session.link.side);
        // Whoever connects here may pass a question of somebody else's on.
        let asked = auth && side == Side::Dialled;
        if let (true, Some(nonce), Some(key)) = (asked, nonce, &self.config.key) {
            let challenge = Challenge::of([nonce, own_nonce], [store, self.config.store]);
            let sig = key.prove(&challenge);
            let author = key.author();
            self.send(peer, &Message::Auth { author, sig });
        }
        let let_in = self.sessions.get(&peer).is_some_and(|session| self.is_let_in(session));
        if let_in {
            self.effects.push(Effect::Notify(Event::PeerReady { peer, agent, store }));
        }
        self.tell_twin(peer);
        if let_in {
            self.let_in(peer);
        }
    }

    /// A peer proves that it has a key.
    pub(super) fn proof(&mut self, peer: PeerId, author: AuthorId, sig: &Signature) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let (Some(nonce), Some(store)) = (session.peer_nonce, session.store) else {
            return self.refuse(peer, "a proof needs a nonce in `hello`");
        };
        let challenge = Challenge::of([session.nonce, nonce], [self.config.store, store]);
        let proved = PublicKey::of(author).and_then(|key| key.verify_proof(&challenge, sig));
        if proved.is_err() {
            return self.refuse(peer, "the proof does not hold for this key and connection");
        }
        let allowed = self.config.allowed.as_ref().is_none_or(|allowed| allowed.contains(&author));
        if !allowed {
            return self.refuse(peer, "this key is not on the list of those let in");
        }
        let (before, link) = (session.proved.replace(author), session.link);
        let agent = session.agent.clone();
        if before.is_none() && self.demands_proof(link) {
            self.effects.push(Effect::Notify(Event::PeerReady { peer, agent, store }));
            self.let_in(peer);
        }
    }

    /// Ends a connection whose peer may not come in.
    pub(super) fn refuse(&mut self, peer: PeerId, why: &str) {
        let (code, message) = (CloseReason::Auth.as_str().to_string(), why.to_string());
        self.send(peer, &Message::Err { code, message });
        self.close(peer, CloseReason::Auth);
    }

    /// Asks a peer for what this side wants of it.
    fn let_in(&mut self, peer: PeerId) {
        let peered = self.sessions.get(&peer).is_some_and(|s| s.link.scope == Scope::Every);
        if self.config.rooms == Rooms::Joined || peered {
            let rooms: Vec<RoomId> = self.rooms.keys().copied().collect();
            for room in rooms {
                self.subscribe(peer, room);
            }
        }
    }

    /// Two that dialled each other keep the connection that the smaller store dialled. It proves on
    /// that one that the other one ends at it too: else whoever claims to be a peer could have the
    /// connection to the real one closed.
    fn tell_twin(&mut self, peer: PeerId) {
        let Some(session) = self.sessions.get(&peer) else { return };
        let store = session.store;
        if store.is_none_or(|store| store < self.config.store) {
            return;
        }
        let of_side = |wanted: Side| {
            let sessions = self.sessions.iter();
            sessions.filter(move |(_, s)| s.store == store && s.link.side == wanted)
        };
        let Some((&dialled, _)) = of_side(Side::Dialled).next() else { return };
        // Of several that the peer has opened, some may be dead already.
        let opened =
            of_side(Side::Accepted).filter(|(other, _)| peer == dialled || **other == peer);
        let nonces: Vec<Nonce> = opened.filter_map(|(_, session)| session.peer_nonce).collect();
        for nonce in nonces {
            self.send(dialled, &Message::Twin { nonce });
        }
    }

    /// A peer proves that the connection on which this side said `nonce` ends at it too.
    pub(super) fn twin(&mut self, peer: PeerId, nonce: Nonce) {
        let Some(session) = self.sessions.get(&peer) else { return };
        let (store, side) = (session.store, session.link.side);
        let twin = self.sessions.iter().find(|(other, session)| {
            // What the peer says there may be on its way; it has heard the nonce there.
            **other != peer
                && session.nonce == nonce
                && (session.store.is_none() || session.store == store)
                && session.link.side == Side::Dialled
        });
        let Some((twin, scope)) = twin.map(|(twin, session)| (*twin, session.link.scope)) else {
            return;
        };
        if side != Side::Accepted || store.is_none_or(|store| store > self.config.store) {
            return;
        }
        if let Some(session) = self.sessions.get_mut(&peer) {
            // What the other one was for, this one is for now.
            (session.link.scope, session.chosen) = (scope, true);
        }
        self.close(twin, CloseReason::Twin(peer));
        if scope == Scope::Every {
            self.let_in(peer);
        }
    }
}
