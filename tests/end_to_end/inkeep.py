"""An agents app of Inkeep's that holds public keys: a stand-in of the vendor's API is given keys of every algorithm that it takes, and each
that is uploaded is judged by the checker that the vendor has released. Tokens are verified with what the app holds at that moment, as long as
they live, while keys change over.

Usage: inkeep.py BINARY     (from any folder; needs tests/requirements.txt, and tests/node installed)
"""

import json
import os
import subprocess
import sys
import tempfile
import time

import jwt

from daemon import Daemon, in_seconds
from stand_in import Asked, StandIn

API_KEY = "sk_inkeep_5d20b1c4e7f94a63"
ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"]
APPS = "/manage/tenants/acme/projects/help/apps/"
CHANGE_OVERS, DEADLINE = 2, 150.0
LONGEST_LIFE = 86400
NODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "node")


class Vendor(StandIn):
    """The apps' keys. What the vendor would refuse is refused, and counted."""

    def __init__(self):
        self.apps, self.uploaded = {algorithm: {} for algorithm in ALGORITHMS}, []
        super().__init__(AppAsked)

    def url(self, algorithm):
        """Where the keys of that app are."""
        return f"http://127.0.0.1:{self.server_port}{APPS}{algorithm}/auth/keys"

    def held(self, algorithm):
        """The keys of that app, by kid."""
        with self.lock:
            return dict(self.apps[algorithm])


class AppAsked(Asked):
    """One request."""

    def fault(self, code):
        """As the vendor words it."""
        return {"error": {"code": code, "message": code}}

    def judge(self, content):
        """Judges it, and does it."""
        app, found, rest = self.path.removeprefix(APPS).partition("/auth/keys")
        if self.headers.get("authorization") != f"Bearer {API_KEY}":
            return self.refuse(401, "unauthorized")
        if not found or app not in self.server.apps:
            return self.refuse(404, "not_found")
        keys = self.server.apps[app]
        if self.command == "GET" and not rest:
            return self.answer(200, {"data": list(keys.values())})
        if self.command == "POST" and not rest:
            return self.add(app, json.loads(content))
        if self.command == "DELETE" and rest.startswith("/"):
            return self.answer(204) if keys.pop(rest[1:], None) else self.answer(404, {"error": {"code": "not_found"}})
        return self.refuse(405, "method_not_allowed")

    def add(self, app, body):
        """A key that is uploaded."""
        if set(body) != {"kid", "publicKey", "algorithm"} or body["algorithm"] != app or "PRIVATE" in body["publicKey"]:
            return self.refuse(400, "bad_request")
        if body["kid"] in self.server.apps[app]:
            return self.answer(409, {"error": {"code": "conflict"}})
        key = {**body, "addedAt": "2026-03-01T12:00:00.000Z"}
        self.server.apps[app][body["kid"]] = key
        self.server.uploaded.append({"publicKey": body["publicKey"], "algorithm": body["algorithm"]})
        return self.answer(201, {"data": key})


def policy(vendor, api_key):
    """One keyset for each app."""
    keysets = {}
    for algorithm in ALGORITHMS:
        target = {"url": vendor.url(algorithm), "api_key": {"file": api_key}, "every": "1s"}
        keysets[algorithm.lower()] = {
            "algorithm": algorithm, "publish": [{"inkeep_agents": target}], "token": {"profile": "inkeep-agents", "default_ttl": "5s"},
        }
    return in_seconds("help", json.dumps(keysets))


def accepted(vendor, algorithm, token):
    """What the app makes of a token: by the kid that it names, with the key that is held now."""
    header = jwt.get_unverified_header(token)
    key = vendor.held(algorithm).get(header["kid"])
    if key is None:
        raise SystemExit(f"a token of {algorithm} names {header['kid']}, and the app holds {sorted(vendor.held(algorithm))}")
    public = jwt.algorithms.get_default_algorithms()[algorithm].prepare_key(key["publicKey"])
    claims = jwt.decode(token, public, algorithms=[key["algorithm"]], options={"require": ["sub", "iat", "exp"]})
    if not 0 < claims["exp"] - claims["iat"] <= LONGEST_LIFE:
        raise SystemExit(f"a token lives from {claims['iat']} to {claims['exp']}")
    return header["kid"], claims["exp"]


def mints(daemon, vendor):
    """Tokens of every keyset until each has changed its key over often enough; every token is accepted until it expires."""
    kids, alive, judged, end = {algorithm: [] for algorithm in ALGORITHMS}, [], 0, time.monotonic() + DEADLINE
    while min(map(len, kids.values())) <= CHANGE_OVERS:
        if time.monotonic() > end:
            raise SystemExit(f"not enough change-overs within {DEADLINE} s: {kids}\n{daemon.tail()}")
        for algorithm in ALGORITHMS:
            token = daemon.command("token", "mint", f"help/{algorithm.lower()}", "--sub", "user-1")["token"]
            kid, expires = accepted(vendor, algorithm, token)
            alive.append((algorithm, token, expires))
            if kid not in kids[algorithm]:
                kids[algorithm].append(kid)
        # A second for the way there: what expires while it is being looked at is nobody's fault.
        alive = [kept for kept in alive if kept[2] > time.time() + 1]
        for algorithm, token, _ in alive:
            accepted(vendor, algorithm, token)
        judged += len(alive)
        time.sleep(0.2)
    print(f"agents apps: tokens of {sum(map(len, kids.values()))} keys were accepted {judged} times, until they expired", flush=True)
    return kids


def main():
    """Ends with an exit status other than 0 at the first token or key that is refused."""
    vendor = Vendor()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("policies", "state"):
            os.mkdir(os.path.join(folder, name), 0o755)
        api_key = os.path.join(folder, "api-key")
        with open(api_key, "w", encoding="utf-8") as file:
            file.write(API_KEY + "\n")
        with open(os.path.join(folder, "policies", "help.yaml"), "w", encoding="utf-8") as file:
            file.write(policy(vendor, api_key))
        arguments = ["run", "--policies", os.path.join(folder, "policies"), "--state-dir", os.path.join(folder, "state")]
        daemon = Daemon(sys.argv[1], [*arguments, "--runtime-dir", folder], "help", folder)
        try:
            daemon.wait_until_ready(60)
            kids = mints(daemon, vendor)
            end = time.monotonic() + DEADLINE
            while any(kids[algorithm][0] in vendor.held(algorithm) for algorithm in ALGORITHMS):
                if time.monotonic() > end:
                    raise SystemExit(f"first keys were not deleted within {DEADLINE} s\n{daemon.tail()}")
                time.sleep(0.2)
        finally:
            daemon.stop()
    if vendor.unlawful:
        raise SystemExit(f"refused: {vendor.unlawful}")
    done = subprocess.run(
        ["node", "inkeep.mjs"], cwd=NODE, input=json.dumps(vendor.uploaded), capture_output=True, text=True, timeout=60, check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"inkeep.mjs: {done.stderr}")
    print(done.stdout, end="", flush=True)


if __name__ == "__main__":
    main()
