// Counts and hashes records frames: values as the bytes that came, one line each, per partition.
import { createHash } from "node:crypto";

// The rows of the input are flat objects, so a value ends at its first closing brace.
const VALUE = /"value":(\{[^}]*\})/g;

export class Tally {
  total = 0;
  partitions = new Map();

  frame(text) {
    const frame = JSON.parse(text);
    if (frame.ev === "error") throw new Error(text);
    if (frame.ev !== "records") return;
    const values = [...text.matchAll(VALUE)].map((match) => match[1]);
    if (values.length !== frame.records.length) throw new Error(`not a flat row in ${text}`);
    frame.records.forEach((record, at) => this.record(frame.partition, record.offset, values[at]));
  }

  record(partition, offset, value) {
    const known = this.partitions.get(partition) ?? { count: 0, first: offset, next: offset, hash: createHash("sha256") };
    if (offset !== known.next) throw new Error(`offset ${offset} of partition ${partition}, ${known.next} is due`);
    known.count += 1;
    known.next += 1;
    known.hash.update(value).update("\n");
    this.partitions.set(partition, known);
    this.total += 1;
  }

  report() {
    const rows = [...this.partitions].map(([partition, { count, first, hash }]) => [
      partition,
      { count, first, sha256: hash.digest("hex") },
    ]);
    return { total: this.total, partitions: Object.fromEntries(rows) };
  }
}
