//! Binary batches, durable before the answer, from four producers; against a raw loop that writes the
//! same bytes to a preallocated file and syncs once a round.

use anyhow::Result;
use tidegate_proto::batch::BatchBuilder;
use tidegate_proto::compression::Codec;
use tidegate_proto::record::{Datum, RecordRef};
use tidegate_tests::records::wire;
use tidegate_tests::server::Server;

use crate::Effort;
use crate::load::{post, requests_per_second};
use crate::raw_log::raw_bytes_per_second;
use crate::report::Report;

const PRODUCERS: usize = 4;
const BATCH_BYTES: usize = 256 * 1024;

pub(crate) async fn measure(effort: Effort, report: &mut Report) -> Result<()> {
    for record_bytes in [100, 1024] {
        let server = Server::start_dev();
        server.create_topic("batch", 1).await;
        let address = server.url().trim_start_matches("http://").to_owned();
        let (body, records) = batch(record_bytes)?;
        let path = "/v1/topics/batch/partitions/0/records";
        let request = post(&address, path, "application/vnd.tidegate.batch", &body);
        let mut pairs = Vec::new();
        for _ in 0..effort.pairs {
            let rate =
                requests_per_second(&address, request.clone(), PRODUCERS, effort.side).await?;
            let raw = raw_bytes_per_second(server.home(), &body, PRODUCERS, effort.side)?;
            pairs.push((rate * records, raw / body.len() as f64 * records));
        }
        let what = format!("durable batch produce, {record_bytes} B records");
        let setting = format!(
            "256 KiB batches of {records} records, {PRODUCERS} connections, fdatasync before 200; limit: raw pwrite + fdatasync of {PRODUCERS} such batches a round"
        );
        report.pairs(&what, "records/s", &pairs, &setting);
    }
    Ok(())
}

fn batch(record_bytes: usize) -> Result<(Vec<u8>, f64)> {
    let value = vec![b'v'; record_bytes];
    let mut builder = BatchBuilder::new(Codec::None);
    while builder.len_bytes() + record_bytes < BATCH_BYTES {
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
