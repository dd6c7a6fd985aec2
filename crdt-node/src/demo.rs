//! x
use crate::error::NodeError;
use crate::screen::Format;
/// x
#[derive(Debug)]
pub struct Options {
    /// x
    pub keep: bool,
    /// x
    pub seed: u64,
    /// x
    pub format: Format,
}
/// x
pub async fn run(_: &Options) -> Result<(), NodeError> {
    Ok(())
}
