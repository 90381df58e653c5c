//! Batches over a WebSocket: one socket of the topic, subscribed at once, read as fast as the reader takes.
//!
//! Holds no position: the caller's spans are moved by what came, and after a break another feed is opened
//! where they are. Invariant: whatever else happens, what came is whole batches with the right checksum.

use bytes::Bytes;
use tidegate_proto::api::binary::RecordsMessage;
use tidegate_proto::api::socket::{CloseCode, Drain, Gap, SUBPROTOCOL_BATCH, ServerFrame};
use tidegate_proto::compression::Codec;
use tidegate_proto::error::{ErrorCode, Problem};

use super::away::Away;
use super::page::{Page, Part};
use super::span::Spans;
use crate::client::Client;
use crate::error::Error;
use crate::socket::{NotOpened, Said, Socket};

/// A socket that sends batches of one topic.
#[derive(Debug)]
pub(crate) struct Feed {
    socket: Socket,
    /// What its messages call the topic, once it was told.
    topic_number: Option<u32>,
    /// Partitions of which the server says on this socket that they are away.
    away: Vec<u32>,
    /// What ended it, while what came before that is still to be handed out.
    over: Option<Over>,
}

/// What a feed ended with.
#[derive(Debug)]
pub(crate) enum Over {
    /// Another one may go on.
    Broken(Error),
    /// There will be none: pages say why, or go on.
    Refused,
}

impl From<Error> for Over {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// What the path of a topic's socket says of codecs: all that this client reads.
pub(crate) fn codecs() -> String {
    // The order is that of liking, for records in a codec that is not among them.
    let liked = [
        Codec::Zstd,
        Codec::Lz4,
        Codec::Snappy,
        Codec::Gzip,
        Codec::None,
    ];
    liked.map(Codec::as_str).join(",")
}

impl Feed {
    /// `path` names positions, partitions and codecs.
    pub(crate) async fn open(client: &Client, path: &str) -> Result<Self, Over> {
        match Socket::open(client.transport(), path, SUBPROTOCOL_BATCH).await {
            Ok(socket) => Ok(Self {
                socket,
                topic_number: None,
                away: Vec::new(),
                over: None,
            }),
            Err(NotOpened::Failed(error)) => Err(Over::Broken(error)),
            Err(NotOpened::Refused) => Err(Over::Refused),
        }
    }

    /// What comes next, and what is here already behind it up to `bytes_max`. `grows`: partitions that are
    /// new belong to the reader, from their beginning.
    pub(crate) async fn next(
        &mut self,
        spans: &mut Spans,
        away: &Away,
        grows: bool,
        bytes_max: usize,
    ) -> Result<Page, Over> {
        if let Some(over) = self.over.take() {
            return Err(over);
        }
        let mut parts = Vec::new();
        let mut bytes = 0;
        let mut said = Some(self.socket.next().await?);
        while let Some(what) = said {
            if let Said::Binary(message) = &what {
                bytes += message.len();
            }
            let taken = self.take(what, spans, away, grows, &mut parts);
            let is_enough = bytes >= bytes_max || spans.all_done();
            let more = match taken {
                Ok(()) if is_enough => break,
                Ok(()) => self.socket.next_now().map_err(Over::Broken),
                Err(over) => Err(over),
            };
            match more {
                Ok(more) => said = more,
                Err(over) if parts.is_empty() => return Err(over),
                // Positions have moved over what came before, which is good.
                Err(over) => {
                    self.over = Some(over);
                    break;
                }
            }
        }
        Ok(Page::new(parts))
    }

    fn take(
        &mut self,
        said: Said,
        spans: &mut Spans,
        away: &Away,
        grows: bool,
        parts: &mut Vec<Part>,
    ) -> Result<(), Over> {
        match said {
            Said::Binary(message) => Ok(self.read(&message, spans, grows, parts)?),
            Said::Text(text) => Ok(self.hear(&text, spans, away)?),
            Said::Closed(code, reason) => Err(closed(code, reason)),
        }
    }

    fn read(
        &self,
        message: &Bytes,
        spans: &mut Spans,
        grows: bool,
        parts: &mut Vec<Part>,
    ) -> Result<(), Error> {
        let message =
            RecordsMessage::parse(message).map_err(|fault| protocol(fault.to_string()))?;
        if Some(message.topic_number) != self.topic_number {
            return Err(protocol(
                "records of a topic that was not asked for".to_owned(),
            ));
        }
        super::page::take_batches(message.batches, spans, grows, parts).map_err(protocol)
    }

    fn hear(&mut self, text: &str, spans: &Spans, away: &Away) -> Result<(), Error> {
        let frame = ServerFrame::parse(text).map_err(|error| protocol(error.to_string()))?;
        match frame {
            Some(ServerFrame::Subscribed(subscribed)) => {
                self.topic_number = subscribed.topic_number;
                Ok(())
            }
            Some(ServerFrame::Gap(gap)) if spans.wants(gap.partition) => Err(lost(&gap)),
            Some(ServerFrame::Drain(drain)) => Err(leaving(&drain)),
            Some(ServerFrame::Error(frame)) => Err(Error::Problem(Box::new(frame.error))),
            Some(ServerFrame::Away(frame)) => {
                for partition in frame.partitions {
                    away.gone(partition, frame.error.detail());
                    self.away.push(partition);
                }
                Ok(())
            }
            Some(ServerFrame::Back(frame)) => {
                self.away
                    .retain(|partition| !frame.partitions.contains(partition));
                frame.partitions.into_iter().for_each(|one| away.back(one));
                Ok(())
            }
            // By now it has told of all that are away: others of an earlier socket are back.
            Some(ServerFrame::CaughtUp(_)) => {
                away.are(&self.away);
                Ok(())
            }
            // Told to those who want to know where the end is, or of a newer server.
            Some(
                ServerFrame::Ping(_)
                | ServerFrame::Gap(_)
                | ServerFrame::Ack(_)
                | ServerFrame::Records(_),
            )
            | None => Ok(()),
        }
    }
}

fn protocol(reason: String) -> Error {
    Error::Protocol {
        request: "reading a socket".to_owned(),
        reason,
    }
}

fn lost(gap: &Gap) -> Error {
    let detail = format!(
        "offsets {} to {} of partition {} are no longer there",
        gap.from, gap.to, gap.partition
    );
    let problem = Problem::new(ErrorCode::LogTruncated, detail).with("log_start", gap.to);
    Error::Problem(Box::new(problem))
}

/// The server goes, or has had this socket for long enough.
fn leaving(drain: &Drain) -> Error {
    let problem = Problem::new(ErrorCode::Unavailable, "the server asks to connect again");
    Error::Problem(Box::new(
        problem.retry_after(drain.retry_after_ms.div_ceil(1_000)),
    ))
}

fn closed(code: u16, reason: String) -> Over {
    match CloseCode::from_number(code) {
        Some(known) if !known.may_reconnect() => Over::Refused,
        _ => Over::Broken(Error::Transport {
            request: "reading a socket".to_owned(),
            reason: format!("closed with {code} {reason}"),
        }),
    }
}
