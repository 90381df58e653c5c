// Consumes a topic in a real browser: the page's own origin, a single-use ticket, the browser's WebSocket.
// Arguments (JSON): url, token, topic, count. Prints what socket.mjs prints.
import { withPage } from "./chromium.mjs";
import { Tally } from "./tally.mjs";

const { url, token, topic, count } = JSON.parse(process.argv[2]);

const frames = (page) =>
  page.evaluate(
    async ({ token, topic, count }) => {
      const answer = await fetch("/v1/ws-tickets", {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
        body: JSON.stringify({ topics: [topic], ops: ["consume"] }),
      });
      if (!answer.ok) throw new Error(await answer.text());
      const { ticket } = await answer.json();
      const base = location.origin.replace(/^http/, "ws");
      const socket = new WebSocket(`${base}/v1/topics/${topic}/ws?from=earliest`, ["tidegate.v1.json", `ticket.${ticket}`]);
      const texts = [];
      let total = 0;
      await new Promise((resolve, reject) => {
        socket.onmessage = ({ data }) => {
          texts.push(data);
          const frame = JSON.parse(data);
          if (frame.ev === "records") total += frame.records.length;
          if (total >= count) socket.close(1000);
        };
        socket.onclose = ({ code, reason }) => (total >= count ? resolve() : reject(new Error(`closed with ${code} ${reason} after ${total}`)));
      });
      return texts;
    },
    { token, topic, count },
  );

const report = await withPage(url, async (page) => {
  const tally = new Tally();
  for (const text of await frames(page)) tally.frame(text);
  return tally.report();
});
console.log(JSON.stringify(report));
