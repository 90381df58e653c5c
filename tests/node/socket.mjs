// Consumes a topic over a WebSocket with the `ws` package until it has `count` records.
// Arguments (JSON): url, ca (file), token, topic, count. Prints per partition: count, first, last, sha256.
import { readFileSync } from "node:fs";
import WebSocket from "ws";
import { Tally } from "./tally.mjs";

const { url, ca, token, topic, count } = JSON.parse(process.argv[2]);
const tally = new Tally();
const socket = new WebSocket(
  `${url.replace(/^http/, "ws")}/v1/topics/${topic}/ws?from=earliest`,
  ["tidegate.v1.json"],
  { ca: ca && readFileSync(ca), headers: token ? { authorization: `Bearer ${token}` } : {} },
);
socket.on("message", (data) => {
  tally.frame(data.toString("utf8"));
  if (tally.total >= count) socket.close();
});
socket.on("close", (code, reason) => {
  if (tally.total < count) throw new Error(`closed with ${code} ${reason} after ${tally.total} records`);
  console.log(JSON.stringify(tally.report()));
});
