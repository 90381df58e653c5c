//! What a person reads when the server is ready: where it is, and lines that work when pasted.
//!
//! Pure; paths are quoted for a shell.

use std::path::Path;

/// What the banner tells.
#[derive(Debug)]
pub(crate) struct Banner<'a> {
    pub(crate) url: &'a str,
    pub(crate) data_dir: &'a Path,
    /// Of a TLS server: its authority and the file of the admin token.
    pub(crate) secured: Option<(&'a Path, &'a Path)>,
    pub(crate) demo_topic: Option<&'a str>,
    /// The profile that was written.
    pub(crate) profile: Option<&'a str>,
}

impl Banner<'_> {
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![
            String::new(),
            format!("  Tidegate is ready at {}", self.url),
            String::new(),
            format!("  data     {}", self.data_dir.display()),
        ];
        match self.secured {
            Some((ca, token)) => {
                lines.push(format!("  CA       {}", ca.display()));
                lines.push(format!("  token    {}", token.display()));
            }
            None => lines.push(
                "  WARNING  development mode: no encryption, and everybody on this machine is admin"
                    .to_owned(),
            ),
        }
        lines.push(String::new());
        lines.push("  Try:".to_owned());
        lines.extend(
            self.curl_lines()
                .into_iter()
                .map(|line| format!("    {line}")),
        );
        if let Some(profile) = self.profile {
            let flag = if profile == "local" {
                String::new()
            } else {
                format!(" --profile {profile}")
            };
            lines.push(format!("    tidegate{flag} topic list"));
        }
        lines.push(format!(
            "    open {}/ in a browser, {}/docs for the API",
            self.url, self.url
        ));
        lines.push(String::new());
        lines.join("\n")
    }

    fn curl_lines(&self) -> Vec<String> {
        let curl = match self.secured {
            Some((ca, token)) => format!(
                "curl --cacert {} -H \"Authorization: Bearer $(cat {})\"",
                quoted(ca),
                quoted(token)
            ),
            None => "curl".to_owned(),
        };
        match self.demo_topic {
            Some(topic) => vec![
                format!("{curl} -d 'hello' {}/v1/topics/{topic}/records", self.url),
                format!(
                    "{curl} '{}/v1/topics/{topic}/records?from=earliest'",
                    self.url
                ),
            ],
            None => vec![format!("{curl} {}/v1/topics", self.url)],
        }
    }
}

/// Quotes a path for a shell where it needs it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.into_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_a_shell() {
        assert_eq!(quoted(Path::new("/data/ca.pem")), "/data/ca.pem");
        assert_eq!(quoted(Path::new("/my data/it's")), r"'/my data/it'\''s'");
    }

    #[test]
    fn a_secured_server_shows_its_files_and_a_curl_line() {
        let text = Banner {
            url: "https://127.0.0.1:8443",
            data_dir: Path::new("/d"),
            secured: Some((Path::new("/d/ca.pem"), Path::new("/d/token"))),
            demo_topic: Some("demo"),
            profile: Some("local"),
        }
        .text();
        assert!(text.contains("--cacert /d/ca.pem"), "{text}");
        assert!(text.contains("$(cat /d/token)"), "{text}");
        assert!(text.contains("/v1/topics/demo/records"), "{text}");
        assert!(!text.contains("WARNING"), "{text}");
    }

    #[test]
    fn a_development_server_says_so_loudly() {
        let text = Banner {
            url: "http://127.0.0.1:8080",
            data_dir: Path::new("/d"),
            secured: None,
            demo_topic: None,
            profile: Some("lab"),
        }
        .text();
        assert!(text.contains("WARNING  development mode"), "{text}");
        assert!(text.contains("tidegate --profile lab topic list"), "{text}");
    }
}
