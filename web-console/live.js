// Lists topics and live-tails one over the public WebSocket. No build step, no library; what a
// record holds reaches the page through text nodes only.
//
// For tests and the curious, `window.tidegate`:
//   state       "idle" | "connecting" | "live" | "paused" | "waiting" | "failed"
//   topic       the topic that is tailed
//   received    records received since the topic was chosen
//   next        { partition: offset behind the last record received }
//   misplaced   records that were not at the expected offset (0 unless something is broken)
//   caughtUp    whether all that there was has been received
//   away        { partition: why it cannot be read now }
//   connections sockets opened since the topic was chosen
//   onFrame     set it to a function(text) to see every records frame as it came
//   select(topic, from)   as a click on the topic, with "latest", "earliest" or "-<n>"
"use strict";

const ROWS_MAX = 500; // rows kept on the page
const FRESH_MAX = 500; // records that wait to be shown; older ones are counted, not shown
const CREDIT = { records: 20000, bytes: 16 * 1024 * 1024 };
const BACKOFF_MS = { first: 500, most: 15000 };
const SHOWN_LEN_MAX = 4000; // characters of a value that are put on the page
const CHART_SECONDS = 60;
const TOKEN_KEY = "tidegate.token";
const IS_OPEN = document.documentElement.dataset.access === "open"; // a development server

const utf8 = new TextEncoder();
const element = (id) => document.getElementById(id);
const tidegate = (window.tidegate = {
  state: "idle", topic: null, received: 0, next: {}, misplaced: 0, caughtUp: false,
  away: {}, connections: 0, onFrame: null, select,
});

let token = sessionStorage.getItem(TOKEN_KEY);
let tail = null; // what is tailed now; replaced as a whole when another topic is chosen

// ---- the server -----------------------------------------------------------------------------

class Refusal extends Error {
  constructor(problem) {
    super(problem.detail || problem.title || "the server refused");
    this.status = problem.status;
    this.code = problem.code;
  }
}

async function call(method, path, body) {
  const headers = { accept: "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await fetch(path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
  });
  const json = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal({ status: answer.status, ...json });
  return json;
}

function socketUrl() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}/v1/ws`;
}

// ---- one tail -------------------------------------------------------------------------------

class Tail {
  constructor(topic, from) {
    this.topic = topic;
    this.from = from;
    this.base = null; // cursor of all partitions
    this.cursors = new Map(); // later ones, of one partition each
    this.tails = {};
    this.backoff = BACKOFF_MS.first;
    this.spent = { records: 0, bytes: 0 };
    this.isPaused = false;
    this.isOver = false;
    this.nextId = 1;
    this.waiting = new Map(); // id -> what to do with the answer
  }

  async open() {
    if (this.isOver) return;
    setState("connecting", "Connecting");
    try {
      const { ticket } = await call("POST", "/v1/ws-tickets", { topics: [this.topic] });
      if (this.isOver) return;
      this.socket = new WebSocket(socketUrl(), ["tidegate.v1.json", `ticket.${ticket}`]);
    } catch (error) {
      if (error instanceof Refusal && error.status < 500 && error.status !== 429) {
        this.fail(error.message);
        if (error.status === 401) askForToken();
      } else {
        this.retry();
      }
      return;
    }
    tidegate.connections += 1;
    this.socket.onopen = () => this.subscribe();
    this.socket.onmessage = (message) => this.take(message.data);
    this.socket.onclose = (close) => this.closed(close);
  }

  subscribe() {
    this.spent = { records: 0, bytes: 0 };
    const op = { op: "subscribe", id: 0, topic: this.topic, credit: CREDIT };
    if (this.base) op.cursor = [this.base, ...this.cursors.values()];
    else op.from = this.from;
    this.say(op);
  }

  say(op) {
    if (!this.isConnected()) return false;
    this.socket.send(JSON.stringify(op));
    return true;
  }

  isConnected() {
    return Boolean(this.socket) && this.socket.readyState === WebSocket.OPEN;
  }

  take(text) {
    if (this.isOver) return;
    const frame = JSON.parse(text);
    switch (frame.ev) {
      case "records": return this.takeRecords(frame, text);
      case "subscribed":
        this.base = frame.cursor;
        this.cursors.clear();
        this.backoff = BACKOFF_MS.first;
        tidegate.away = {}; // what is away still is told again
        if (this.isPaused) this.say({ op: "pause", topic: this.topic });
        return this.showState();
      case "caught_up":
        this.base = frame.cursor;
        this.cursors.clear();
        tidegate.caughtUp = true;
        return undefined;
      case "away":
        for (const partition of frame.partitions) tidegate.away[partition] = frame.error.detail;
        return this.showState();
      case "back":
        for (const partition of frame.partitions) delete tidegate.away[partition];
        return this.showState();
      case "ping":
        this.tails = frame.tails[this.topic] || {};
        return undefined;
      case "gap":
        tidegate.next[frame.partition] = frame.to;
        return showLater({ gap: frame });
      case "drain":
        this.base = frame.cursors[this.topic] || this.base;
        if (frame.cursors[this.topic]) this.cursors.clear();
        this.backoff = frame.retry_after_ms;
        return undefined;
      case "ack": return this.answer(frame.id, frame);
      case "error": return this.takeError(frame);
      default: return undefined; // of a newer server
    }
  }

  takeRecords(frame, text) {
    if (tidegate.onFrame) tidegate.onFrame(text);
    const partition = frame.partition;
    for (const record of frame.records) {
      const expected = tidegate.next[partition];
      if (expected !== undefined && record.offset !== expected) tidegate.misplaced += 1;
      tidegate.next[partition] = record.offset + 1;
      showLater(record);
    }
    this.cursors.set(partition, frame.cursor);
    tidegate.received += frame.records.length;
    bars[bars.length - 1] += frame.records.length;
    // Half of the credit is given back at a time, so that a slow page slows the server down.
    this.spent.records += frame.records.length;
    this.spent.bytes += utf8.encode(text).length;
    if (this.spent.records >= CREDIT.records / 2 || this.spent.bytes >= CREDIT.bytes / 2) {
      this.say({ op: "credit", topic: this.topic, ...this.spent });
      this.spent = { records: 0, bytes: 0 };
    }
  }

  takeError(frame) {
    const problem = frame.error;
    if (frame.id > 0) return this.answer(frame.id, frame);
    if (problem.next_cursor) {
      // Cut off by retention while we were away: go on behind the gap, and say so.
      notice(`${problem.detail}. Going on with what is left.`);
      this.base = problem.next_cursor;
      this.cursors.clear();
      tidegate.next = {};
      return this.subscribe();
    }
    if (problem.retryable) return this.socket.close();
    return this.fail(problem.detail);
  }

  answer(id, frame) {
    const act = this.waiting.get(id);
    this.waiting.delete(id);
    if (act) act(frame);
  }

  closed(close) {
    for (const act of this.waiting.values()) act({ error: { detail: "the connection was lost" } });
    this.waiting.clear();
    if (this.isOver) return;
    if (close.code >= 3500 && close.code < 4000) {
      this.fail(`The server closed the connection: ${close.reason || close.code}`);
    } else {
      this.retry();
    }
  }

  retry() {
    // Full jitter, so that many pages do not come back at once.
    const wait = this.backoff * (0.5 + Math.random() / 2);
    this.backoff = Math.min(this.backoff * 2, BACKOFF_MS.most);
    setState("waiting", `Reconnecting in ${(wait / 1000).toFixed(1)} s`);
    this.timer = setTimeout(() => this.open(), wait);
  }

  fail(text) {
    this.end();
    setState("failed", "Stopped");
    notice(text);
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    this.say({ op: isPaused ? "pause" : "resume", topic: this.topic });
    if (this.isConnected()) this.showState();
  }

  // Of a socket that is subscribed. Reading goes on without partitions that are away.
  showState() {
    const away = Object.keys(tidegate.away);
    const text = this.isPaused ? "Paused" : "Live";
    const without = away.length > 1 ? `${away.length} partitions` : `partition ${away[0]}`;
    setState(
      this.isPaused ? "paused" : "live",
      away.length > 0 ? `${text}, without ${without}` : text,
      away.length > 0 ? tidegate.away[away[0]] : "",
    );
  }

  produce(record, act) {
    const id = this.nextId++;
    this.waiting.set(id, act);
    if (!this.say({ op: "produce", id, topic: this.topic, records: [record] })) {
      this.waiting.delete(id);
      act({ error: { detail: "not connected" } });
    }
  }

  lag() {
    let sum = 0;
    for (const [partition, end] of Object.entries(this.tails)) {
      const next = tidegate.next[partition];
      if (next !== undefined) sum += Math.max(0, end - next);
    }
    return sum;
  }

  end() {
    this.isOver = true;
    clearTimeout(this.timer);
    if (this.socket) this.socket.close();
  }
}

// ---- the page -------------------------------------------------------------------------------

let fresh = [];
let isDrawing = false;
const bars = new Array(CHART_SECONDS).fill(0);

function setState(state, text, why = "") {
  tidegate.state = state;
  element("state").dataset.state = state;
  element("state").textContent = text;
  element("why").textContent = why;
  element("why").hidden = !why;
  element("send").disabled = !(tail && tail.isConnected());
}

function notice(text) {
  element("notice").textContent = text;
  element("notice").hidden = !text;
}

function showLater(item) {
  fresh.push(item);
  if (fresh.length > FRESH_MAX * 2) {
    fresh = fresh.slice(-FRESH_MAX);
  }
  if (!isDrawing) {
    isDrawing = true;
    // Hidden tabs draw nothing, so they get a timer instead.
    if (document.hidden) setTimeout(draw, 250);
    else requestAnimationFrame(draw);
  }
}

function draw() {
  isDrawing = false;
  const rows = element("rows");
  const added = document.createDocumentFragment();
  for (const item of fresh.slice(-ROWS_MAX).reverse()) {
    added.append(item.gap ? gapRow(item.gap) : recordRow(item));
  }
  fresh = [];
  rows.prepend(added);
  while (rows.childElementCount > ROWS_MAX) rows.lastElementChild.remove();
  element("rows-empty").hidden = rows.childElementCount > 0;
  element("received").textContent = tidegate.received.toLocaleString();
}

function cell(row, text, className) {
  const cell = document.createElement("td");
  cell.textContent = text.length > SHOWN_LEN_MAX ? `${text.slice(0, SHOWN_LEN_MAX)}…` : text;
  if (className) cell.className = className;
  row.append(cell);
  return cell;
}

function recordRow(record) {
  const row = document.createElement("tr");
  cell(row, clock(record.timestamp));
  cell(row, `${record.partition}:${record.offset}`);
  const [key, keyClass] = shown(record.key, record.key_base64, "");
  cell(row, key, keyClass);
  const [value, valueClass] = shown(record.value, record.value_base64, "deleted");
  cell(row, value, valueClass);
  return row;
}

function gapRow(gap) {
  const row = document.createElement("tr");
  row.className = "gap";
  const text = `Partition ${gap.partition}: ${gap.from} to ${gap.to} can no longer be read (${gap.reason})`;
  cell(row, text).colSpan = 4;
  return row;
}

function shown(value, base64, none) {
  if (base64 !== undefined) return [`base64 ${base64}`, "none"];
  if (value === null || value === undefined) return [none, "none"];
  return [typeof value === "string" ? value : JSON.stringify(value), ""];
}

function clock(epochMs) {
  const time = new Date(epochMs);
  const two = (number) => String(number).padStart(2, "0");
  const ms = String(time.getMilliseconds()).padStart(3, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${ms}`;
}

function everySecond() {
  const rate = bars[bars.length - 1];
  element("rate").textContent = rate.toLocaleString();
  element("lag").textContent = tail ? tail.lag().toLocaleString() : "0";
  drawChart();
  bars.shift();
  bars.push(0);
}

function drawChart() {
  const canvas = element("chart");
  const width = canvas.clientWidth;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = width * ratio;
  canvas.height = 36 * ratio;
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--tide");
  const most = Math.max(1, ...bars);
  const step = width / bars.length;
  bars.forEach((count, at) => {
    const height = count === 0 ? 1 : Math.max(2, (count / most) * 36);
    context.fillRect(at * step, 36 - height, Math.max(1, step - 1.5), height);
  });
}

function select(topic, from) {
  if (from) element("from").value = from;
  if (tail) tail.end();
  Object.assign(tidegate, {
    topic, received: 0, next: {}, misplaced: 0, caughtUp: false, away: {}, connections: 0,
  });
  bars.fill(0);
  clearRows();
  notice("");
  element("live-title").textContent = topic;
  element("sent").textContent = "";
  for (const button of element("topics").querySelectorAll("button")) {
    button.setAttribute("aria-current", String(button.dataset.topic === topic));
  }
  element("pause").disabled = element("clear").disabled = false;
  setPaused(false);
  tail = new Tail(topic, from || element("from").value);
  tail.open();
}

function setPaused(isPaused) {
  element("pause").setAttribute("aria-pressed", String(isPaused));
  element("pause").textContent = isPaused ? "Resume" : "Pause";
}

function clearRows() {
  fresh = [];
  element("rows").replaceChildren();
  element("rows-empty").hidden = false;
  element("received").textContent = tidegate.received.toLocaleString();
}

async function loadTopics() {
  if (!token && !IS_OPEN) return askForToken();
  let topics;
  try {
    topics = (await call("GET", "/v1/topics?limit=1000")).items;
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) askForToken(error.message);
    else notice(`Topics cannot be listed: ${error.message}`);
    return;
  }
  element("access").hidden = true;
  element("forget").hidden = !token;
  const list = element("topics");
  const focused = document.activeElement && document.activeElement.dataset.topic;
  list.replaceChildren();
  for (const topic of topics) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.topic = topic.name;
    button.setAttribute("aria-current", String(topic.name === tidegate.topic));
    const name = document.createElement("span");
    name.textContent = topic.name;
    const count = document.createElement("span");
    count.textContent = topic.partitions;
    count.title = `${topic.partitions} partitions`;
    button.append(name, count);
    button.addEventListener("click", () => select(topic.name));
    item.append(button);
    list.append(item);
    if (topic.name === focused) button.focus();
  }
  element("topics-empty").hidden = topics.length > 0;
}

function askForToken(text) {
  notice(text || "");
  element("access").hidden = false;
  element("token").focus();
}

function send(event) {
  event.preventDefault();
  if (!tail) return;
  const record = { value: parse(element("value").value) };
  const key = element("key").value;
  if (key) record.key = key;
  tail.produce(record, (answer) => {
    const place = answer.partitions && answer.partitions[0];
    element("sent").textContent = place
      ? `Stored at ${place.partition}:${place.base_offset} (${answer.durable})`
      : `Not stored: ${answer.error ? answer.error.detail : "no answer"}`;
    if (place) element("value").value = "";
  });
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

element("access").addEventListener("submit", (event) => {
  event.preventDefault();
  token = element("token").value.trim();
  sessionStorage.setItem(TOKEN_KEY, token);
  element("token").value = "";
  notice("");
  loadTopics();
});
element("forget").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN_KEY);
  location.reload();
});
element("refresh").addEventListener("click", loadTopics);
element("from").addEventListener("change", () => tail && select(tail.topic));
element("pause").addEventListener("click", () => {
  if (!tail) return;
  tail.pause(!tail.isPaused);
  setPaused(tail.isPaused);
});
element("clear").addEventListener("click", clearRows);
element("wrap").addEventListener("change", (event) => {
  element("log").classList.toggle("wrapped", event.target.checked);
});
element("produce").addEventListener("submit", send);
element("value").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) send(event);
});
window.addEventListener("online", () => {
  if (tail && tidegate.state === "waiting") {
    clearTimeout(tail.timer);
    tail.open();
  }
});
setInterval(everySecond, 1000);
loadTopics();
