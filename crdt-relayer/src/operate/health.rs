//! Whether a relayer takes ops: for people, and for whatever watches a service or a container.

use serde_json::json;

use super::{Format, Target, print};
use crate::failure::Failure;

/// Asks `/readyz`. Exit codes: 0 ready, 4 no answer, 10 it answers and takes no ops.
pub(crate) async fn health(target: &Target, format: Format) -> Result<(), Failure> {
    let remote = target.remote()?;
    let (failure, state) = match remote.get("/readyz").await {
        Ok(answered) if answered.status.is_success() => (None, "ready"),
        Ok(answered) => {
            let failure = Failure {
                sentence: format!("{} takes no ops: {}", remote.url, answered.problem()),
                hint: "it goes on by itself once that is mended; what it acknowledged is safe"
                    .into(),
                code: 10,
            };
            (Some(failure), "not-ready")
        }
        Err(error) => (Some(remote.unreachable(&error)), "unreachable"),
    };
    let report = json!({
        "schema": "crdt-relayer/health/1",
        "ok": failure.is_none(),
        "code": failure.as_ref().map_or(0, |failure| failure.code),
        "url": remote.url,
        "state": state,
        "problem": failure.as_ref().map(|failure| &failure.sentence),
    });
    match failure {
        None => print(format, &format!("{} takes ops", remote.url), &report),
        Some(failure) => {
            print(format, "", &report)?;
            Err(failure)
        }
    }
}
