//! Is this text exactly one JSON text (RFC 8259), not nested too deeply?
//!
//! One pass over the bytes, no recursion, no allocation, no values built: records are kept verbatim.
//! Duplicate names and lone surrogate escapes pass, as the grammar allows them.

use thiserror::Error;

/// Deepest nesting that can be asked for: one bit of state per level.
pub const DEPTH_MAX: usize = 128;

/// Why a text is not one JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{fault} at byte {at}")]
pub struct JsonError {
    /// What is wrong.
    pub fault: JsonFault,
    /// Where, in bytes from the start.
    pub at: usize,
}

/// What can be wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JsonFault {
    /// The text ends too early, or is empty.
    #[error("the text ends inside a value")]
    Ended,
    /// A byte that cannot stand there.
    #[error("unexpected character")]
    Unexpected,
    /// Arrays and objects are nested deeper than allowed.
    #[error("nested too deeply")]
    TooDeep,
    /// Something follows the value.
    #[error("something follows the value")]
    Trailing,
    /// A control character inside a string; it must be escaped.
    #[error("unescaped control character")]
    ControlCharacter,
    /// A backslash followed by something that is no escape.
    #[error("unknown escape")]
    BadEscape,
    /// A number that JSON does not allow, such as `01` or `1.`.
    #[error("malformed number")]
    BadNumber,
}

/// Checks that `text` is exactly one JSON text with at most `depth_max` levels of arrays and objects
/// (a bare value has none; at most [`DEPTH_MAX`]).
pub fn check_json(text: &str, depth_max: usize) -> Result<(), JsonError> {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
        depth: 0,
        depth_max: depth_max.min(DEPTH_MAX),
        objects: 0,
    };
    scanner.run().map_err(|fault| JsonError {
        fault,
        at: scanner.at,
    })
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    depth_max: usize,
    /// Bit 0 is set when the innermost open level is an object; outer levels follow.
    objects: u128,
}

impl Scanner<'_> {
    fn run(&mut self) -> Result<(), JsonFault> {
        loop {
            self.skip_space();
            if self.value()? {
                continue;
            }
            // A value is complete: close levels until one goes on.
            loop {
                self.skip_space();
                if self.depth == 0 {
                    return if self.at == self.bytes.len() {
                        Ok(())
                    } else {
                        Err(JsonFault::Trailing)
                    };
                }
                match (self.peek()?, self.objects & 1 == 1) {
                    (b',', true) => {
                        self.at += 1;
                        self.name()?;
                        break;
                    }
                    (b',', false) => {
                        self.at += 1;
                        break;
                    }
                    (b'}', true) | (b']', false) => self.close(),
                    _ => return Err(JsonFault::Unexpected),
                }
            }
        }
    }

    /// Reads a scalar or opens a level; true when a level was opened that wants a value next.
    fn value(&mut self) -> Result<bool, JsonFault> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' => {
                self.open(true)?;
                self.skip_space();
                if self.peek()? == b'}' {
                    self.close();
                    return Ok(false);
                }
                self.name()?;
                return Ok(true);
            }
            b'[' => {
                self.open(false)?;
                self.skip_space();
                if self.peek()? == b']' {
                    self.close();
                    return Ok(false);
                }
                return Ok(true);
            }
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(JsonFault::Unexpected),
        }?;
        Ok(false)
    }

    fn open(&mut self, is_object: bool) -> Result<(), JsonFault> {
        if self.depth == self.depth_max {
            return Err(JsonFault::TooDeep);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
        self.at += 1;
    }

    /// A member's name and its colon.
    fn name(&mut self) -> Result<(), JsonFault> {
        self.skip_space();
        if self.peek()? != b'"' {
            return Err(JsonFault::Unexpected);
        }
        self.string()?;
        self.skip_space();
        if self.peek()? != b':' {
            return Err(JsonFault::Unexpected);
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<(), JsonFault> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let plain = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            self.at += plain.unwrap_or(rest.len());
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                _ => return Err(JsonFault::ControlCharacter),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonFault> {
        self.at += 1;
        match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek()?.is_ascii_hexdigit() {
                        return Err(JsonFault::BadEscape);
                    }
                    self.at += 1;
                }
            }
            _ => return Err(JsonFault::BadEscape),
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), JsonFault> {
        for expected in word {
            if self.peek()? != *expected {
                return Err(JsonFault::Unexpected);
            }
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonFault> {
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        let starts_with_zero = self.peek()? == b'0';
        let len = self.digits()?;
        if starts_with_zero && len > 1 {
            return Err(JsonFault::BadNumber);
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<usize, JsonFault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += len;
        if len > 0 {
            Ok(len)
        } else if self.at == self.bytes.len() {
            Err(JsonFault::Ended)
        } else {
            Err(JsonFault::BadNumber)
        }
    }

    #[inline]
    fn peek(&self) -> Result<u8, JsonFault> {
        self.bytes.get(self.at).copied().ok_or(JsonFault::Ended)
    }

    #[inline]
    fn skip_space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_texts_pass() {
        for text in [
            "0",
            "-0",
            "1.5e+10",
            "-12.25E-3",
            "true",
            "false",
            "null",
            "\"\"",
            "\"\\u00e9\\n\\\"\"",
            " [ ] ",
            "{}",
            "[1,2,[3,{\"a\":null}],\"x\"]",
            "{\"a\":{\"b\":[{}]},\"c\":1}\r\n",
            "\"ä\u{7f}\"",
            "\"\\ud800\"",
        ] {
            assert_eq!(check_json(text, 32), Ok(()), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_their_fault_and_place() {
        use JsonFault::{BadEscape, BadNumber, ControlCharacter, Ended, Trailing, Unexpected};
        for (text, fault, at) in [
            ("", Ended, 0),
            (" ", Ended, 1),
            ("nul", Ended, 3),
            ("nulL", Unexpected, 3),
            ("1 2", Trailing, 2),
            ("[1,]", Unexpected, 3),
            ("[1", Ended, 2),
            ("{\"a\"}", Unexpected, 4),
            ("{\"a\":}", Unexpected, 5),
            ("{a:1}", Unexpected, 1),
            ("{\"a\":1,}", Unexpected, 7),
            ("[1}", Unexpected, 2),
            ("{\"a\":1]", Unexpected, 6),
            ("\"a", Ended, 2),
            ("\"a\nb\"", ControlCharacter, 2),
            ("\"\\x\"", BadEscape, 2),
            ("\"\\u12g4\"", BadEscape, 5),
            ("01", BadNumber, 2),
            ("1.", Ended, 2),
            ("-", Ended, 1),
            ("-a", BadNumber, 1),
            ("1.e5", BadNumber, 2),
            ("+1", Unexpected, 0),
            ("NaN", Unexpected, 0),
            ("'a'", Unexpected, 0),
            ("{}{}", Trailing, 2),
            ("]", Unexpected, 0),
            ("\u{feff}1", Unexpected, 0),
            ("1\0", Trailing, 1),
        ] {
            assert_eq!(
                check_json(text, 32),
                Err(JsonError { fault, at }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn depth_is_bounded_and_never_recurses() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check_json(&nested(32), 32), Ok(()));
        assert_eq!(
            check_json(&nested(33), 32).unwrap_err().fault,
            JsonFault::TooDeep
        );
        assert_eq!(check_json("1", 0), Ok(()));
        assert_eq!(check_json(&nested(128), usize::MAX), Ok(()));
        assert_eq!(
            check_json(&nested(129), usize::MAX).unwrap_err().fault,
            JsonFault::TooDeep
        );
        assert_eq!(
            check_json(&"[{\"\":".repeat(1 << 20), 32)
                .unwrap_err()
                .fault,
            JsonFault::TooDeep
        );
    }

    proptest! {
        #[test]
        fn agrees_with_a_full_parser(text in r#"[\[\]{},:" \\eE0-9.+\-tfn\n]{0,12}|(true|null|1|"a"|[\[\]{},:]){0,10}"#) {
            // Escapes and big exponents apart, where a value builder is stricter than the grammar.
            let expected = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(check_json(&text, 64).is_ok(), expected, "{}", text);
        }
    }
}
