//! What one subscription may have outstanding, in records and in bytes.
//!
//! A side that was never granted is not limited. A frame goes out while every limited side is
//! positive, and may overdraw it once: so a frame larger than the credit still arrives, and what is
//! outstanding exceeds the grants by less than one frame.

use tidegate_proto::api::socket::Credit;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Window {
    records: Option<i64>,
    bytes: Option<i64>,
}

impl Window {
    pub(crate) fn new(credit: Option<Credit>) -> Self {
        let mut window = Window::default();
        window.grant(credit.unwrap_or_default());
        window
    }

    /// Adds to both sides; the first grant to a side starts its limit.
    pub(crate) fn grant(&mut self, credit: Credit) {
        add(&mut self.records, credit.records);
        add(&mut self.bytes, credit.bytes);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.records.is_none_or(|left| left > 0) && self.bytes.is_none_or(|left| left > 0)
    }

    /// Puts back what was spent on a frame that was not sent after all.
    pub(crate) fn refund(&mut self, records: u64, bytes: usize) {
        for (side, spent) in [
            (&mut self.records, records),
            (&mut self.bytes, bytes as u64),
        ] {
            if side.is_some() {
                add(side, Some(spent));
            }
        }
    }

    /// Takes one frame out.
    pub(crate) fn spend(&mut self, records: u64, bytes: usize) {
        assert!(self.is_open(), "a frame was sent without credit");
        take(&mut self.records, records);
        take(&mut self.bytes, bytes as u64);
    }
}

fn add(side: &mut Option<i64>, granted: Option<u64>) {
    if let Some(granted) = granted {
        let granted = i64::try_from(granted).unwrap_or(i64::MAX);
        *side = Some(side.unwrap_or(0).saturating_add(granted));
    }
}

fn take(side: &mut Option<i64>, spent: u64) {
    if let Some(left) = side {
        *left = left.saturating_sub(i64::try_from(spent).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_that_was_never_granted_is_not_limited() {
        let mut window = Window::new(None);
        window.spend(u64::MAX, usize::MAX);
        assert!(window.is_open());
    }

    #[test]
    fn a_frame_may_overdraw_once_and_the_debt_is_paid_by_later_grants() {
        let mut window = Window::new(Some(Credit {
            records: Some(1),
            bytes: None,
        }));
        window.spend(10, 100);
        assert!(!window.is_open());
        window.grant(Credit {
            records: Some(9),
            bytes: None,
        });
        assert!(!window.is_open());
        window.grant(Credit {
            records: Some(1),
            bytes: None,
        });
        assert!(window.is_open());
    }

    #[test]
    fn both_sides_must_be_positive() {
        let window = Window::new(Some(Credit {
            records: Some(5),
            bytes: Some(0),
        }));
        assert!(!window.is_open());
    }

    #[test]
    fn the_largest_grants_do_not_overflow() {
        let mut window = Window::new(Some(Credit {
            records: Some(u64::MAX),
            bytes: Some(1),
        }));
        window.grant(Credit {
            records: Some(u64::MAX),
            bytes: Some(u64::MAX),
        });
        assert!(window.is_open());
    }
}
