//! The problems that operations answer with, as the OpenAPI document lists them.
//!
//! Descriptions only; problems are made where they are found.

use std::collections::BTreeMap;

use tidegate_proto::error::Problem;
use utoipa::openapi::{ContentBuilder, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema as _};

const ANY: [(&str, &str); 5] = [
    (
        "400",
        "The request is not well-formed: `invalid_parameter`, `invalid_name`",
    ),
    (
        "401",
        "No credential, or one that does not hold: `unauthenticated`",
    ),
    ("403", "The credential does not allow this: `forbidden`"),
    ("500", "A fault of the server: `internal`"),
    (
        "503",
        "Try again later: `unavailable`, `overloaded`, `metadata_forked`",
    ),
];
const NOT_FOUND: (&str, &str) = (
    "404",
    "No such thing: `topic_not_found`, `partition_not_found`, `spu_not_found`, `spu_group_not_found`, `operation_not_found`",
);
const KEY: (&str, &str) = (
    "409",
    "The request key was used for another request: `idempotency_key_reused`",
);
const STANDING: (&str, &str) = (
    "409",
    "Something stands against it: `conflict`; or the request key was used for another request: `idempotency_key_reused`",
);
const WRITE: [(&str, &str); 4] = [
    ("501", "This version does not do that yet: `not_supported`"),
    (
        "412",
        "`If-Match` does not hold: `precondition_failed`, with the actual `version`",
    ),
    (
        "504",
        "Nobody knows whether it was done; look before trying again: `outcome_unknown`",
    ),
    ("507", "No space is left on the disk: `disk_full`"),
];
const BODY: [(&str, &str); 2] = [
    (
        "413",
        "The body is too large: `too_large`, with the `limit`",
    ),
    (
        "415",
        "The body is not `application/json`: `unsupported_media_type`",
    ),
];

/// A single process is the whole of its cluster.
const NOBODY_JOINS: (&str, &str) = ("501", "This server takes in no others: `not_supported`");

/// Problems of reading a collection.
pub(super) struct ListProblems;
/// Problems of following changes.
pub(super) struct WatchProblems;
/// Problems of reading one thing.
pub(super) struct ReadProblems;
/// Problems of creating something.
pub(super) struct CreateProblems;
/// Problems of ensuring something.
pub(super) struct EnsureProblems;
/// Problems of deleting something.
pub(super) struct DeleteProblems;
/// Problems of removing something that may be in use.
pub(super) struct StandingProblems;
/// Problems of what is done to things that exist.
pub(super) struct ActionProblems;
/// Problems of listing join tokens.
pub(super) struct JoinTokensProblems;
/// Problems of making and taking back join tokens.
pub(super) struct JoinTokenProblems;
/// Problems of giving up records.
pub(super) struct TruncateProblems;

type Responses = BTreeMap<String, RefOr<Response>>;

impl IntoResponses for ListProblems {
    fn responses() -> Responses {
        described(&ANY)
    }
}

impl IntoResponses for WatchProblems {
    fn responses() -> Responses {
        const FORMAT: (&str, &str) = (
            "406",
            "`Accept` names neither NDJSON nor events: `not_acceptable`",
        );
        const GONE: (&str, &str) = (
            "410",
            "Too long ago; read the lists again: `compacted`, with the `floor`",
        );
        described(ANY.iter().chain([&FORMAT, &GONE]))
    }
}

impl IntoResponses for ReadProblems {
    fn responses() -> Responses {
        described(ANY.iter().chain([&NOT_FOUND]))
    }
}

impl IntoResponses for CreateProblems {
    fn responses() -> Responses {
        const TAKEN: (&str, &str) = (
            "409",
            "The name is taken: `already_exists`; something stands against it: `conflict`; or the request key was used for another request: `idempotency_key_reused`",
        );
        described(ANY.iter().chain(&WRITE).chain(&BODY).chain([&TAKEN]))
    }
}

impl IntoResponses for EnsureProblems {
    fn responses() -> Responses {
        described(ANY.iter().chain(&WRITE).chain(&BODY).chain([&STANDING]))
    }
}

impl IntoResponses for DeleteProblems {
    fn responses() -> Responses {
        described(ANY.iter().chain(&WRITE).chain([&NOT_FOUND, &KEY]))
    }
}

impl IntoResponses for StandingProblems {
    fn responses() -> Responses {
        described(ANY.iter().chain(&WRITE).chain([&NOT_FOUND, &STANDING]))
    }
}

impl IntoResponses for ActionProblems {
    fn responses() -> Responses {
        let rest = [&NOT_FOUND, &STANDING];
        let write = WRITE.iter().filter(|(status, _)| *status != "412");
        described(ANY.iter().chain(write).chain(&BODY).chain(rest))
    }
}

impl IntoResponses for JoinTokensProblems {
    fn responses() -> Responses {
        described(ANY.iter().chain([&NOBODY_JOINS]))
    }
}

impl IntoResponses for JoinTokenProblems {
    fn responses() -> Responses {
        const NO_TOKEN: (&str, &str) = ("404", "No such token: `join_token_not_found`");
        const TOO_MANY: (&str, &str) = ("409", "Too many tokens wait to be used: `conflict`");
        let rest = [&NO_TOKEN, &TOO_MANY, &NOBODY_JOINS];
        described(ANY.iter().chain(&BODY).chain(rest))
    }
}

impl IntoResponses for TruncateProblems {
    fn responses() -> Responses {
        const ABOVE: (&str, &str) = (
            "416",
            "Above what is committed: `offset_out_of_range`, with `log_start`, `high_watermark` and `end`",
        );
        let rest = [&NOT_FOUND, &KEY, &ABOVE];
        described(ANY.iter().chain(&WRITE).chain(&BODY).chain(rest))
    }
}

fn described<'a>(list: impl IntoIterator<Item = &'a (&'a str, &'a str)>) -> Responses {
    let response = |(status, description): &(&str, &str)| {
        let schema = utoipa::openapi::Ref::from_schema_name(Problem::name());
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let response = ResponseBuilder::new()
            .description(*description)
            .content("application/problem+json", content)
            .build();
        ((*status).to_owned(), RefOr::T(response))
    };
    list.into_iter().map(response).collect()
}
