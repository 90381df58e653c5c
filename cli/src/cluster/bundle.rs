//! The archive of `tidegate cluster diagnose`: parts of bounded size, without secrets.
//!
//! Whatever comes in - settings, logs, answers - goes through the same filter: secrets that are known by
//! their text, and what looks like one. Invariant: nothing is written that did not pass it.

use std::io::{self, Write};
use std::ops::Range;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

/// Bytes of one part; of a log, its end.
const PART_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of all parts, before they are compressed.
const BUNDLE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What stands where a secret was.
const HIDDEN: &str = "***";
/// Shorter texts would be found everywhere.
const SECRET_LENGTH_MIN: usize = 6;
/// Words after which a value is hidden, whatever it is: settings and fields of this project, and what
/// others call theirs.
const NAMES: [&str; 8] = [
    "token", "secret", "password", "passwd", HEADER, "ticket", "key_pem", "sha256",
];

/// Its value is a scheme and whatever that one takes, and goes on to the end of the line.
const HEADER: &str = "authorization";

/// Texts that are never shown.
#[derive(Debug, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Adds one; of the address of a database, the password in it.
    pub(super) fn add(&mut self, secret: &str) {
        if let Some((_, rest)) = secret.split_once("://") {
            let account = rest.rsplit_once('@').map(|(account, _)| account);
            if let Some((_, password)) = account.and_then(|account| account.split_once(':')) {
                self.add(password);
            }
        } else if secret.len() >= SECRET_LENGTH_MIN {
            self.0.push(secret.to_owned());
        }
        // The longest first, so that one within another does not hide it.
        self.0.sort_by_key(|text| std::cmp::Reverse(text.len()));
    }

    /// The text without secrets.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            text = text.replace(secret, HIDDEN);
        }
        let mut in_key = false;
        let lines = text.split_inclusive('\n').map(|line| {
            let begins = line.contains("-----BEGIN") && line.contains("PRIVATE KEY");
            let was_in_key = in_key || begins;
            in_key = was_in_key && !line.contains("-----END");
            if was_in_key {
                format!("{HIDDEN}\n")
            } else {
                hide_in_line(line)
            }
        });
        lines.collect()
    }
}

/// Hides what looks like a secret: join tokens, passwords in addresses, values behind telling names.
fn hide_in_line(line: &str) -> String {
    let mut line = hide_after(line, "tgjoin1.", |it| {
        it.is_ascii_alphanumeric() || "-_.".contains(it)
    });
    line = hide_after(&line, "bearer ", |it| {
        !it.is_whitespace() && !"\"'\\".contains(it)
    });
    line = hide_passwords(&line);
    let lower = line.to_ascii_lowercase();
    let mut found: Vec<Range<usize>> = Vec::new();
    for name in NAMES {
        for (at, _) in lower.match_indices(name) {
            found.extend(value_after(&line, name, at));
        }
    }
    // From the back, so that the places of the others stay what they are.
    for range in merged(found).into_iter().rev() {
        line.replace_range(range, HIDDEN);
    }
    line
}

/// The ranges in order, and apart: a value may have a name and its value in it, or the beginning of one.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut apart: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match apart.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

/// Hides what belongs to a mark, which is in lower case here and in any there.
fn hide_after(line: &str, mark: &str, belongs: impl Fn(char) -> bool) -> String {
    let lower = line.to_ascii_lowercase();
    let mut shown = String::with_capacity(line.len());
    let mut done = 0;
    for (at, _) in lower.match_indices(mark) {
        let value = line[at + mark.len()..].trim_start_matches(' ');
        let rest = value.trim_start_matches(&belongs);
        let start = line.len() - value.len();
        // What was hidden after one mark may have had the next in it.
        if start < done || rest.len() == value.len() {
            continue;
        }
        shown.push_str(&line[done..start]);
        shown.push_str(HIDDEN);
        done = line.len() - rest.len();
    }
    shown.push_str(&line[done..]);
    shown
}

/// `scheme://user:password@host`.
fn hide_passwords(line: &str) -> String {
    let mut parts = line.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let end = part.find(|it: char| it.is_whitespace() || "/\"'".contains(it));
        let (host, rest) = part.split_at(end.unwrap_or(part.len()));
        match host
            .rsplit_once('@')
            .and_then(|(account, host)| Some((account.split_once(':')?.0, host)))
        {
            Some((user, host)) => shown.push_str(&format!("{user}:{HIDDEN}@{host}{rest}")),
            None => shown.push_str(part),
        }
    }
    shown
}

/// Where the value of `name = value`, `"name": "value"`, `name='value'`, `\"name\":\"value\"` is, when the
/// name begins at `at`.
fn value_after(line: &str, name: &str, at: usize) -> Option<Range<usize>> {
    let line = line.trim_end_matches(['\r', '\n']);
    let rest = line[at + name.len()..]
        .trim_start_matches(|it: char| it.is_ascii_alphanumeric() || "_-".contains(it))
        .trim_start_matches(['"', '\'', '\\'])
        .trim_start();
    let after = rest.strip_prefix(['=', ':'])?.trim_start();
    let opening = after.trim_start_matches('\\');
    let escapes = after.len() - opening.len();
    let quote = opening.chars().next().filter(|it| "\"'".contains(*it));
    let (start, length) = match quote {
        Some(quote) => {
            let text = &opening[quote.len_utf8()..];
            let length = closing(text, quote, escapes).unwrap_or(text.len());
            (line.len() - text.len(), length)
        }
        None => {
            let start = line.len() - after.len();
            (start, bare_length(line, start, name == HEADER))
        }
    };
    let value = &line[start..start + length];
    // Counters of such things, and what says that there is none, are no secrets.
    let is_plain = (quote.is_none() && value.parse::<f64>().is_ok())
        || ["", "null", "true", "false", HIDDEN].contains(&value);
    (!is_plain).then_some(start..start + length)
}

/// The length of a value without quotes that begins at `start`; that of the header has blanks and commas in it.
fn bare_length(line: &str, start: usize, is_header: bool) -> usize {
    let rest = &line[start..];
    let ends = |it: char| !is_header && (it.is_whitespace() || ",}])".contains(it));
    let length = rest.find(ends).unwrap_or(rest.len());
    // Where the line is JSON, the string around it goes on to be one.
    match closing(&rest[..length], '"', 0) {
        Some(end) if is_in_string(&line[..start]) => end,
        _ => length,
    }
}

/// Where a string ends that a quote behind so many backslashes began. Each level of JSON within JSON doubles
/// the backslashes and adds one to a quote, so that more of them are a quote in the text, or a backslash.
fn closing(text: &str, quote: char, escapes: usize) -> Option<usize> {
    let mut before = 0;
    for (at, it) in text.char_indices() {
        if it == quote && before % (2 * (escapes + 1)) == escapes {
            return Some(at - escapes);
        }
        before = if it == '\\' { before + 1 } else { 0 };
    }
    None
}

/// Whether a string of JSON is open at the end of the text.
fn is_in_string(text: &str) -> bool {
    let (mut rest, mut is_open) = (text, false);
    while let Some(at) = closing(rest, '"', 0) {
        rest = &rest[at + 1..];
        is_open = !is_open;
    }
    is_open
}

/// See the module.
pub(super) struct Bundle<W: Write> {
    archive: Builder<GzEncoder<W>>,
    secrets: Secrets,
    at_s: u64,
    left: usize,
}

impl<W: Write> Bundle<W> {
    /// An empty one; its parts were made at `at_s`.
    pub(super) fn new(file: W, secrets: Secrets, at_s: u64) -> Self {
        Self {
            archive: Builder::new(GzEncoder::new(file, Compression::default())),
            secrets,
            at_s,
            left: BUNDLE_BYTES_MAX,
        }
    }

    /// Adds a part; of one that is too long, the beginning.
    pub(super) fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.put(name, text, false)
    }

    /// Adds a part; of one that is too long, the end.
    pub(super) fn add_end(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.put(name, text, true)
    }

    fn put(&mut self, name: &str, text: &str, keeps_end: bool) -> io::Result<()> {
        let text = self.secrets.hide(text);
        let room = PART_BYTES_MAX.min(self.left);
        let part = if text.len() <= room {
            text
        } else {
            let (cut, length) = (text.len() - room, text.len());
            let mark = format!("[{cut} of {length} bytes were left out]\n");
            if keeps_end {
                format!("{mark}{}", &text[text.ceil_char_boundary(cut)..])
            } else {
                format!("{}\n{mark}", &text[..text.floor_char_boundary(room)])
            }
        };
        self.left = self.left.saturating_sub(part.len());
        let mut header = Header::new_gnu();
        header.set_size(part.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.at_s);
        let path = format!("tidegate-diagnose/{name}");
        self.archive.append_data(&mut header, path, part.as_bytes())
    }

    /// Ends it; what it was written to.
    pub(super) fn finish(self) -> io::Result<W> {
        self.archive.into_inner()?.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said, and what of it is shown.
    const SHOWN: &[(&str, &str)] = &[
        ("a topsecrettoken b", "a *** b"),
        ("hunter22", "***"),
        (
            "url = \"postgres://u:pw@h/d\"\n",
            "url = \"postgres://u:***@h/d\"\n",
        ),
        (
            "postgres://u@h/d https://h:1/x",
            "postgres://u@h/d https://h:1/x",
        ),
        ("tgjoin1.abc-_.def next", "tgjoin1.*** next"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        (
            "authorization: Basic dXNlcjpwdw==\r\n",
            "authorization: ***\r\n",
        ),
        (
            "Authorization: Digest username=\"u\", response=\"r\"",
            "Authorization: ***",
        ),
        (
            r#"{"authorization":"Basic a b","n":1}"#,
            r#"{"authorization":"***","n":1}"#,
        ),
        (
            r#"{"said":"Authorization: Basic dXN=","n":1}"#,
            r#"{"said":"Authorization: ***","n":1}"#,
        ),
        (
            r#"{"said":"Authorization: ***"}"#,
            r#"{"said":"Authorization: ***"}"#,
        ),
        ("bearer abc next", "bearer *** next"),
        ("BEARER  abc", "BEARER  ***"),
        (r#"{"a":"Bearer abc"}"#, r#"{"a":"Bearer ***"}"#),
        ("secret: token=abcdefgh", "secret: ***"),
        ("secret: token=\"a b\" c", "secret: ***\" c"),
        ("token=abc password=\u{e4}\u{f6}", "token=*** password=***"),
        ("password = 'two words'\n", "password = '***'\n"),
        ("password = \"not closed\n", "password = \"***\n"),
        ("password = \"123456\"", "password = \"***\""),
        ("secret-key: abc", "secret-key: ***"),
        (
            r#"{"password":"a\"b","n":1}"#,
            r#"{"password":"***","n":1}"#,
        ),
        (
            r#"{"a":"{\"token\":\"abc\",\"n\":1}"}"#,
            r#"{"a":"{\"token\":\"***\",\"n\":1}"}"#,
        ),
        (
            r#"{"a":"{\"token\":\"a\\\"b\",\"n\":1}"}"#,
            r#"{"a":"{\"token\":\"***\",\"n\":1}"}"#,
        ),
        (r#"{"said":"tickets: 12"}"#, r#"{"said":"tickets: 12"}"#),
        (
            "admin_token_sha256 = \"0a1b\"",
            "admin_token_sha256 = \"***\"",
        ),
        ("{\"token\":\"x y\",\"n\":1}", "{\"token\":\"***\",\"n\":1}"),
        ("token=abc, id=7", "token=***, id=7"),
        ("tidegate_tokens_total 7", "tidegate_tokens_total 7"),
        ("tickets: 12", "tickets: 12"),
        (
            "-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\nx\n",
            "***\n***\n***\nx\n",
        ),
    ];

    #[test]
    fn secrets_are_hidden_and_the_rest_stays() {
        let mut secrets = Secrets::default();
        secrets.add("postgres://tide:hunter22@db:5432/x");
        secrets.add("topsecrettoken");
        for (text, shown) in SHOWN {
            assert_eq!(secrets.hide(text), *shown, "{text}");
        }
    }

    #[test]
    fn parts_are_cut_to_their_size_and_say_so() {
        let mut bundle = Bundle::new(Vec::new(), Secrets::default(), 0);
        let long = "\u{e4}".repeat(PART_BYTES_MAX);
        bundle.add("beginning", &long).unwrap();
        bundle.add_end("end", &long).unwrap();
        let file = bundle.finish().unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&*file));
        let sizes: Vec<u64> = archive
            .entries()
            .unwrap()
            .map(|part| part.unwrap().size())
            .collect();
        let bound = PART_BYTES_MAX as u64 + 64;
        assert!(
            sizes.len() == 2 && sizes.iter().all(|size| *size <= bound),
            "{sizes:?}"
        );
    }
}
