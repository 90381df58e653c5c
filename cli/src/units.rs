//! Sizes and durations as people write them: `64MiB`, `1.5GB`, `7d`, `500ms`, `forever`.
//!
//! Parsing is exact where the text is a whole number; fractions are rounded down to the unit.

use std::time::Duration;

const SIZES: [(&str, u64); 10] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
    ("", 1),
];

const DURATIONS_MS: [(&str, u64); 6] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 7 * 86_400_000),
];

/// What has no end is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounded(pub(crate) Option<u64>);

/// `4096`, `64MiB`, `10GB`: bytes.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    scaled(text, &SIZES, "a size such as 4096, 64MiB or 10GB")
}

/// `7d`, `90s`, `250ms`: milliseconds. A bare number is refused: nobody knows what it counts.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    scaled(
        text,
        &DURATIONS_MS,
        "a duration such as 500ms, 90s, 12h or 7d",
    )
}

/// A size, or `unlimited`.
pub(crate) fn bounded_bytes(text: &str) -> Result<Bounded, String> {
    if is_endless(text) {
        Ok(Bounded(None))
    } else {
        bytes(text).map(|n| Bounded(Some(n)))
    }
}

/// A duration, or `forever`.
pub(crate) fn bounded_milliseconds(text: &str) -> Result<Bounded, String> {
    if is_endless(text) {
        Ok(Bounded(None))
    } else {
        milliseconds(text).map(|n| Bounded(Some(n)))
    }
}

fn is_endless(text: &str) -> bool {
    ["forever", "unlimited", "none"].contains(&text.to_ascii_lowercase().as_str())
}

fn scaled(text: &str, units: &[(&str, u64)], expected: &str) -> Result<u64, String> {
    let text = text.trim().to_ascii_lowercase();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim());
    let complain = || format!("expected {expected}");
    let scale = units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, scale)| *scale)
        .ok_or_else(complain)?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole
            .checked_mul(scale)
            .ok_or_else(|| "this is too large".to_owned());
    }
    let fraction: f64 = number.parse().map_err(|_| complain())?;
    Ok((fraction * scale as f64) as u64)
}

/// `12.3 MB`.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    for (unit, scale) in units {
        if bytes as f64 >= scale {
            return format!("{:.1} {unit}", bytes as f64 / scale);
        }
    }
    format!("{bytes} B")
}

/// `7d`, `90m`: in the largest unit that leaves no rest; `None` below a second, where milliseconds
/// say it best.
pub(crate) fn show_milliseconds(ms: u64) -> Option<String> {
    let mut units = DURATIONS_MS[1..5].iter().rev();
    let (unit, scale) = units.find(|(_, scale)| ms >= *scale && ms.is_multiple_of(*scale))?;
    Some(format!("{}{unit}", ms / scale))
}

/// `1 record`, `2,300 records`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", show_count(count))
}

/// `231,083`.
pub(crate) fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Something per second, without dividing by nothing.
pub(crate) fn per_second(amount: u64, elapsed: Duration) -> u64 {
    (amount as f64 / elapsed.as_secs_f64().max(1e-6)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        let texts = [0, 1, 2, 2_300].map(|count| counted(count, "record"));
        assert_eq!(
            texts,
            ["0 records", "1 record", "2 records", "2,300 records"]
        );
    }

    #[test]
    fn sizes_are_read_in_both_families_of_units() {
        for (text, want) in [
            ("0", 0),
            ("4096", 4096),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("10GB", 10_000_000_000),
            ("1.5kb", 1500),
            ("7b", 7),
        ] {
            assert_eq!(bytes(text), Ok(want), "{text}");
        }
        for bad in ["", "MiB", "1x", "-1", "1.2.3kb", "99999999999TB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_milliseconds_and_may_be_endless() {
        assert_eq!(milliseconds("7d"), Ok(604_800_000));
        assert_eq!(milliseconds("90s"), Ok(90_000));
        assert_eq!(milliseconds("250ms"), Ok(250));
        assert!(milliseconds("30").is_err());
        assert_eq!(bounded_milliseconds("Forever"), Ok(Bounded(None)));
        assert_eq!(bounded_bytes("1kb"), Ok(Bounded(Some(1000))));
        assert!(milliseconds("7 days").is_err());
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        assert_eq!(show_count(7), "7");
        assert_eq!(show_count(231_083), "231,083");
        assert_eq!(show_count(1_000_000), "1,000,000");
        assert_eq!(show_bytes(999), "999 B");
        assert_eq!(show_bytes(12_345_678), "12.3 MB");
    }
}
