//! The public control plane: the only list of its routes, and its OpenAPI document.
//!
//! A file per resource. Handlers parse, ask for rights, ask the controller, and shape the answer;
//! decisions are made below. Invariant: rights are checked before anything is looked up.

mod bodies;
mod condition;
mod page;

mod answer;
mod problems;
mod revision;
mod stale;
mod view;

mod write;

mod backup;
mod cluster;
mod groups;
mod join_tokens;
mod later;
mod metadata;
mod partitions;
mod spus;
mod stats;
mod topics;
mod watch;

mod operations;
mod truncate;

mod moves;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use axum::{Router, middleware};
use tidegate_kit::auth::Auth;
use tidegate_kit::clock;
use tidegate_proto::error::Problem;
use tidegate_proto::position::ReplicaKey;
use tokio::sync::Semaphore;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::admission::Admission;
use crate::controller::{Controller, Reported};
use crate::limits::{STATUS_POLL, STATUS_WAIT_MAX};
use crate::store::BoxFuture;

/// What the leaders of partitions know about them.
pub trait Statuses: Send + Sync + 'static {
    /// Where that partition stood when its leader said so last; `None` when nobody knows, or it is too
    /// long ago.
    fn partition(&self, key: ReplicaKey) -> Option<Reported>;

    /// The same of many, in their order.
    fn partitions(&self, keys: &[ReplicaKey]) -> Vec<Option<Reported>> {
        keys.iter().map(|key| self.partition(*key)).collect()
    }

    /// Waits until what is known of those partitions is no older than `since`, for a while at most. There
    /// is nothing to wait for where leaders are asked at once.
    fn word_since<'a>(&'a self, keys: Vec<ReplicaKey>, since: Instant) -> BoxFuture<'a, ()> {
        let _ = (keys, since);
        Box::pin(std::future::ready(()))
    }

    /// False while the disks that new partitions would go to are full.
    fn has_room(&self) -> bool;
}

/// What storage units told their controllers.
impl Statuses for Controller {
    fn partition(&self, key: ReplicaKey) -> Option<Reported> {
        self.reported(key)
    }

    fn partitions(&self, keys: &[ReplicaKey]) -> Vec<Option<Reported>> {
        self.reported_all(keys)
    }

    fn word_since<'a>(&'a self, mut keys: Vec<ReplicaKey>, since: Instant) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            while clock::monotonic().saturating_duration_since(since) < STATUS_WAIT_MAX {
                let told = self.reported_all(&keys);
                let mut is_old = told
                    .iter()
                    .map(|told| told.as_ref().is_none_or(|told| told.as_of < since));
                keys.retain(|_| is_old.next().unwrap_or(true));
                if keys.is_empty() {
                    return;
                }
                tokio::time::sleep(STATUS_POLL).await;
            }
        })
    }

    fn has_room(&self) -> bool {
        Self::has_room(self)
    }
}

#[derive(Clone)]
struct Api {
    controller: Controller,
    statuses: Arc<dyn Statuses>,
    /// Where nodes may join.
    admission: Option<Admission>,
    /// Backups that are being read, each of which is in memory.
    backups: Arc<Semaphore>,
    /// Public watches that are served.
    watches: Arc<AtomicUsize>,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("controller", &self.controller)
            .finish_non_exhaustive()
    }
}

impl Controller {
    /// The control plane as routes. Fallbacks and the edge are the caller's.
    pub fn router(&self, auth: Auth, statuses: Arc<dyn Statuses>) -> Router {
        let state = Api {
            controller: self.clone(),
            statuses,
            admission: None,
            backups: Arc::new(Semaphore::new(1)),
            watches: Arc::default(),
        };
        router_of(state, &auth)
    }
}

impl Admission {
    /// The control plane of its controller, with join tokens.
    pub fn control_router(&self, auth: &Auth, statuses: Arc<dyn Statuses>) -> Router {
        let state = Api {
            controller: self.controller().clone(),
            statuses,
            admission: Some(self.clone()),
            backups: Arc::new(Semaphore::new(1)),
            watches: Arc::default(),
        };
        router_of(state, auth)
    }
}

fn router_of(state: Api, auth: &Auth) -> Router {
    let (router, _) = described().split_for_parts();
    let revision = middleware::from_fn_with_state(state.clone(), revision::tell_revision);
    let stale = middleware::from_fn_with_state(state.clone(), stale::mark_stale);
    let router = router.merge(later::routes()).layer(revision).layer(stale);
    auth.layer(router.with_state(state))
}

/// The OpenAPI document of the control plane.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = described().into_openapi();
    document.info.title = "Tidegate control plane".to_owned();
    document.info.description =
        Some("Topics, partitions, storage units and the cluster.".to_owned());
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = document.components.get_or_insert_default();
    components
        .security_schemes
        .insert("bearer".to_owned(), bearer.into());
    document.security = Some(vec![SecurityRequirement::new("bearer", [""; 0])]);
    document
}

/// What operations refer to without naming it as their own body.
#[derive(OpenApi)]
#[openapi(components(schemas(Problem)), tags(
    (name = "cluster", description = "The cluster as a whole"),
    (name = "spus", description = "Storage units and groups of them"),
    (name = "topics", description = "Topics: create, ensure, describe, delete"),
    (name = "partitions", description = "Partitions: leaders, replicas, offsets, sizes"),
    (name = "operations", description = "Long work: moves of copies, drains, recoveries"),
))]
struct Shared;

fn described() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Shared::openapi())
        .routes(routes!(cluster::get_cluster))
        .routes(routes!(backup::backup_cluster))
        .routes(routes!(metadata::get_metadata))
        .routes(routes!(stats::get_stats))
        .routes(routes!(watch::watch_changes))
        .routes(routes!(spus::list_spus, spus::register_spu))
        .routes(routes!(spus::get_spu, spus::ensure_spu, spus::remove_spu))
        .routes(routes!(groups::list_spu_groups, groups::create_spu_group))
        .routes(routes!(
            groups::get_spu_group,
            groups::ensure_spu_group,
            groups::delete_spu_group
        ))
        .routes(routes!(
            join_tokens::list_join_tokens,
            join_tokens::create_join_token
        ))
        .routes(routes!(join_tokens::delete_join_token))
        .routes(routes!(topics::list_topics, topics::create_topic))
        .routes(routes!(
            topics::get_topic,
            topics::ensure_topic,
            topics::delete_topic
        ))
        .routes(routes!(moves::drain_spu))
        .routes(routes!(moves::resume_spu))
        .routes(routes!(truncate::truncate_topic))
        .routes(routes!(partitions::list_partitions))
        .routes(routes!(partitions::get_partition))
        .routes(routes!(moves::reassign_partition))
        .routes(routes!(moves::elect_partition))
        .routes(routes!(moves::recover_partition))
        .routes(routes!(moves::rebalance))
        .routes(routes!(operations::list_operations))
        .routes(routes!(operations::get_operation))
        .routes(routes!(operations::cancel_operation))
}
