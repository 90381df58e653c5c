//! What is given reaches the settings, the stronger source wins, and every error is told at once.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line<R: Role> {
    #[command(flatten)]
    flags: Flags<R>,
}

const DIGEST: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn read<R: Role>(file: &str, arguments: &[&str]) -> Result<R::Settings, Failure> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidegate.toml");
    fs::write(&path, file).unwrap();
    let path = path.to_str().unwrap();
    let line = ["role", "--config", path].into_iter();
    let line = Line::<R>::try_parse_from(line.chain(arguments.iter().copied()));
    line.unwrap().flags.settings()
}

fn sc(more: &str) -> String {
    let more = format!("advertise_private = \"https://sc-1:7443\"\n{more}");
    format!(
        "[sc]\nname = \"sc-1\"\ncluster_ca = \"ca\"\ncluster_ca_key = \"ck\"\ndatabase_url = \"postgres://h/d\"\ntls_cert = \"c\"\n\
         tls_key = \"k\"\nadmin_token_sha256 = \"{DIGEST}\"\n{more}"
    )
}

#[test]
fn a_flag_wins_over_the_file_and_the_rest_is_default() {
    let file =
        sc("listen = \"127.0.0.1:1\"\nlog_json = true\ncors_origin = [\"https://a.example\"]\n");
    let settings = read::<ScRole>(&file, &["--listen", "127.0.0.1:2"]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:2");
    assert_eq!(settings.private.listen.to_string(), "0.0.0.0:7443");
    assert_eq!(
        settings.process.listen_operators.to_string(),
        "127.0.0.1:9443"
    );
    assert!(settings.process.log_json);
    assert_eq!(settings.process.security.admin_token_sha256[31], 31);
    let quiet = read::<ScRole>(&file, &["--log-json=false"]).unwrap();
    assert!(!quiet.process.log_json);
}

#[test]
fn everything_wrong_is_told_at_once_with_its_place_and_without_secrets() {
    let file = "[sc]\nname = 7\nlsten = \"x\"\nlisten = \"8444\"\ndatabase_url = \"mysql://u:hush@h\"\n\
                log_json = \"yes\"\n\n[spou]\n\n[gateway]\nwhatever = 1\n";
    let failure = read::<ScRole>(file, &["--memory-max", "1MiB"]).unwrap_err();
    assert_eq!(failure.exit, Failure::USAGE);
    let said = failure.message;
    for expected in [
        "12 errors",
        "tidegate.toml:3: lsten is not a setting; did you mean listen?",
        "others cannot dial",
        "tidegate.toml:4: listen \"8444\": expected an IP address",
        "tidegate.toml:5: database_url: ",
        "tidegate.toml:6: log_json: expected true or false",
        "tidegate.toml:8: there is no section [spou]; did you mean spu?",
        "--memory-max \"1MiB\": at least 64MiB",
        "tls_cert is missing: give --tls-cert, TIDEGATE_TLS_CERT, or tls_cert in [sc]",
        "cluster_ca is missing",
        "tls_key is missing",
        "admin_token_sha256 is missing",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(
        !said.contains("hush") && !said.contains("whatever"),
        "{said}"
    );
}

#[test]
fn a_file_that_does_not_parse_is_told_by_line() {
    let said = read::<ScRole>("[sc]\nname = \"sc-1\nlisten = 1\n", &[]).unwrap_err();
    assert!(said.message.contains("tidegate.toml:2: "), "{said}");
}

#[test]
fn a_storage_unit_says_how_it_is_reached() {
    let file = |more: &str| {
        format!(
            "[spu]\nspu_id = 3\ncontroller = [\"https://sc-1.example:7443\", \"https://sc-2:7443\"]\n\
             tls_cert = \"c\"\ntls_key = \"k\"\nadmin_token_sha256 = \"{DIGEST}\"\n{more}"
        )
    };
    let said = read::<SpuRole>(&file(""), &[]).unwrap_err();
    assert!(said.message.contains("others cannot dial"), "{said}");
    let told = file("advertise_private = \"https://spu-3:7443\"\nrack = \"r1\"\n");
    let settings = read::<SpuRole>(&told, &["--scrub-period", "off"]).unwrap();
    assert_eq!(settings.spu_id.0, 3);
    assert_eq!(settings.process.security.controllers.len(), 2);
    assert_eq!(settings.rack.as_deref(), Some("r1"));
    assert!(settings.scrub.is_none() && settings.clients.is_none());
    let one = read::<SpuRole>(&file("listen_private = \"127.0.0.1:0\"\n"), &[]).unwrap();
    assert_eq!(one.private.advertise, None);
}

#[test]
fn a_node_that_is_no_controller_must_know_one() {
    let said = read::<GatewayRole>("[gateway]\nname = \"g\"\n", &[]).unwrap_err();
    assert!(said.message.contains("controller is missing"), "{said}");
}

#[test]
fn the_examples_are_complete_and_right() {
    let sc = read::<ScRole>(include_str!("../../../deploy/config/sc.toml"), &[]);
    assert_eq!(sc.unwrap().name, "sc-1");
    let spu = read::<SpuRole>(include_str!("../../../deploy/config/spu.toml"), &[]);
    assert_eq!(spu.unwrap().spu_id.0, 1);
    let gateway = read::<GatewayRole>(include_str!("../../../deploy/config/gateway.toml"), &[]);
    assert_eq!(gateway.unwrap().name, "gateway-1");
}

#[test]
fn no_two_keys_of_a_role_share_a_name_or_a_variable() {
    let check = |keys: Vec<Key>| {
        let mut names: Vec<&str> = keys.iter().flat_map(|key| [key.flag, key.env]).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for key in keys {
            let env = format!("TIDEGATE_{}", key.field().to_uppercase());
            assert_eq!(env, key.env);
        }
    };
    check(keys::<ScRole>());
    check(keys::<SpuRole>());
    check(keys::<GatewayRole>());
}
