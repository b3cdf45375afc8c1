"""The clients that vendors have released, unmodified, ask keyrota for tokens while signing keys and API keys change over every few seconds:
hyperspell (Python and JavaScript), amigo_sdk, requests_oauth2client and oauth4webapi with proofs of possession. No call may fail, and every token verifies until it expires.

Usage: vendors.py BINARY     (from any folder; needs tests/requirements.txt, and tests/node installed)
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial

import hyperspell
import jwt
import requests
from amigo_sdk.auth import sign_in_with_api_key
from amigo_sdk.config import AmigoConfig
from amigo_sdk.errors import AuthenticationError
from requests_oauth2client import OAuth2Client

from daemon import Daemon, free_port, in_seconds

CHANGE_OVERS = 2
DEADLINE = 150.0
# Keys are accepted for as long after they signed as a token lives and a caller may hold its API key.
POLICY = in_seconds("vendors", """
  partner: { algorithm: api-key, secret_format: { prefix: pk_ } }
  chat:
    algorithm: ES256
    token: { profile: amigo, serve: true, rate: 10000/1s, callers: [{ keyset: partner, subjects: ["user-*"] }] }
  memory:
    algorithm: HS256
    token: { profile: hyperspell, serve: true, rate: 10000/1s, callers: [{ keyset: partner, subjects: ["user-*"] }] }
  api:
    algorithm: ES256
    token:
      profile: at+jwt
      issuer: "http://127.0.0.1:LISTEN/vendors/api"
      audience: api
      serve: true
      rate: 10000/1s
      callers: [{ keyset: partner, subjects: ["*"] }]
""", token_ttl="10s", signer_refresh="10s")
PROOFS = ["ES256", "ES384", "ES512"]
NODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "node")


class Callers:
    """Every client, with the API key that it read a moment ago."""

    def __init__(self, daemon):
        self.daemon, self.base = daemon, f"http://127.0.0.1:{daemon.listen}/vendors"
        self.read, self.key, self.kid = 0.0, "", ""
        self.api_keys, self.kids, self.alive = [], {"chat": [], "memory": [], "api": []}, []
        self.calls = self.verified = 0

    def refresh(self):
        """A caller reads its API key once a second: the policy gives it ten."""
        if time.monotonic() - self.read > 1:
            self.read, document = time.monotonic(), self.daemon.document("partner")
            self.key, self.kid = document["secret"], document["kid"]
            if self.key not in self.api_keys:
                self.api_keys.append(self.key)

    def keep(self, keyset, token):
        """A token that must be accepted until it expires."""
        kid = jwt.get_unverified_header(token)["kid"]
        if kid not in self.kids[keyset]:
            self.kids[keyset].append(kid)
        self.alive.append((keyset, token, jwt.decode(token, options={"verify_signature": False})["exp"]))
        self.calls += 1

    def amigo(self):
        """amigo_sdk exchanges its API key."""
        config = AmigoConfig(api_key=self.key, api_key_id=self.kid, user_id="user-1", organization_id="acme", base_url=f"{self.base}/chat")
        answer = sign_in_with_api_key(config)
        if answer.expires_at.tzinfo is None:
            raise SystemExit(f"expires_at has no zone: {answer}")
        self.keep("chat", answer.id_token)

    def hyperspell(self):
        """hyperspell asks for a user token and says who it is."""
        client = hyperspell.Hyperspell(api_key=self.key, base_url=f"{self.base}/memory", max_retries=0)
        token = client.auth.user_token(user_id="user-2", expires_in="3s").token
        self.keep("memory", token)
        me = hyperspell.Hyperspell(api_key=token, base_url=f"{self.base}/memory", max_retries=0).auth.me()
        acting = hyperspell.Hyperspell(api_key=self.key, user_id="user-3", base_url=f"{self.base}/memory", max_retries=0).auth.me()
        if (me.id, acting.id) != ("user-2", "user-3"):
            raise SystemExit(f"me is {me}, and acting as user-3 {acting}")

    def oauth(self, alg):
        """requests_oauth2client asks for a bound token; it answers the challenge for a nonce by itself."""
        client = OAuth2Client(
            f"{self.base}/api/token", client_id="partner", client_secret=self.key, dpop_bound_access_tokens=True, dpop_alg=alg, testing=True,
        )
        token = client.client_credentials(sub="user-4", scope="read")
        claims = jwt.decode(token.access_token, options={"verify_signature": False})
        if token.token_type != "DPoP" or claims["cnf"]["jkt"] != token.dpop_key.dpop_jkt:
            raise SystemExit(f"{alg}: {token.token_type} {claims}")
        self.keep("api", token.access_token)
        verdict = self.introspect("api", token.access_token)
        if verdict["active"] or verdict["code"] != "bound_as_bearer":
            raise SystemExit(f"a bound token passes as a bearer token: {verdict}")

    def javascript(self):
        """Hyperspell for JavaScript and oauth4webapi, each once."""
        asked = json.dumps({"base": self.base, "key": self.key})
        done = subprocess.run(["node", "vendors.mjs"], cwd=NODE, input=asked, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise SystemExit(f"vendors.mjs: {done.stderr}")

    def introspect(self, keyset, token, **more):
        """keyrota's own verdict."""
        self.refresh()
        url, headers = f"{self.base}/{keyset}/introspect", {"x-api-key": self.key}
        answer = requests.post(url, headers=headers, data={"token": token, **more}, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def verify(self):
        """Everything that is alive is accepted: by PyJWT with the key set as it is now, and by introspection."""
        sets = {name: jwt.PyJWKSet.from_dict(requests.get(self.daemon.url(name), timeout=10).json()) for name in ("chat", "api")}
        for keyset, token, expires in self.alive:
            more = {"presented": "DPoP"} if keyset == "api" else {}
            verdict = self.introspect(keyset, token, **more)
            if not verdict["active"] and time.time() < expires:
                raise SystemExit(f"{keyset}: {verdict}")
            if keyset in sets:
                kid = jwt.get_unverified_header(token)["kid"]
                options = {"verify_aud": False, "verify_exp": False}
                try:
                    jwt.decode(token, sets[keyset][kid].key, algorithms=["ES256"], options=options)
                except (KeyError, jwt.PyJWTError) as error:
                    if time.time() < expires:
                        raise SystemExit(f"{keyset}: PyJWT refuses a token that is alive: {error!r}") from error
            self.verified += 1
        self.alive = [alive for alive in self.alive if time.time() < alive[2]]

    def refused(self):
        """What each client makes of a refusal."""
        config = AmigoConfig(api_key="pk_wrong", api_key_id=self.kid, user_id="user-1", organization_id="acme", base_url=f"{self.base}/chat")
        try:
            sign_in_with_api_key(config)
            raise SystemExit("amigo_sdk signs in with a wrong key")
        except AuthenticationError as error:
            print(f"amigo_sdk: {str(error)[:60]}")
        wrong = hyperspell.Hyperspell(api_key="pk_wrong", base_url=f"{self.base}/memory", max_retries=0)
        right = hyperspell.Hyperspell(api_key=self.key, base_url=f"{self.base}/memory", max_retries=0)
        for client, more, kind in [
            (wrong, {"user_id": "user-2"}, hyperspell.AuthenticationError),
            (right, {"user_id": "admin"}, hyperspell.PermissionDeniedError),
            (right, {"user_id": "user-2", "expires_in": "40d"}, hyperspell.UnprocessableEntityError),
        ]:
            try:
                client.auth.user_token(**more)
            except kind as error:
                if kind is hyperspell.UnprocessableEntityError and error.body["detail"][0]["loc"] != ["body", "expires_in"]:
                    raise SystemExit(f"the detail of a 422 is {error.body}") from error
                continue
            raise SystemExit(f"hyperspell was given a token for {more}")

    def done(self):
        """Whether every key has changed over often enough."""
        return all(len(seen) > CHANGE_OVERS for seen in [self.api_keys, *self.kids.values()])


def main():
    """One daemon, every client, until every key has changed over."""
    listen = free_port()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("policies", "state"):
            os.mkdir(os.path.join(folder, name), 0o755)
        with open(os.path.join(folder, "policies", "vendors.yaml"), "w", encoding="utf-8") as file:
            file.write(POLICY.replace("LISTEN", str(listen)))
        arguments = ["run", "--policies", os.path.join(folder, "policies"), "--state-dir", os.path.join(folder, "state")]
        daemon = Daemon(sys.argv[1], [*arguments, "--runtime-dir", folder], "vendors", folder, listen=listen)
        try:
            daemon.wait_until_ready(120)
            callers, end = Callers(daemon), time.monotonic() + DEADLINE
            callers.refresh()
            callers.refused()
            while not callers.done():
                if time.monotonic() > end:
                    raise SystemExit(f"not every key changed over within {DEADLINE} s: {len(callers.api_keys)}, {callers.kids}\n{daemon.tail()}")
                for ask in [callers.amigo, callers.hyperspell, *(partial(callers.oauth, alg) for alg in PROOFS), callers.javascript]:
                    callers.refresh()
                    ask()
                callers.verify()
            print(f"{callers.calls} tokens asked for, {callers.verified} verdicts, over {len(callers.api_keys)} API keys: no call failed")
        finally:
            daemon.stop()


if __name__ == "__main__":
    main()
