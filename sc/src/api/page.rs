//! Lists in pages: `limit` items after the key that `next` names.
//!
//! Keyset, not offset: items that come and go between pages are neither skipped nor repeated.

use std::str::FromStr;

use serde::Deserialize;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX};
use utoipa::IntoParams;

/// Parameters of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Most items in the page, 1 to 1000; default 100.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next` of the page before; absent for the first page.
    next: Option<String>,
}

/// Which part of a list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page<K> {
    pub(super) after: Option<K>,
    limit: usize,
}

impl PageQuery {
    /// Checks the parameters; keys are parsed as `K`.
    pub(super) fn page<K: FromStr>(&self) -> Result<Page<K>, Problem> {
        let limit = self
            .limit
            .map_or(LIST_LIMIT_DEFAULT, |limit| limit as usize);
        if !(1..=LIST_LIMIT_MAX).contains(&limit) {
            let what = format!("from 1 to {LIST_LIMIT_MAX}, not {limit}");
            let detail = format!("limit: {what}");
            return Err(Problem::new(ErrorCode::InvalidParameter, detail).at("limit", what));
        }
        let parse = |text: &String| {
            text.parse().map_err(|_| {
                let what = "is not what a list gave as next";
                Problem::new(ErrorCode::InvalidParameter, format!("next {what}")).at("next", what)
            })
        };
        Ok(Page {
            after: self.next.as_ref().map(parse).transpose()?,
            limit,
        })
    }
}

impl<K> Page<K> {
    /// The items of the page and the key of its last one when there is more. `rows` come in order of
    /// their keys and start after `after`.
    pub(super) fn cut<R, T>(
        &self,
        mut rows: impl Iterator<Item = R>,
        key: impl Fn(&R) -> String,
        shape: impl Fn(R) -> T,
    ) -> (Vec<T>, Option<String>) {
        let mut items = Vec::new();
        let mut last = None;
        for row in rows.by_ref().take(self.limit) {
            last = Some(key(&row));
            items.push(shape(row));
        }
        (items, rows.next().and(last))
    }
}
