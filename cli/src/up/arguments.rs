//! The flags of `tidegate up`, and what follows from them before anything is touched.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use tidegate_client::TopicName;
use tidegate_kit::http::OriginRules;
use tidegate_kit::memory::MEMORY_BYTES_MIN;
use tidegate_spu::{ScrubConfig, SpaceConfig};

use crate::failure::Failure;
use crate::units;

const PORT_TLS: u16 = 8443;
const PORT_DEV: u16 = 8080;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    tidegate up                                     # https://127.0.0.1:8443, data in ./tidegate-data\n  \
    tidegate up --data-dir /var/lib/tidegate --listen 0.0.0.0:8443 --san stream.example.org\n  \
    tidegate up --dev                               # plain HTTP on 127.0.0.1:8080, no token\n\n\
    The first start makes a certificate authority (ca.pem) and an admin token (token) in the data\n\
    directory. While it runs, up.json there has the URL, the CA, the token and the process id.\n\n\
    Exit codes: 2 usage, 3 port taken, 4 data directory in use, 5 disk read-only, full or failing,\n\
    6 disk failed in an earlier run (see `tidegate disk accept --help`).")]
pub(crate) struct UpArguments {
    /// Address to listen on [default: 127.0.0.1:8443, with --dev 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = listen_address)]
    pub(crate) listen: Option<SocketAddr>,

    /// Directory of everything that is kept; made when it is not there.
    #[arg(long, value_name = "DIR", default_value = "./tidegate-data")]
    pub(crate) data_dir: PathBuf,

    /// Further host name or address for the server's certificate; repeatable.
    #[arg(long, value_name = "NAME")]
    pub(crate) san: Vec<String>,

    /// Origin whose web pages may call, such as https://app.example.org; repeatable.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors_origin: Vec<String>,

    /// Let shared caches keep pages of sealed segments and answer others from them, whom they must then
    /// check themselves.
    #[arg(long)]
    pub(crate) shared_pages: bool,

    /// Do not write a profile for the client commands.
    #[arg(long)]
    pub(crate) no_profile: bool,

    /// Plain HTTP and no token, for this machine only. Never for real data.
    #[arg(long)]
    pub(crate) dev: bool,

    /// Refuse records (507 disk_full) while less than this is free on the data directory's disk; reads
    /// go on, and it ends by itself. 0 turns it off [default: a twentieth of the disk, at most 5GiB].
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) disk_reserve: Option<u64>,

    /// Warn in log, metrics and /readyz while less than this is free. 0 turns it off [default: a tenth
    /// of the disk, at most 10GiB].
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) disk_alarm: Option<u64>,

    /// Size of a file that only takes space, given up when the disk is full so that deletions and
    /// what was already taken in can still be written. 0 turns it off [default: a hundredth of the disk,
    /// at most 1GiB; with --dev none].
    #[arg(long, value_name = "SIZE", value_parser = units::bytes, overrides_with = "disk_ballast")]
    pub(crate) disk_ballast: Option<u64>,

    /// How long the files of deleted topics and partitions stay in the trash directory before their
    /// space is given back; whole minutes in effect.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = units::milliseconds)]
    pub(crate) trash_delay: u64,

    /// Make sure that this topic exists, with three partitions.
    #[arg(long, value_name = "TOPIC")]
    pub(crate) demo_topic: Option<TopicName>,

    /// How long one look at every stored byte takes, to find rot early; `off` for never.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = scrub_period)]
    pub(crate) scrub_period: ScrubPeriod,

    /// Most that is read for it in a second.
    #[arg(long, value_name = "BYTES", default_value = "5MB", value_parser = units::bytes)]
    pub(crate) scrub_rate: u64,

    /// Memory that requests, answers and sockets may fill together [default: half of the machine's, at
    /// most 1GiB]. Beyond it they are refused or wait. At least 64MiB.
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub(crate) memory_max: Option<usize>,

    /// Connections open at once; one more is answered 503 and closed [default: 20000, or what the limit of
    /// open files leaves beside those for records, which get fewer when more connections are asked for].
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub(crate) connections_max: Option<u32>,

    /// Connections open at once from one address; more are closed at once [default: a quarter of
    /// --connections-max, without a bound for this machine itself].
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub(crate) connections_per_address_max: Option<u32>,

    /// Bytes a second that readers who catch up from disk may read, all together [default: as many as
    /// the disk gives, in turns].
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    pub(crate) catch_up_rate: Option<u64>,

    /// What is logged: error, warn, info, debug, or a filter such as info,tidegate_log=debug.
    #[arg(
        long,
        value_name = "FILTER",
        env = "TIDEGATE_LOG",
        default_value = "info"
    )]
    pub(crate) log: String,

    /// Log lines as JSON.
    #[arg(long)]
    pub(crate) log_json: bool,
}

fn memory_size(text: &str) -> Result<usize, String> {
    let bytes = usize::try_from(units::bytes(text)?).unwrap_or(usize::MAX);
    if bytes < MEMORY_BYTES_MIN {
        return Err("at least 64MiB are needed".to_owned());
    }
    Ok(bytes)
}

/// An address with a port. Names are refused but for `localhost`: what they mean depends on the
/// machine's resolver, and may be several addresses.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("{}:{port}", Ipv4Addr::LOCALHOST),
        None => text.to_owned(),
    };
    numeric.parse().map_err(|_| {
        "expected an IP address and a port, such as 127.0.0.1:8443, 0.0.0.0:8443 (all addresses) or \
         [::1]:8443"
            .to_owned()
    })
}

/// How long a pass of the scrubber takes; `None` for no scrubbing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScrubPeriod(pub(crate) Option<Duration>);

fn scrub_period(text: &str) -> Result<ScrubPeriod, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(ScrubPeriod(None));
    }
    match units::milliseconds(text)? {
        0 => Err("expected a time above zero, or `off`".to_owned()),
        ms => Ok(ScrubPeriod(Some(Duration::from_millis(ms)))),
    }
}

impl UpArguments {
    /// How stored bytes are looked at.
    pub(crate) fn scrub(&self) -> Option<ScrubConfig> {
        self.scrub_period.0.map(|period| ScrubConfig {
            period,
            bytes_per_second: self.scrub_rate.max(1),
        })
    }

    /// When the disk counts as full, and what is held back for then.
    pub(crate) fn space(&self) -> SpaceConfig {
        SpaceConfig {
            soft_bytes: self.disk_alarm,
            hard_bytes: self.disk_reserve,
            ballast_bytes: self.disk_ballast.or(self.dev.then_some(0)),
        }
    }

    /// Where to listen.
    pub(crate) fn address(&self) -> Result<SocketAddr, Failure> {
        let port = if self.dev { PORT_DEV } else { PORT_TLS };
        let address = self
            .listen
            .unwrap_or_else(|| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        if self.dev && !address.ip().is_loopback() {
            return Err(Failure::usage(format!(
                "--dev has neither encryption nor a token, so it listens on this machine only and \
                 not on {}. Leave --dev away to serve a network, or listen on 127.0.0.1.",
                address.ip()
            )));
        }
        Ok(address)
    }

    /// Names for the certificate: those given, and the address listened on if it is one.
    pub(crate) fn names(&self, address: SocketAddr) -> Vec<String> {
        let mut names = self.san.clone();
        if !address.ip().is_unspecified() && !address.ip().is_loopback() {
            names.push(address.ip().to_string());
        }
        names
    }

    /// Which pages may call.
    pub(crate) fn origins(&self) -> Result<OriginRules, Failure> {
        let rules = OriginRules::parse(&self.cors_origin)
            .map_err(|error| Failure::usage(format!("--cors-origin: {error}")))?;
        Ok(if self.dev { rules.dev() } else { rules })
    }

    /// The URL for clients on this machine.
    pub(crate) fn url(&self, address: SocketAddr) -> String {
        let scheme = if self.dev { "http" } else { "https" };
        let reachable = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        format!("{scheme}://{}", SocketAddr::new(reachable, address.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        up: UpArguments,
    }

    fn up(arguments: &[&str]) -> UpArguments {
        Line::try_parse_from(std::iter::once(&"up").chain(arguments))
            .unwrap()
            .up
    }

    #[test]
    fn the_default_address_depends_on_the_mode() {
        assert_eq!(up(&[]).address().unwrap().to_string(), "127.0.0.1:8443");
        assert_eq!(
            up(&["--dev"]).address().unwrap().to_string(),
            "127.0.0.1:8080"
        );
    }

    #[test]
    fn a_development_server_stays_on_this_machine() {
        let failure = up(&["--dev", "--listen", "0.0.0.0:80"])
            .address()
            .unwrap_err();
        assert_eq!(failure.exit, Failure::USAGE);
        assert!(up(&["--dev", "--listen", "[::1]:0"]).address().is_ok());
    }

    #[test]
    fn localhost_is_an_address_and_other_names_are_told_what_is_one() {
        assert_eq!(
            listen_address("localhost:9000"),
            Ok(SocketAddr::from(([127, 0, 0, 1], 9000)))
        );
        for text in ["stream.example.org:8443", "8443", "127.0.0.1", "localhost"] {
            assert!(listen_address(text).unwrap_err().contains("0.0.0.0:8443"));
        }
    }

    #[test]
    fn the_url_is_one_that_this_machine_can_reach() {
        let all = up(&["--listen", "0.0.0.0:1234"]);
        assert_eq!(all.url(all.address().unwrap()), "https://127.0.0.1:1234");
        let six = up(&["--listen", "[::]:1234"]);
        assert_eq!(six.url(six.address().unwrap()), "https://[::1]:1234");
    }

    #[test]
    fn an_address_of_the_network_gets_into_the_certificate() {
        let listens = up(&["--listen", "10.1.2.3:8443", "--san", "a.example"]);
        assert_eq!(
            listens.names(listens.address().unwrap()),
            ["a.example", "10.1.2.3"]
        );
        assert!(up(&[]).names(up(&[]).address().unwrap()).is_empty());
    }

    #[test]
    fn the_scrubber_goes_weekly_or_as_told_or_not_at_all() {
        assert_eq!(up(&[]).scrub(), Some(ScrubConfig::weekly()));
        let told = up(&["--scrub-period", "1h", "--scrub-rate", "64MiB"]);
        let config = told.scrub().unwrap();
        assert_eq!(config.period, Duration::from_secs(3600));
        assert_eq!(config.bytes_per_second, 64 << 20);
        assert_eq!(up(&["--scrub-period", "off"]).scrub(), None);
        assert!(Line::try_parse_from(["up", "--scrub-period", "0s"]).is_err());
    }

    #[test]
    fn sizes_are_as_people_write_them_and_within_bounds() {
        let given = up(&["--memory-max", "256MiB", "--catch-up-rate", "50MB"]);
        assert_eq!(given.memory_max, Some(256 << 20));
        assert_eq!(given.catch_up_rate, Some(50_000_000));
        assert!(Line::try_parse_from(["up", "--memory-max", "1MiB"]).is_err());
        assert!(Line::try_parse_from(["up", "--connections-max", "0"]).is_err());
    }

    #[test]
    fn what_is_no_origin_is_wrong_usage() {
        let failure = up(&["--cors-origin", "not an origin"])
            .origins()
            .unwrap_err();
        assert_eq!(failure.exit, Failure::USAGE);
    }
}
