//! What a replica alone admits of wire frames: the bench of the core, row by row.

use std::io::{self, BufRead, BufReader};
use std::process::Stdio;

use crate::curves::cells;
use crate::process;

/// The first columns of the bench's two tables.
const HEADINGS: [&str; 2] = ["| entries per op | authors |", "| entries per op | µs to parse |"];

/// One row of the bench's first table.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Entries per op, authors, how many write at once, and how the ops come.
    pub shape: [String; 4],
    /// Ops of the log.
    pub n: f64,
    /// `verify_strict` alone, per second.
    pub checks_per_s: f64,
    /// Ops admitted per second.
    pub ops_per_s: f64,
    /// Entries admitted per second.
    pub entries_per_s: f64,
    /// Bytes of memory for each op, where there are enough to tell.
    pub memory: Option<f64>,
}

impl Admitted {
    fn of(row: &[&str]) -> Self {
        let number = |column: usize| row[column].parse().unwrap();
        Self {
            shape: [0, 1, 2, 3].map(|column| row[column].to_owned()),
            n: number(4),
            checks_per_s: number(6),
            ops_per_s: number(7),
            entries_per_s: number(8),
            memory: row[12].parse().ok(),
        }
    }

    /// The rate of ops beside that of `verify_strict` alone.
    pub fn share(&self) -> f64 {
        self.ops_per_s / self.checks_per_s
    }
}

/// The same shape at several lengths of the log, the shortest first.
#[derive(Clone, Debug)]
pub struct Group(pub Vec<Admitted>);

impl Group {
    /// The power of n that the time of n ops goes with, from the shortest log to the longest, in
    /// terms of what `verify_strict` takes meanwhile.
    pub fn exponent(&self) -> Option<f64> {
        let (first, last) = (self.0.first()?, self.0.last()?);
        let longer = last.n / first.n;
        (longer > 1.0).then(|| 1.0 + (first.share() / last.share()).ln() / longer.ln())
    }

    /// The least and the most of a figure.
    pub fn range(&self, figure: impl Fn(&Admitted) -> f64) -> (f64, f64) {
        let figures = self.0.iter().map(figure);
        figures.fold((f64::INFINITY, 0.0), |(least, most), it| (it.min(least), it.max(most)))
    }
}

/// Where the time of an op goes, in µs.
#[derive(Clone, Copy, Debug)]
pub struct Stages {
    /// Reading the frame.
    pub parse: f64,
    /// Hashing data and head.
    pub hash: f64,
    /// Checking the signature.
    pub check: f64,
    /// Rules, graph, heads, digest.
    pub rest: f64,
    /// `verify_strict` of the library, in the same run.
    pub strict: f64,
}

/// Runs the bench with logs of up to so many ops. Each line is shown as it comes, each group told
/// once it is whole. Returns where the time of an op of one entry goes.
///
/// # Errors
/// The bench failed.
pub fn measure(
    n_max: u64,
    mut show: impl FnMut(&str),
    mut tell: impl FnMut(&Group),
) -> io::Result<Stages> {
    let mut bench = process::cargo()
        .args(["bench", "--quiet", "--locked", "-p", "crdt-core", "--bench", "ingest", "--"])
        .args(["--n", &n_max.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(bench.stdout.take().ok_or_else(failed)?).lines();
    let (mut tables, mut group, mut stages) = (0, Group(Vec::new()), None);
    for line in lines {
        let line = line?;
        show(&line);
        let row = cells(&line);
        if HEADINGS.get(tables).is_some_and(|heading| line.starts_with(heading)) {
            tables += 1;
        } else if tables == 1 && row.first().is_some_and(|cell| cell.parse::<u32>().is_ok()) {
            let row = Admitted::of(&row);
            if group.0.first().is_some_and(|first| first.shape != row.shape) {
                tell(&group);
                group.0.clear();
            }
            group.0.push(row);
        } else if tables == 2 && row.first() == Some(&"1") {
            let [parse, hash, check, rest, strict] =
                [1, 2, 3, 4, 5].map(|column| row[column].parse().unwrap());
            stages = Some(Stages { parse, hash, check, rest, strict });
        }
    }
    if !bench.wait()?.success() {
        return Err(failed());
    }
    tell(&group);
    stages.ok_or_else(failed)
}

fn failed() -> io::Error {
    io::Error::other("the bench of the core failed")
}
