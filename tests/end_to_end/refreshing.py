"""Clients that live longer than their keys, as vendors have released them: amigo_sdk with its own refresh, and requests_oauth2client with refresh
tokens, call a service that verifies with PyJWT and a cache of its own, while signing keys, sealing keys and API keys change over. No call may fail.

Usage: refreshing.py BINARY     (from any folder; needs tests/requirements.txt)
"""

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import requests
from amigo_sdk.config import AmigoConfig
from amigo_sdk.http_client import AmigoHttpClient
from requests_oauth2client import DPoPKey, OAuth2Client

from daemon import Daemon, free_port, in_seconds

CHANGE_OVERS = 2
DEADLINE = 240.0
# `brief` lives less than the five minutes before which amigo_sdk signs in anew: it does so before every call. A token of `steady` is good
# for eight seconds of that. An API key counts for as long after it stood down as a caller may hold it.
POLICY = in_seconds("clients", """
  partner: { algorithm: api-key, secret_format: { prefix: pk_ } }
  refresh: { algorithm: HS256, token_ttl: 40s }
  brief:
    algorithm: ES256
    token: { profile: amigo, serve: true, rate: 10000/1s, callers: [{ keyset: partner, subjects: ["user-*"] }] }
  steady:
    algorithm: ES256
    token_ttl: 308s
    rotate_every: 27s
    token: { profile: amigo, default_ttl: 308s, serve: true, rate: 10000/1s, callers: [{ keyset: partner, subjects: ["user-*"] }] }
  api:
    algorithm: ES256
    token:
      profile: at+jwt
      issuer: "http://127.0.0.1:LISTEN/clients/api"
      audience: api
      serve: true
      rate: 10000/1s
      callers: [{ keyset: partner, subjects: ["user-*"] }]
      refresh: { ttl: 40s, sealed_by: refresh }
""", token_ttl="10s", signer_refresh="10s")
PROOFS = ["ES256", "ES384", "ES512"]


class Service:
    """Somebody's API. It verifies with PyJWT, whose cached key set is as old as the policy allows; it never asks anew for a kid it does not know."""

    def __init__(self, daemon):
        self.sets = {name: jwt.PyJWKClient(daemon.url(name), lifespan=1, cooldown_duration=0) for name in ("brief", "steady", "api")}
        self.accepted, self.kids, self.complaints, self.refuse = 0, {name: [] for name in self.sets}, [], 0
        self.lock = threading.Lock()
        service = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self):
                status = service.judge(self.path.strip("/"), self.headers.get("Authorization", ""))
                body = json.dumps({"status": status}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                """Says nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, keyset):
        """What needs a token of that keyset."""
        return f"http://127.0.0.1:{self.server.server_port}/{keyset}"

    def judge(self, keyset, authorization):
        """The status for a request with this header."""
        token = authorization.partition(" ")[2]
        with self.lock:
            if self.refuse:
                self.refuse -= 1
                return 401
            try:
                kid = jwt.get_unverified_header(token)["kid"]
                held = {key.key_id: key for key in self.sets[keyset].get_jwk_set().keys}
                jwt.decode(token, held[kid].key, algorithms=["ES256"], options={"verify_aud": False}, leeway=0.5)
            except (KeyError, jwt.PyJWTError) as error:
                self.complaints.append(f"{keyset}: {error!r}")
                return 401
            if kid not in self.kids[keyset]:
                self.kids[keyset].append(kid)
            self.accepted += 1
            return 200


class Callers:
    """Every client, with the API key that it read some time ago."""

    def __init__(self, daemon, service):
        self.daemon, self.service, self.base = daemon, service, f"http://127.0.0.1:{daemon.listen}/clients"
        self.api_keys, self.held_since, self.overlapped = [], 0.0, 0
        self.clients, self.former, self.calls = {}, {}, 0
        self.asked, self.signed_in = {"brief": 0, "steady": 0}, {"brief": 0, "steady": 0}
        self.tokens, self.sealing, self.refreshed, self.outlived = {}, [], 0, 0

    def hold(self):
        """Reads the API key. When another has taken over, clients with the old and with the new one call side by side for some seconds."""
        document = self.daemon.document("partner")
        if not self.api_keys or self.api_keys[-1] != (document["kid"], document["secret"]):
            self.api_keys.append((document["kid"], document["secret"]))
            self.former, self.clients = self.clients, {name: self.amigo(name) for name in ("brief", "steady")}
            self.held_since = time.monotonic()
        if self.former and time.monotonic() - self.held_since > 5:
            for client in self.former.values():
                client.close()
            self.former = {}
        sealing = self.daemon.document("refresh")["kid"]
        if sealing not in self.sealing:
            self.sealing.append(sealing)

    def amigo(self, keyset):
        """amigo_sdk, unmodified, with the API key of today."""
        kid, secret = self.api_keys[-1]
        config = AmigoConfig(api_key=secret, api_key_id=kid, user_id="user-1", organization_id="acme", base_url=f"{self.base}/{keyset}")
        return AmigoHttpClient(config, retry_max_attempts=1)

    def call(self, name, client):
        """One call of the service, with whatever token the client thinks right; it raises if that fails."""
        before = getattr(client, "_token")
        client.request("GET", self.service.url(name))
        self.asked[name] += 1
        self.signed_in[name] += getattr(client, "_token") is not before
        self.calls += 1

    def amigos(self):
        """The clients with the API key of today, and those with the one before."""
        for clients in (self.clients, self.former):
            for name, client in clients.items():
                self.call(name, client)
                self.overlapped += clients is self.former

    def after_401(self):
        """The service says 401 once: the client signs in anew, once, and the call is good."""
        self.service.refuse, before = 1, getattr(self.clients["steady"], "_token")
        self.call("steady", self.clients["steady"])
        if getattr(self.clients["steady"], "_token") is before:
            raise SystemExit("amigo_sdk did not sign in anew after a 401")

    def oauth(self, alg):
        """requests_oauth2client goes on with its refresh token for as long as that lives, with proofs of possession and without."""
        secret = self.api_keys[-1][1]
        client = OAuth2Client(f"{self.base}/api/token", client_id="partner", client_secret=secret, dpop_alg=alg or "ES256", testing=True)
        held, given, sealed = self.tokens.get(alg, (None, 0.0, None))
        if held is None or time.monotonic() - given > 37:
            more = {"dpop": True} if alg else {}
            held, given, sealed = client.client_credentials(sub="user-4", scope="read write", **more), time.monotonic(), self.sealing[-1]
            claims = jwt.decode(held.access_token, options={"verify_signature": False})
        else:
            first, held = held, client.refresh_token(held, scope="read")
            claims = jwt.decode(held.access_token, options={"verify_signature": False})
            if (held.refresh_token, claims["sub"], claims["scope"]) != (first.refresh_token, "user-4", "read"):
                raise SystemExit(f"refreshed: {held} {claims}")
            self.refreshed += 1
            self.outlived += sealed != self.sealing[-1]
        if alg and (held.token_type != "DPoP" or claims["cnf"]["jkt"] != held.dpop_key.dpop_jkt):
            raise SystemExit(f"{alg}: {held.token_type} {claims}")
        self.tokens[alg] = (held, given, sealed)
        answer = requests.get(self.service.url("api"), headers={"Authorization": f"{held.token_type} {held.access_token}"}, timeout=10)
        answer.raise_for_status()
        self.calls += 1

    def amigo_with_proof(self, alg):
        """Amigo's exchange with a proof: a challenge, then a token that is bound to the key and is no bearer token."""
        kid, secret = self.api_keys[-1]
        url, key = f"{self.base}/steady/v1/acme/user/signin_with_api_key", DPoPKey.generate(alg=alg)
        own = {"x-api-key": secret, "x-api-key-id": kid, "x-user-id": "user-2"}
        challenged = requests.post(url, headers={**own, "DPoP": str(key.proof("POST", url))}, timeout=10)
        nonce = challenged.headers.get("DPoP-Nonce")
        if (challenged.status_code, challenged.json()["error"]) != (400, "use_dpop_nonce") or not nonce:
            raise SystemExit(f"{alg}: no challenge but {challenged.status_code} {challenged.text}")
        answer = requests.post(url, headers={**own, "DPoP": str(key.proof("POST", url, nonce=nonce))}, timeout=10)
        answer.raise_for_status()
        token = answer.json()["id_token"]
        claims = jwt.decode(token, options={"verify_signature": False})
        if answer.json()["token_type"] != "DPoP" or claims["cnf"] != {"jkt": str(key.dpop_jkt)}:
            raise SystemExit(f"{alg}: {answer.text} {claims}")
        for presented, active in ((None, False), ("DPoP", True)):
            form = {"token": token, **({"presented": presented} if presented else {})}
            verdict = requests.post(f"{self.base}/steady/introspect", headers={"x-api-key": secret}, data=form, timeout=10).json()
            if verdict["active"] != active:
                raise SystemExit(f"{alg}, presented as {presented}: {verdict}")
        requests.get(self.service.url("steady"), headers={"Authorization": f"DPoP {token}"}, timeout=10).raise_for_status()
        self.calls += 1

    def done(self):
        """Whether every key has changed over often enough."""
        return all(len(seen) > CHANGE_OVERS for seen in [self.api_keys, self.sealing, *self.service.kids.values()])


def calls(daemon, service):
    """Everybody calls until every key has changed over."""
    callers, end = Callers(daemon, service), time.monotonic() + DEADLINE
    while not callers.done():
        if time.monotonic() > end:
            seen = (len(callers.api_keys), len(callers.sealing), {name: len(kids) for name, kids in service.kids.items()})
            raise SystemExit(f"not every key changed over within {DEADLINE} s: {seen}\n{daemon.tail()}")
        callers.hold()
        callers.amigos()
        for alg in [None, *PROOFS]:
            callers.oauth(alg)
        for alg in PROOFS:
            callers.amigo_with_proof(alg)
        callers.after_401()
        time.sleep(0.2)
    if service.complaints:
        raise SystemExit(f"valid tokens were refused: {service.complaints[:3]}")
    if callers.signed_in["brief"] != callers.asked["brief"] or callers.signed_in["steady"] >= callers.asked["steady"]:
        raise SystemExit(f"amigo_sdk signs in otherwise than it should: {callers.signed_in} of {callers.asked}")
    if callers.overlapped < 10 or callers.refreshed < 10 or callers.outlived < 3:
        raise SystemExit(f"too little was seen: {callers.overlapped} {callers.refreshed} {callers.outlived}")
    print(
        f"{callers.calls} calls, {service.accepted} accepted, over {len(callers.api_keys)} API keys and {len(service.kids['brief'])} signing keys; "
        f"{callers.overlapped} with the API key before, {callers.refreshed} refreshes, {callers.outlived} of them sealed with an earlier key: none failed"
    )


def main():
    """One daemon, one service, every client."""
    listen = free_port()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("policies", "state"):
            os.mkdir(os.path.join(folder, name), 0o755)
        with open(os.path.join(folder, "policies", "clients.yaml"), "w", encoding="utf-8") as file:
            file.write(POLICY.replace("LISTEN", str(listen)))
        arguments = ["run", "--policies", os.path.join(folder, "policies"), "--state-dir", os.path.join(folder, "state")]
        daemon = Daemon(sys.argv[1], [*arguments, "--runtime-dir", folder], "clients", folder, listen=listen)
        try:
            daemon.wait_until_ready(120)
            service = Service(daemon)
            with contextlib.closing(service.server.socket):
                calls(daemon, service)
                service.server.shutdown()
        finally:
            daemon.stop()


if __name__ == "__main__":
    main()
