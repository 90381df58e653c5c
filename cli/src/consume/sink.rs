//! Writes pages from a thread of its own, so that an output nobody reads blocks nothing else.
//!
//! One page at a time: who hands one over waits for its end. The thread keeps the output for its
//! whole life; when the process ends over a blocked write, nothing else waits for that output.

use std::io::{BufWriter, Write};

use tidegate_client::Page;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::consume::format::{self, OutputFormat};
use crate::failure::Failure;

/// Collected before a write to the pipe or terminal.
const OUTPUT_BUFFER_BYTES: usize = 256 * 1024;

/// What is written of a record, and of how many.
#[derive(Clone, Debug)]
pub(crate) struct SinkRule {
    pub(crate) format: OutputFormat,
    pub(crate) key_separator: String,
    pub(crate) max: u64,
}

/// The near end of the writing thread.
#[derive(Debug)]
pub(crate) struct Sink {
    pages: mpsc::Sender<Page>,
    outcomes: mpsc::Receiver<Result<u64, Failure>>,
    written: u64,
    /// Not awaited: a blocked write cannot be broken off, and the process ends over it.
    _thread: JoinHandle<()>,
}

impl Sink {
    /// Starts the thread; `open` is called there.
    pub(crate) fn start<W: Write>(
        rule: SinkRule,
        open: impl FnOnce() -> W + Send + 'static,
    ) -> Self {
        let (pages, mut inbox) = mpsc::channel::<Page>(1);
        let (outbox, outcomes) = mpsc::channel(1);
        let thread = tokio::task::spawn_blocking(move || {
            let mut out = BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, open());
            let mut written = 0;
            while let Some(page) = inbox.blocking_recv() {
                let outcome = write_page(&mut out, &page, &rule, &mut written);
                let failed = outcome.is_err();
                if outbox.blocking_send(outcome.map(|()| written)).is_err() || failed {
                    return;
                }
            }
        });
        Self {
            pages,
            outcomes,
            written: 0,
            _thread: thread,
        }
    }

    /// Records written so far, of whole pages.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Begins to write a page; `finish` is to be awaited before the next one.
    pub(crate) fn begin(&mut self, page: Page) {
        let handed_over = self.pages.try_send(page);
        // A thread that is gone has left its reason for `finish`.
        debug_assert!(!matches!(
            handed_over,
            Err(mpsc::error::TrySendError::Full(_))
        ));
    }

    /// Waits until the page is written. May be dropped and called again.
    pub(crate) async fn finish(&mut self) -> Result<(), Failure> {
        let outcome = self.outcomes.recv().await;
        self.written = outcome.unwrap_or_else(|| Err(Failure::failed("the writing broke off")))?;
        Ok(())
    }
}

/// Written out whole after each page: a follower should see a record when it comes.
fn write_page(
    out: &mut impl Write,
    page: &Page,
    rule: &SinkRule,
    written: &mut u64,
) -> Result<(), Failure> {
    let mut records = page.records();
    let outcome = loop {
        if *written >= rule.max {
            break Ok(());
        }
        match records.next() {
            None => break Ok(()),
            Some(Err(error)) => break Err(error.into()),
            Some(Ok(received)) => {
                format::write(out, &received, rule.format, &rule.key_separator)
                    .map_err(|error| Failure::output(&error))?;
                *written += 1;
            }
        }
    };
    // What comes before a record that cannot be read is good.
    out.flush().map_err(|error| Failure::output(&error))?;
    outcome
}
