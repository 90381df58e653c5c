//! Texts without their secrets: those that are known, and what looks like one.
//!
//! Rather too much is hidden than too little. Invariant: what follows a telling name - in settings, in JSON,
//! in JSON within JSON, on a command line, over several lines - is hidden up to its end.

use std::ops::Range;

/// What stands where a secret was.
const HIDDEN: &str = "***";
/// Shorter texts would be found everywhere.
const SECRET_LENGTH_MIN: usize = 6;
/// Words after which a value is hidden, whatever it is: settings and fields of this project, and what
/// others call theirs.
const NAMES: [&str; 8] = [
    "token", "secret", "password", "passwd", HEADER, "ticket", "key_pem", "sha256",
];

/// Lines that one value has at most.
const OPEN_LINES_MAX: usize = 200;
/// The last line of a key has it.
const KEY_END: &str = "-----END";

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
        let mut open: Option<Open> = None;
        let lines = text.split_inclusive('\n').map(|line| {
            let Some(mut value) = open.take() else {
                let (shown, next) = hide_in_line(line);
                open = next;
                return shown;
            };
            let length = value.length(line);
            open = value.unless_ended(length.is_some());
            let rest = length.map_or("", |length| &line[length..]);
            if rest.trim().is_empty() {
                return format!("{HIDDEN}\n");
            }
            let (shown, next) = hide_in_line(rest);
            open = next;
            format!("{HIDDEN}{shown}")
        });
        lines.collect()
    }
}

/// A value that goes on to the next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    ending: Ending,
    /// After so many lines it was none: half a line in a log must not hide all that follows.
    lines_left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// A line with these words.
    Mark(&'static str),
    /// The brackets that are open are closed.
    Brackets(usize),
}

impl Open {
    const fn new(ending: Ending) -> Self {
        Self {
            ending,
            lines_left: OPEN_LINES_MAX,
        }
    }

    /// How much of the line it is, when it ends there.
    fn length(&mut self, line: &str) -> Option<usize> {
        match self.ending {
            Ending::Mark(KEY_END) => line.contains(KEY_END).then_some(line.len()),
            Ending::Mark(mark) => line.find(mark).map(|at| at + mark.len()),
            Ending::Brackets(depth) => match list_length(line, depth) {
                Ok(length) => Some(length),
                Err(depth) => {
                    self.ending = Ending::Brackets(depth);
                    None
                }
            },
        }
    }

    fn unless_ended(self, has_ended: bool) -> Option<Self> {
        let lines_left = self.lines_left.checked_sub(1).filter(|_| !has_ended)?;
        Some(Self { lines_left, ..self })
    }
}

/// Hides what looks like a secret: keys, join tokens, passwords in addresses, values behind telling names.
/// With it, what goes on to the next line.
fn hide_in_line(line: &str) -> (String, Option<Open>) {
    if line.contains("-----BEGIN") && line.contains("PRIVATE KEY") {
        let open = Open::new(Ending::Mark(KEY_END));
        let open = (!line.contains(KEY_END)).then_some(open);
        return (format!("{HIDDEN}\n"), open);
    }
    let mut line = hide_after(line, "tgjoin1.", |it| {
        it.is_ascii_alphanumeric() || "-_.".contains(it)
    });
    line = hide_after(&line, "bearer ", |it| {
        !it.is_whitespace() && !"\"'\\".contains(it)
    });
    line = hide_passwords(&line);
    let lower = line.to_ascii_lowercase();
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut open = None;
    for name in NAMES {
        for (at, _) in lower.match_indices(name) {
            if let Some((range, goes_on)) = value_after(&line, name, at) {
                found.push(range);
                open = open.or(goes_on);
            }
            found.extend(argument_after(&line, name, at));
        }
    }
    // From the back, so that the places of the others stay what they are.
    for range in merged(found).into_iter().rev() {
        line.replace_range(range, HIDDEN);
    }
    (line, open)
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
/// name begins at `at`; of one that goes on to the next line, what is here.
fn value_after(line: &str, name: &str, at: usize) -> Option<(Range<usize>, Option<Open>)> {
    let line = line.trim_end_matches(['\r', '\n']);
    let rest = line[at + name.len()..]
        .trim_start_matches(|it: char| it.is_ascii_alphanumeric() || "_-".contains(it))
        .trim_start_matches(['"', '\'', '\\'])
        .trim_start();
    let after = rest.strip_prefix(['=', ':'])?.trim_start();
    let start = line.len() - after.len();
    if after.starts_with("\"\"\"") || after.starts_with("'''") || after.starts_with(['[', '{']) {
        return value_of_lines(after)
            .map(|(range, open)| (start + range.start..start + range.end, open));
    }
    let opening = after.trim_start_matches('\\');
    let escapes = after.len() - opening.len();
    let quote = opening.chars().next().filter(|it| "\"'".contains(*it));
    let (start, length) = match quote {
        Some(quote) => {
            let text = &opening[quote.len_utf8()..];
            let length = closing(text, quote, escapes).unwrap_or(text.len());
            (line.len() - text.len(), length)
        }
        None => (start, bare_length(line, start, name == HEADER)),
    };
    let value = &line[start..start + length];
    // Counters of such things, and what says that there is none, are no secrets.
    let is_plain = (quote.is_none() && value.parse::<f64>().is_ok())
        || ["", "null", "true", "false", HIDDEN].contains(&value);
    (!is_plain).then_some((start..start + length, None))
}

/// Where a value is that may have several lines: a list, a table, a text in three quotes.
fn value_of_lines(text: &str) -> Option<(Range<usize>, Option<Open>)> {
    for mark in ["\"\"\"", "'''"] {
        if let Some(inner) = text.strip_prefix(mark) {
            let start = mark.len();
            return Some(match inner.find(mark) {
                Some(length) => (start..start + length, None),
                None => (start..text.len(), Some(Open::new(Ending::Mark(mark)))),
            });
        }
    }
    match list_length(text, 0) {
        // Nothing is in it.
        Ok(2) => None,
        Ok(length) => Some((0..length, None)),
        Err(depth) => Some((0..text.len(), Some(Open::new(Ending::Brackets(depth))))),
    }
}

/// Where the value of `--name value` and of `"--name", "value"` is, when the name begins at `at`.
fn argument_after(line: &str, name: &str, at: usize) -> Option<Range<usize>> {
    let is_word = |it: char| it.is_ascii_alphanumeric() || "_-".contains(it);
    let word = line[..at].trim_end_matches(is_word).len();
    if !line[word..].starts_with("--") {
        return None;
    }
    let line = line.trim_end_matches(['\r', '\n']);
    let rest = line.get(at + name.len()..)?.trim_start_matches(is_word);
    let bare = rest.trim_start_matches(['"', '\'', '\\']);
    let next = match bare.len() == rest.len() {
        true => rest.strip_prefix(' ')?,
        false => bare.trim_start().trim_start_matches(','),
    };
    let value = next.trim_start().trim_start_matches(['"', '\'', '\\']);
    let ends = |it: char| it.is_whitespace() || "\"'\\,]".contains(it);
    let length = value.find(ends).unwrap_or(value.len());
    let start = line.len() - value.len();
    (length > 0).then_some(start..start + length)
}

/// The length of a list or table, with `depth` brackets open before it; or how many are open at the end of
/// the text.
fn list_length(text: &str, mut depth: usize) -> Result<usize, usize> {
    let (mut at, mut escapes) = (0, 0);
    while let Some(it) = text[at..].chars().next() {
        at += it.len_utf8();
        match it {
            '[' | '{' => depth += 1,
            ']' | '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Ok(at);
                }
            }
            '"' | '\'' => match closing(&text[at..], it, escapes) {
                Some(length) => at += length + escapes + 1,
                None => return Err(depth),
            },
            _ => {}
        }
        escapes = if it == '\\' { escapes + 1 } else { 0 };
    }
    Err(depth)
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
        ("run --token abcdef --rack b", "run --token *** --rack b"),
        (
            "[\"--token\", \"abc\", \"x\"]",
            "[\"--token\", \"***\", \"x\"]",
        ),
        (
            r#"{"argv":"[\"--join-token\",\"abc\"]"}"#,
            r#"{"argv":"[\"--join-token\",\"***\"]"}"#,
        ),
        ("--admin-token-sha256 0a1b", "--admin-token-sha256 ***"),
        ("give --token, or none", "give --token, or none"),
        ("tokens = [\"a]b\", 'c'] # x", "tokens = *** # x"),
        (r#"{"secrets":["a","b"],"n":1}"#, r#"{"secrets":***,"n":1}"#),
        (r#"{"tokens":[],"n":1}"#, r#"{"tokens":[],"n":1}"#),
        (
            "\"tokens\": [\n  \"abc\",\n  \"d]e\"\n], \"n\": 1\nx = 2\n",
            "\"tokens\": ***\n***\n***\n***, \"n\": 1\nx = 2\n",
        ),
        (
            "password = \"\"\"two\nlines\"\"\" # x\ny = 1\n",
            "password = \"\"\"***\n*** # x\ny = 1\n",
        ),
        ("password = '''one''' # x", "password = '''***''' # x"),
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
    fn half_a_list_in_a_log_does_not_hide_all_that_follows() {
        let text = format!("token=[abc\n{}", "a line\n".repeat(OPEN_LINES_MAX + 20));
        let shown = Secrets::default().hide(&text);
        assert!(shown.starts_with("token=***\n***\n") && shown.ends_with("a line\n"));
    }
}
