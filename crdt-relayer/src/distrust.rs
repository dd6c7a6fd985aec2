//! Why an encrypted connection did not come about: one sentence each, with what to do.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, OtherError};
use webpki::Error as ChainError;

use crate::ended::Ended;

/// Names of a certificate that are told.
const NAMES_TOLD_MAX: usize = 3;

/// A connection that failed while it was being encrypted.
pub(crate) fn of_io(error: &io::Error) -> Ended {
    match within(error) {
        Some(error) => of(error),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            Ended::lost("the other side hung up before it was encrypted")
        }
        None => Ended::lost(error.to_string()),
    }
}

/// What TLS says of a failed connection, if it was TLS that failed.
pub(crate) fn within(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// This machine trusts nobody, and no file was given.
pub(crate) fn no_authorities() -> Ended {
    Ended::refused(
        "this machine has no certificates of authorities: install them, or name a file of your own \
         with --ca-file FILE",
    )
}

/// A host that no certificate can be for.
pub(crate) fn no_name(host: &str) -> Ended {
    Ended::refused(format!("no certificate can be for {host}: dial it by a name or an address"))
}

/// What TLS says. It lasts until somebody changes something, so it counts as a refusal.
pub(crate) fn of(error: &Error) -> Ended {
    Ended::refused(sentence(error))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's errors are many, and may grow")]
fn sentence(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(why) => certificate(why),
        Error::InvalidMessage(_) => {
            "what answers there is not TLS: dial its TLS port, or ws:// if it has none".into()
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the other side knows no such name: dial it by a name in its certificate".into()
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            "the other side speaks neither TLS 1.3 nor 1.2: whoever runs it must renew it".into()
        }
        other => format!("the encrypted connection failed: {other}"),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's errors are many, and may grow")]
fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "its certificate expired on {}: whoever runs it must renew it, or this machine's clock is \
             wrong",
            day(*not_after)
        ),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "its certificate is valid from {} on: this machine's clock is wrong, or that of whoever \
             made it",
            day(*not_before)
        ),
        // A signature does not fit where an authority was made anew under its old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is signed by nobody this machine trusts: if you do, give the \
             certificate of who signed it with --ca-file FILE"
                .into()
        }
        CertificateError::NotValidForNameContext { expected, presented } => format!(
            "its certificate is not for {} but for {}: dial a name that it is for",
            expected.to_str(),
            names(presented)
        ),
        CertificateError::Other(other) if is_authority(other) => {
            "its certificate is an authority's own: whoever runs it must make one for a server \
             (basicConstraints CA:FALSE)"
                .into()
        }
        other => format!("its certificate cannot be used: {other}; whoever runs it must renew it"),
    }
}

fn is_authority(error: &OtherError) -> bool {
    error.0.downcast_ref() == Some(&ChainError::CaUsedAsEndEntity)
}

/// The names that a certificate is for, as the library writes them: `DnsName("relay.example")`.
fn names(presented: &[String]) -> String {
    let inner = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    let told: Vec<String> = presented.iter().take(NAMES_TOLD_MAX).map(inner).collect();
    if told.is_empty() {
        return "no name at all".into();
    }
    let more = if presented.len() > NAMES_TOLD_MAX { " and others" } else { "" };
    format!("{}{more}", told.join(", "))
}

fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let time = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "a day far away".into(), |time| time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_few_names_of_a_certificate_are_told() {
        let of = |names: &[&str]| {
            let all: Vec<String> =
                names.iter().map(|name| format!("DnsName(\"{name}\")")).collect();
            super::names(&all)
        };
        assert_eq!(of(&[]), "no name at all");
        assert_eq!(of(&["a", "b"]), "a, b");
        assert_eq!(of(&["a", "b", "c", "d"]), "a, b, c and others");
        assert_eq!(super::names(&["IpAddress(127.0.0.1)".into()]), "127.0.0.1");
    }

    #[test]
    fn what_is_wrong_with_a_certificate_counts_as_a_refusal() {
        let why = of(&Error::InvalidCertificate(CertificateError::UnknownIssuer));
        assert!(why.cause.is_refusal() && why.why.contains("--ca-file"), "{why:?}");
        let lost = of_io(&io::Error::from(io::ErrorKind::ConnectionReset));
        assert!(!lost.cause.is_refusal(), "{lost:?}");
    }
}
