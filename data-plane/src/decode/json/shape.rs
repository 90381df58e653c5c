//! The shapes of a JSON body, read by hand.
//!
//! By hand, because what serde derives also takes a list for an object, its fields in order: a body of
//! nested lists would be stored as something its author never meant. Never more records in memory than
//! are allowed, however many the body holds.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tidegate_proto::limits::JSON_RECORDS_MAX;

pub(super) struct BodyIn<'a> {
    pub(super) records: ListIn<'a>,
}

pub(super) struct ListIn<'a> {
    pub(super) records: Vec<RecordIn<'a>>,
    pub(super) count: usize,
}

#[derive(Default)]
pub(super) struct RecordIn<'a> {
    pub(super) key: Option<&'a RawValue>,
    pub(super) value: Option<&'a RawValue>,
    pub(super) key_base64: Option<Text<'a>>,
    pub(super) value_base64: Option<Text<'a>>,
    pub(super) headers: Option<HeadersIn<'a>>,
    pub(super) headers_base64: Option<HeadersIn<'a>>,
    pub(super) timestamp: Option<&'a RawValue>,
    pub(super) partition: Option<u32>,
}

const BODY_FIELDS: [&str; 1] = ["records"];
pub(super) const RECORD_FIELDS: [&str; 8] = [
    "key",
    "value",
    "key_base64",
    "value_base64",
    "headers",
    "headers_base64",
    "timestamp",
    "partition",
];

pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

/// A list of pairs, so that a name given twice is noticed later.
pub(super) struct HeadersIn<'a>(pub(super) Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Str;
        impl<'de> Visitor<'de> for Str {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: serde::de::Error>(
                self,
                text: &'de str,
            ) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Str)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for BodyIn<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Body;
        impl<'de> Visitor<'de> for Body {
            type Value = BodyIn<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `records`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BodyIn<'de>, A::Error> {
                let mut records = None;
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    if name.0 != "records" {
                        return Err(A::Error::unknown_field(&name.0, &BODY_FIELDS));
                    }
                    if records.is_some() {
                        return Err(A::Error::duplicate_field("records"));
                    }
                    records = Some(map.next_value()?);
                }
                let records = records.ok_or_else(|| A::Error::missing_field("records"))?;
                Ok(BodyIn { records })
            }
        }
        deserializer.deserialize_map(Body)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RecordIn<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RecordIn<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record, which is an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RecordIn<'de>, A::Error> {
                let mut record = RecordIn::default();
                let mut seen = 0_u8;
                while let Some(name) = map.next_key::<Text<'de>>()? {
                    let field = RECORD_FIELDS.iter().position(|field| *field == name.0);
                    let Some(field) = field else {
                        return Err(A::Error::unknown_field(&name.0, &RECORD_FIELDS));
                    };
                    if seen & 1 << field != 0 {
                        return Err(A::Error::duplicate_field(RECORD_FIELDS[field]));
                    }
                    seen |= 1 << field;
                    match field {
                        0 => record.key = map.next_value()?,
                        1 => record.value = map.next_value()?,
                        2 => record.key_base64 = map.next_value()?,
                        3 => record.value_base64 = map.next_value()?,
                        4 => record.headers = map.next_value()?,
                        5 => record.headers_base64 = map.next_value()?,
                        6 => record.timestamp = map.next_value()?,
                        _ => record.partition = map.next_value()?,
                    }
                }
                Ok(record)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for ListIn<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = ListIn<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of records")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ListIn<'de>, A::Error> {
                let mut records = Vec::new();
                while records.len() < JSON_RECORDS_MAX {
                    let Some(record) = list.next_element()? else {
                        return Ok(ListIn {
                            count: records.len(),
                            records,
                        });
                    };
                    records.push(record);
                }
                let mut count = records.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(ListIn { records, count })
            }
        }
        deserializer.deserialize_seq(List)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for HeadersIn<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = HeadersIn<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeadersIn<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<Text<'de>, Text<'de>>()? {
                    pairs.push((name.0, value.0));
                }
                Ok(HeadersIn(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}
