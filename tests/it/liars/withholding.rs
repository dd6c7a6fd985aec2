//! A relayer that keeps things back.

use crdt_tests::liar::Lie;
use serde_json::Value;

use super::{Stage, count, is_note, notes};

#[test]
fn one_authors_ops_kept_back_are_missed_and_come_another_way() {
    let stage = Stage::new(Lie::None);
    let (mut alice, author) = stage.honest("alice");
    let (mut carol, _) = stage.honest("carol");
    stage.liar.tell(Lie::WithholdAuthor(author));
    alice.event("synced");
    carol.event("synced");
    let mut bob = stage.fooled("bob");
    bob.event("synced");

    carol.line("before");
    let mut seen = bob.events_until(|event| is_note(event, "before"));
    alice.line("kept back");
    carol.event_with("entry", |event| is_note(event, "kept back"));
    // Builds on what is kept back, so it is not shown either.
    carol.line("after");
    stage.liar.wait_for("bob", "get", 2);
    bob.line("bob's own");
    seen.extend(bob.events_until(|event| event["event"] == "relayed"));
    assert_eq!(notes(&seen), ["before", "bob's own"]);
    assert!(
        seen.iter().all(|event| event["event"] != "synced" || event["entries"] == 1),
        "{seen:?}"
    );
    assert_eq!(count(&seen, "problem"), 0, "{seen:?}");

    // The running node says what it lacks and since when, until it lacks it no more.
    let missing = &stage.cluster.room("bob")["missing"];
    assert_eq!(missing["ops"].as_array().unwrap().len(), 1, "{missing}");
    let since = missing["since"].as_str().unwrap().to_owned();
    assert_eq!(stage.cluster.room("bob")["missing"]["since"], since);
    let told = stage.cluster.output("status", "bob", &[]);
    assert!(told.contains("MISSING  op "), "{told}");
    // In time it says who has named it and does not send it.
    let relay = stage.liar.url("bob");
    let withholds = |link: &Value| link["state"] == "withholding";
    let link = crate::routes::link_once(&stage.cluster, "bob", &relay, withholds);
    assert_eq!(link["rooms"][0]["op"], missing["ops"][0], "{link}");
    assert!(
        link["reason"].as_str().unwrap().ends_with("it named it and does not send it"),
        "{link}"
    );
    let told = stage.cluster.output("peers", "bob", &[]);
    assert!(told.contains(&format!("relay  {relay}  WITHHOLDING since ")), "{told}");

    stage.open_the_way();
    bob.event_with("entry", |event| is_note(event, "after"));
    bob.synced(4);
    assert_eq!(stage.cluster.room("bob")["missing"]["since"], Value::Null);
    stage.all_agree(vec![("alice", alice), ("carol", carol), ("bob", bob)], 4);
}

#[test]
fn a_relayer_that_shows_nothing_is_never_said_to_be_in_sync() {
    let stage = Stage::new(Lie::WithholdAll);
    let (mut alice, _) = stage.honest("alice");
    let mut bob = stage.fooled("bob");
    alice.line("kept back");
    alice.event("relayed");
    bob.line("bob's own");
    let seen = bob.events_until(|event| event["event"] == "relayed");
    assert_eq!(notes(&seen), ["bob's own"]);
    assert_eq!((count(&seen, "synced"), count(&seen, "problem")), (0, 0), "{seen:?}");
    // Who pipes lines in is told that this is not enough.
    stage.cluster.init("carol");
    let relay = stage.liar.url("carol");
    let carol = stage.cluster.node_at("carol", &[&relay], &["--timeout", "2"]);
    let (status, errors) = carol.end();
    assert!(
        !status.success() && errors.contains("no relay or peer has announced the same set"),
        "{errors}"
    );

    stage.open_the_way();
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 2);
}

#[test]
fn heads_that_are_not_served_are_asked_for_and_come_another_way() {
    let stage = Stage::new(Lie::Hollow);
    let (mut alice, _) = stage.honest("alice");
    alice.line("announced");
    alice.synced(1);
    let mut bob = stage.fooled("bob");
    stage.liar.wait_for("bob", "get", 1);
    bob.line("bob's own");
    // The next announcements: bob compares, is told what it lacks, and does not get it.
    stage.liar.wait_for("bob", "reconcile", 1);
    alice.line("announced too");
    stage.liar.wait_for("bob", "get", 2);
    let seen = bob.events_until(|event| event["event"] == "relayed");
    assert_eq!((notes(&seen), count(&seen, "synced")), (vec!["bob's own"], 0));

    stage.open_the_way();
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 3);
}

#[test]
fn a_relayer_that_forgets_its_store_each_time_gets_all_again_and_keeps_nothing_from_others() {
    let stage = Stage::new(Lie::Forget);
    let (mut alice, _) = stage.honest("alice");
    alice.line("from alice");
    alice.event("relayed");
    let mut bob = stage.fooled("bob");
    bob.line("from bob");
    let mut seen = bob.events_until(|event| event["event"] == "relayed");
    for connection in 1..4 {
        stage.liar.wait_for("bob", "connected", connection);
        stage.liar.wait_for("bob", "ops", connection);
        stage.liar.cut();
        let is_down = |event: &Value| event["event"] == "link" && event["state"] != "connected";
        seen.extend(bob.events_until(is_down));
        // Only a connection that is open again can be cut once more.
        let is_up = |event: &Value| event["event"] == "link" && event["state"] == "connected";
        seen.extend(bob.events_until(is_up));
    }
    assert!(
        seen.iter().all(|event| event["event"] != "synced" || event["entries"] == 0),
        "{seen:?}"
    );
    assert_eq!(notes(&seen), ["from bob"]);

    stage.open_the_way();
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 2);
}

#[test]
fn what_an_honest_liar_kept_back_before_comes_at_last() {
    let stage = Stage::new(Lie::Hollow);
    let (mut alice, _) = stage.honest("alice");
    let mut bob = stage.fooled("bob");
    for number in 0..20 {
        alice.line(&format!("alice {number}"));
        alice.event("relayed");
    }
    stage.liar.wait_for("bob", "get", 1);
    stage.liar.tell(Lie::None);
    alice.line("the last");
    bob.event_with("entry", |event| is_note(event, "the last"));
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 21);
}

#[test]
fn who_agrees_with_everything_hides_nothing_from_who_has_another_way() {
    let stage = Stage::new(Lie::Echo);
    let (mut alice, _) = stage.honest("alice");
    for number in 0..50 {
        alice.line(&format!("alice {number}"));
        alice.event("relayed");
    }
    let mut bob = stage.fooled("bob");
    bob.line("bob's own");
    // Nobody can know better here, but whose word it is is told. Its cursor, in the honest
    // relayer's name, is believed as well.
    let synced = bob.synced(1);
    assert_eq!(synced["relay"], stage.liar.url("bob"));

    stage.open_the_way();
    let seen = bob.events_until(|event| is_note(event, "alice 49"));
    assert_eq!((notes(&seen).len(), count(&seen, "problem")), (50, 0));
    stage.all_agree(vec![("alice", alice), ("bob", bob)], 51);
}
