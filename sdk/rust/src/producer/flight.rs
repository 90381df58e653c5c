//! Requests of one partition that are under way, in the order of their sequence numbers, and the
//! rule for what happens when one fails. Pure: time and randomness come in as arguments.
//!
//! Only the oldest request is ever judged. One behind it that failed is sent again when it has
//! become the oldest: before that its failure may merely follow from the older one's, and a repeat
//! could overtake it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tidegate_proto::error::ErrorCode;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff;
use crate::error::Error;
use crate::producer::delivery::{Outcome, Placed};

/// A batch in a request: who waits for it and what it holds of the memory.
#[derive(Debug)]
pub(crate) struct Passenger {
    pub(crate) records: u32,
    pub(crate) held_bytes: usize,
    pub(crate) outcome: watch::Sender<Option<Outcome>>,
}

#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) number: u64,
    pub(crate) body: Bytes,
    pub(crate) passengers: Vec<Passenger>,
    pub(crate) deadline: Instant,
    failures: u32,
    landed: Option<Result<Placed, Error>>,
    /// Older requests were under way when it was sent: it may have overtaken them, whenever its
    /// answer is read.
    sent_behind: bool,
}

impl Flight {
    pub(crate) fn new(
        number: u64,
        body: Bytes,
        passengers: Vec<Passenger>,
        deadline: Instant,
    ) -> Self {
        Self {
            number,
            body,
            passengers,
            deadline,
            failures: 0,
            landed: None,
            sent_behind: false,
        }
    }
}

/// What to do about the oldest request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Its answer is still out.
    Wait,
    Delivered(Flight, Placed),
    /// Send the same bytes again after a pause.
    Repeat {
        number: u64,
        body: Bytes,
        pause: Duration,
    },
    /// Give up on it; what is behind it cannot follow any more.
    Failed(Error),
}

#[derive(Debug, Default)]
pub(crate) struct Flights {
    queue: VecDeque<Flight>,
}

impl Flights {
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Notes a request that is sent now.
    pub(crate) fn push(&mut self, mut flight: Flight) {
        flight.sent_behind = !self.queue.is_empty();
        self.queue.push_back(flight);
    }

    /// Notes the answer of request `number`.
    pub(crate) fn land(&mut self, number: u64, answer: Result<Placed, Error>) {
        if let Some(flight) = self.queue.iter_mut().find(|flight| flight.number == number) {
            flight.landed = Some(answer);
        }
    }

    /// Judges the oldest request. To be repeated until it says `Wait`.
    pub(crate) fn judge(&mut self, now: Instant, random: u64) -> Verdict {
        let Some(oldest) = self.queue.front_mut() else {
            return Verdict::Wait;
        };
        match oldest.landed.take() {
            None => Verdict::Wait,
            Some(Ok(placed)) => match self.queue.pop_front() {
                Some(flight) => Verdict::Delivered(flight, placed),
                None => Verdict::Wait,
            },
            Some(Err(error)) => {
                let overtaken = oldest.sent_behind && is_gap(&error);
                oldest.sent_behind = false;
                let pause = if overtaken {
                    Duration::ZERO
                } else {
                    oldest.failures += 1;
                    backoff::pause(oldest.failures, &error, random)
                };
                if (overtaken || error.is_retryable()) && now + pause < oldest.deadline {
                    let (number, body) = (oldest.number, oldest.body.clone());
                    return Verdict::Repeat {
                        number,
                        body,
                        pause,
                    };
                }
                Verdict::Failed(error)
            }
        }
    }

    /// Empties the queue after a failure.
    pub(crate) fn abandon(&mut self) -> impl Iterator<Item = Passenger> {
        std::mem::take(&mut self.queue)
            .into_iter()
            .flat_map(|flight| flight.passengers)
    }
}

/// What the server says to a request that came before the one it follows; to the second of a new
/// producer, that it does not know it.
fn is_gap(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(ErrorCode::OutOfOrder | ErrorCode::UnknownProducer)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_proto::error::Problem;
    use tidegate_proto::position::Offset;

    fn problem(code: ErrorCode) -> Result<Placed, Error> {
        Err(Error::Problem(Box::new(Problem::new(code, "no"))))
    }

    fn placed(offset: u64) -> Result<Placed, Error> {
        Ok(Placed {
            base_offset: Some(Offset::new(offset)),
        })
    }

    fn three() -> (Flights, Instant) {
        let now = crate::clock::now();
        let mut flights = Flights::default();
        for number in 0..3 {
            let deadline = now + Duration::from_secs(10);
            flights.push(Flight::new(number, Bytes::new(), Vec::new(), deadline));
        }
        (flights, now)
    }

    #[test]
    fn answers_are_delivered_in_order_of_sending() {
        let (mut flights, now) = three();
        flights.land(1, placed(5));
        assert!(matches!(flights.judge(now, 0), Verdict::Wait));
        flights.land(0, placed(0));
        assert!(matches!(flights.judge(now, 0), Verdict::Delivered(f, _) if f.number == 0));
        assert!(matches!(flights.judge(now, 0), Verdict::Delivered(f, _) if f.number == 1));
        assert!(matches!(flights.judge(now, 0), Verdict::Wait));
    }

    #[test]
    fn an_overtaking_request_is_repeated_once_it_is_the_oldest() {
        let (mut flights, now) = three();
        flights.land(1, problem(ErrorCode::OutOfOrder));
        assert!(matches!(flights.judge(now, 0), Verdict::Wait));
        flights.land(0, placed(0));
        assert!(matches!(flights.judge(now, 0), Verdict::Delivered(..)));
        let Verdict::Repeat { number, pause, .. } = flights.judge(now, u64::MAX) else {
            panic!("the overtaking request is to be repeated");
        };
        assert_eq!((number, pause), (1, Duration::ZERO));
    }

    #[test]
    fn an_overtaking_request_is_known_even_if_its_refusal_is_read_last() {
        for code in [ErrorCode::OutOfOrder, ErrorCode::UnknownProducer] {
            let (mut flights, now) = three();
            flights.land(0, placed(0));
            assert!(matches!(flights.judge(now, 0), Verdict::Delivered(..)));
            flights.land(1, problem(code));
            let Verdict::Repeat { number, pause, .. } = flights.judge(now, u64::MAX) else {
                panic!("the overtaking request is to be repeated");
            };
            assert_eq!((number, pause), (1, Duration::ZERO));
            // The repeat had nothing before it: a gap now is a real one.
            flights.land(1, problem(code));
            assert!(matches!(flights.judge(now, 0), Verdict::Failed(_)));
        }
    }

    #[test]
    fn a_gap_at_the_oldest_request_is_final() {
        let (mut flights, now) = three();
        flights.land(0, problem(ErrorCode::OutOfOrder));
        assert!(matches!(flights.judge(now, 0), Verdict::Failed(_)));
    }

    #[test]
    fn unknown_outcomes_are_repeated_until_the_deadline() {
        let (mut flights, now) = three();
        flights.land(0, problem(ErrorCode::OutcomeUnknown));
        assert!(matches!(
            flights.judge(now, 0),
            Verdict::Repeat { number: 0, .. }
        ));
        flights.land(0, problem(ErrorCode::OutcomeUnknown));
        let late = now + Duration::from_secs(10);
        assert!(matches!(flights.judge(late, 0), Verdict::Failed(_)));
    }

    #[test]
    fn a_refusal_is_not_repeated() {
        let (mut flights, now) = three();
        flights.land(0, problem(ErrorCode::Forbidden));
        assert!(matches!(flights.judge(now, 0), Verdict::Failed(_)));
        assert_eq!(flights.abandon().count(), 0);
        assert_eq!(flights.len(), 0);
    }
}
