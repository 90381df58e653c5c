//! One workload with one seed, all its moments, all their images: the piece of work that a ledger
//! counts. The same seed and effort give the same images under the same numbers.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use super::boot::{Expectation, Observed, boot, observe, open};
use super::enumeration::{Effort, Enumeration};
use super::kind::Kind;
use super::script::{Moment, Recording};
use super::volatile::Volatile;
use crate::testing::trace::{Op, TraceVfs, Tree};

/// Failures that are kept of one unit; the rest is counted.
const FAILURES_MAX: usize = 20;

/// Which image of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// So many operations were done.
    pub moment: usize,
    /// The image of that moment.
    pub image: usize,
    /// The same of a crash in the recovery of that image. `moment` and `image` are then of the first.
    pub second: Option<(usize, usize)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.moment, self.image)?;
        match self.second {
            Some((moment, image)) => write!(f, ".{moment}.{image}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<usize>, _> = text.split('.').map(str::parse).collect();
        let (moment, image, second) = match numbers.as_deref() {
            Ok([moment, image]) => (*moment, *image, None),
            Ok([moment, image, second, other]) => (*moment, *image, Some((*second, *other))),
            _ => return Err(format!("{text:?} is not 1.2 or 1.2.3.4")),
        };
        Ok(Self {
            moment,
            image,
            second,
        })
    }
}

/// An image that a log does not survive.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which.
    pub place: Place,
    /// What the crash did.
    pub kind: Kind,
    /// What is wrong.
    pub what: String,
}

/// What came of a unit.
#[derive(Debug, Clone, Default)]
pub struct UnitReport {
    /// Moments looked at.
    pub moments: u64,
    /// Distinct images, by the kind of the first that looked so.
    pub images: BTreeMap<Kind, u64>,
    /// Times an image was opened; more than images, as one may be met again when more is known.
    pub boots: u64,
    /// Images that failed.
    pub failed: u64,
    /// The first of them.
    pub failures: Vec<Failure>,
}

impl UnitReport {
    /// Distinct images.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        self.images.values().sum()
    }
}

/// Boots all images of a recording.
#[must_use]
pub fn run_unit(recording: &Recording, seed: u64, effort: &Effort) -> UnitReport {
    let mut unit = Unit::new(recording, seed, *effort, None);
    unit.run();
    unit.report
}

/// Boots one image of a recording, and gives it with what came of it; `None` when there is no such.
#[must_use]
pub fn replay_image(
    recording: &Recording,
    seed: u64,
    effort: &Effort,
    place: Place,
) -> Option<(Tree, Result<Observed, String>)> {
    let mut unit = Unit::new(recording, seed, *effort, Some(place));
    unit.run();
    unit.replayed
}

struct Unit<'a> {
    recording: &'a Recording,
    seed: u64,
    effort: Effort,
    /// Images by fingerprint.
    seen: HashMap<u64, Option<Observed>>,
    report: UnitReport,
    /// The one image that is asked for.
    wanted: Option<Place>,
    replayed: Option<(Tree, Result<Observed, String>)>,
}

impl<'a> Unit<'a> {
    fn new(recording: &'a Recording, seed: u64, effort: Effort, wanted: Option<Place>) -> Self {
        Self {
            recording,
            seed,
            effort,
            seen: HashMap::new(),
            report: UnitReport::default(),
            wanted,
            replayed: None,
        }
    }

    fn run(&mut self) {
        let recording = self.recording;
        let mut volatile = Volatile::default();
        let mut enumeration = Enumeration::new(self.seed);
        let mut expected = Expectation::default();
        let mut moments = recording.moments.iter().peekable();
        for done in 0..=recording.trace.len() {
            if let Some(op) = done.checked_sub(1).map(|last| &recording.trace[last]) {
                apply(&mut volatile, &mut enumeration, op);
            }
            let mut is_opening = false;
            while let Some((_, moment)) = moments.next_if(|(at, _)| *at <= done) {
                // What an opening takes back it takes back with its first operation.
                if *moment == Moment::Opening {
                    is_opening = true;
                } else {
                    expected.note(moment);
                }
            }
            if self.is_wanted(done) {
                self.moment(&volatile, &mut enumeration, done, &expected);
            }
            if is_opening {
                expected.note(&Moment::Opening);
            }
        }
    }

    fn is_wanted(&self, moment: usize) -> bool {
        self.wanted.is_none_or(|wanted| wanted.moment == moment)
    }

    fn moment(
        &mut self,
        volatile: &Volatile,
        enumeration: &mut Enumeration,
        moment: usize,
        expected: &Expectation,
    ) {
        self.report.moments += 1;
        let limits = (self.effort.per_moment, self.effort.random);
        let images = enumeration.images(volatile, moment, limits);
        let every = self.effort.second_crash_every;
        let crashes_twice = every > 0 && moment.is_multiple_of(every);
        let other = 1 + moment / every.max(1) % images.len().max(2);
        for (image, (kind, tree)) in images.into_iter().enumerate() {
            let place = Place {
                moment,
                image,
                second: None,
            };
            if crashes_twice && image == 0 {
                // A kill, and a power loss while the next process recovers.
                self.second_crash(volatile.clone(), place, expected);
            } else if crashes_twice && image == other {
                self.second_crash(Volatile::new(tree.clone()), place, expected);
            }
            match kind {
                Kind::Kill => self.image(place, kind, tree, &expected.of_kill()),
                _ => self.image(place, kind, tree, expected),
            }
        }
    }

    fn image(&mut self, place: Place, kind: Kind, tree: Tree, expected: &Expectation) {
        if let Some(wanted) = self.wanted {
            if wanted == place {
                let recording = self.recording;
                let result = boot(
                    tree.clone(),
                    &recording.config,
                    &recording.history,
                    expected,
                );
                self.replayed = Some((tree, result));
            }
            return;
        }
        let fingerprint = tree.fingerprint();
        let before = self.seen.get(&fingerprint).copied();
        match before {
            Some(None) => return,
            Some(Some(observed)) if expected.is_met_by(&observed) => return,
            Some(Some(_)) => {}
            None => *self.report.images.entry(kind).or_default() += 1,
        }
        self.report.boots += 1;
        let result = boot(
            tree,
            &self.recording.config,
            &self.recording.history,
            expected,
        );
        self.seen.insert(fingerprint, result.as_ref().ok().copied());
        if let Err(what) = result {
            self.failed(place, kind, what);
        }
    }

    fn failed(&mut self, place: Place, kind: Kind, what: String) {
        self.report.failed += 1;
        if self.report.failures.len() < FAILURES_MAX {
            self.report.failures.push(Failure { place, kind, what });
        }
    }

    /// Opens what the first crash left, over a disk that writes down what recovery does, and crashes
    /// that at each of its moments.
    fn second_crash(&mut self, first: Volatile, place: Place, expected: &Expectation) {
        let recording = self.recording;
        let vfs = TraceVfs::recording(first.live());
        let Ok(opened) = open(&vfs, &recording.config) else {
            // The image itself is booted as well, and says why.
            return;
        };
        let trace = vfs.take_trace();
        let Ok(observed) = observe(&vfs, &opened, &recording.history, expected) else {
            return;
        };
        drop(opened);
        let mut volatile = first;
        let mut enumeration = Enumeration::new(self.seed ^ place.image as u64);
        let mut expected = Expectation {
            is_clean: false,
            ..expected.clone()
        };
        for done in 1..=trace.len() {
            apply(&mut volatile, &mut enumeration, &trace[done - 1]);
            if done == trace.len() {
                // It was served: it may not become something else.
                expected.acknowledged = observed.entry;
                expected.submitted = observed.entry;
            }
            let limits = (self.effort.per_second_moment, self.effort.random.min(2));
            let images = enumeration.images(&volatile, done, limits);
            for (image, (_, tree)) in images.into_iter().enumerate() {
                let second = Some((done, image));
                let place = Place { second, ..place };
                self.image(place, Kind::SecondCrash, tree, &expected);
            }
        }
    }
}

fn apply(volatile: &mut Volatile, enumeration: &mut Enumeration, op: &Op) {
    match op {
        Op::Write(node, ..) | Op::SetLen(node, _) | Op::SyncFile(node) => {
            enumeration.forget(*node);
        }
        Op::SyncAll => *enumeration = Enumeration::new(enumeration.seed()),
        Op::Link(..) | Op::Unlink(_) | Op::Rename(..) | Op::SyncDir(_) => {}
    }
    volatile.apply(op);
}
