//! What the dashboard, the alerts and the documents speak of is what a relayer exports.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crdt_tests::cluster::{Cluster, NOWHERE};
use crdt_tests::http::Server;
use crdt_tests::metrics::Metrics;
use serde_json::Value;

use super::{Author, Op, ROOM};

const PREFIX: &str = "crdt_relayer_";

fn file(name: &str) -> String {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// All that a relayer exports that has done everything that makes a series.
async fn all() -> Metrics {
    let cluster = Cluster::new();
    let (relayer, url) = cluster.relayer_with("watched", &["--peer", NOWHERE]);
    let server = Server::of(&url);
    let mut ops: Vec<String> = Author::new(1, ROOM).chain(1).iter().map(Op::to_string).collect();
    server.post(ROOM, &ops).await;
    ops[0] = ops[0].replace("flood", "blood");
    server.post(ROOM, &ops).await;
    server.get_with("/websocket", &[("origin", "http://evil.example")]).await;
    let metrics = Metrics::once(&server, "crdt_relayer_heads{room=\"main\"}", 1).await;
    relayer.stop();
    metrics
}

/// The metrics that a text speaks of.
fn named(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.len() > PREFIX.len() && word.starts_with(PREFIX))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn what_is_watched_is_exported_and_what_is_exported_is_explained() {
    let metrics = all().await;
    let exported = metrics.names();
    for name in ["METRICS.md", "grafana.json", "alerts.yml", "alerts.test.yml"] {
        let text = file(name);
        assert!(!named(&text).is_empty(), "{name} speaks of metrics");
        for metric in named(&text) {
            // A histogram is explained by its own name.
            let is_family = name == "METRICS.md" && metrics.types.contains_key(&metric);
            assert!(exported.contains(&metric) || is_family, "{name}: nothing exports {metric}");
        }
    }
    let explained = named(&file("METRICS.md"));
    for (family, kind) in &metrics.types {
        let name = if kind == "counter" { format!("{family}_total") } else { family.clone() };
        assert!(explained.contains(&name), "METRICS.md does not explain {name}");
    }
}

/// What Prometheus asks of names and units.
#[tokio::test]
async fn names_and_units_follow_the_conventions() {
    let metrics = all().await;
    assert!(metrics.text.ends_with("# EOF\n"));
    for (family, kind) in &metrics.types {
        assert!(family.starts_with(PREFIX), "{family}");
        assert!(metrics.helped.contains(family), "{family} has no explanation");
        assert!(family.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{family}");
        for word in ["_milliseconds", "_ms", "_kib", "_count", "_sum", "_bucket", "_total"] {
            assert!(!family.ends_with(word), "{family}");
        }
        assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{family}: {kind}");
        if kind == "histogram" {
            let unit = family.ends_with("_seconds") || family.ends_with("_bytes");
            assert!(unit, "{family} has no unit");
        }
    }
    let names = metrics.names();
    for (family, kind) in &metrics.types {
        let of_counter = names.contains(&format!("{family}_total"));
        assert_eq!(of_counter, kind == "counter", "{family}");
    }
}

#[test]
fn the_dashboard_is_json_and_each_panel_asks_something() {
    let board: Value = serde_json::from_str(&file("grafana.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    assert!(panels.len() >= 12, "{}", panels.len());
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(!panel["title"].as_str().unwrap().is_empty());
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
        for target in panel["targets"].as_array().unwrap() {
            let asked = target["expr"].as_str().unwrap();
            assert!(asked.contains(PREFIX) && asked.contains("instance=~\"$instance\""), "{asked}");
        }
    }
}

#[test]
fn each_alert_says_what_it_means_and_what_to_do() {
    let rules = file("alerts.yml");
    let alerts: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    assert_eq!(alerts.len(), 4);
    let guide =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md"))
            .unwrap();
    let tests = file("alerts.test.yml");
    for alert in alerts {
        let name = alert.lines().next().unwrap().trim();
        for field in ["expr:", "severity:", "summary:", "description:"] {
            assert!(alert.contains(field), "{name} lacks {field}");
        }
        assert!(guide.contains(name), "docs/OPERATIONS.md does not say what to do about {name}");
        assert!(tests.contains(name), "{name} is not tested");
    }
}
