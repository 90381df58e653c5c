//! A real file system that fills up under a running server, and a disk whose sync fails: what was
//! acknowledged is there, and nothing else is promised.
//!
//! A file system of its own takes root, or a kernel that lets users make namespaces. Where neither is
//! to be had the test fails and says so; so does the failing sync where strace may not look at a process.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use tidegate_tests::http::{Answer, Connection};
use tidegate_tests::records::{read_all, value_text};
use tidegate_tests::server::Server;
use tidegate_tests::wait::wait_for;

/// A file system of some megabytes, unmounted when dropped.
struct SmallDisk {
    at: PathBuf,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(megabytes: u32) -> Result<Self, String> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = dir.path().to_path_buf();
        let outcome = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(&at)
            .output()
            .map_err(|error| error.to_string())?;
        if !outcome.status.success() {
            return Err(String::from_utf8_lossy(&outcome.stderr).into_owned());
        }
        Ok(Self { at, _dir: dir })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// A small file system; none when the test was run in a namespace where one can be mounted instead.
fn small_disk(megabytes: u32, test: &str) -> Option<SmallDisk> {
    let why = match SmallDisk::mount(megabytes) {
        Ok(disk) => return Some(disk),
        Err(why) => why,
    };
    let own = std::env::current_exe().expect("a process knows its program");
    let is_root = rustix::process::getuid().is_root();
    let status = (!is_root).then(|| {
        let mut inside = Command::new("unshare");
        inside.arg("-rm").arg(own).args(["--exact", test]).status()
    });
    let passed = status.is_some_and(|status| status.is_ok_and(|status| status.success()));
    assert!(
        passed,
        "no small file system can be mounted here, so this promise is NOT TESTED ({why}): run it as \
         root, or where `unshare -rm` works"
    );
    None
}

/// Takes all the space there is.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file");
    for piece in [vec![7_u8; 1 << 20], vec![7; 4096]] {
        while file.write_all(&piece).is_ok() {}
    }
}

async fn produce(connection: &mut Connection, number: u32) -> Answer {
    let value = format!("{number} {}", "x".repeat(20_000));
    let answer = connection.post("/v1/topics/t/records?timeout_ms=500", "text/plain", value);
    answer.await.expect("an answer")
}

async fn no_topic_is_made(connection: &mut Connection) {
    let topic = r#"{"name":"another"}"#.to_owned();
    let refused = connection.post("/v1/topics", "application/json", topic);
    let refused = refused.await.expect("an answer");
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert_eq!(refused.json()["code"], "disk_full");
}

#[tokio::test]
async fn a_full_disk_refuses_records_and_serves_the_others_until_there_is_space() {
    let test = "disk::a_full_disk_refuses_records_and_serves_the_others_until_there_is_space";
    let Some(disk) = small_disk(96, test) else {
        return;
    };
    let mut server = Server::start_at(&disk.at.join("data"), &["--dev", "--disk-reserve", "0"]);
    server.create_topic("t", 1).await;
    let mut connection = server.connect().await.expect("a connection");
    let mut acked = Vec::new();
    for number in 0..50 {
        assert_eq!(produce(&mut connection, number).await.status, 200);
        acked.push(number);
    }
    let filler = disk.at.join("filler");
    fill(&filler);
    let refused = {
        let mut number = 1_000;
        loop {
            let answer = produce(&mut connection, number).await;
            match answer.status.as_u16() {
                200 => acked.push(number),
                // One that was taken in when the room ended: nobody knows.
                504 => {}
                _ => break answer,
            }
            number += 1;
            assert!(number < 20_000, "a full disk takes all of it");
        }
    };
    assert_eq!(refused.status, 507, "{}", refused.text());
    let problem = refused.json();
    assert_eq!(problem["code"], "disk_full");
    assert_eq!(problem["side_effects"], "none");
    assert_eq!(problem["retryable"], true);
    assert!(refused.header("retry-after").is_some());
    no_topic_is_made(&mut connection).await;
    let ready = connection.get("/readyz").await.expect("an answer");
    assert_eq!(ready.status, 200, "reads are served");
    let texts = async |connection: &mut Connection| -> Vec<u32> {
        let records = read_all(connection, "t", 0, 0).await.expect("records");
        let number = |record| {
            let text = String::from_utf8_lossy(&value_text(record)).into_owned();
            text.trim_start_matches('"')
                .split(' ')
                .next()
                .and_then(|n| n.parse().ok())
        };
        records
            .iter()
            .map(|record| number(record).expect("a number"))
            .collect()
    };
    let held = texts(&mut connection).await;
    assert!(acked.iter().all(|number| held.contains(number)));

    std::fs::remove_file(&filler).expect("the filler goes");
    let next = AtomicU32::new(30_000);
    let taken = wait_for("space to be noticed", async || {
        let mut connection = server.connect().await.ok()?;
        let number = next.fetch_add(1, Ordering::Relaxed);
        (produce(&mut connection, number).await.status == 200).then_some(number)
    });
    acked.push(taken.await);
    assert!(server.stop().success());
    server.launch();
    let mut connection = server.connect().await.expect("a connection");
    let held = texts(&mut connection).await;
    for number in &acked {
        let copies = held.iter().filter(|found| *found == number).count();
        assert_eq!(copies, 1, "record {number} was acknowledged once");
    }
}

#[tokio::test]
async fn a_sync_that_fails_ends_the_acknowledgements_for_good() {
    let mut server = Server::start_dev();
    server.create_topic("t", 1).await;
    let mut connection = server.connect().await.expect("a connection");
    for number in 0..20 {
        assert_eq!(produce(&mut connection, number).await.status, 200);
    }
    let mut tracer = fail_fifth_sync(server.pid());
    let mut acked: Vec<u32> = (0..20).collect();
    for number in 20..2_000 {
        match produce(&mut connection, number).await.status.as_u16() {
            200 => acked.push(number),
            _ => break,
        }
    }
    assert!(
        acked.len() < 1_500,
        "strace let no sync fail, so this promise is NOT TESTED: run it as root, or where a process may \
         be traced (kernel.yama.ptrace_scope=0)"
    );
    stays_failed(&server, &mut connection, acked.len()).await;
    tracer.kill().ok();
    tracer.wait().ok();
    server.kill();
    let again = server.up_command().status().expect("it runs");
    assert_eq!(again.code(), Some(6), "a restart does not mend a disk");
    assert!(server.log().contains("tidegate disk accept --data-dir"));
    let data_dir = server.data_dir().display().to_string();
    server.run_ok(&["disk", "accept", "--data-dir", &data_dir]);
    server.launch();
    let mut connection = server.connect().await.expect("a connection");
    let held = read_all(&mut connection, "t", 0, 0).await.expect("records");
    assert!(
        held.len() >= acked.len(),
        "{} < {}",
        held.len(),
        acked.len()
    );
    assert_eq!(produce(&mut connection, 9_000).await.status, 503);
}

/// Refused for good, readable, not ready.
async fn stays_failed(server: &Server, connection: &mut Connection, acked: usize) {
    for number in 5_000..5_010 {
        let refused = produce(connection, number).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert_eq!(refused.json()["disk_failed"], true);
    }
    let held = read_all(connection, "t", 0, 0).await.expect("reads go on");
    assert!(held.len() >= acked);
    let not_ready = wait_for("the news to get around", async || {
        let mut connection = server.connect().await.ok()?;
        let answer = connection.get("/readyz").await.ok()?;
        (answer.status == 503).then_some(answer)
    });
    assert!(not_ready.await.text().contains("disk failed"));
}

/// Lets the fifth `fdatasync` of a process from now on fail.
fn fail_fifth_sync(pid: u32) -> Child {
    let tracer = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=fdatasync", "-o", "/dev/null"])
        .args(["-e", "inject=fdatasync:error=EIO:when=5"])
        .args(["-p", &pid.to_string()])
        .spawn();
    tracer.unwrap_or_else(|why| {
        panic!(
            "strace cannot be run ({why}), so this promise is NOT TESTED: apt-get install strace"
        )
    })
}
