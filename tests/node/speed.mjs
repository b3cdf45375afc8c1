// npm jose minting and verifying as fast as it can, with a key that is parsed once: half a second of each.
// Asked on stdin and answering on stdout, in JSON: see benches/tokens/peers.rs.

import { readFileSync } from "node:fs";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node 18 keeps it behind a flag.
const { SignJWT, importPKCS8, importSPKI, jwtVerify } = await import("jose");

const MICROSECONDS = 500_000;
const asked = JSON.parse(readFileSync(0, "utf8"));
const { algorithm: alg, kid, claims } = asked;
const secret = async () => crypto.subtle.importKey("raw", new TextEncoder().encode(asked.private), { name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
const shared = asked.public === null ? await secret() : undefined;
const signing = shared ?? (await importPKCS8(asked.private, alg));
const verifying = shared ?? (await importSPKI(asked.public, alg));
const rules = { algorithms: [alg], issuer: claims.iss, audience: claims.aud, currentDate: new Date(asked.now * 1000) };

const spent = (since) => {
  const { user, system } = process.cpuUsage(since);
  return user + system;
};

// Seconds of processor time for one piece of work; the first rounds are for the compiler.
const each = async (work) => {
  for (let n = 0; n < 200; n += 1) await work();
  const began = process.cpuUsage();
  let times = 0;
  for (; spent(began) < MICROSECONDS; times += 20) for (let n = 0; n < 20; n += 1) await work();
  return spent(began) / times / 1e6;
};

const mint = () => new SignJWT(claims).setProtectedHeader({ alg, typ: "JWT", kid }).sign(signing);
const token = await mint();
const answer = { token, mint: await each(mint), verify: await each(() => jwtVerify(token, verifying, rules)) };
process.stdout.write(JSON.stringify(answer));
