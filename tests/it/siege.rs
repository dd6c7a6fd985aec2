//! Everything that is known to be done to servers, at once: members notice nothing, and every
//! refusal is counted. `load --attack` does the same for a minute, with figures.

use std::net::{IpAddr, Ipv4Addr};

use crdt_tests::flood::Author;
use crdt_tests::http::Server;
use crdt_tests::light::Light;
use crdt_tests::load::member::{Clock, Member, hello};
use crdt_tests::load::siege::{Attack, Siege, begin};
use crdt_tests::load::{Kind, Running};
use crdt_tests::process::WAIT_MAX;
use tokio::time::timeout;

const ROOM: &str = "honest";

/// Ops that come to every member while the siege goes on.
const OPS: usize = 200;

/// The most memory that the relayer may have held, in KiB.
const PEAK_KIB_MAX: u64 = 256 * 1024;

/// How often each attack must have met these ends, in all, before the siege is over.
const MET: [(Attack, &[&str], u64); 6] = [
    (Attack::Slowloris, &["closed", "408"], 4),
    (Attack::HalfOpen, &["closed"], 4),
    (Attack::Joins, &["429"], 200),
    (Attack::Origin, &["403"], 20),
    (Attack::Bombs, &["414", "431", "closed"], 20),
    (Attack::Flood, &["closed", "429", "taken"], 2),
];

fn from(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn met(siege: &Siege, (attack, ends, often): (Attack, &[&str], u64)) -> bool {
    ends.iter().map(|end| siege.tally.of(attack, end)).sum::<u64>() >= often
}

#[tokio::test(flavor = "multi_thread")]
async fn members_get_everything_during_a_siege_and_every_refusal_is_counted() {
    let strict = ["--trust-loopback=false", "--max-header-time", "1s"];
    let relayer = Running::start(Kind::Relayer, &strict);
    let (clock, chain) = (Clock::of(OPS), Author::new(1, ROOM).chain(OPS));
    let mut members = Vec::new();
    for number in 0..8 {
        let at = (relayer.address, from(2));
        let mut member = Member::enter(Kind::Relayer, at, ROOM, number).await.unwrap();
        let clock = clock.clone();
        members.push(tokio::spawn(async move { member.take(&clock, OPS).await }));
    }
    let mut writer = Light::open(relayer.address, from(3)).await.unwrap();
    writer.say(&hello(u32::MAX)).await.unwrap();

    let siege = begin(relayer.address, ROOM, &Attack::ALL, 4);
    let mut acked = 0;
    for op in &chain {
        let frame = crdt_tests::client::ops(ROOM, &[&op.to_string()]);
        writer.say(&frame).await.unwrap();
    }
    while acked < OPS {
        let said = timeout(WAIT_MAX, writer.hear()).await.expect("the writer is answered").unwrap();
        acked += usize::from(said.starts_with(br#"{"type":"ack""#));
    }
    for member in members {
        let taken = timeout(WAIT_MAX, member).await.expect("every op comes").unwrap().unwrap();
        assert_eq!(taken.len(), OPS, "each once");
    }
    let all_met = async {
        while !MET.into_iter().all(|expected| met(&siege, expected)) {
            tokio::task::yield_now().await;
        }
    };
    let in_time = timeout(WAIT_MAX, all_met).await;
    let tally = siege.end().await;
    assert!(in_time.is_ok(), "{:?}", tally.all());

    let url = format!("ws://{}/websocket", relayer.address);
    let metrics = Server::of(&url).asked_from(9).get("/metrics").await;
    let counted = |limit: &str| -> u64 {
        let name = format!("crdt_relayer_refused_total{{limit=\"{limit}\"}} ");
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse().unwrap())
    };
    let refused: u64 = Attack::ALL.into_iter().map(|attack| tally.of(attack, "429")).sum();
    let limits = ["HandshakesOfAddress", "ConnectionsOfAddress"].map(counted);
    assert!(limits.iter().sum::<u64>() >= refused, "{limits:?} {:?}", tally.all());
    assert!(counted("Origin") >= tally.of(Attack::Origin, "403"), "{:?}", tally.all());
    let peak = relayer.process.peak_kib();
    assert!(peak < PEAK_KIB_MAX, "{peak} KiB");
    relayer.process.stop();
}
