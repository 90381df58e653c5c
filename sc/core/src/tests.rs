//! Tests of decisions: each decides on a model, commits what was decided, and looks at the result.

mod alter;
mod create;
mod histories;
mod register;
mod truncate;
mod world;
