//! Counters of requests by method, route and status.
//!
//! Handles are looked up once per series and kept, so that a request costs one hash and two atomic
//! additions. Routes come from the router's own list, never from a request's path, so that strangers
//! cannot make series. Invariant: at most `REQUEST_SERIES_MAX` series.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use http::{Method, StatusCode};
use metrics::{Counter, Histogram};

use crate::limits::REQUEST_SERIES_MAX;

#[derive(Clone)]
struct Series {
    requests: Counter,
    seconds: Histogram,
}

/// The request counters of one edge.
#[derive(Default)]
pub(super) struct Requests {
    hasher: RandomState,
    // Keyed by a 64-bit hash of the labels: no allocation to look one up.
    series: RwLock<HashMap<u64, Series>>,
}

impl Requests {
    pub(super) fn observe(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        let method = method_label(method);
        let key = self.hasher.hash_one((method, route, status.as_u16()));
        let read = self.series.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(series) = read.get(&key) {
            series.requests.increment(1);
            series.seconds.record(took.as_secs_f64());
            return;
        }
        let is_full = read.len() >= REQUEST_SERIES_MAX;
        drop(read);
        if is_full {
            return;
        }
        let series = register(method, route, status);
        series.requests.increment(1);
        series.seconds.record(took.as_secs_f64());
        self.series
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, series);
    }
}

fn register(method: &'static str, route: &str, status: StatusCode) -> Series {
    let labels = [
        ("method", method.to_owned()),
        ("route", route.to_owned()),
        ("status", status.as_u16().to_string()),
    ];
    let of_route = [("method", method.to_owned()), ("route", route.to_owned())];
    Series {
        requests: metrics::counter!("tidegate_http_requests_total", &labels),
        seconds: metrics::histogram!("tidegate_http_request_seconds", &of_route),
    }
}

// Methods are free text in HTTP.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        _ => "other",
    }
}
