//! Binary batches, durable before the answer, from four producers; against a raw loop with the same
//! I/O: a journal synced once a round, and segments written and synced behind it.

use anyhow::{Result, ensure};
use tidegate_proto::batch::BatchBuilder;
use tidegate_proto::compression::Codec;
use tidegate_proto::record::{Datum, RecordRef};
use tidegate_tests::records::wire;
use tidegate_tests::server::Server;

use crate::Effort;
use crate::load::{post, requests_per_second};
use crate::raw_log::raw_log;
use crate::report::Report;

const PRODUCERS: usize = 4;
const BATCH_BYTES: usize = 256 * 1024;
const RETENTION_BYTES: u64 = 1 << 30;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    for record_bytes in [100, 1024] {
        let server = Server::start_dev();
        create_topic(&server).await?;
        let address = server.url().trim_start_matches("http://").to_owned();
        let (body, records) = batch(record_bytes, BATCH_BYTES)?;
        let path = "/v1/topics/batch/partitions/0/records";
        let request = post(&address, path, "application/vnd.tidegate.batch", &body);
        let mut pairs = Vec::new();
        let mut recycled = usize::MAX;
        let length = effort.steady_side;
        for _ in 0..effort.steady_pairs {
            let rate = requests_per_second(&address, request.clone(), PRODUCERS, length).await?;
            let (folder, batch) = (server.home().to_owned(), body.clone());
            // On a thread of its own, so that no worker of the load tool is held up.
            let raw = move || raw_log(&folder, &batch, PRODUCERS, length);
            let raw = tokio::task::spawn_blocking(raw).await??;
            recycled = recycled.min(raw.recycled);
            let limit = raw.bytes_per_second / body.len() as f64;
            pairs.push((rate * records, limit * records));
        }
        let what = format!("durable batch produce, {record_bytes} B records");
        let (seconds, size) = (length.as_secs_f64(), RETENTION_BYTES >> 20);
        let setting = format!(
            "256 KiB batches of {records} records, {PRODUCERS} connections, {seconds} s, fdatasync before 200, {size} MiB kept; limit: raw loop with the same I/O: rounds of {PRODUCERS} such batches, each one pwritev + fdatasync to 64 MiB zero-filled journal files ({recycled} used again) and once more to 256 MiB segment files, synced every 16 MiB and before a journal file is used again"
        );
        report.pairs(&what, "records/s", &pairs, &setting);
    }
    Ok(())
}

/// With little retention, so that a minute of batches does not fill the disk.
async fn create_topic(server: &Server) -> Result<()> {
    let config = format!(r#"{{"partitions":1,"config":{{"retention_bytes":{RETENTION_BYTES}}}}}"#);
    let json = [("content-type", "application/json")];
    let mut connection = server.connect().await?;
    let answer = connection
        .send(http::Method::PUT, "/v1/topics/batch", &json, config)
        .await?;
    ensure!(answer.status == 201, "{}", answer.text());
    Ok(())
}

/// A batch of records of some size, as it is sent, and how many records it holds.
pub(crate) fn batch(record_bytes: usize, batch_bytes: usize) -> Result<(Vec<u8>, f64)> {
    let value = vec![b'v'; record_bytes];
    let mut builder = BatchBuilder::new(Codec::None);
    while builder.len_bytes() + record_bytes < batch_bytes {
        let value = Datum::Bytes(&value);
        builder.push(&RecordRef {
            timestamp_ms: 1,
            key: Datum::Absent,
            value,
            headers: &[],
        })?;
    }
    let records = f64::from(builder.record_count());
    Ok((wire(&builder.finish()?), records))
}
