//! `deploy/compose.yaml` without containers: the command line and the environment of each service, with the
//! paths and names of hosts of this machine, start a cluster that takes a record.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use tidegate_kit::secret::SecretDigest;
use tidegate_kit::tls::Pki;
use tidegate_sc::local_postgres::Scratch;
use tidegate_tests::http::{Connection, Target};
use tidegate_tests::program::{command, words};
use tidegate_tests::wait::wait_blocking;

const COMPOSE: &str = include_str!("../../deploy/compose.yaml");
const TOKEN: &str = "the-token-of-the-administrator";

/// A service as the file has it.
#[derive(Debug)]
struct Service {
    name: String,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
}

/// The lines of a block of variables, by its anchor.
fn variables(anchor: &str) -> BTreeMap<String, String> {
    let mut lines = COMPOSE
        .lines()
        .skip_while(|line| !line.ends_with(&format!("&{anchor}")));
    lines.next().expect("the anchor is there");
    let lines = lines.take_while(|line| line.starts_with("  "));
    let pairs = lines.filter_map(|line| line.trim().split_once(": "));
    let pairs = pairs.filter(|(name, _)| *name != "<<");
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

fn services() -> Vec<Service> {
    let (_, text) = COMPOSE.split_once("\nservices:\n").expect("services");
    let (text, _) = text.split_once("\nvolumes:\n").expect("volumes");
    let mut found: Vec<Service> = Vec::new();
    for line in text.lines() {
        if line.starts_with("  ") && !line.starts_with("   ") {
            let (name, _) = line.trim().split_once(':').expect("a name");
            found.push(Service {
                name: name.to_owned(),
                command: Vec::new(),
                environment: BTreeMap::new(),
            });
        }
        let Some(service) = found.last_mut() else {
            continue;
        };
        if let Some(words) = line.trim().strip_prefix("command: ") {
            service.command = serde_json::from_str(words).expect("a list of words");
            service.environment = variables("shared");
            if service.command[0] == "sc" {
                service.environment.extend(variables("sc-environment"));
            }
        }
        if let Some((_, token)) = line.split_once("TIDEGATE_JOIN_TOKEN: ") {
            service.environment.insert(
                "TIDEGATE_JOIN_TOKEN".to_owned(),
                token.trim_end_matches(" }").to_owned(),
            );
        }
    }
    found.retain(|service| !service.command.is_empty());
    found
}

/// This machine in the place of the containers.
struct Machine {
    home: tempfile::TempDir,
    database_url: String,
    /// By service: of clients, of nodes, of operators.
    ports: BTreeMap<String, [u16; 3]>,
    running: Vec<Child>,
}

impl Machine {
    fn new(services: &[Service], database_url: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        for name in ["tls", "ca", "data"] {
            std::fs::create_dir(home.path().join(name)).expect("a directory");
        }
        Pki::ensure(&home.path().join("tls"), &[]).expect("a certificate");
        let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let held: Vec<[TcpListener; 3]> =
            services.iter().map(|_| [bind(), bind(), bind()]).collect();
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let ports = services.iter().zip(&held);
        let ports = ports.map(|(service, held)| (service.name.clone(), held.each_ref().map(port)));
        Self {
            ports: ports.collect(),
            home,
            database_url: database_url.to_owned(),
            running: Vec::new(),
        }
    }

    fn data_dir(&self, service: &Service) -> PathBuf {
        self.home.path().join("data").join(&service.name)
    }

    fn here(&self, service: &Service, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, [_, private, _]) in &self.ports {
            text = text.replace(&format!("//{name}:7443"), &format!("//127.0.0.1:{private}"));
        }
        let [.., operators] = self.ports[&service.name];
        let place = |name: &str| self.home.path().join(name).display().to_string();
        text = text.replace("0.0.0.0:9443", &format!("127.0.0.1:{operators}"));
        for (there, here) in [("/tls", place("tls")), ("/ca", place("ca"))] {
            if text == there || text.starts_with(&format!("{there}/")) {
                text = text.replacen(there, &here, 1);
            }
        }
        if text == "/var/lib/tidegate" {
            text = self.data_dir(service).display().to_string();
        }
        if text.starts_with("postgres://tidegate:${POSTGRES_PASSWORD:?") {
            text.clone_from(&self.database_url);
        }
        if text.starts_with("${ADMIN_TOKEN_SHA256:?") {
            text = SecretDigest::of(TOKEN).to_hex();
        }
        text
    }

    /// The command of a service; the ports inside of containers are all the same and free, here they are not.
    fn command(&self, service: &Service, join_token: &str) -> std::process::Command {
        let mut command = command(self.home.path());
        command.args(service.command.iter().map(|word| self.here(service, word)));
        for (name, value) in &service.environment {
            let is_token = name == "TIDEGATE_JOIN_TOKEN";
            assert!(!is_token || value.starts_with("\"${JOIN_"), "{value}");
            let here = self.here(service, value);
            command.env(name, if is_token { join_token } else { &here });
        }
        let [clients, private, _] = self.ports[&service.name];
        command.env("TIDEGATE_LISTEN", format!("127.0.0.1:{clients}"));
        command.env("TIDEGATE_LISTEN_PRIVATE", format!("127.0.0.1:{private}"));
        command
    }

    fn ends_well(&self, service: &Service) {
        let output = self.command(service, "").output().expect("it runs");
        assert!(
            output.status.success(),
            "{}: {}",
            service.name,
            words(&output)
        );
    }

    fn start(&mut self, service: &Service, join_token: &str) {
        let log = self.home.path().join(format!("{}.log", service.name));
        let mut command = self.command(service, join_token);
        command.stdout(Stdio::null());
        command.stderr(std::fs::File::create(&log).expect("a log"));
        let mut child = command.spawn().expect("it starts");
        let facts = self.data_dir(service).join("node.json");
        wait_blocking("a service of the file", || {
            if let Some(status) = child.try_wait().expect("it can be asked") {
                panic!("{} ended with {status}: {}", service.name, read(&log));
            }
            facts.exists().then_some(())
        });
        self.running.push(child);
    }

    fn target(&self, service: &str) -> Target {
        Target {
            url: format!("https://127.0.0.1:{}", self.ports[service][0]),
            ca_pem: Some(read(&self.home.path().join("tls/ca.pem"))),
            token: Some(TOKEN.to_owned()),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for child in self.running.iter_mut().rev() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_services_of_the_compose_file_make_a_cluster() {
    let services = services();
    let names: Vec<&str> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    let nodes = [
        "sc-1",
        "sc-2",
        "spu-1",
        "spu-2",
        "spu-3",
        "gateway-1",
        "gateway-2",
    ];
    assert_eq!(names, [&["migrate", "authority"], &nodes[..]].concat());
    let server = Scratch::shared().expect("Postgres starts");
    let database = server.database().await.expect("a schema");
    let mut machine = Machine::new(&services, &database.url);
    machine.ends_well(&services[0]);
    machine.ends_well(&services[1]);
    for service in &services[2..4] {
        machine.start(service, "");
    }
    let mut controller = Connection::open(&machine.target("sc-1"))
        .await
        .expect("a connection");
    // One of each is enough to see that they fit together; the others differ in numbers and names.
    for service in [&services[4], &services[7]] {
        let role = &service.command[0];
        let asked = format!(r#"{{"role":"{role}","name":"{}"}}"#, service.name);
        let made = controller
            .post("/v1/join-tokens", "application/json", asked)
            .await
            .expect("a token");
        assert_eq!(made.status, 201, "{}", made.text());
        machine.start(service, made.json()["token"].as_str().expect("a token"));
    }
    let mut gateway = Connection::open(&machine.target("gateway-1"))
        .await
        .expect("a connection");
    let topic = r#"{"name":"orders","partitions":1,"replication_factor":1}"#;
    let made = gateway
        .post("/v1/topics", "application/json", topic)
        .await
        .expect("an answer");
    assert_eq!(made.status, 201, "{}", made.text());
    let record = r#"{"records":[{"value":"one"}]}"#;
    tidegate_tests::wait::wait_for("a record to be taken", async || {
        let path = "/v1/topics/orders/records";
        let answer = gateway.post(path, "application/json", record).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}
