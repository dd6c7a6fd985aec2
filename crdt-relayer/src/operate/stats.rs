//! A relayer's numbers at a glance.

use std::collections::BTreeMap;

use serde_json::json;

use super::rooms::all;
use super::{Format, Target, bytes, print, table};
use crate::failure::Failure;

const PREFIX: &str = "crdt_relayer_";

/// Series by name, with their labels, without the common prefix.
struct Numbers(BTreeMap<String, f64>);

/// Shows what a relayer holds and what it has done since it started.
pub(crate) async fn stats(target: &Target, format: Format) -> Result<(), Failure> {
    let remote = target.remote()?;
    let version = remote.json("/version").await?;
    let numbers = Numbers::read(&remote.page("/metrics").await?);
    let rooms = all(&remote).await?;
    let sum = |key: &str| rooms.iter().filter_map(|room| room[key].as_u64()).sum::<u64>();
    let mut rows = vec![
        row("relayer", &remote.url),
        row("version", version["version"].as_str().unwrap_or("unknown")),
        row("ready", if numbers.of("ready") > 0.0 { "yes" } else { "no" }),
        row("connections", &numbers.count("connections")),
        row("rooms", &rooms.len().to_string()),
        row("ops kept", &sum("ops").to_string()),
        row("transactions kept", &sum("entries").to_string()),
        row("forks known", &sum("equivocations").to_string()),
        row("store", &numbers.size("store_bytes")),
        row("free on its disk", &numbers.size("disk_free_bytes")),
    ];
    rows.extend(numbers.labelled("ops_total", "ops", " since the start"));
    rows.extend(numbers.labelled("ops_rejected_total", "rejected for", ""));
    rows.push(row("one commit", &numbers.mean("commit_seconds")));
    rows.push(row("one signature", &numbers.mean("verify_seconds")));
    rows.push(row("read for who was behind", &numbers.count("catchup_ops_total")));
    rows.push(row("slow members dropped", &numbers.count("slow_clients_dropped_total")));
    rows.extend(numbers.labelled("refused_total", "refused for", ""));
    rows.extend(numbers.labelled("peer_lag_ops", "ops behind", ""));
    let series: BTreeMap<&str, f64> =
        numbers.0.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let report = json!({
        "schema": "crdt-relayer/stats/1", "ok": true, "code": 0, "url": remote.url,
        "version": version, "rooms": rooms.len(), "ops": sum("ops"), "entries": sum("entries"),
        "equivocations": sum("equivocations"), "metrics": series,
    });
    print(format, &lines(&rows), &report)
}

fn row(name: &str, value: &str) -> Vec<String> {
    vec![name.to_owned(), value.to_owned()]
}

/// The rows, without the heading of a table.
fn lines(rows: &[Vec<String>]) -> String {
    let text = table(&["", ""], rows);
    text.split_once('\n').map_or(String::new(), |(_, rows)| rows.to_owned())
}

impl Numbers {
    /// Reads the text format, as far as numbers go; buckets are left out.
    fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            let name = name.strip_prefix(PREFIX).filter(|name| !name.contains("_bucket{"))?;
            Some((name.to_owned(), value.parse().ok().filter(|value: &f64| value.is_finite())?))
        });
        Self(series.collect())
    }

    fn of(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or_default()
    }

    fn count(&self, series: &str) -> String {
        self.0.get(series).map_or_else(|| "unknown".to_owned(), |count| format!("{count:.0}"))
    }

    fn size(&self, series: &str) -> String {
        let whole = self.count(series).parse().ok();
        whole.map_or_else(|| "unknown".to_owned(), bytes)
    }

    /// What one took on average, and how many there were.
    fn mean(&self, histogram: &str) -> String {
        let (sum, count) =
            (self.of(&format!("{histogram}_sum")), self.of(&format!("{histogram}_count")));
        if count > 0.0 {
            format!("{:.3} ms, of {count:.0}", sum / count * 1_000.0)
        } else {
            "none yet".to_owned()
        }
    }

    /// A row for each series of a metric with one label.
    fn labelled(&self, metric: &str, before: &str, after: &str) -> Vec<Vec<String>> {
        let start = format!("{metric}{{");
        let series = self.0.iter().filter_map(|(name, value)| {
            let labels = name.strip_prefix(&start)?;
            let label = labels.split_once('"')?.1.strip_suffix("\"}")?;
            Some(row(&format!("{before} {label}{after}"), &format!("{value:.0}")))
        });
        series.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_what_is_no_number_is_not() {
        let text = "# TYPE crdt_relayer_ops counter\ncrdt_relayer_ops_total{result=\"stored\"} 12\n\
                    crdt_relayer_commit_seconds_sum 0.5\ncrdt_relayer_commit_seconds_count 100\n\
                    crdt_relayer_commit_seconds_bucket{le=\"1\"} 100\n\
                    crdt_relayer_disk_free_bytes NaN\ncrdt_relayer_store_bytes 4096\nnonsense\n# EOF\n";
        let numbers = Numbers::read(text);
        assert_eq!(numbers.0.len(), 4);
        assert_eq!(numbers.mean("commit_seconds"), "5.000 ms, of 100");
        assert_eq!(numbers.mean("verify_seconds"), "none yet");
        assert_eq!(numbers.size("disk_free_bytes"), "unknown");
        assert_eq!(numbers.size("store_bytes"), "4.0 KiB");
        let rows = numbers.labelled("ops_total", "ops", " since the start");
        assert_eq!(rows, [["ops stored since the start", "12"]]);
        assert_eq!(lines(&rows), "ops stored since the start  12");
    }

    #[test]
    fn a_report_of_json_holds_no_numbers_that_json_cannot_say() {
        let numbers = Numbers::read("crdt_relayer_disk_free_bytes NaN\ncrdt_relayer_ready 1\n");
        assert_eq!(json!(numbers.0), json!({"ready": 1.0}));
    }
}
