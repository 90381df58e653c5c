//! Cuts a byte stream into blocks of whole lines, so that any length of input is read with the
//! memory of one block.
//!
//! The last line may lack its line feed. A line longer than the limit is an error that says which.

use std::io::{self, Read};

/// Read at once; a longer line makes its block longer.
pub(crate) const BLOCK_BYTES: usize = 256 * 1024;

/// Whole lines, and the number of the first one, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) first_line: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Block {
    /// The lines with their numbers, without line feeds.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let text = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        (self.first_line..).zip(text.split(|byte| *byte == b'\n'))
    }
}

#[derive(Debug)]
pub(crate) struct Blocks<R> {
    input: R,
    rest: Vec<u8>,
    line: u64,
    line_bytes_max: usize,
    ended: bool,
}

impl<R: Read> Blocks<R> {
    pub(crate) fn new(input: R, line_bytes_max: usize) -> Self {
        Self {
            input,
            rest: Vec::new(),
            line: 1,
            line_bytes_max,
            ended: false,
        }
    }

    /// The next whole lines; `None` at the end of the input.
    pub(crate) fn next_block(&mut self) -> io::Result<Option<Block>> {
        let mut bytes = std::mem::take(&mut self.rest);
        while !self.ended {
            let old = bytes.len();
            bytes.resize(old + BLOCK_BYTES, 0);
            let read = self.read(&mut bytes[old..])?;
            bytes.truncate(old + read);
            self.ended = read == 0;
            let Some(last) = bytes[old..].iter().rposition(|byte| *byte == b'\n') else {
                if bytes.len() > self.line_bytes_max {
                    return Err(self.too_long());
                }
                continue;
            };
            self.rest = bytes.split_off(old + last + 1);
            return Ok(Some(self.number(bytes)));
        }
        Ok((!bytes.is_empty()).then(|| self.number(bytes)))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.input.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    fn number(&mut self, bytes: Vec<u8>) -> Block {
        let block = Block {
            first_line: self.line,
            bytes,
        };
        self.line += block.lines().count() as u64;
        block
    }

    fn too_long(&self) -> io::Error {
        let (line, limit) = (self.line, self.line_bytes_max);
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("line {line} is longer than {limit} bytes, the largest record there can be"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out the given pieces one by one.
    struct Pieces(Vec<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    fn lines(pieces: &[&str]) -> Vec<(u64, String)> {
        let pieces = pieces
            .iter()
            .map(|piece| piece.as_bytes().to_vec())
            .collect();
        let mut blocks = Blocks::new(Pieces(pieces), 100);
        let mut out = Vec::new();
        while let Some(block) = blocks.next_block().unwrap() {
            for (number, line) in block.lines() {
                out.push((number, String::from_utf8(line.to_vec()).unwrap()));
            }
        }
        out
    }

    #[test]
    fn lines_are_whole_however_the_input_is_cut() {
        let want = vec![
            (1, "ab".to_owned()),
            (2, String::new()),
            (3, "cde".to_owned()),
        ];
        for pieces in [
            &["ab\n\ncde\n"][..],
            &["ab\n\ncde"],
            &["a", "b\n", "\nc", "d", "e\n"],
            &["ab", "\n\n", "cde"],
        ] {
            assert_eq!(lines(pieces), want, "{pieces:?}");
        }
        assert!(lines(&[]).is_empty());
        assert_eq!(lines(&["\n"]), [(1, String::new())]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_named() {
        let text = format!("ok\n{}", "x".repeat(300));
        let mut blocks = Blocks::new(text.as_bytes(), 100);
        assert!(blocks.next_block().unwrap().is_some());
        let error = blocks.next_block().unwrap_err().to_string();
        assert!(error.starts_with("line 2 "), "{error}");
    }
}
