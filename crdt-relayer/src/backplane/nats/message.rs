//! One message of the stream by its place. The library's own function reads the message's headers,
//! and gives up at some that anybody may have written.

use async_nats::jetstream::Context;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessage;
use serde::{Deserialize, Serialize};

/// The server's error code for "there is none".
const NO_MESSAGE: u64 = 10_037;

/// Which message.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Wanted {
    /// The one at this place, or the first from there on if a subject is given.
    pub(super) seq: u64,
    #[serde(rename = "next_by_subj", skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    message: Option<RawMessage>,
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    err_code: u64,
    description: String,
}

/// Fetches a message; `None` if there is none.
pub(super) async fn fetch(
    context: &Context,
    stream: &str,
    wanted: &Wanted,
) -> Result<Option<StreamMessage>, String> {
    let subject = format!("STREAM.MSG.GET.{stream}");
    let answer: Answer =
        context.request(subject, wanted).await.map_err(|error| error.to_string())?;
    match answer {
        Answer { error: Some(Refused { err_code: NO_MESSAGE, .. }), .. } => Ok(None),
        Answer { error: Some(refused), .. } => Err(refused.description),
        Answer { message: None, .. } => Err("the server answers nothing".to_owned()),
        Answer { message: Some(mut message), .. } => {
            message.headers = None;
            StreamMessage::try_from(message).map(Some).map_err(|error| error.to_string())
        }
    }
}
