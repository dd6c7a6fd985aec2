//! The machine as if it had one core.

use std::io;
use std::process::Command;

/// Runs work while this process, and what it starts, have one core.
///
/// # Errors
/// The system's, or the work's.
pub fn on_one<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let told = taskset(&[])?;
    let all = told.rsplit(' ').next().unwrap_or_default().trim();
    let first = all.split([',', '-']).next().unwrap_or_default();
    taskset(&[first])?;
    let outcome = work();
    taskset(&[all])?;
    outcome
}

/// Tells which cores this process may use, after it was given others if there are any.
fn taskset(cores: &[&str]) -> io::Result<String> {
    let id = std::process::id().to_string();
    let all_threads = if cores.is_empty() { "-cp" } else { "-acp" };
    let ran = Command::new("taskset").arg(all_threads).args(cores).arg(id).output()?;
    if !ran.status.success() {
        return Err(io::Error::other("taskset failed"));
    }
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}
