// Clients that keyrota did not write ask it for tokens once: Hyperspell's for JavaScript, and oauth4webapi, which then plays the service
// that the tokens are for, and refuses what it must.
// Asked on standard input: {"base": "http://…/vendors", "key": "an API key of keyset partner"}
// Usage: node vendors.mjs

import assert from "node:assert/strict";
import { text } from "node:stream/consumers";
import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto; // Node 18 keeps it behind a flag.
const { default: Hyperspell } = await import("hyperspell");
const oauth = await import("oauth4webapi");

const { base, key } = JSON.parse(await text(process.stdin));
const insecure = { [oauth.allowInsecureRequests]: true };

const hyperspell = async () => {
  const as = (apiKey, more) => new Hyperspell({ apiKey, baseURL: `${base}/memory`, maxRetries: 0, ...more });
  const { token } = await as(key).auth.userToken({ user_id: "user-5" });
  assert.equal((await as(token).auth.me()).id, "user-5");
  assert.equal((await as(key, { userID: "user-6" }).auth.me()).id, "user-6");
  await assert.rejects(as("pk_wrong").auth.userToken({ user_id: "user-5" }), Hyperspell.AuthenticationError);
  await assert.rejects(as(key).auth.userToken({ user_id: "user-5", expires_in: "40d" }), Hyperspell.UnprocessableEntityError);
};

const found = async (issuer, algorithm) =>
  oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...insecure }));

// The request that a client would make with a token, as the service gets it.
const carried = async (token, options) => {
  let request;
  const fetched = async (url, init) => {
    request = new Request(url, init);
    return new Response();
  };
  const there = new URL("https://service.example.com/things");
  await oauth.protectedResourceRequest(token, "GET", there, new Headers(), null, { ...options, [oauth.customFetch]: fetched });
  return request;
};

const bound = async () => {
  const issuer = new URL(`${base}/api`);
  const server = await found(issuer, "oauth2");
  assert.deepEqual(await found(issuer, "oidc"), server);
  const client = { client_id: "partner" };
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
  for (const authentication of [oauth.ClientSecretBasic(key), oauth.ClientSecretPost(key)]) {
    const ask = async () => {
      const asked = { sub: "user-7", scope: "read" };
      const response = await oauth.clientCredentialsGrantRequest(server, client, authentication, asked, { DPoP, ...insecure });
      return oauth.processClientCredentialsResponse(server, client, response);
    };
    const granted = await ask().catch((error) => {
      if (oauth.isDPoPNonceError(error)) return ask();
      throw error;
    });
    assert.equal(granted.token_type, "dpop");
    const token = granted.access_token;
    const judged = async (request) => oauth.validateJwtAccessToken(server, request, "api", { requireDPoP: true, ...insecure });
    const claims = await judged(await carried(token, { DPoP }));
    assert.equal(claims.sub, "user-7");
    assert.equal(claims.cnf.jkt, await DPoP.calculateThumbprint());
    await assert.rejects(carried(token, {}).then(judged));
    const stranger = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
    await assert.rejects(carried(token, { DPoP: stranger }).then(judged));
    const options = { additionalParameters: { presented: "DPoP" }, ...insecure };
    const response = await oauth.introspectionRequest(server, client, authentication, token, options);
    assert.equal((await oauth.processIntrospectionResponse(server, client, response)).cnf.jkt, claims.cnf.jkt);
  }
};

await hyperspell();
await bound();
