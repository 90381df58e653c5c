//! Lines of a stream of JSON, as they come, none longer than a bound.

use std::time::Duration;

use axum::body::Body;
use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tidegate_proto::control::WatchLine;
use tokio::time::timeout;

use crate::limits::WATCH_LINE_BYTES_MAX;

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines {
    body: Body,
    read: BytesMut,
    /// How far it holds no end of a line.
    searched: usize,
}

impl Lines {
    pub(super) fn new(body: Body) -> Self {
        Self {
            body,
            read: BytesMut::new(),
            searched: 0,
        }
    }

    /// The next line that is here already.
    ///
    /// # Errors
    /// When it is no line of a watch stream.
    pub(super) fn here(&mut self) -> Result<Option<WatchLine>, String> {
        loop {
            let rest = &self.read[self.searched..];
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.read.len();
                return Ok(None);
            };
            let line: Bytes = self.read.split_to(self.searched + end).freeze();
            self.read.advance(1);
            self.searched = 0;
            if !line.is_empty() {
                let parsed = serde_json::from_slice(&line);
                return parsed.map(Some).map_err(|error| error.to_string());
            }
        }
    }

    /// The next line; none at the end of the stream.
    ///
    /// # Errors
    /// When the stream breaks, is silent for `patience`, or tells something else.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<WatchLine>, String> {
        loop {
            if let Some(line) = self.here()? {
                return Ok(Some(line));
            }
            if self.read.len() > WATCH_LINE_BYTES_MAX {
                return Err("a line has no end".to_owned());
            }
            let frame = timeout(patience, self.body.frame());
            match frame.await {
                Err(_) => return Err(format!("nothing came for {} s", patience.as_secs())),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(error.to_string()),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}
