//! `demo`: a relayer, three honest nodes and a lying one on this machine. One node is killed, one
//! is cut off, one attacks everybody; at the end all honest ones hold the same, or it says what
//! differs.

mod cast;
mod mallory;
mod outcome;

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::error::NodeError;
use crate::screen::Format;
use cast::Cast;
use outcome::{Outcome, progress};

/// Room the demo plays in.
const ROOM: &str = "demo";

/// Transactions each honest node records.
const EACH: u64 = 100;

/// Transactions mallory gets into the log: one on each side of her fork.
const FORKED: u64 = 2;

/// Time any single step may take before the demo counts as failed.
const STEP_MAX: Duration = Duration::from_secs(20);

/// How long bob is cut off.
const CUT_OFF: Duration = Duration::from_secs(1);

/// What a demo is started with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Keep everything running, and the folder.
    pub keep: bool,
    /// Chooses the keys.
    pub seed: u64,
    /// How the result is printed.
    pub format: Format,
}

/// Plays the demo and prints its result.
///
/// # Errors
/// [`NodeError::DemoFailed`] with what went wrong or differs, or what kept it from starting.
pub async fn run(options: &Options) -> Result<(), NodeError> {
    let started = Instant::now();
    let folder = TempDir::with_prefix("crdt-demo-")
        .map_err(|source| NodeError::file(&std::env::temp_dir(), source))?;
    let text = options.format == Format::Text;
    let mut cast = Cast::assemble(folder.path(), options.seed).await?;
    if text {
        progress(&cast.introduction())?;
        progress(&format!(
            "  sending {} transactions, killing carol half-way, cutting bob off for {} s ...",
            3 * EACH,
            CUT_OFF.as_secs()
        ))?;
    }
    let played = play(&mut cast).await;
    let outcome = Outcome::gather(&cast, played, started.elapsed()).await?;
    outcome.print(options.format)?;
    if options.keep {
        let kept = folder.keep();
        let (homes, relay) = (kept.display(), cast.relay_url());
        eprintln!("  running until Ctrl-C   homes in {homes}   relay {relay}");
        tokio::signal::ctrl_c().await?;
    }
    cast.leave().await?;
    outcome.verdict()
}

/// What happened on the way.
#[derive(Debug)]
struct Played {
    /// Entries carol lacked when she came back, and how long she took to get them.
    caught_up: (u64, Duration),
}

async fn play(cast: &mut Cast) -> Result<Played, NodeError> {
    let half = EACH / 2;
    for number in 0..half {
        cast.alice.pay(number).await?;
        cast.bob.pay(number).await?;
        cast.carol.pay(number).await?;
    }
    cast.wait_for_entries(3 * half).await?;
    cast.mallory.attack().await?;
    cast.wait_for_entries(3 * half + FORKED).await?;

    cast.carol.kill().await?;
    let cut_off = Instant::now();
    cast.bob.set_online(false);
    for number in half..EACH {
        cast.alice.pay(number).await?;
        cast.bob.pay(number).await?;
    }
    cast.wait_for_relayer(4 * half + FORKED).await?;
    let back = Instant::now();
    cast.carol.start()?;
    let behind = half;
    cast.carol.wait_for_entries(4 * half + FORKED).await?;
    let caught_up = (behind, back.elapsed());
    for number in half..EACH {
        cast.carol.pay(number).await?;
    }
    tokio::time::sleep_until((cut_off + CUT_OFF).into()).await;
    cast.bob.set_online(true);
    cast.wait_for_entries(3 * EACH + FORKED).await?;
    cast.wait_for_agreement().await?;
    Ok(Played { caught_up })
}
