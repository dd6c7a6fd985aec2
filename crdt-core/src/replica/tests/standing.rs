//! What a replica says of peers that keep something back, and of those that do not.

use alloc::vec::Vec;

use super::client::{Client, hello, ops, sub};
use super::net::Net;
use crate::effect::{Effect, Event, Input};
use crate::fixtures::{Author, entry, room};
use crate::id::{OpId, Position};
use crate::limits;
use crate::message::{Message, Received, encode_ops};
use crate::op::Op;
use crate::order::set_digest;
use crate::standing::{PeerRoom, Standing};
use crate::time::{Span, Timestamp};

fn of(client: &Client, after: Span) -> PeerRoom {
    let peers = client.replica.peers(Timestamp::from_ms(0).after(after));
    peers.into_iter().next().unwrap().rooms.into_iter().next().unwrap()
}

fn heads(ops: &[&Op], count: u64) -> alloc::sync::Arc<str> {
    let heads: Vec<OpId> = ops.iter().map(|op| op.id()).collect();
    let (set, cursor) = (set_digest(&heads), Position::new(count).unwrap());
    Message::Heads { room: room("main"), set, count, heads, cursor }.encode()
}

fn withheld(effects: &[Effect]) -> Option<OpId> {
    effects.iter().find_map(|effect| match effect {
        Effect::Notify(Event::Withheld { op, .. }) => Some(*op),
        _ => None,
    })
}

#[test]
fn who_names_an_op_and_says_that_it_has_none_is_found_out_at_once() {
    let mut client = Client::new();
    client.say(&sub(0));
    let kept = entry(&Author::new(1), &[], "1");
    let after = entry(&Author::new(2), &[&kept], "2");
    client.say(&ops(&[&after]));
    assert_eq!(of(&client, Span::from_ms(1_000)).standing, Standing::CatchingUp);
    let told = client.say(&encode_ops(room("main"), [], None, &[kept.id()]));
    assert_eq!(withheld(&told), Some(kept.id()));
    let again = client.say(&encode_ops(room("main"), [], None, &[kept.id()]));
    assert_eq!(withheld(&again), None, "told once");
    let Standing::Withholding { op } = of(&client, Span::from_ms(0)).standing else { panic!() };
    assert_eq!(op, Some(kept.id()));
    // Sent after all, it is forgiven.
    client.say(&ops(&[&kept]));
    client.say(&heads(&[&after], 2));
    let now = of(&client, Span::from_ms(0));
    assert_eq!((now.standing, now.same, now.ahead, now.behind), (Standing::Live, true, 0, 0));
}

#[test]
fn who_does_not_answer_for_what_it_named_withholds_it_after_a_while() {
    let mut client = Client::new();
    client.say(&sub(0));
    let kept = entry(&Author::new(1), &[], "1");
    client.say(&heads(&[&kept], 1));
    let soon = of(&client, limits::LAGGING_AFTER);
    assert_eq!((soon.standing, soon.behind), (Standing::CatchingUp, 1));
    let late = of(&client, limits::OWED_WAIT).standing;
    assert_eq!(late, Standing::Withholding { op: Some(kept.id()) });
}

#[test]
fn who_says_nothing_of_what_it_holds_withholds_it() {
    let mut client = Client::new();
    client.say(&sub(0));
    let soon = of(&client, limits::HEADS_EVERY).standing;
    assert_eq!(soon, Standing::CatchingUp);
    assert_eq!(of(&client, limits::SILENCE_MAX).standing, Standing::Withholding { op: None });
}

/// It acknowledges all it is sent and announces a set without one of the ops, again and again.
#[test]
fn who_acknowledges_what_it_drops_is_found_out_and_not_sent_it_for_ever() {
    let mut client = Client::new();
    let (kept, dropped) = (entry(&Author::new(1), &[], "1"), entry(&Author::new(2), &[], "2"));
    // Both came from somebody else.
    let other = crate::effect::PeerId(7);
    client.input(Input::PeerUp(other, crate::effect::Link::ACCEPTED));
    for frame in [hello(55, limits::WINDOW_BYTES), sub(0), ops(&[&kept, &dropped])] {
        client.input(Input::received(other, frame.as_bytes()));
    }
    let sent_ops = |effects: &[Effect]| {
        let sent = |effect: &&Effect| matches!(effect, Effect::Send(peer, frame) if peer.0 == 1 && frame.starts_with("{\"type\":\"ops\""));
        effects.iter().filter(sent).count()
    };
    let ack = Message::Ack { room: room("main"), stored: 1, except: Vec::new() }.encode();
    let mut pushes = 0;
    let mut effects = client.say(&sub(0));
    for _ in 0..12 {
        for _ in 0..sent_ops(&effects) {
            pushes += 1;
            client.say(&ack);
        }
        effects = client.say(&heads(&[&kept], 1));
        let asked = effects.iter().find_map(|effect| match effect {
            Effect::Send(peer, frame) if peer.0 == 1 => {
                match Received::decode(frame.as_bytes()).unwrap() {
                    Received::Message(Message::Reconcile {
                        answer: false, number, frame, ..
                    }) => Some((number, frame)),
                    _ => None,
                }
            }
            _ => None,
        });
        if let Some((number, asked)) = asked {
            let mut held = crate::log::Log::new(room("main"), 0);
            let store = crate::id::StoreId::from_bytes([1; 32]);
            held.receive(crate::fixtures::reread(&kept), store, &mut Vec::new());
            let mut items = crate::reconcile::Items::default();
            items.update(held.graph());
            let frame = items.answer(&asked).unwrap();
            let answer = Message::Reconcile { room: room("main"), answer: true, number, frame };
            effects = client.say(&answer.encode());
        }
    }
    assert_eq!(
        of(&client, Span::from_ms(0)).standing,
        Standing::Withholding { op: Some(dropped.id()) }
    );
    assert!(pushes <= 6, "{pushes} messages with ops for twelve announcements");
}

#[test]
fn honest_peers_are_live_and_nothing_else() {
    let mut net = Net::connected(3);
    for number in 0..30 {
        net.write(1 + (number as usize) % 3, number);
        net.quiet();
    }
    net.settle();
    for node in 0..4 {
        for peer in net.nodes[node].replica.peers(net.now) {
            for of_room in &peer.rooms {
                assert_eq!(of_room.standing, Standing::Live, "node {node}: {peer:?}");
                assert!(of_room.same && of_room.ahead == 0 && of_room.behind == 0, "{of_room:?}");
            }
        }
    }
}

#[test]
fn who_takes_no_part_in_a_room_withholds_nothing_of_it() {
    let room = crate::id::RoomName::parse("other").unwrap();
    // A client that never asks for the room.
    let mut client = Client::new();
    client.input(Input::Command(crate::effect::Command::Join(room)));
    let after = Timestamp::from_ms(0).after(limits::DIFFERS_MAX);
    assert!(client.replica.peers(after).iter().all(|peer| peer.rooms.is_empty()));
}

/// It is told that an op is not held, long after the message before: it owes the answer since then.
#[test]
fn who_was_only_just_sent_something_does_not_lag() {
    let mut client = Client::new();
    client.say(&sub(0));
    let late = Span::from_ms(60_000);
    let now = Timestamp::from_ms(0).after(late);
    let other = entry(&Author::new(1), &[], "1");
    client.say_at(now, &heads(&[&other], 1));
    let ids = alloc::vec![crate::fixtures::id_of(9)];
    let told = client.say_at(now, &Message::Get { room: room("main"), ids }.encode());
    assert_eq!(super::client::said(&told), ["ops"]);
    assert_eq!(of(&client, late).standing, Standing::CatchingUp);
    let long_after = Span::from_ms(late.as_ms() + limits::LAGGING_AFTER.as_ms());
    assert_eq!(of(&client, long_after).standing, Standing::Lagging);
}

/// Much that was asked for takes its time: while ops come, the others are on their way.
#[test]
fn who_is_slow_withholds_nothing() {
    let mut client = Client::new();
    client.say(&sub(0));
    let (first, second) = (entry(&Author::new(1), &[], "1"), entry(&Author::new(2), &[], "2"));
    client.say_at(Timestamp::from_ms(0), &heads(&[&first, &second], 2));
    let later = Timestamp::from_ms(0).after(limits::LAGGING_AFTER);
    client.say_at(later, &ops(&[&first]));
    assert_eq!(of(&client, limits::OWED_WAIT).standing, Standing::CatchingUp);
    let over = later.after(limits::OWED_WAIT).as_ms();
    let late = of(&client, Span::from_ms(over)).standing;
    assert_eq!(late, Standing::Withholding { op: Some(second.id()) });
}

/// Its set only grows if it is honest, so whoever names an op and then announces a set without it
/// does not hold what it named.
#[test]
fn who_names_an_op_and_then_agrees_with_a_set_without_it_is_found_out() {
    let mut client = Client::new();
    client.say(&sub(0));
    let kept = entry(&Author::new(1), &[], "1");
    client.say(&heads(&[&kept], 1));
    let told = client.say(&heads(&[], 0));
    assert_eq!(withheld(&told), Some(kept.id()));
    let standing = of(&client, Span::from_ms(0)).standing;
    assert_eq!(standing, Standing::Withholding { op: Some(kept.id()) });
    assert_eq!(withheld(&client.say(&heads(&[], 0))), None, "told once");
}

/// In a busy room, what was asked for may come slowly as long as it comes.
#[test]
fn who_sends_what_it_was_asked_for_one_by_one_withholds_nothing() {
    let mut client = Client::new();
    client.say(&sub(0));
    let asked = [1, 2, 3].map(|author| entry(&Author::new(author), &[], "1"));
    client.say(&heads(&asked.each_ref(), 3));
    let author = Author::new(9);
    let mut busy = entry(&author, &[], "0");
    client.say(&ops(&[&busy]));
    for second in 1..100 {
        let now = Timestamp::from_ms(second * 1_000);
        busy = author.after(&busy, &[], "0");
        client.say_at(now, &ops(&[&busy]));
        if second % 40 == 0 {
            client.say_at(now, &ops(&[&asked[usize::try_from(second / 40).unwrap() - 1]]));
        }
        let standing = client.replica.peers(now)[0].rooms[0].standing;
        assert!(!matches!(standing, Standing::Withholding { .. }), "after {second} s");
    }
}

/// What else it sends, and what it sends again, excuses nothing for long: one author's ops are kept
/// back in a busy room.
#[test]
fn who_sends_much_else_withholds_what_it_was_asked_for() {
    for other in [Other::Nothing, Other::KnownOps, Other::NewOps, Other::OpsAskedForLater] {
        let mut client = Client::new();
        client.say(&sub(0));
        let kept = entry(&Author::new(1), &[], "1");
        client.say_at(Timestamp::from_ms(0), &heads(&[&kept], 1));
        let wait = match other {
            Other::Nothing => limits::OWED_WAIT,
            Other::KnownOps | Other::NewOps | Other::OpsAskedForLater => limits::OWED_WAIT_MAX,
        };
        let other_author = Author::new(2);
        let mut busy = entry(&other_author, &[], "0");
        client.say(&ops(&[&busy]));
        for second in 1..wait.as_ms() / 1_000 {
            let now = Timestamp::from_ms(second * 1_000);
            let sent = match other {
                Other::Nothing => encode_ops(room("main"), [], None, &[]),
                Other::KnownOps => ops(&[&busy]),
                Other::NewOps | Other::OpsAskedForLater => {
                    busy = other_author.after(&busy, &[], "0");
                    if matches!(other, Other::OpsAskedForLater) {
                        client.say_at(now, &heads(&[&kept, &busy], 100));
                    }
                    ops(&[&busy])
                }
            };
            client.say_at(now, &sent);
            let standing = client.replica.peers(now)[0].rooms[0].standing;
            assert_eq!(standing, Standing::CatchingUp, "{other:?} after {second} s");
        }
        let late = of(&client, wait).standing;
        assert_eq!(late, Standing::Withholding { op: Some(kept.id()) }, "{other:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Other {
    Nothing,
    KnownOps,
    NewOps,
    OpsAskedForLater,
}

#[test]
fn when_ops_or_heads_of_a_peer_came_last_is_told() {
    let mut client = Client::new();
    client.say(&sub(0));
    assert_eq!(of(&client, Span::from_ms(0)).heard, None);
    let op = entry(&Author::new(1), &[], "1");
    client.say_at(Timestamp::from_ms(70), &ops(&[&op]));
    assert_eq!(of(&client, Span::from_ms(90)).heard, Some(Timestamp::from_ms(70)));
    client.say_at(Timestamp::from_ms(80), &heads(&[&op], 1));
    assert_eq!(of(&client, Span::from_ms(90)).heard, Some(Timestamp::from_ms(80)));
}
