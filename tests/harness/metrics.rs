//! The numbers of a relayer, as Prometheus reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tokio::time::interval;

use crate::http::Server;
use crate::process::WAIT_MAX;

/// Time from one question to the next: a relayer takes so many connections a second, no more.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// What a relayer counted, by series: the name with its labels.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    series: BTreeMap<String, String>,
    /// The type of each family, by its name.
    pub types: BTreeMap<String, String>,
    /// Families that are explained.
    pub helped: BTreeSet<String>,
    /// All of it.
    pub text: String,
}

impl Metrics {
    /// Asks a relayer.
    pub async fn of(server: &Server) -> Self {
        let answer = server.get("/metrics").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Self::read(answer.text())
    }

    /// Asks a relayer again and again until a series has a value, and returns all as it is then.
    pub async fn once(server: &Server, series: &str, value: u64) -> Self {
        let start = Instant::now();
        let mut due = interval(ASK_EVERY);
        loop {
            due.tick().await;
            let metrics = Self::of(server).await;
            if metrics.series.get(series).map(|found| whole(found)) == Some(value) {
                return metrics;
            }
            assert!(start.elapsed() < WAIT_MAX, "{series} {value}: {}", metrics.text);
        }
    }

    fn read(text: &str) -> Self {
        let mut metrics = Self { text: text.to_owned(), ..Self::default() };
        for line in text.lines() {
            if let Some(line) = line.strip_prefix("# TYPE ") {
                let (name, kind) = line.split_once(' ').expect("a family has a type");
                let before = metrics.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} is there twice");
            } else if let Some(line) = line.strip_prefix("# HELP ") {
                metrics.helped.extend(line.split_once(' ').map(|(name, _)| name.to_owned()));
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').expect("a series has a value");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                let before = metrics.series.insert(series.to_owned(), value.to_owned());
                assert_eq!(before, None, "{series} is there twice");
            }
        }
        metrics
    }

    /// The value of a series without the prefix of all, a whole number; 0 if it is not there.
    pub fn value(&self, series: &str) -> u64 {
        self.series.get(&format!("crdt_relayer_{series}")).map_or(0, |value| whole(value))
    }

    /// The names of all series, without labels.
    pub fn names(&self) -> BTreeSet<String> {
        let name = |series: &String| series.split('{').next().unwrap_or_default().to_owned();
        self.series.keys().map(name).collect()
    }

    /// All series whose names begin like this.
    pub fn beginning(&self, start: &str) -> Vec<(&str, u64)> {
        let all = self.series.iter().filter(|(series, _)| series.starts_with(start));
        all.map(|(series, value)| (series.as_str(), whole(value))).collect()
    }
}

fn whole(value: &str) -> u64 {
    value.strip_suffix(".0").unwrap_or(value).parse().expect("a whole number")
}
