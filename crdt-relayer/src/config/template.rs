//! A configuration file to begin with.

use super::setting::{SETTINGS, Setting};
use super::value::Kind;

const HEAD: &str = "\
# The configuration of crdt-relayer. A setting that is commented out has the value it shows, or none.
# `crdt-relayer check-config --config FILE` shows what counts and where it comes from.
";

/// A file in which every setting is there and none is set.
pub fn template() -> String {
    let mut lines = vec![HEAD.to_owned()];
    let mut section = "";
    for setting in SETTINGS {
        let (of, key) = setting.key.split_once('.').unwrap_or(("", setting.key));
        if of != section {
            section = of;
            lines.push(format!("\n[{section}]\n"));
        }
        let again = if setting.live { " Read again on SIGHUP." } else { "" };
        lines.push(format!("# {}.{again}\n#{key} = {}\n", setting.help, default(setting)));
    }
    lines.concat()
}

/// A setting's default as TOML.
fn default(setting: &Setting) -> String {
    match (setting.kind, setting.default) {
        (Kind::List, "") => "[]".to_owned(),
        (Kind::Switch | Kind::Count, default) => default.to_owned(),
        (_, default) => format!("{default:?}"),
    }
}
