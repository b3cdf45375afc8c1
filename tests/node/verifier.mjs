// A verifier of its own kind: npm jose with a remote key set, told what to check line by line.
// Asked:    {"id": 1, "url": "http://…/jwks.json", "algorithm": "ES256", "token": "…"}
// Answered: {"id": 1, "ok": true} or {"id": 1, "ok": false, "why": "…"}
// Usage: node verifier.mjs CACHE_MAX_AGE_MS COOLDOWN_MS

import { createInterface } from "node:readline";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node 18 keeps it behind a flag.
const { createRemoteJWKSet, jwtVerify } = await import("jose");

const [cacheMaxAge, cooldownDuration] = process.argv.slice(2).map(Number);
const sets = new Map();

const keysAt = (url) => {
  if (!sets.has(url)) sets.set(url, createRemoteJWKSet(new URL(url), { cacheMaxAge, cooldownDuration }));
  return sets.get(url);
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, url, algorithm, token } = JSON.parse(line);
  let answer = { id, ok: true };
  try {
    await jwtVerify(token, keysAt(url), { algorithms: [algorithm] });
  } catch (error) {
    answer = { id, ok: false, why: `${error.code ?? error.name}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
