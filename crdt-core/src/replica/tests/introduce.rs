//! Who is let in, and which of two connections to one peer is kept.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::client::said;
use super::net::{MAIN, Net, Node};
use crate::effect::{CloseReason, Command, Effect, Input, Link, PeerId, Scope};
use crate::fixtures::{Author, room};
use crate::id::{Nonce, RoomName, StoreId};
use crate::key::{EachTime, Signature};
use crate::limits;
use crate::message::{Frame, Hello, Message, Received};
use crate::replica::{Config, Replica, Rooms};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_ms(0);

fn replica(key: u8, allowed: Option<BTreeSet<crate::id::AuthorId>>) -> Replica {
    let mut replica = Replica::new(Config {
        store: StoreId::from_bytes([key; 32]),
        agent: "test".into(),
        rooms: Rooms::Joined,
        key: Some(Author::new(key).0),
        seed: [key; 32],
        allowed,
        signatures: Arc::new(EachTime),
    });
    replica.handle(NOW, Input::Command(Command::Join(RoomName::parse(MAIN).unwrap())));
    replica
}

fn sent(effects: Vec<Effect>, to: PeerId) -> Vec<Frame> {
    let frames = effects.into_iter().filter_map(|effect| match effect {
        Effect::Send(peer, frame) if peer == to => Some(frame),
        _ => None,
    });
    frames.collect()
}

fn closed(effects: &[Effect]) -> Vec<(PeerId, CloseReason)> {
    let of = |effect: &Effect| match effect {
        Effect::Close(peer, reason) => Some((*peer, *reason)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

/// What two replicas say on one connection until they say nothing more; the closes of each.
fn talk(
    a: (&mut Replica, PeerId, Link),
    b: (&mut Replica, PeerId, Link),
) -> [Vec<(PeerId, CloseReason)>; 2] {
    let mut ends = [a, b];
    let mut queue: [Vec<Frame>; 2] = [Vec::new(), Vec::new()];
    let mut closes = [Vec::new(), Vec::new()];
    for (end, (replica, peer, link)) in ends.iter_mut().enumerate() {
        queue[1 - end] = sent(replica.handle(NOW, Input::PeerUp(*peer, *link)), *peer);
    }
    while queue.iter().any(|frames| !frames.is_empty()) {
        for end in [0, 1] {
            for frame in core::mem::take(&mut queue[end]) {
                let (replica, peer, _) = &mut ends[end];
                let input = Input::received(*peer, frame.as_bytes());
                let effects = replica.handle(NOW, input);
                closes[end].extend(closed(&effects));
                queue[1 - end].extend(sent(effects, *peer));
            }
        }
    }
    closes
}

fn subscribed(replica: &Replica, peer: u64) -> bool {
    let status = replica.peers(NOW).into_iter().find(|status| status.peer == PeerId(peer));
    status.is_some_and(|status| !status.rooms.is_empty())
}

#[test]
fn who_has_a_key_on_the_list_is_let_in_and_nobody_else() {
    let allowed = BTreeSet::from([Author::new(2).id()]);
    for (key, let_in) in [(2, true), (3, false)] {
        let (mut door, mut guest) = (replica(1, Some(allowed.clone())), replica(key, None));
        let closes =
            talk((&mut door, PeerId(1), Link::ACCEPTED), (&mut guest, PeerId(1), Link::DIALLED));
        let refused = (PeerId(1), CloseReason::Auth);
        assert_eq!(closes[0], if let_in { Vec::new() } else { alloc::vec![refused] });
        assert_eq!(subscribed(&door, 1), let_in);
    }
}

#[test]
fn who_proves_nothing_is_told_so_and_served_nothing() {
    let allowed = Some(BTreeSet::from([Author::new(2).id()]));
    let mut door = replica(1, allowed);
    let say = |door: &mut Replica, message: &Message| {
        let frame = message.encode();
        door.handle(NOW, Input::received(PeerId(1), frame.as_bytes()))
    };
    let sub = Message::Sub { room: room(MAIN), name: None, cursor: None };
    let hello = Hello {
        nonce: Some(Nonce::from_bytes([5; 32])),
        ..Hello::new("guest", StoreId::from_bytes([9; 32]), limits::WINDOW_BYTES)
    };
    let bad = Message::Auth { author: Author::new(2).id(), sig: Signature::from_bytes([1; 64]) };
    for message in [sub, bad] {
        let effects = door.handle(NOW, Input::PeerUp(PeerId(1), Link::ACCEPTED));
        assert!(sent(effects, PeerId(1))[0].contains("\"auth\":true"));
        say(&mut door, &Message::Hello(hello.clone()));
        assert_eq!(said(&say(&mut door, &message)), ["err auth", "close auth"]);
    }
}

#[test]
fn who_has_not_proved_a_key_yet_is_not_told_of_a_room_joined_meanwhile() {
    let mut door = replica(1, Some(BTreeSet::new()));
    door.handle(NOW, Input::PeerUp(PeerId(1), Link::ACCEPTED));
    let hello = Hello::new("guest", StoreId::from_bytes([9; 32]), limits::WINDOW_BYTES);
    let hello = Message::Hello(hello).encode();
    door.handle(NOW, Input::received(PeerId(1), hello.as_bytes()));
    let mut effects =
        door.handle(NOW, Input::Command(Command::Join(RoomName::parse("side").unwrap())));
    effects.extend(door.handle(NOW, Input::Flush));
    assert!(sent(effects, PeerId(1)).is_empty());
}

/// A proof made for one connection or peer is of no use on another.
#[test]
fn a_proof_cannot_be_used_again() {
    let allowed = BTreeSet::from([Author::new(2).id()]);
    let mut guest = replica(2, None);
    let mut door = replica(1, Some(allowed.clone()));
    // The proof that the guest gives the door, caught on its way.
    let greeting = sent(door.handle(NOW, Input::PeerUp(PeerId(1), Link::ACCEPTED)), PeerId(1));
    let own = sent(guest.handle(NOW, Input::PeerUp(PeerId(1), Link::DIALLED)), PeerId(1));
    let input = Input::received(PeerId(1), greeting[0].as_bytes());
    let proof = sent(guest.handle(NOW, input), PeerId(1))[0].clone();
    assert!(proof.starts_with("{\"type\":\"auth\""), "{proof}");
    // Another connection of the same door, and another door with the same list.
    let mut other = replica(4, Some(allowed));
    for (door, peer) in [(&mut door, PeerId(2)), (&mut other, PeerId(1))] {
        door.handle(NOW, Input::PeerUp(peer, Link::ACCEPTED));
        door.handle(NOW, Input::received(peer, own[0].as_bytes()));
        let effects = door.handle(NOW, Input::received(peer, proof.as_bytes()));
        assert_eq!(said(&effects), ["err auth", "close auth"]);
    }
    // Where it was made for it holds.
    door.handle(NOW, Input::received(PeerId(1), own[0].as_bytes()));
    let effects = door.handle(NOW, Input::received(PeerId(1), proof.as_bytes()));
    assert!(closed(&effects).is_empty());
}

#[test]
fn two_that_dial_each_other_keep_one_connection() {
    for peered in [false, true] {
        let (mut small, mut large) = (replica(1, None), replica(2, None));
        let link = if peered { Link::PEERED } else { Link::DIALLED };
        // The larger store's call comes first, then the smaller one's.
        let first = talk((&mut large, PeerId(1), link), (&mut small, PeerId(1), Link::ACCEPTED));
        assert_eq!(first, [Vec::new(), Vec::new()]);
        let second = talk((&mut small, PeerId(2), link), (&mut large, PeerId(2), Link::ACCEPTED));
        assert_eq!(second, [Vec::new(), alloc::vec![(PeerId(1), CloseReason::Twin(PeerId(2)))]]);
        let left = large.peers(NOW);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].link.scope == Scope::Every, peered, "it is for what the other was for");
        assert!(subscribed(&large, 2) && subscribed(&small, 2));
    }
}

#[test]
fn which_connection_is_kept_may_be_said_before_the_other_one_is_answered() {
    let (mut small, mut large) = (replica(1, None), replica(2, None));
    let call = sent(large.handle(NOW, Input::PeerUp(PeerId(1), Link::DIALLED)), PeerId(1));
    // What the smaller store answers there is on its way.
    small.handle(NOW, Input::PeerUp(PeerId(1), Link::ACCEPTED));
    for frame in call {
        small.handle(NOW, Input::received(PeerId(1), frame.as_bytes()));
    }
    let second =
        talk((&mut small, PeerId(2), Link::DIALLED), (&mut large, PeerId(2), Link::ACCEPTED));
    assert_eq!(second, [Vec::new(), alloc::vec![(PeerId(1), CloseReason::Twin(PeerId(2)))]]);
}

#[test]
fn a_connection_that_is_dead_on_one_side_hides_no_twin() {
    let (mut small, mut large) = (replica(1, None), replica(2, None));
    talk((&mut large, PeerId(1), Link::DIALLED), (&mut small, PeerId(1), Link::ACCEPTED));
    // The larger one starts anew; the smaller one has not noticed yet.
    large = replica(2, None);
    talk((&mut large, PeerId(5), Link::DIALLED), (&mut small, PeerId(5), Link::ACCEPTED));
    let second =
        talk((&mut small, PeerId(6), Link::DIALLED), (&mut large, PeerId(6), Link::ACCEPTED));
    assert_eq!(second, [Vec::new(), alloc::vec![(PeerId(5), CloseReason::Twin(PeerId(6)))]]);
}

/// A liar that claims to be a peer cannot have the connection to the real one closed.
#[test]
fn who_only_claims_a_store_closes_no_connection() {
    let (mut small, mut large) = (replica(1, None), replica(2, None));
    talk((&mut large, PeerId(1), Link::DIALLED), (&mut small, PeerId(1), Link::ACCEPTED));
    let liar = PeerId(9);
    large.handle(NOW, Input::PeerUp(liar, Link::ACCEPTED));
    let hello = Hello {
        nonce: Some(Nonce::from_bytes([5; 32])),
        ..Hello::new("liar", StoreId::from_bytes([1; 32]), limits::WINDOW_BYTES)
    };
    let say = |large: &mut Replica, message: Message| {
        let input = Input::received(liar, message.encode().as_bytes());
        large.handle(NOW, input)
    };
    assert!(closed(&say(&mut large, Message::Hello(hello))).is_empty());
    for byte in 0..=255 {
        let guess = Message::Twin { nonce: Nonce::from_bytes([byte; 32]) };
        assert!(closed(&say(&mut large, guess)).is_empty());
    }
    assert!(large.peers(NOW).iter().any(|status| status.peer == PeerId(1)));
}

#[test]
fn nonces_differ_by_connection_and_replica() {
    let mut nonces = BTreeSet::new();
    for key in [1, 2] {
        let mut replica = replica(key, None);
        for peer in 1..=3 {
            let link = Link::ACCEPTED;
            let frames = sent(replica.handle(NOW, Input::PeerUp(PeerId(peer), link)), PeerId(peer));
            let Ok(Received::Message(Message::Hello(hello))) =
                Received::decode(frames[0].as_bytes())
            else {
                panic!("no hello")
            };
            assert!(nonces.insert(hello.nonce.unwrap()));
        }
    }
}

/// Relayers that keep the same rooms: each op crosses each connection at most once each way, an
/// empty room is kept by nobody for the others' sake, and silence follows.
#[test]
fn relayers_among_themselves_pass_each_op_once_and_fall_silent() {
    let mut net = Net::new(3);
    // 0 is a relayer; 4 and 5 are made the same.
    for number in [40, 50] {
        let mut node = Node::start(0, super::net::Disk::default());
        node.replica = Replica::new(Config {
            store: StoreId::from_bytes([number; 32]),
            agent: "relayer".into(),
            rooms: Rooms::OnDemand,
            key: None,
            seed: [number; 32],
            allowed: None,
            signatures: Arc::new(EachTime),
        });
        net.nodes.push(node);
    }
    for (a, b) in [(0, 4), (4, 5), (5, 0)] {
        net.link_as(a, b, Link::PEERED);
    }
    for (relayer, node) in [(0, 1), (4, 2), (5, 3)] {
        net.link(relayer, node);
    }
    net.quiet();
    for number in 0..30 {
        net.write(1 + usize::try_from(number % 3).unwrap(), number);
        net.quiet();
    }
    net.settle();
    net.assert_converged(30);
    net.crossed.clear();
    for number in 30..60 {
        net.write(1 + usize::try_from(number % 3).unwrap(), number);
    }
    net.quiet();
    net.settle();
    net.assert_converged(60);
    for ((from, to, op), times) in &net.crossed {
        assert_eq!(*times, 1, "{op} from {from:?} to {to}");
    }
    // 30 ops, 3 links among relayers both ways at most, 3 links to nodes one way each op.
    assert!(net.crossed.len() <= 30 * (6 + 3), "{}", net.crossed.len());
    net.sent.clear();
    net.settle();
    assert!(net.sent.iter().all(|frame| frame.starts_with("{\"type\":\"heads\"")));
}

/// Whoever connects may pass on the question of a third, who would then let it in as this side.
#[test]
fn a_proof_is_given_only_to_whom_this_side_dialled() {
    for (link, given) in [(Link::ACCEPTED, false), (Link::DIALLED, true)] {
        let mut asked = replica(1, None);
        asked.handle(NOW, Input::PeerUp(PeerId(1), link));
        let hello = Hello {
            nonce: Some(Nonce::from_bytes([5; 32])),
            auth: true,
            ..Hello::new("asks", StoreId::from_bytes([9; 32]), limits::WINDOW_BYTES)
        };
        let frame = Message::Hello(hello).encode();
        let told = sent(asked.handle(NOW, Input::received(PeerId(1), frame.as_bytes())), PeerId(1));
        let proofs = told.iter().filter(|frame| frame.starts_with("{\"type\":\"auth\"")).count();
        assert_eq!(proofs, usize::from(given), "{told:?}");
    }
}
