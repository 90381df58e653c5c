//! What a cluster says of storage units that its layout has, and what follows from that at a start.
//!
//! Invariant: a unit is left out of the layout only on the word of the metadata that it was removed. That the
//! metadata does not know it says nothing: it may have been interrupted before it registered, or the metadata
//! may come from an older backup.

/// A storage unit, as the cluster sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// It has no certificate yet, and joins.
    New,
    /// It is entered.
    Member,
    /// It was entered, and operators removed it.
    Removed,
    /// It has a certificate; the metadata has never heard of it.
    Unknown,
}

impl Membership {
    /// That of a unit with a certificate, by whether the metadata has it as removed, if it has it at all.
    pub(super) fn of(removed: Option<bool>) -> Self {
        match removed {
            Some(false) => Self::Member,
            Some(true) => Self::Removed,
            None => Self::Unknown,
        }
    }

    /// Whether somebody who asks for this very unit has it entered: under its number alone it would not be let
    /// in, or not for sure.
    pub(super) fn needs_entering(self) -> bool {
        matches!(self, Self::Removed | Self::Unknown)
    }
}

/// What becomes of units at a start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    /// Entered again, and started.
    pub(super) taken_back: Vec<u32>,
    /// Not started, and not in the layout any more.
    pub(super) left_out: Vec<u32>,
    /// Started; it is no failure of the cluster when they are not let in.
    pub(super) doubtful: Vec<u32>,
}

/// Sorts units by what the cluster says of them. `were_asked_for`: a number of units was, and these are in it.
pub(super) fn sort(units: &[(u32, Membership)], were_asked_for: bool) -> Sorted {
    let mut sorted = Sorted::default();
    for (number, membership) in units {
        match membership {
            Membership::New | Membership::Member => {}
            Membership::Removed if were_asked_for => sorted.taken_back.push(*number),
            Membership::Removed => sorted.left_out.push(*number),
            Membership::Unknown => sorted.doubtful.push(*number),
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_units_that_were_removed_are_left_out_and_unknown_ones_are_started() {
        let units = [
            (1, Membership::of(Some(false))),
            (2, Membership::of(Some(true))),
            (3, Membership::of(None)),
            (4, Membership::New),
        ];
        let sorted = sort(&units, false);
        assert_eq!((sorted.left_out, sorted.doubtful), (vec![2], vec![3]));
        assert!(sorted.taken_back.is_empty());
        let sorted = sort(&units, true);
        assert_eq!((sorted.taken_back, sorted.doubtful), (vec![2], vec![3]));
        assert!(sorted.left_out.is_empty());
        let entered = units.map(|(_, membership)| membership.needs_entering());
        assert_eq!(entered, [false, true, true, false]);
    }
}
