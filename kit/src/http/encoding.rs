//! `Content-Encoding`, both ways: request bodies are decompressed within caps, answers compressed
//! when the client asks and it is worth it.
//!
//! Live streams, record batches (compressed by their producers) and small answers go out as they
//! are. Invariant: a request body never grows past its output cap or its ratio cap, and each decoder
//! holds a bounded window.

use std::future::ready;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body::Body as _;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::{
    DECOMPRESSED_BYTES_MAX, DECOMPRESSION_RATIO_FLOOR_BYTES, DECOMPRESSION_RATIO_MAX,
};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};
use tower::ServiceExt as _;
use tower_http::CompressionLevel;
use tower_http::compression::Compression;

use super::BATCH_MEDIA_TYPE;
use super::fault::{BodyFault, body_fault};
use crate::budget::{ByteBudget, BytePermit};
use crate::limits::{COMPRESS_BYTES_MIN, DECODER_FREE_BYTES, ZSTD_WINDOW_LOG_MAX};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Gzip,
    Zstd,
}

/// Puts a decoder around the body of a request that has a `Content-Encoding`.
///
/// # Errors
/// 415 `unsupported_media_type` for any coding but gzip, zstd and identity, and for several.
pub(super) fn decode_request(
    request: Request<Body>,
    memory: &ByteBudget,
) -> Result<Request<Body>, Problem> {
    if !request.headers().contains_key(CONTENT_ENCODING) {
        return Ok(request);
    }
    let coding = coding(request.headers())?;
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(CONTENT_ENCODING);
    let Some(coding) = coding else {
        return Ok(Request::from_parts(parts, body));
    };
    parts.headers.remove(CONTENT_LENGTH);
    Ok(Request::from_parts(parts, decoded(coding, body, memory)))
}

fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Problem> {
    let unsupported = |found: &str| {
        let detail = format!("Content-Encoding {found:?} is not one of gzip, zstd, identity");
        Problem::new(ErrorCode::UnsupportedMediaType, detail)
            .at("Content-Encoding", "is not supported")
    };
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let first = values.next().map_or(Ok(""), |value| value.to_str());
    let (Ok(first), None) = (first, values.next()) else {
        return Err(unsupported("of several"));
    };
    match first.trim().to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => Ok(Some(Coding::Gzip)),
        "zstd" => Ok(Some(Coding::Zstd)),
        "identity" | "" => Ok(None),
        found => Err(unsupported(&found.chars().take(64).collect::<String>())),
    }
}

fn decoded(coding: Coding, body: Body, memory: &ByteBudget) -> Body {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let compressed = body.into_data_stream().map(move |chunk| match chunk {
        Ok(chunk) => {
            counted.fetch_add(chunk.len(), Ordering::Relaxed);
            Ok(chunk)
        }
        Err(error) => Err(io::Error::other(body_fault(&error))),
    });
    let compressed = StreamReader::new(compressed);
    match coding {
        Coding::Gzip => {
            let mut decoder = GzipDecoder::new(compressed);
            decoder.multiple_members(true);
            // Its window is 32 KiB.
            Body::from_stream(capped("gzip", taken, decoder, None))
        }
        Coding::Zstd => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX);
            let mut decoder = ZstdDecoder::with_params(compressed, &[window]);
            decoder.multiple_members(true);
            Body::from_stream(capped("zstd", taken, decoder, Some(memory.clone())))
        }
    }
}

fn capped(
    encoding: &'static str,
    taken: Arc<AtomicUsize>,
    decoder: impl AsyncRead + Send + 'static,
    memory: Option<ByteBudget>,
) -> impl Stream<Item = Result<Bytes, BodyFault>> + Send {
    let mut given = 0_usize;
    let mut window = memory.map(Window::new);
    ReaderStream::with_capacity(decoder, 16 * 1024).map(move |chunk| {
        let chunk = chunk.map_err(|error| decoder_fault(encoding, &error))?;
        given += chunk.len();
        if given > DECOMPRESSED_BYTES_MAX {
            return Err(BodyFault::TooLarge {
                limit_bytes: DECOMPRESSED_BYTES_MAX,
            });
        }
        if let Some(window) = &mut window {
            window.hold(given)?;
        }
        let allowed = taken
            .load(Ordering::Relaxed)
            .saturating_mul(DECOMPRESSION_RATIO_MAX);
        if given > allowed.max(DECOMPRESSION_RATIO_FLOOR_BYTES) {
            return Err(BodyFault::TooDense {
                ratio_max: DECOMPRESSION_RATIO_MAX,
            });
        }
        Ok(chunk)
    })
}

/// What a decoder's window holds: as much as it has given, up to its largest size.
struct Window {
    memory: ByteBudget,
    permit: Option<BytePermit>,
}

impl Window {
    fn new(memory: ByteBudget) -> Self {
        Self {
            memory,
            permit: None,
        }
    }

    fn hold(&mut self, given: usize) -> Result<(), BodyFault> {
        if given <= DECODER_FREE_BYTES {
            return Ok(());
        }
        // In steps, so that a large body does not ask for every chunk.
        let wanted = given
            .next_multiple_of(DECODER_FREE_BYTES)
            .min(1 << ZSTD_WINDOW_LOG_MAX);
        let permit = match &mut self.permit {
            Some(permit) => permit,
            None => {
                let permit = self.memory.try_acquire(0).ok_or(BodyFault::NoRoom)?;
                self.permit.insert(permit)
            }
        };
        match permit.grow_to(wanted) {
            true => Ok(()),
            false => Err(BodyFault::NoRoom),
        }
    }
}

fn decoder_fault(encoding: &'static str, error: &io::Error) -> BodyFault {
    let ours = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<BodyFault>());
    ours.cloned().unwrap_or_else(|| BodyFault::Corrupt {
        encoding,
        reason: error.to_string(),
    })
}

/// Compresses an answer if the client takes it so (`accepted` is its `Accept-Encoding`) and it is
/// neither small, live, nor compressed already.
pub(super) async fn encode_response(accepted: HeaderValue, response: Response) -> Response {
    if !is_worth_it(&response) {
        return response;
    }
    // Negotiation by weight, the stream codecs and the headers are tower-http's.
    let mut asked = Request::new(());
    asked.headers_mut().insert(ACCEPT_ENCODING, accepted);
    let mut waiting = Some(response);
    let answer = tower::service_fn(move |_: Request<()>| ready(waiting.take().ok_or(())));
    let compressed = Compression::new(answer)
        .quality(CompressionLevel::Fastest)
        .oneshot(asked);
    match compressed.await {
        Ok(response) => response.map(Body::new),
        // The service above answers its only call.
        Err(()) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn is_worth_it(response: &Response) -> bool {
    let headers = response.headers();
    let starts_with = |name, prefix: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.starts_with(prefix))
    };
    let is_small = response
        .body()
        .size_hint()
        .upper()
        .is_some_and(|size| size < u64::from(COMPRESS_BYTES_MIN));
    let is_fixed = headers.get_all(CACHE_CONTROL).iter().any(|value| {
        value
            .to_str()
            .is_ok_and(|value| value.contains("no-transform"))
    });
    !is_small
        && !is_fixed
        && !headers.contains_key(CONTENT_ENCODING)
        && headers.contains_key(CONTENT_TYPE)
        && !starts_with(CONTENT_TYPE, "text/event-stream")
        && !starts_with(CONTENT_TYPE, BATCH_MEDIA_TYPE)
        && !starts_with(CONTENT_TYPE, "image/png")
}
