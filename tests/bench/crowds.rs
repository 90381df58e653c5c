//! A crowd of sockets in processes of its own: one process may not open as many files as a server has
//! sockets.
//!
//! A child opens its members, says so on its standard output, and then does what its standard input says.
//! Invariant: children end with the value that started them.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tidegate_tests::crowd::{Crowd, raise_open_files};
use tidegate_tests::http::Target;
use tidegate_tests::muxed::MuxedCrowd;
use tokio::sync::mpsc;
use tokio::task::block_in_place;

/// Files that a process of a crowd needs beside its sockets.
const SPARE_FILES: usize = 200;
/// A server closes a socket that answers no ping for 45 s.
const PONG_EVERY: Duration = Duration::from_secs(15);

/// How sockets are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// A connection each.
    Http1,
    /// Hundreds on a connection.
    Http2,
}

/// Children with open sockets.
pub(crate) struct Crowds {
    children: Vec<Part>,
}

struct Part {
    child: Child,
    orders: ChildStdin,
    words: Lines<BufReader<ChildStdout>>,
}

impl Crowds {
    /// Opens `count` sockets on a server without TLS, by as many processes as their files ask for.
    pub(crate) fn open(
        target: &Target,
        carrier: Carrier,
        path: &str,
        count: usize,
        greeting: &str,
    ) -> Result<Self> {
        let files = usize::try_from(raise_open_files())?;
        let each_max = match carrier {
            Carrier::Http1 => files.saturating_sub(SPARE_FILES).max(1),
            Carrier::Http2 => usize::MAX,
        };
        let mut crowds = Self {
            children: Vec::new(),
        };
        let mut first = 0;
        while first < count {
            let of_this = each_max
                .min((count - first).div_ceil(2).max(1_000))
                .min(count - first);
            let mut child = Command::new(std::env::current_exe()?)
                .arg("crowd")
                .arg(format!("{carrier:?}"))
                .args([&target.url, path])
                .args([first.to_string(), of_this.to_string()])
                .arg(greeting)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let words = child.stdout.take().context("standard output")?;
            let mut part = Part {
                orders: child.stdin.take().context("standard input")?,
                child,
                words: BufReader::new(words).lines(),
            };
            part.hear("open")?;
            crowds.children.push(part);
            first += of_this;
        }
        Ok(crowds)
    }

    /// Waits until every one of them has been told `word`.
    pub(crate) fn all_say(&mut self, word: &str) -> Result<()> {
        for part in &mut self.children {
            part.orders.write_all(format!("{word}\n").as_bytes())?;
            part.orders.flush()?;
        }
        for part in &mut self.children {
            part.hear("said")?;
        }
        Ok(())
    }
}

impl Part {
    /// Its next word; the child gives up when something takes too long.
    fn hear(&mut self, word: &str) -> Result<()> {
        let line = block_in_place(|| self.words.next()).transpose()?;
        ensure!(line.as_deref() == Some(word), "a crowd says {line:?}");
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have ended by itself; either way nothing is left behind.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The child's side.
pub(crate) async fn join(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let mut next = || {
        arguments
            .next()
            .context("carrier, URL, path, first, count, greeting")
    };
    let (carrier, url, path) = (next()?, next()?, next()?);
    let (first, count): (usize, usize) = (next()?.parse()?, next()?.parse()?);
    let greeting = next()?;
    let _ = raise_open_files();
    let target = Target {
        url,
        ca_pem: None,
        token: None,
    };
    let mut crowd = match carrier.as_str() {
        "Http1" => Either::One(Crowd::open_from(&target, &path, first, count, &greeting).await?),
        "Http2" => Either::Many(MuxedCrowd::open(&target, &path, count, &greeting).await?),
        other => bail!("no carrier: {other}"),
    };
    say("open")?;
    let (orders, mut next_order) = mpsc::channel(1);
    std::thread::spawn(move || {
        for order in std::io::stdin().lines() {
            if orders.blocking_send(order).is_err() {
                return;
            }
        }
    });
    let mut pongs = tokio::time::interval(PONG_EVERY);
    loop {
        tokio::select! {
            order = next_order.recv() => {
                let Some(word) = order.transpose()? else { return Ok(()) };
                crowd.all_say(&word).await?;
                say("said")?;
            }
            _ = pongs.tick() => crowd.pong().await?,
        }
    }
}

fn say(word: &str) -> Result<()> {
    let mut out = std::io::stdout();
    out.write_all(format!("{word}\n").as_bytes())?;
    Ok(out.flush()?)
}

enum Either {
    One(Crowd),
    Many(MuxedCrowd),
}

impl Either {
    async fn all_say(&mut self, word: &str) -> Result<()> {
        match self {
            Self::One(crowd) => crowd.all_say(word).await.map(drop),
            Self::Many(crowd) => crowd.all_say(word).await,
        }
    }

    async fn pong(&mut self) -> Result<()> {
        match self {
            Self::One(crowd) => crowd.pong().await,
            Self::Many(crowd) => crowd.pong(),
        }
    }
}
