//! Round trips, refusals and damage.
