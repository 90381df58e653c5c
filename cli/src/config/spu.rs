//! What a storage unit is told.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tidegate_proto::id::SpuId;
use tidegate_proto::name::SpuGroupName;
use tidegate_spu::{ScrubConfig, SpaceConfig};

use super::door::Door;
use super::key::Key;
use super::process::ProcessSettings;
use super::reader::Reader;
use super::{Role, parse};
use crate::units;

const PORT_PRIVATE: u16 = 7443;
const TRASH_DELAY: Duration = Duration::from_secs(5 * 60);

const KEYS: &[Key] = &[
    Key::one(
        "spu-id",
        "TIDEGATE_SPU_ID",
        "NUMBER",
        "Number of this storage unit; never given to another directory",
    ),
    Key::one(
        "group",
        "TIDEGATE_GROUP",
        "NAME",
        "Group into which it is taken when the controller does not know it yet [default: default]",
    ),
    Key::one(
        "rack",
        "TIDEGATE_RACK",
        "NAME",
        "Failure domain: replicas of a partition go to different ones",
    ),
    Key::one(
        "site",
        "TIDEGATE_SITE",
        "NAME",
        "Data centre or place it is in",
    ),
    Key::one(
        "listen-private",
        "TIDEGATE_LISTEN_PRIVATE",
        "ADDRESS:PORT",
        "Where gateways and other storage units are served [default: 0.0.0.0:7443]",
    ),
    Key::one(
        "advertise-private",
        "TIDEGATE_ADVERTISE_PRIVATE",
        "URL",
        "How they reach it, such as https://spu-1.example:7443; needed unless listen_private is one address",
    ),
    Key::one(
        "listen-clients",
        "TIDEGATE_LISTEN_CLIENTS",
        "ADDRESS:PORT",
        "Where clients that need no gateway are served, usually port 8445 [default: nowhere]",
    ),
    Key::one(
        "advertise-clients",
        "TIDEGATE_ADVERTISE_CLIENTS",
        "URL",
        "How they reach it; needed with listen_clients unless that is one address",
    ),
    Key::one(
        "disk-reserve",
        "TIDEGATE_DISK_RESERVE",
        "SIZE",
        "Refuse records while less than this is free [default: a twentieth of the disk, at most 5GiB]",
    ),
    Key::one(
        "disk-alarm",
        "TIDEGATE_DISK_ALARM",
        "SIZE",
        "Warn while less than this is free [default: a tenth of the disk, at most 10GiB]",
    ),
    Key::one(
        "disk-ballast",
        "TIDEGATE_DISK_BALLAST",
        "SIZE",
        "Size of a file that is given up when the disk is full [default: a hundredth of the disk, at \
         most 1GiB]",
    ),
    Key::one(
        "trash-delay",
        "TIDEGATE_TRASH_DELAY",
        "TIME",
        "How long the files of deleted topics stay before their space is given back [default: 5m]",
    ),
    Key::one(
        "scrub-period",
        "TIDEGATE_SCRUB_PERIOD",
        "TIME",
        "How long one look at every stored byte takes, to find rot early; `off` for never [default: 7d]",
    ),
    Key::one(
        "scrub-rate",
        "TIDEGATE_SCRUB_RATE",
        "SIZE",
        "Most that is read for it in a second [default: 5MB]",
    ),
    Key::one(
        "catch-up-rate",
        "TIDEGATE_CATCH_UP_RATE",
        "SIZE",
        "Bytes a second that readers who catch up from disk may read together [default: no bound]",
    ),
    Key::one(
        "replication-rate",
        "TIDEGATE_REPLICATION_RATE",
        "SIZE",
        "Bytes a second that copies on other units may read of this disk to catch up [default: no bound]",
    ),
];

/// The storage unit.
#[derive(Debug)]
pub(crate) struct SpuRole;

/// What a storage unit is told.
#[derive(Debug)]
pub(crate) struct SpuSettings {
    pub(crate) process: ProcessSettings,
    pub(crate) spu_id: SpuId,
    pub(crate) group: SpuGroupName,
    pub(crate) rack: Option<String>,
    pub(crate) site: Option<String>,
    pub(crate) private: Door,
    pub(crate) clients: Option<Door>,
    pub(crate) space: SpaceConfig,
    pub(crate) trash_delay: Duration,
    pub(crate) scrub: Option<ScrubConfig>,
    pub(crate) catch_up_rate: Option<u64>,
    pub(crate) replication_rate: Option<u64>,
}

impl Role for SpuRole {
    const SECTION: &'static str = "spu";
    type Settings = SpuSettings;

    fn keys() -> &'static [Key] {
        KEYS
    }

    fn read(reader: &mut Reader) -> Option<SpuSettings> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT_PRIVATE));
        let process = ProcessSettings::read(reader, "./tidegate-spu");
        parse::controllers(reader);
        let spu_id = reader.needed("spu-id", parse::spu_id);
        let group = reader.or("group", SpuGroupName::default(), |text| {
            SpuGroupName::parse(text).map_err(|error| error.to_string())
        });
        let private = reader.or("listen-private", any, parse::address);
        let private = Door::read(reader, private, "advertise-private", "listen-private");
        let clients = reader.one("listen-clients", parse::address);
        let clients =
            clients.map(|at| Door::read(reader, at, "advertise-clients", "listen-clients"));
        let space = SpaceConfig {
            soft_bytes: reader.one("disk-alarm", units::bytes),
            hard_bytes: reader.one("disk-reserve", units::bytes),
            ballast_bytes: reader.one("disk-ballast", units::bytes),
        };
        Some(SpuSettings {
            rack: reader.text("rack"),
            site: reader.text("site"),
            trash_delay: reader.or("trash-delay", TRASH_DELAY, |text| {
                units::milliseconds(text).map(Duration::from_millis)
            }),
            scrub: scrub(reader),
            catch_up_rate: reader.one("catch-up-rate", units::bytes),
            replication_rate: reader.one("replication-rate", units::bytes),
            process: process?,
            spu_id: spu_id?,
            group,
            private,
            clients,
            space,
        })
    }
}

fn scrub(reader: &mut Reader) -> Option<ScrubConfig> {
    let weekly = ScrubConfig::weekly();
    let period = reader.or("scrub-period", Some(weekly.period), |text| {
        if text.eq_ignore_ascii_case("off") {
            return Ok(None);
        }
        match units::milliseconds(text)? {
            0 => Err("expected a time above zero, or `off`".to_owned()),
            ms => Ok(Some(Duration::from_millis(ms))),
        }
    });
    let rate = reader.or("scrub-rate", weekly.bytes_per_second, units::bytes);
    period.map(|period| ScrubConfig {
        period,
        bytes_per_second: rate.max(1),
    })
}
