// Judges public keys with Inkeep's own checker: those on standard input, [{"publicKey": PEM, "algorithm": "ES256"}, …], must be taken, and
// what no program should upload is refused.
// Usage: node inkeep.mjs

import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { text } from "node:stream/consumers";
import { validatePublicKey } from "./node_modules/@inkeep/agents-core/dist/utils/validate-public-key.js";

const keys = JSON.parse(await text(process.stdin));
for (const { publicKey, algorithm } of keys) {
  assert.deepEqual(await validatePublicKey(publicKey, algorithm), { valid: true }, `${algorithm}: ${publicKey}`);
  const other = algorithm.startsWith("RS") ? "EdDSA" : "RS256";
  const { valid } = await validatePublicKey(publicKey, other);
  assert.equal(valid, false, `an ${algorithm} key is taken for ${other}`);
}
const rsa = keys.find(({ algorithm }) => algorithm === "RS256").publicKey;
const pkcs1 = createPublicKey(rsa).export({ type: "pkcs1", format: "pem" });
for (const [publicKey, algorithm] of [[pkcs1, "RS256"], [rsa, "PS256"]]) {
  assert.equal((await validatePublicKey(publicKey, algorithm)).valid, false, algorithm);
}
console.log(`Inkeep's checker takes ${keys.length} public keys of ${new Set(keys.map(({ algorithm }) => algorithm)).size} algorithms`);
