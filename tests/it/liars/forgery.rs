//! A relayer that invents: ops, heads, rooms, and two histories where there is one.

use crdt_tests::client::{Client, op, ops};
use crdt_tests::liar::Lie;
use crdt_tests::process::Process;
use serde_json::Value;

use super::{Stage, count, is_note, notes};

/// A client without a node gives one op to a relayer.
fn give(url: &str, text: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = Client::introduced(url, 9).await;
        client.say(&ops("main", &[&op(9, "main", text).to_string()])).await;
        assert_eq!(client.message("ack").await["stored"], 1);
    });
}

#[test]
fn a_forged_op_is_never_shown_and_the_user_is_told() {
    let stage = Stage::new(Lie::Forge);
    let (mut alice, _) = stage.honest("alice");
    let mut bob = stage.fooled("bob");
    stage.liar.wait_for("bob", "heads", 1);
    for number in 0..20 {
        alice.line(&format!("alice {number}"));
        alice.event("relayed");
    }
    // After sixteen refusals the connection ends; on the next it goes on like that.
    stage.liar.wait_for("bob", "connected", 2);
    bob.line("bob's own");
    let seen = bob.events_until(|event| is_note(event, "bob's own"));
    assert_eq!(notes(&seen), ["bob's own"]);
    assert!(seen.iter().all(|event| event["event"] != "synced" || event["entries"] == 0));
    let told = |code: &str| {
        let sentence = format!("refused what a relay sent ({code}); nothing was lost");
        seen.iter().any(|event| event["event"] == "problem" && event["message"] == sentence)
    };
    assert!(told("data") && told("sig") && told("id"), "{seen:?}");
    let mut problems = seen.iter().filter(|event| event["event"] == "problem");
    assert!(problems.all(|problem| problem["relay"] == stage.liar.url("bob")), "{seen:?}");
    let down = seen
        .iter()
        .find(|event| event["state"] == "refused" && event["relay"] == stage.liar.url("bob"));
    assert_eq!(down.unwrap()["reason"], "refused: the other side broke the protocol too often");

    stage.open_the_way();
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 21);
}

#[test]
fn ops_of_other_rooms_stay_out_and_the_user_is_told() {
    let stage = Stage::new(Lie::OtherRooms);
    let (mut alice, _) = stage.honest("alice");
    let mut bob = stage.fooled("bob");
    for number in 0..20 {
        alice.line(&format!("alice {number}"));
        alice.event("relayed");
    }
    stage.liar.wait_for("bob", "connected", 2);
    let seen = bob.events_until(|event| is_note(event, "alice 19"));
    let expected: Vec<String> = (0..20).map(|number| format!("alice {number}")).collect();
    assert_eq!(notes(&seen), expected);
    assert!(count(&seen, "problem") > 0, "{seen:?}");
    assert_eq!(stage.cluster.json("status", "bob", &[])["rooms"].as_array().unwrap().len(), 1);

    stage.open_the_way();
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 20);
}

#[test]
fn heads_that_nobody_has_are_asked_for_within_bounds() {
    let stage = Stage::new(Lie::Phantom);
    let (mut alice, _) = stage.honest("alice");
    let mut bob = stage.fooled("bob");
    stage.liar.wait_for("bob", "connected", 1);
    let (ticks, kib) = (bob.ticks(), bob.resident_kib());
    for number in 0..50 {
        alice.line(&format!("alice {number}"));
        alice.event("relayed");
    }
    let seen = bob.events_until(|event| is_note(event, "alice 49"));
    assert_eq!(count(&seen, "synced"), 0, "{seen:?}");
    assert_eq!(notes(&seen).len(), 50);

    // The honest relayer is asked for them too, and nothing else suffers.
    stage.open_the_way();
    stage.way.wait_for("bob", "get", 1);
    let (used, grown) = (bob.ticks() - ticks, bob.resident_kib().saturating_sub(kib));
    assert!(used < 300 && grown < 20 * 1024, "{used} ticks of 10 ms, {grown} KiB");
    // A peer's share of the want-list is 2,048 ids: 8 requests, each repeated at most eight times.
    assert!(stage.liar.heard("bob", "get") <= 8 * 9, "{}", stage.liar.heard("bob", "get"));
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 50);
}

/// The log is whole, with one equivocation in it, and the same as `export`.
fn assert_forked_alike(stage: &Stage, name: &str, export: &str) {
    assert_eq!(stage.cluster.output("export", name, &[]), export, "{name}");
    assert_eq!(stage.cluster.room(name)["evidence"], 1, "{name}");
    assert_eq!(stage.cluster.command("verify", name, &[]).status.code(), Some(6), "{name}");
    stage.cluster.output("verify", name, &["--allow-forks"]);
}

#[test]
fn two_views_of_a_room_become_one_with_the_evidence() {
    let stage = Stage::new(Lie::None);
    let (other, other_url) = stage.cluster.relayer_with("other", &[]);
    // Both relayers under one store id: alice is shown the one, bob the other.
    let mut alice = stage.fooled("alice");
    alice.event("synced");
    stage.liar.show("bob", &other_url);
    let mut bob = stage.fooled("bob");
    bob.event("synced");
    give(&stage.cluster.url(), "for alice");
    give(&other_url, "for bob");
    let exchange = |node: &mut Process, given: &str, own: &str| -> Vec<Value> {
        let mut seen = node.events_until(|event| is_note(event, given));
        node.line(own);
        seen.extend(node.events_until(|event| event["event"] == "synced" && event["entries"] == 2));
        seen
    };
    let seen = exchange(&mut alice, "for alice", "alice's");
    assert_eq!((notes(&seen), count(&seen, "evidence")), (vec!["for alice", "alice's"], 0));
    let seen = exchange(&mut bob, "for bob", "bob's");
    assert_eq!((notes(&seen), count(&seen, "evidence")), (vec!["for bob", "bob's"], 0));

    // The same relayer for both, under the same store id as before: the cursors are not true.
    stage.liar.show_all_the_same();
    stage.liar.cut();
    for node in [&mut alice, &mut bob] {
        let seen = node.events_until(|event| event["event"] == "evidence");
        assert_eq!(count(&seen, "problem"), 0, "{seen:?}");
    }
    alice.line("the end");
    for node in [&mut alice, &mut bob] {
        node.synced(5);
    }
    alice.stop();
    bob.stop();
    other.stop();
    let export = stage.cluster.output("export", "alice", &[]);
    assert_forked_alike(&stage, "alice", &export);
    assert_forked_alike(&stage, "bob", &export);
    stage.relayer.stop();
}
