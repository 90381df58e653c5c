//! Points in time as callers write them: RFC 3339 text or milliseconds since 1970.
//!
//! No clock here: text in, number out. Times before 1970 are negative. Leap seconds (`:60`) count as
//! the first second of the next minute, as in POSIX time.

use crate::limits::INTEGER_MAX;

/// Milliseconds since the epoch from RFC 3339 text or a whole number of milliseconds; `None` when it
/// is neither or beyond 2^53 - 1 either way. Digits below the millisecond are dropped.
#[must_use]
pub fn parse_time_ms(text: &str) -> Option<i64> {
    let is_number = !text.is_empty()
        && text
            .strip_prefix('-')
            .unwrap_or(text)
            .bytes()
            .all(|byte| byte.is_ascii_digit());
    let time_ms = if is_number {
        text.parse().ok()?
    } else {
        parse_rfc3339_ms(text)?
    };
    is_exact(time_ms).then_some(time_ms)
}

/// True when `time_ms` is within ±(2^53 - 1), so that JSON carries it exactly.
#[must_use]
pub const fn is_exact(time_ms: i64) -> bool {
    time_ms.unsigned_abs() <= INTEGER_MAX
}

fn parse_rfc3339_ms(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let digits = |from: usize, len: usize| -> Option<i64> {
        let part = bytes.get(from..from + len)?;
        part.iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let mark = |at: usize, allowed: &[u8]| allowed.contains(bytes.get(at)?).then_some(());
    let (year, month, day) = (digits(0, 4)?, digits(5, 2)?, digits(8, 2)?);
    let (hour, minute, second) = (digits(11, 2)?, digits(14, 2)?, digits(17, 2)?);
    mark(4, b"-")?;
    mark(7, b"-")?;
    mark(10, b"Tt ")?;
    mark(13, b":")?;
    mark(16, b":")?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut millis = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        let len = bytes
            .get(at..)?
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if len == 0 {
            return None;
        }
        for place in 0..3 {
            millis = millis * 10
                + if place < len {
                    digits(at + place, 1)?
                } else {
                    0
                };
        }
        at += len;
    }
    let offset_minutes = match bytes.get(at)? {
        b'Z' | b'z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if bytes.len() == at + 6 => {
            mark(at + 3, b":")?;
            let (hours, minutes) = (digits(at + 1, 2)?, digits(at + 4, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let minutes = (days_since_epoch(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * 1000 + millis)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar; years 0..=9999.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Counting years from March puts the leap day last, so that month starts follow one line.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let leap_days =
        shifted_year.div_euclid(4) - shifted_year.div_euclid(100) + shifted_year.div_euclid(400);
    shifted_year * 365 + leap_days + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_parse() {
        for (text, expected) in [
            ("0", 0),
            ("-1", -1),
            ("1700000000000", 1_700_000_000_000),
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2000-02-29T12:34:56.789Z", 951_827_696_789),
            ("2023-11-14T22:13:20z", 1_700_000_000_000),
            ("2023-11-15 00:13:20.5+02:00", 1_700_000_000_500),
            ("2023-11-14T17:13:20.123456789-05:00", 1_700_000_000_123),
            ("2016-12-31T23:59:60Z", 1_483_228_800_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ] {
            assert_eq!(parse_time_ms(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "-",
            "+1",
            "1.5",
            "now",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:13:20.Z",
            "9007199254740992",
            "2023-11-14T22:13:20+0200",
            "2023-11-14T22:13:20Zx",
            "２023-11-14T22:13:20Z",
            "99999999999999999999",
            "2023-11-14T22:13:20é",
        ] {
            assert_eq!(parse_time_ms(text), None, "{text}");
        }
    }
}
