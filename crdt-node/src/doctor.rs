//! Looks for what would keep a node from working: in its home, in its store, on the way to those it
//! connects to. Everything is looked at beside a running node too, and no lock is kept.

mod home;
mod link;
mod store;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use serde_json::json;

use crate::error::NodeError;
use crate::home::Home;
use crate::identity;
use crate::security::Security;
use crate::show;

/// Exit code of what is wrong with configuration, identity or disk.
const LOCAL: u8 = 3;

/// Exit code of what is wrong with the way to others.
const NETWORK: u8 = 4;

/// Exit codes, the worst first: a damaged store, then this machine, then others. What is not listed
/// comes last.
const WORST_FIRST: [u8; 3] = [5, LOCAL, 9];

/// Whether what can be mended safely is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mend {
    /// Nothing is changed.
    Nothing,
    /// Permissions of the home and of the key file.
    Permissions,
}

/// What to look at.
#[derive(Clone, Debug)]
pub struct Patient {
    /// The node's home.
    pub home: Home,
    /// Where it is noted how much each key has signed.
    pub marks: PathBuf,
    /// The file with the passphrase of an encrypted key; without it such a key is not opened.
    pub passphrase: Option<PathBuf>,
    /// Whom to believe and where plain text may go, where the configuration does not say.
    pub security: Security,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warning,
    /// With the exit code of its field.
    Error(u8),
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
struct Check {
    /// What was looked at.
    name: String,
    verdict: Verdict,
    message: String,
    /// What mends it: a command where one does.
    fix: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), verdict: Verdict::Ok, message: message.into(), fix: None }
    }

    fn warning(
        name: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Warning, fix: Some(fix.into()), ..Self::ok(name, message) }
    }

    fn error(
        name: impl Into<String>,
        code: u8,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Error(code), fix: Some(fix.into()), ..Self::ok(name, message) }
    }

    /// What another command would fail with.
    fn failed(name: impl Into<String>, error: &NodeError) -> Self {
        Self::error(name, error.exit_code(), error.to_string(), error.hint())
    }

    fn word(&self) -> &'static str {
        match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Error(_) => "error",
        }
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug)]
pub struct Report {
    checks: Vec<Check>,
}

impl Report {
    /// The process's exit code: 0 if nothing is worse than a warning, else that of the worst.
    pub fn exit_code(&self) -> u8 {
        let codes = self.checks.iter().filter_map(|check| match check.verdict {
            Verdict::Error(code) => Some(code),
            Verdict::Ok | Verdict::Warning => None,
        });
        let rank = |code: &u8| WORST_FIRST.iter().position(|worse| worse == code);
        codes.min_by_key(|code| rank(code).unwrap_or(WORST_FIRST.len())).unwrap_or_default()
    }

    /// For programs.
    pub fn json(&self) -> serde_json::Value {
        let check = |check: &Check| {
            json!({
                "check": check.name,
                "verdict": check.word(),
                "message": check.message,
                "fix": check.fix,
            })
        };
        json!({
            "schema": "crdt-node/doctor/1",
            "ok": self.exit_code() == 0,
            "code": self.exit_code(),
            "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for check in &self.checks {
            let message = show::safe(&check.message);
            // Writing to a string cannot fail.
            let _infallible = writeln!(out, "{:<8} {:<14} {message}", check.word(), check.name);
            if let Some(fix) = &check.fix {
                let _infallible = writeln!(out, "{:<23} fix: {}", "", show::safe(fix));
            }
        }
        let count = |word| self.checks.iter().filter(|check| check.word() == word).count();
        let (errors, warnings) = (count("error"), count("warning"));
        let _infallible =
            write!(out, "{} checks: errors {errors}, warnings {warnings}", self.checks.len());
        out
    }
}

/// Looks at everything. Ends also where others do not answer: each step on the network takes five
/// seconds at most, and all addresses are tried at once.
pub async fn examine(patient: &Patient, mend: Mend) -> Report {
    let home = &patient.home;
    let mut checks = vec![home::folder(home, mend)];
    if !home.path().is_dir() {
        return Report { checks };
    }
    checks.push(home::key(home, patient.passphrase.as_deref(), mend));
    let author = identity::load_public(&home.key()).ok();
    let (config, settings) = home::config(home);
    checks.extend([config, home::disk(home.path())]);
    let (lock, running) = store::lock(home, &patient.marks, author);
    let (log, held) = store::log(home, author, running);
    checks.extend([lock, log]);
    if let Some(author) = author {
        checks.push(store::mark(home, &patient.marks, author, held.as_ref()));
    }
    if let Some(settings) = settings {
        let security = patient.security.clone().or(home, &settings);
        let files = home.tls_files(&settings);
        let door = files.and_then(|files| security.certificates(settings.listen, files.as_ref()));
        checks.extend(door.err().map(|error| Check::failed("listen", &error)));
        match security.dialer() {
            Ok(dialer) => {
                let links = link::of(&settings);
                let examined = links.iter().map(|link| link::examine(link, &dialer));
                checks.extend(join_all(examined).await.into_iter().flatten());
            }
            Err(error) => checks.push(Check::failed("ca-file", &error)),
        }
    }
    Report { checks }
}

/// A path as a word of a shell command.
fn word(path: &Path) -> String {
    let path = path.to_string_lossy();
    shlex::try_quote(&path).map_or_else(|_| path.to_string(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> Report {
        let check = |verdict: &Verdict| Check { verdict: *verdict, ..Check::ok("x", "y") };
        Report { checks: verdicts.iter().map(check).collect() }
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        let code = |verdicts: &[Verdict]| report(verdicts).exit_code();
        assert_eq!(code(&[Verdict::Ok, Verdict::Warning]), 0);
        assert_eq!(code(&[Verdict::Warning, Verdict::Error(4)]), 4);
        assert_eq!(code(&[Verdict::Error(4), Verdict::Error(9), Verdict::Error(3)]), 3);
        assert_eq!(code(&[Verdict::Error(3), Verdict::Error(5), Verdict::Error(4)]), 5);
    }

    #[test]
    fn what_a_relay_says_does_not_reach_the_terminal_as_it_came() {
        let checks = vec![Check::error("x", NETWORK, "\u{1b}[2Jy", "\u{202e}z")];
        let text = Report { checks }.text();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text}");
    }

    #[test]
    fn a_path_is_one_word_of_a_command() {
        assert_eq!(word(Path::new("/home/alice/key.pem")), "/home/alice/key.pem");
        let odd = "/home/al ice's/$x";
        assert_eq!(shlex::split(&word(Path::new(odd))).unwrap(), [odd]);
    }
}
