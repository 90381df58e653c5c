//! Tests of decisions: each decides on a model, commits what was decided, and looks at the result.

mod alter;
mod cluster;
mod create;
mod failed;
mod health;
mod histories;
mod moves;
mod named;
mod register;
mod single;
mod stale;
mod truncate;
mod world;
