//! `/v1/stats`: rates and sizes of the last quarter of an hour, for consoles and the command line.
//!
//! Any controller answers: each of them hears, first or second hand, what every unit says.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tidegate_kit::auth::{Authenticated, Op, require};
use tidegate_kit::clock;
use tidegate_kit::http::{ApiQuery, ApiResult};
use tidegate_proto::api::stats::{ClusterStats, Flow, Moved, SpuStats, Stats, TopicStats};
use tidegate_proto::id::TopicId;
use tidegate_sc_core::health::HealthCounts;
use tidegate_sc_core::model::{Model, Topic};
use tidegate_sc_core::rows::SpuRow;
use utoipa::IntoParams;

use super::Api;
use super::problems::ListProblems;
use crate::controller::{Amounts, Flows};
use crate::limits::{FLOW_BUCKET_MS, FLOW_RATE_BUCKETS};

/// What to tell.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StatsQuery {
    /// Tell every bucket, for charts.
    #[serde(default)]
    #[param(default = false)]
    series: bool,
}

/// Tells what went in and out
///
/// Of the cluster, its storage units and its busiest topics, in the last 15 minutes; and how much there is.
/// Counted by the controller that answers since it started, from what the units tell it each second.
#[utoipa::path(
    get,
    path = "/v1/stats",
    operation_id = "get_stats",
    tag = "cluster",
    params(StatsQuery),
    responses((status = 200, description = "Rates and sizes", body = Stats), ListProblems)
)]
pub(super) async fn get_stats(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiQuery(query): ApiQuery<StatsQuery>,
) -> ApiResult<Json<Stats>> {
    require(&principal, Op::Describe, None)?;
    let now_ms = clock::now_ms();
    let model = api.controller.model();
    let flows = api.controller.flows(now_ms);
    let shape = Shape {
        with_series: query.series,
        seconds: counted_seconds(&flows, now_ms),
    };
    let sizes = Sizes::of(&api, &model);
    let health = HealthCounts::of(&model);
    let topics = flows.topics.iter().filter_map(|(id, series)| {
        let topic = model.topic_by_id(*id)?;
        Some(TopicStats {
            name: topic.row.name.clone(),
            id: *id,
            size_bytes: sizes.topics.get(id).copied().unwrap_or_default(),
            flow: shape.flow(series),
        })
    });
    let mut topics: Vec<TopicStats> = topics.collect();
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    let spus = model.spus.values().filter(|row| !row.removed);
    Ok(Json(Stats {
        as_of: now_ms,
        since: flows.since_ms,
        bucket_ms: FLOW_BUCKET_MS.unsigned_abs(),
        series_start: flows.start_ms,
        cluster: ClusterStats {
            topics: model.topics.len() as u64,
            partitions: model.partition_count(),
            known_partitions: sizes.known,
            offline_partitions: health.offline,
            under_replicated_partitions: health.under_replicated,
            below_min_in_sync_partitions: health.below_min_in_sync,
            size_bytes: sizes.all,
            flow: shape.flow(&flows.cluster),
        },
        spus: spus.map(|row| shape.unit(&api, row, &flows)).collect(),
        topics,
        other_topics: shape.flow(&flows.other_topics),
    }))
}

/// How long what the rates are made of took; at least a second.
fn counted_seconds(flows: &Flows, now_ms: i64) -> u64 {
    let window_ms = FLOW_RATE_BUCKETS as i64 * FLOW_BUCKET_MS + now_ms.rem_euclid(FLOW_BUCKET_MS);
    let counted_ms = window_ms.min(now_ms - flows.since_ms).max(1_000);
    counted_ms.unsigned_abs() / 1_000
}

/// How it is to be told.
struct Shape {
    with_series: bool,
    seconds: u64,
}

impl Shape {
    fn flow(&self, series: &[Amounts]) -> Flow {
        // The one that is not over, and those of the minute before it.
        let recent = series.len().saturating_sub(FLOW_RATE_BUCKETS + 1);
        let rate = sum(&series[recent..]);
        Flow {
            per_second: Moved {
                appended_records: rate.appended_records / self.seconds,
                appended_bytes: rate.appended_bytes / self.seconds,
                read_bytes: rate.read_bytes / self.seconds,
            },
            total: sum(series),
            series: self
                .with_series
                .then(|| series.iter().map(|one| moved(*one)).collect()),
        }
    }

    fn unit(&self, api: &Api, row: &SpuRow, flows: &Flows) -> SpuStats {
        let heard = api.controller.unit_heard(row.spu);
        let disk = heard.map(|(_, disk)| disk);
        let known = disk.filter(|disk| disk.capacity_bytes > 0);
        let none = Vec::new();
        SpuStats {
            id: row.spu,
            heard_at: heard.map(|(at, _)| clock::wall_ms(at)),
            disk_capacity_bytes: known.map(|disk| disk.capacity_bytes),
            disk_free_bytes: known.map(|disk| disk.free_bytes),
            disk_is_low: disk.is_some_and(|disk| disk.is_low),
            disk_is_full: disk.is_some_and(|disk| !disk.has_room),
            flow: self.flow(flows.spus.get(&row.spu).unwrap_or(&none)),
        }
    }
}

fn moved(amounts: Amounts) -> Moved {
    Moved {
        appended_records: amounts.appended_records,
        appended_bytes: amounts.appended_bytes,
        read_bytes: amounts.read_bytes,
    }
}

fn sum(series: &[Amounts]) -> Moved {
    let mut sum = Amounts::default();
    for one in series {
        sum.add(*one);
    }
    moved(sum)
}

/// What leaders keep, as far as it is known.
#[derive(Default)]
struct Sizes {
    known: u64,
    all: u64,
    topics: BTreeMap<TopicId, u64>,
}

impl Sizes {
    fn of(api: &Api, model: &Model) -> Self {
        let mut sizes = Self::default();
        for topic in model.topics.values() {
            sizes.add(api, topic);
        }
        sizes
    }

    fn add(&mut self, api: &Api, topic: &Topic) {
        let rows = topic.partitions.iter();
        let keys: Vec<_> = rows.map(|row| row.key()).collect();
        let mut size = 0_u64;
        for reported in api.statuses.partitions(&keys).into_iter().flatten() {
            self.known += 1;
            size = reported.status.size_bytes.saturating_add(size);
        }
        self.all = self.all.saturating_add(size);
        self.topics.insert(topic.row.id, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_what_units_may_say_stop_at_the_most_there_is() {
        let most = Amounts {
            appended_records: u64::MAX,
            appended_bytes: u64::MAX,
            read_bytes: u64::MAX,
        };
        assert_eq!(sum(&[most, most]), moved(most));
    }
}
