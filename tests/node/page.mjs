// Uses the live page as a person would: token, topic, tail; writes a screenshot.
// Arguments (JSON): url, token, topic, count, screenshot. Prints what the page shows.
import { withPage } from "./chromium.mjs";

const { url, token, topic, count, screenshot } = JSON.parse(process.argv[2]);

const report = await withPage(url, async (page, complaints) => {
  if (token) {
    await page.getByLabel(/token/i).first().fill(token);
    await page.keyboard.press("Enter");
  }
  await page.getByText(topic, { exact: true }).first().waitFor();
  await page.getByLabel(/from|start/i).first().selectOption("earliest");
  await page.getByText(topic, { exact: true }).first().click();
  await page.waitForFunction((count) => window.tidegate.received >= count, count, { timeout: 60_000 });
  if (screenshot) await page.screenshot({ path: screenshot });
  const received = await page.evaluate(() => window.tidegate.received);
  const rows = await page.locator("tbody tr").count();
  const text = await page.locator("body").innerText();
  return { received, rows, text, complaints };
});
console.log(JSON.stringify(report));
