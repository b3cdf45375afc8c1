// Looks at the status page in a real Chromium, as people do: light, dark, on a phone, by keyboard, without JavaScript, and as a
// screen reader's rules (axe) see it.
//
// Usage: page.mjs URL ROWS FOLDER     ROWS: how many keysets must be listed; pictures of it go to FOLDER

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const [url, rows, folder] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const wrong = [];
const must = (holds, what) => holds || wrong.push(what);

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

async function look(name, options, then) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("console", (message) => wrong.push(`${name}: the console says ${message.text()}`));
  page.on("pageerror", (error) => wrong.push(`${name}: ${error}`));
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  const answer = await page.goto(url);
  must(answer.status() === 200, `${name}: status ${answer.status()}`);
  const elsewhere = asked.filter((address) => new URL(address).pathname !== "/" && new URL(address).pathname !== "/favicon.ico");
  must(elsewhere.length === 0, `${name}: it fetched ${elsewhere}`);
  await page.screenshot({ path: `${folder}/${name}.png` });
  await then(page);
  await context.close();
}

async function judged(page, name) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run());
  for (const { id, nodes } of violations) wrong.push(`${name}: axe: ${id}: ${nodes[0].html.slice(0, 200)} (${nodes.length} places)`);
}

const desk = { viewport: { width: 1200, height: 1000 }, bypassCSP: true };
for (const colorScheme of ["light", "dark"]) {
  await look(colorScheme, { ...desk, colorScheme }, async (page) => {
    await judged(page, colorScheme);
    must((await page.locator('a[href^="/?keyset="]').count()) === rows, `${colorScheme}: not ${rows} keysets are listed`);
    // The style is in force, so the policy allows it; and colours follow the scheme.
    const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    must(background === (colorScheme === "light" ? "rgb(255, 255, 255)" : "rgb(13, 17, 23)"), `${colorScheme}: paper is ${background}`);
  });
}
// With the policy in force, as people have it, and without JavaScript.
await look("bare", { ...desk, bypassCSP: false, javaScriptEnabled: false }, async (page) => {
  must((await page.locator('a[href^="/?keyset="]').count()) === rows, `bare: not ${rows} keysets are listed`);
});
await look("strict", { ...desk, bypassCSP: false }, async (page) => {
  const size = await page.locator("h1").evaluate((heading) => getComputedStyle(heading).fontSize);
  must(size === "22.4px", `strict: the page's own style is not in force (h1 is ${size})`);
});
await look("phone", { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, bypassCSP: true }, async (page) => {
  const [wide, room] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  must(wide <= room, `phone: the page is ${wide} wide and the phone ${room}`);
  await judged(page, "phone");
});
await look("keyboard", desk, async (page) => {
  await page.keyboard.press("Tab");
  const focused = await page.evaluate(() => {
    const at = document.activeElement;
    return { tag: at.tagName, outline: getComputedStyle(at).outlineStyle };
  });
  must(focused.tag !== "BODY" && focused.outline === "solid", `keyboard: Tab shows nothing (${JSON.stringify(focused)})`);
  const link = page.locator('a[href^="/?keyset="]').first();
  const keyset = await link.textContent();
  await link.focus();
  await page.keyboard.press("Enter");
  await page.waitForURL(/keyset=/);
  must((await page.locator("article").count()) === 1 && (await page.locator("svg.timeline rect.active").count()) > 0, `keyboard: ${keyset} is not drawn`);
  await judged(page, "keyset");
  await page.screenshot({ path: `${folder}/keyset.png`, fullPage: true });
});
await browser.close();
for (const what of wrong) console.error(`  WRONG ${what}`);
process.exit(wrong.length === 0 ? 0 : 1);
