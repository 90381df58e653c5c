//! The closed list of error codes: one row per code with all that is ever said about it.
//!
//! Status, title, whether to retry, and the two texts of its documentation page stand side by side, so
//! that they cannot contradict each other. Invariant: a code, once published, keeps its name, status
//! and meaning.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// `retry`: the same request, unchanged, may succeed later. `final`: it will not.
macro_rules! is_retryable {
    (retry) => {
        true
    };
    (final) => {
        false
    };
}

/// `definite`: the request certainly had no effect. `unknown`: it may have had one.
macro_rules! is_definite {
    (definite) => {
        true
    };
    (unknown) => {
        false
    };
}

macro_rules! error_codes {
    ($($name:ident $code:literal $status:literal $retry:tt $outcome:tt $title:literal
        $meaning:literal $remedy:literal)+) => {
        /// What went wrong, as one word for programs. [`ErrorCode::meaning`] explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = $meaning] $name,)+
        }

        impl ErrorCode {
            /// Every code, in order of status.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as it stands in problem objects: `snake_case`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// A few words, the same for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// True when sending the same request again, unchanged, may succeed. After
            /// `outcome_unknown` only an idempotent request may be sent again blindly.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$name => is_retryable!($retry),)+ }
            }

            /// True when the request certainly had no effect.
            #[must_use]
            pub const fn is_definite(self) -> bool {
                match self { $(Self::$name => is_definite!($outcome),)+ }
            }

            /// What the code says, for its documentation page.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }

            /// What the caller should do, for its documentation page.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)+ }
            }
        }
    };
}

error_codes! {
    MalformedJson "malformed_json" 400 final definite "Malformed JSON"
        "The body, line or frame is not one well-formed JSON text of the expected shape, or is nested too deeply."
        "Mend the text where `errors[].pointer` or the detail points; for binary values use the `_base64` fields."
    InvalidParameter "invalid_parameter" 400 final definite "Invalid parameter"
        "A field, header or query parameter has a value that is out of range or makes no sense together with the others."
        "Correct the parameter that `errors[]` names; each entry says what is accepted."
    InvalidName "invalid_name" 400 final definite "Invalid name"
        "A topic or group name breaks the rules: 1 to 200 characters of a-z, 0-9, dot, underscore and dash, no dot or dash first; names starting with two underscores belong to the system."
        "Choose another name."
    UnknownField "unknown_field" 400 final definite "Unknown field"
        "The request has a field that this version does not know. Unknown fields are refused, so that a misspelt setting is never silently ignored."
        "Remove the field or correct its spelling; check the server's version if the field is new."
    CorruptBatch "corrupt_batch" 400 final definite "Corrupt batch"
        "A binary record batch does not follow the wire format: a checksum, length or count is wrong, or a record is not what its kind says."
        "Build the batch as docs/wire-format.md describes and check it against the test vectors there; the detail names the first fault and its record."
    CursorTooLarge "cursor_too_large" 400 final definite "Cursor too large"
        "The position over so many partitions does not fit into one cursor."
        "Read fewer partitions at a time by naming them in `partitions=`."
    Unauthenticated "unauthenticated" 401 final definite "Not authenticated"
        "The request carries no credential, or one that is unknown, expired or already used."
        "Send `Authorization: Bearer <token>`; in a browser fetch a fresh ticket, which works once and for a short time."
    Forbidden "forbidden" 403 final definite "Forbidden"
        "The credential is good, but does not allow this operation here."
        "Ask an administrator for a grant on this resource, or use a credential that has one."
    TopicNotFound "topic_not_found" 404 final definite "Topic not found"
        "There is no topic of that name, or you may not see it. Topics are never created by producing or consuming."
        "Check the name, or create the topic first."
    PartitionNotFound "partition_not_found" 404 final definite "Partition not found"
        "The topic has no partition of that number; partitions are counted from 0."
        "Ask for the topic's partitions and use one of those."
    GroupNotFound "group_not_found" 404 final definite "Consumer group not found"
        "There is no consumer group of that name, or you may not see it."
        "Check the name; a group comes into being when its first member joins."
    SpuNotFound "spu_not_found" 404 final definite "Storage unit not found"
        "There is no storage unit of that number, or it was removed."
        "List the storage units and use one of those; a new one is entered beforehand or joins a group."
    SpuGroupNotFound "spu_group_not_found" 404 final definite "Group of storage units not found"
        "There is no group of storage units of that name."
        "List the groups, or make this one first."
    OperationNotFound "operation_not_found" 404 final definite "Operation not found"
        "There is no operation of that id, or it ended long ago and was forgotten."
        "List the operations; those that ended are kept for a while."
    JoinTokenNotFound "join_token_not_found" 404 final definite "Join token not found"
        "There is no join token of that id; tokens are forgotten when they expire."
        "List the join tokens and use an id from there."
    RouteNotFound "route_not_found" 404 final definite "No such route"
        "Nothing is served at this path."
        "Compare the path with `/v1/openapi.json`; all API paths start with `/v1`."
    MethodNotAllowed "method_not_allowed" 405 final definite "Method not allowed"
        "The path exists, but not with this method."
        "Use one of the methods in the `Allow` header."
    NotAcceptable "not_acceptable" 406 final definite "Not acceptable"
        "None of the media types in `Accept` can be produced here."
        "Ask for one of the types the detail lists."
    AlreadyExists "already_exists" 409 final definite "Already exists"
        "Something of that name exists already."
        "Use `PUT` if you want it to exist with these settings whether or not it did before; otherwise choose another name."
    Conflict "conflict" 409 final definite "Not possible as things are"
        "The request is well formed, but something that exists stands against it: what it would remove is still used, or what it needs is not there."
        "Do first what the detail names, then send the request again."
    ProducerFenced "producer_fenced" 409 final definite "Producer fenced"
        "A newer instance of this producer is active; this one has an older epoch and must not write any more."
        "Stop this instance. If it is the right one, obtain a new producer epoch and start again at sequence 0."
    OutOfOrder "out_of_order" 409 final definite "Out of order"
        "The producer's sequence number is ahead of what the partition expects: an earlier request is missing."
        "Send the requests again from the expected sequence number given in the problem."
    UnknownProducer "unknown_producer" 409 final definite "Unknown producer"
        "The partition has no memory of this producer, so it cannot tell whether records are missing before this sequence number."
        "Raise the producer epoch and start again at sequence 0."
    IdempotencyKeyReused "idempotency_key_reused" 409 final definite "Idempotency key reused"
        "The same `Idempotency-Key` was used lately with another request body."
        "Use a fresh key for each different request, and the same key only to repeat the same request."
    StaleMember "stale_member" 409 final definite "Stale group member"
        "This member no longer belongs to the group: its lease ended or it was replaced."
        "Join the group again; positions that were not committed are read again."
    CursorExpired "cursor_expired" 410 final definite "Cursor expired"
        "The cursor points at records that retention has removed, or at an earlier topic of the same name."
        "Continue from `next_cursor` in the problem if skipping what is gone is acceptable."
    LogTruncated "log_truncated" 410 final definite "Log truncated"
        "Records at this position were removed by truncation or lost in a recovery that an operator accepted."
        "Continue from `next_cursor` or within the range the problem gives, and check what was derived from the lost records."
    Compacted "compacted" 410 final definite "History compacted"
        "The revision to watch from is older than the history that is kept."
        "List the resources again and watch from the `Tidegate-Revision` that the first page carries."
    PreconditionFailed "precondition_failed" 412 final definite "Precondition failed"
        "`If-Match` names another version or end than the actual one: somebody else was faster."
        "Read the current state, which the problem names, decide anew, and send the request with the new value."
    TooLarge "too_large" 413 final definite "Too large"
        "The body, a record, a header or a message is larger than its limit, or grows too much when decompressed. The problem names the limit."
        "Send smaller pieces; a topic's `max_record_bytes` may be raised up to the server's bound."
    UnsupportedMediaType "unsupported_media_type" 415 final definite "Unsupported media type"
        "The body's `Content-Type` or `Content-Encoding` is not understood here."
        "Use one of the types the detail lists."
    OffsetOutOfRange "offset_out_of_range" 416 final definite "Offset out of range"
        "The offset is below the first record still kept or above the end of the log."
        "Choose an offset between `log_start` and `end`, which the problem gives, or `earliest` or `latest`."
    Throttled "throttled" 429 retry definite "Throttled"
        "A quota or a bound per client is reached."
        "Wait for the time in `Retry-After`, then send again; spread the load or ask for a higher quota if it happens often."
    Internal "internal" 500 final unknown "Internal error"
        "The server met a condition it did not expect. This is a defect; whether the request had an effect is not known."
        "Report it with the `request_id`. Repeat the request only if it is idempotent."
    NotSupported "not_supported" 501 final definite "Not supported"
        "The request is understood, but this version does not offer the feature."
        "Do without the feature, or use a version that has it."
    NotLeader "not_leader" 503 retry definite "Not the leader"
        "The partition's leader is elsewhere or changing at this moment."
        "Send again after a short pause; a client that talks to leaders directly should refresh its metadata first."
    NotEnoughReplicas "not_enough_replicas" 503 retry definite "Not enough replicas"
        "Fewer replicas are in sync than the topic demands for `acks=quorum`, so the records were not taken."
        "Send again after a pause; tell the operator if it lasts. `acks=leader` gives up safety for availability."
    Overloaded "overloaded" 503 retry definite "Overloaded"
        "The server has no room for more work at this moment; nothing was done."
        "Wait for the time in `Retry-After`, then send again, with growing pauses."
    Unavailable "unavailable" 503 retry definite "Unavailable"
        "The part that answers this request is starting, stopping or out of reach."
        "Send again after a pause, to another server if there are several."
    MetadataForked "metadata_forked" 503 retry definite "Metadata forked"
        "The metadata store lacks commits that a node of the cluster has seen, or is another store than it was: it was restored from a backup, or failed over to a copy that was behind. Nothing is changed until an operator has looked."
        "Bring the right store back, or take this one for good with `tidegate sc adopt`; records are served meanwhile."
    OutcomeUnknown "outcome_unknown" 504 retry unknown "Outcome unknown"
        "The deadline passed, or the leader changed, after the request was handed on: it may or may not have taken effect."
        "Repeat it if it is idempotent (`PUT`, `DELETE`, producer headers or `Idempotency-Key`); otherwise look first: read the thing, or the end of the partition."
    DiskFull "disk_full" 507 retry definite "Disk full"
        "No room is left for more records or partitions; reading still works."
        "Tell the operator: free or add space, or shorten retention. Sending again helps only after that, so use long pauses."
}

/// The text is no code of this version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no error code")]
pub struct UnknownErrorCode(pub String);

impl FromStr for ErrorCode {
    type Err = UnknownErrorCode;
    fn from_str(text: &str) -> Result<Self, UnknownErrorCode> {
        let found = Self::ALL.iter().find(|code| code.as_str() == text);
        found
            .copied()
            .ok_or_else(|| UnknownErrorCode(text.to_owned()))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for ErrorCode {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some(
                "What went wrong, as one word for programs; explained at /docs/errors/<code>.",
            ))
            .enum_values(Some(Self::ALL.iter().map(|code| code.as_str())))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_has_good_texts() {
        for code in ErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert!((400..600).contains(&code.status()), "{code}");
            assert!(
                code.as_str()
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
            for text in [code.meaning(), code.remedy()] {
                assert!(text.ends_with('.') && text.len() > 15, "{code}: {text}");
            }
            assert!(!code.title().ends_with('.'));
        }
        assert_eq!(
            "nonsense".parse::<ErrorCode>(),
            Err(UnknownErrorCode("nonsense".into()))
        );
    }

    #[test]
    fn codes_are_distinct_and_sorted_by_status() {
        let mut names: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        assert!(ErrorCode::ALL.is_sorted_by_key(|code| code.status()));
    }
}
