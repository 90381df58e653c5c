//! Compression of batches: whole buffers in, whole buffers out, bounded.
//!
//! Output never passes the caller's cap, nor 100 times the input (64 KiB are always allowed), whatever
//! the compressed bytes claim: memory is bounded before a byte is decompressed. The bytes are exactly one
//! stream (gzip: one member, snappy: one raw block, lz4 and zstd: frames), whole, with nothing behind it.

use std::cell::RefCell;
use std::fmt;
use std::io::{Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits::{DECOMPRESSION_RATIO_FLOOR_BYTES, DECOMPRESSION_RATIO_MAX};

/// zstd's fastest regular level: higher ones cost several times the CPU for a few per cent.
const ZSTD_LEVEL: i32 = 1;
/// The lowest gzip level that looks for matches at all well: those below it pack a fifth worse.
const GZIP_LEVEL: u32 = 3;

/// How the records of a batch are compressed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Not at all.
    #[default]
    None = 0,
    /// gzip, RFC 1952: one member.
    Gzip = 1,
    /// Snappy, raw block.
    Snappy = 2,
    /// LZ4 frame.
    Lz4 = 3,
    /// Zstandard frame.
    Zstd = 4,
}

impl Codec {
    /// Every codec that has a number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of that number on the wire.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The word used in settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no codec's name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected none, gzip, snappy, lz4 or zstd")]
pub struct CodecError;

impl FromStr for Codec {
    type Err = CodecError;
    fn from_str(text: &str) -> Result<Self, CodecError> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.as_str() == text)
            .ok_or(CodecError)
    }
}

/// Why bytes could not be compressed or decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CompressionError {
    /// The bytes are not what the codec makes, or something follows them.
    #[error("the bytes are not one {0} stream")]
    Malformed(Codec),
    /// The output would pass the cap.
    #[error("the output passes {cap} bytes")]
    TooLarge {
        /// The cap, in bytes.
        cap: usize,
    },
    /// The output would pass the ratio cap.
    #[error("the output passes {DECOMPRESSION_RATIO_MAX} times the input")]
    Ratio,
}

/// Most bytes that `len` compressed bytes may grow to under the ratio rule.
#[must_use]
pub const fn ratio_cap(len: usize) -> usize {
    let scaled = len.saturating_mul(DECOMPRESSION_RATIO_MAX);
    if scaled > DECOMPRESSION_RATIO_FLOOR_BYTES {
        scaled
    } else {
        DECOMPRESSION_RATIO_FLOOR_BYTES
    }
}

/// Compresses `bytes`; with [`Codec::None`] a copy.
pub fn compress(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>, CompressionError> {
    match codec {
        Codec::None => Ok(bytes.to_vec()),
        Codec::Lz4 => lz4_compress(bytes).map_err(|_| CompressionError::Malformed(codec)),
        Codec::Zstd => zstd_compress(bytes).map_err(|_| CompressionError::Malformed(codec)),
        Codec::Gzip => gzip_compress(bytes).map_err(|_| CompressionError::Malformed(codec)),
        Codec::Snappy => snap::raw::Encoder::new()
            .compress_vec(bytes)
            .map_err(|_| CompressionError::Malformed(codec)),
    }
}

/// Decompresses `bytes` to at most `cap` bytes and at most the ratio's cap; with [`Codec::None`] a copy.
pub fn decompress(codec: Codec, bytes: &[u8], cap: usize) -> Result<Vec<u8>, CompressionError> {
    let ratio_cap = ratio_cap(bytes.len());
    let limit = cap.min(ratio_cap);
    let over = if ratio_cap < cap {
        CompressionError::Ratio
    } else {
        CompressionError::TooLarge { cap }
    };
    match codec {
        Codec::None if bytes.len() > cap => Err(CompressionError::TooLarge { cap }),
        Codec::None => Ok(bytes.to_vec()),
        Codec::Lz4 => lz4_decompress(bytes, limit, over),
        Codec::Zstd => zstd_decompress(bytes, limit, over),
        Codec::Gzip => gzip_decompress(bytes, limit, over),
        Codec::Snappy => snappy_decompress(bytes, limit, over),
    }
}

fn gzip_compress(bytes: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    let out = Vec::with_capacity(bytes.len() / 2 + 64);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn gzip_decompress(
    bytes: &[u8],
    limit: usize,
    over: CompressionError,
) -> Result<Vec<u8>, CompressionError> {
    let malformed = CompressionError::Malformed(Codec::Gzip);
    let mut decoder = flate2::bufread::GzDecoder::new(bytes);
    let mut out = Vec::with_capacity(limit.saturating_add(1));
    // Reading on to the end of the stream is what compares its checksum and its length.
    let bound = limit as u64 + 1;
    let read = decoder.by_ref().take(bound).read_to_end(&mut out);
    if out.len() > limit {
        return Err(over);
    }
    // A second member, or padding, is for files; a batch is one.
    if read.is_err() || !decoder.into_inner().is_empty() {
        return Err(malformed);
    }
    Ok(out)
}

fn snappy_decompress(
    bytes: &[u8],
    limit: usize,
    over: CompressionError,
) -> Result<Vec<u8>, CompressionError> {
    let malformed = CompressionError::Malformed(Codec::Snappy);
    if bytes.is_empty() {
        return Err(malformed);
    }
    // A block says its length first; the decoder makes room for that and takes no other.
    let stated = snap::raw::decompress_len(bytes).map_err(|_| malformed)?;
    if stated > limit {
        return Err(over);
    }
    snap::raw::Decoder::new()
        .decompress_vec(bytes)
        .map_err(|_| malformed)
}

fn lz4_compress(bytes: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::with_capacity(bytes.len() / 2 + 64));
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn lz4_decompress(
    bytes: &[u8],
    limit: usize,
    over: CompressionError,
) -> Result<Vec<u8>, CompressionError> {
    let malformed = CompressionError::Malformed(Codec::Lz4);
    if !is_whole_lz4_frame(bytes) {
        return Err(malformed);
    }
    let mut decoder = lz4_flex::frame::FrameDecoder::new(bytes);
    // The caller's cap is most often the exact length, so the buffer does not grow; what is not
    // written to costs address space only.
    let mut out = Vec::with_capacity(limit.saturating_add(1));
    // One byte more than allowed tells a full buffer from an overfull one.
    let bound = limit as u64 + 1;
    let read = decoder.by_ref().take(bound).read_to_end(&mut out);
    if out.len() > limit {
        return Err(over);
    }
    if read.is_err() || !decoder.get_ref().is_empty() {
        return Err(malformed);
    }
    Ok(out)
}

/// The decoder takes a missing end mark for the end, so that is looked at here. Legacy and skippable
/// frames are refused with it.
fn is_whole_lz4_frame(bytes: &[u8]) -> bool {
    const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
    const HAS_CONTENT_CHECKSUM: u8 = 1 << 2;
    let (Some(MAGIC), Some(flags)) = (bytes.first_chunk::<4>().copied(), bytes.get(4)) else {
        return false;
    };
    let checksum_len = if flags & HAS_CONTENT_CHECKSUM == 0 {
        0
    } else {
        4
    };
    let body = bytes.get(..bytes.len().saturating_sub(checksum_len));
    body.is_some_and(|body| body.ends_with(&[0; 4]))
}

// A context is some hundred KiB of tables; one per thread is kept instead of one per batch.
thread_local! {
    static ZSTD_COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static ZSTD_DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn zstd_compress(bytes: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    ZSTD_COMPRESSOR.with_borrow_mut(|slot| {
        let compressor = match slot {
            Some(compressor) => compressor,
            None => slot.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        compressor.compress(bytes)
    })
}

fn zstd_decompress(
    bytes: &[u8],
    limit: usize,
    over: CompressionError,
) -> Result<Vec<u8>, CompressionError> {
    let malformed = CompressionError::Malformed(Codec::Zstd);
    // What the frames say they hold only ever lowers the buffer; it is never believed upwards.
    let stated = zstd::bulk::Decompressor::upper_bound(bytes).ok_or(malformed)?;
    let mut out = Vec::with_capacity(stated.min(limit));
    let decoded = ZSTD_DECOMPRESSOR.with_borrow_mut(|slot| {
        let decompressor = match slot {
            Some(decompressor) => decompressor,
            None => slot.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(bytes, &mut out)
    });
    match decoded {
        Ok(_) if bytes.is_empty() => Err(malformed),
        Ok(_) if out.len() > limit => Err(over),
        Ok(_) => Ok(out),
        Err(_) if stated > limit => Err(over),
        Err(_) => Err(malformed),
    }
}

#[cfg(test)]
mod tests;
