//! A relayer that sends what is true in a wrong order, again and again, or too slowly.

use crdt_tests::liar::Lie;

use super::{Stage, count, is_note, notes};
use crate::convergence::lines;

#[test]
fn ops_in_reverse_and_after_their_heads_are_shown_in_order() {
    let stage = Stage::new(Lie::Reorder);
    let mut alice = stage.fooled("alice");
    let mut bob = stage.fooled("bob");
    let sent = lines("alice", 0, 300);
    for chunk in sent.lines().collect::<Vec<_>>().chunks(30) {
        alice.try_write(&(chunk.join("\n") + "\n"));
        alice.event("relayed");
    }
    let seen = bob.events_until(|event| is_note(event, "alice 299"));
    assert_eq!(notes(&seen), sent.lines().collect::<Vec<_>>());
    assert_eq!(count(&seen, "problem"), 0);

    stage.open_the_way();
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 300);
}

#[test]
fn everything_twice_is_taken_once() {
    let stage = Stage::new(Lie::Duplicate);
    let mut alice = stage.fooled("alice");
    let mut bob = stage.fooled("bob");
    for line in ["1", "2", "3"] {
        alice.line(&format!("alice {line}"));
        alice.event("relayed");
        bob.line(&format!("bob {line}"));
        bob.event("relayed");
    }
    let seen = alice.events_until(|event| is_note(event, "bob 3"));
    assert_eq!(notes(&seen).iter().filter(|note| **note == "bob 3").count(), 1);
    assert_eq!(count(&seen, "problem"), 0);
    // It is the only way, and it is enough.
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 6);
}

#[test]
fn cursors_that_go_back_cost_repetitions_only() {
    let stage = Stage::new(Lie::Rewind);
    let mut alice = stage.fooled("alice");
    for number in 0..20 {
        alice.line(&format!("alice {number}"));
        alice.event("relayed");
    }
    let mut bob = stage.fooled("bob");
    bob.synced(20);
    stage.liar.cut();
    bob.line("bob's own");
    let seen = bob.events_until(|event| event["event"] == "relayed");
    assert_eq!((notes(&seen), count(&seen, "problem")), (vec!["bob's own"], 0));
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 21);
}

#[test]
fn a_relayer_that_sends_byte_by_byte_delays_nobody_who_has_another() {
    let stage = Stage::new(Lie::Trickle);
    let (mut alice, _) = stage.honest("alice");
    let sent = lines("alice", 0, 200);
    alice.try_write(&sent);
    alice.event_with("durable", |event| event["line"] == 200);
    let mut bob = stage.fooled("bob");
    stage.liar.wait_for("bob", "sub", 1);
    let ticks = bob.ticks();
    bob.line("bob's own");
    let seen = bob.events_until(|event| event["event"] == "durable");
    assert_eq!((notes(&seen), count(&seen, "synced")), (vec!["bob's own"], 0));

    stage.open_the_way();
    bob.synced(201);
    assert!(bob.ticks() - ticks < 200, "{} ticks of 10 ms", bob.ticks() - ticks);
    stage.liar.tell(Lie::None);
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 201);
}

#[test]
fn a_relayer_that_never_reads_holds_up_nothing_and_no_memory() {
    let stage = Stage::new(Lie::Deaf);
    let (mut carol, _) = stage.honest("carol");
    // Alone it is no relay: nothing counts as relayed.
    stage.cluster.init("dave");
    let relay = stage.liar.url("dave");
    let mut dave = stage.cluster.node_at("dave", &[&relay], &["--timeout", "1"]);
    dave.line("never leaves");
    dave.end_input();
    let said = dave.rest();
    let (status, errors) = dave.end();
    assert!(!status.success() && errors.contains("own ops are not acknowledged"), "{errors}");
    assert_eq!((count(&said, "relayed"), count(&said, "synced")), (0, 0), "{said:?}");

    let mut bob = stage.fooled("bob");
    stage.open_the_way();
    bob.event("synced");
    let before = bob.resident_kib();
    let text = "x".repeat(4_000);
    for number in 0..3_000 {
        bob.try_write(&format!("{number} {text}\n"));
    }
    let last = format!("2999 {text}");
    carol.event_with("entry", |event| is_note(event, &last));
    // 12 MB went past; the deaf one is owed no more than its window.
    let grown = bob.resident_kib().saturating_sub(before);
    assert!(grown < 40 * 1024, "{grown} KiB");
    stage.all_agree(vec![("bob", bob), ("carol", carol)], 3_000);
}
