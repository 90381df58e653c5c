//! Lists in pages: `limit` items after the key that `next` names.
//!
//! Keyset, not offset: items that come and go between pages are neither skipped nor repeated.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::{Object, Type};

/// Parameters of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Most items in the page, 1 to 1000; default 100.
    #[serde(default, deserialize_with = "given")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next` of the page before; absent for the first page.
    next: Option<String>,
}

/// A parameter that may be absent, but not empty.
pub(super) fn given<'de, D, T>(text: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(text).map(Some)
}

/// Parameters of a list by name, for the document.
pub(super) struct NamePages;
/// Parameters of a list by number.
pub(super) struct NumberPages;
/// Parameters of the list of operations.
pub(super) struct OperationPages;

impl IntoParams for NamePages {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        parameters(place, "^[a-z0-9_][a-z0-9._-]{0,199}$")
    }
}

impl IntoParams for NumberPages {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        parameters(place, "^[0-9]{1,9}$")
    }
}

impl IntoParams for OperationPages {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        parameters(
            place,
            "^[0-9]{1,15}\\.[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        )
    }
}

/// Those of [`PageQuery`], with what keys look like.
fn parameters(place: impl Fn() -> Option<ParameterIn>, key: &str) -> Vec<Parameter> {
    let mut parameters = PageQuery::into_params(place);
    for parameter in &mut parameters {
        if parameter.name == "next" {
            let text = Object::builder().schema_type(Type::String);
            parameter.schema = Some(text.pattern(Some(key)).into());
        }
    }
    parameters
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
