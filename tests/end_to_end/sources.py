"""Keys that Algolia makes: the vendor's own released client and keyrota speak to the same stand-in of the vendor's API. Both ask it for the
same things in the same way, the client reads whatever it answers, and a token of keyrota's equals the one that the client forges with
the key that the client sees there, byte for byte, while keys change over.

Usage: sources.py BINARY     (from any folder; needs tests/requirements.txt)
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from urllib.parse import parse_qsl, urlsplit

import algoliasearch.agent_studio.client as algolia
import jwt
from algoliasearch.agent_studio.config import AgentStudioConfig
from algoliasearch.http.hosts import Host, HostsCollection

from daemon import Daemon, in_seconds
from stand_in import Asked, StandIn

APPLICATION, ADMIN_KEY, AGENT = "KEYROTATEST", "9c1f4b7d2e60a8539c1f4b7d2e60a853", "b7c5a3de-2f06-4cd8-9f43-9a2f0f0b6a11"
PATH = "/agent-studio/1/secret-keys"
PAGE, LONGEST_NAME = 2, 128
CHANGE_OVERS, DEADLINE = 2, 120.0
USER = "zoë|\U0001f511"
POLICY = in_seconds("sources", """
  search:
    algorithm: HS256
    source:
      algolia:
        application_id: APPLICATION
        admin_key: { file: ADMIN_KEY_FILE }
        agents: [AGENT]
        url: "http://127.0.0.1:PORT"
        every: 1s
    token: { profile: algolia }
""")


class Studio(StandIn):
    """The vendor's API for secret keys. What it would refuse is refused, and counted."""

    def __init__(self):
        self.keys, self.made, self.traffic = [], 0, []
        super().__init__(StudioAsked)

    def make(self, body):
        """A key, as it is listed."""
        self.made += 1
        now = datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
        ident = f"{self.made:08x}-5a5a-4a4a-8a8a-0123456789ab"
        key = {
            "id": ident, "name": body["name"], "value": f"sk-alg-{os.urandom(24).hex()}", "createdAt": now, "updatedAt": now,
            "lastUsedAt": None, "createdBy": None, "isDefault": False, "agentIds": body.get("agentIds", []),
        }
        self.keys.insert(0, key)
        return key


class StudioAsked(Asked):
    """One request."""

    def fault(self, why):
        """As the vendor words it."""
        return {"message": why}

    def judge(self, content):
        """Judges it, notes it, and does it."""
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        who = (self.headers.get("x-algolia-application-id"), self.headers.get("x-algolia-api-key"))
        by = "client" if "algolia" in self.headers.get("user-agent", "").lower() else "keyrota"
        rest = url.path.removeprefix(PATH)
        self.server.traffic.append((by, self.command, re.sub("/[0-9a-f-]{36}$", "/ID", url.path), tuple(sorted(query)), content))
        if who != (APPLICATION, ADMIN_KEY):
            return self.refuse(403, "invalid application id or api key")
        if rest == url.path:
            return self.refuse(404, "not found")
        if self.command == "GET" and rest == "":
            return self.list(query)
        if self.command == "POST" and rest == "" and not query:
            return self.create(content)
        if self.command == "DELETE" and rest.startswith("/") and not query and not content.strip(b"{}"):
            before = len(self.server.keys)
            self.server.keys = [key for key in self.server.keys if key["id"] != rest[1:]]
            return self.answer(204) if len(self.server.keys) < before else self.answer(404, {"message": "not found"})
        return self.refuse(405, "method not allowed")

    def list(self, query):
        """A page."""
        if not set(query) <= {"page", "limit"} or not all(value.isdigit() and int(value) >= 1 for value in query.values()):
            return self.refuse(422, "no such parameter")
        page, limit = int(query.get("page", "1")), min(int(query.get("limit", PAGE)), PAGE)
        total = len(self.server.keys)
        pagination = {"page": page, "limit": limit, "totalCount": total, "totalPages": -(-total // limit)}
        return self.answer(200, {"data": self.server.keys[(page - 1) * limit:page * limit], "pagination": pagination})

    def create(self, content):
        """A new key."""
        body = json.loads(content)
        lawful = set(body) <= {"name", "agentIds"} and 0 < len(body.get("name", "")) <= LONGEST_NAME
        if not lawful or "application/json" not in self.headers.get("content-type", ""):
            return self.refuse(422, "the body is not accepted")
        if not set(body.get("agentIds", [])) <= {AGENT}:
            return self.refuse(404, "there is no such agent")
        return self.answer(201, self.server.make(body))


class Client:
    """The vendor's client, unmodified, pointed at the stand-in."""

    def __init__(self, port):
        config = AgentStudioConfig(APPLICATION, ADMIN_KEY)
        config.hosts = HostsCollection([Host("127.0.0.1", scheme="http", port=port)])
        self.own = algolia.AgentStudioClientSync.create_with_config(config)

    def keys(self):
        """Every key, by id."""
        found, page = {}, 1
        while True:
            answer = self.own.list_secret_keys(page=page, limit=100)
            found.update({key.id: key for key in answer.data})
            if page >= answer.pagination.total_pages:
                return found
            page += 1

    def forges(self, key, expires, life):
        """The token that the client makes of this key, on a clock that stands where keyrota's stood."""
        algolia.time = lambda: expires - life + 0.75
        return self.own.forge_secured_user_token(key.value, key.id, USER, expires_in=life)


def mint(daemon):
    """A token from the command line."""
    command = [daemon.binary, "token", "mint", "sources/search", "--sub", USER, "--ttl", "5s", "--runtime-dir", daemon.folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}\n{daemon.tail()}")
    return done.stdout.strip()


def equal_tokens(daemon, client):
    """Tokens of every key that signs are those that the client forges with what it sees at the vendor; the kids."""
    seen, compared, end = [], 0, time.monotonic() + DEADLINE
    while len(seen) <= CHANGE_OVERS:
        if time.monotonic() > end:
            raise SystemExit(f"not enough change-overs within {DEADLINE} s: {seen}\n{daemon.tail()}")
        ours = mint(daemon)
        kid = jwt.get_unverified_header(ours)["kid"]
        key = client.keys().get(kid)
        if key is None:
            raise SystemExit(f"keyrota signs with {kid}, which the vendor does not have: {list(client.keys())}")
        theirs = client.forges(key, jwt.decode(ours, options={"verify_signature": False})["exp"], 5)
        if ours != theirs:
            raise SystemExit(f"  ours   {ours}\n  theirs {theirs}")
        jwt.decode(ours, key.value, algorithms=["HS256"], options={"verify_exp": False})
        compared += 1
        if kid not in seen:
            seen.append(kid)
        time.sleep(0.2)
    print(f"algoliasearch: {compared} tokens of {len(seen)} keys that the vendor made, byte for byte")
    return seen


def equal_traffic(studio, client):
    """Whatever keyrota asks for, the client asks for in the same way."""
    made = [json.loads(content) for by, method, *_, content in studio.traffic if (by, method) == ("keyrota", "POST")]
    for body in made:
        created = client.own.create_secret_key({"name": body["name"], "agentIds": body["agentIds"]})
        client.own.delete_secret_key(created.id)
        if json.loads(studio.traffic[-2][-1]) != body:
            raise SystemExit(f"keyrota asks for {body}, and the client for {studio.traffic[-2]}")
    shapes = {whose: {asked[1:4] for asked in studio.traffic if asked[0] == whose} for whose in ("keyrota", "client")}
    if shapes["keyrota"] != shapes["client"]:
        raise SystemExit(f"keyrota asks {shapes['keyrota']}, and the client {shapes['client']}")
    if studio.unlawful:
        raise SystemExit(f"refused: {studio.unlawful}")
    print(f"algoliasearch: {len(studio.traffic)} requests of {len(shapes['client'])} kinds, of which the vendor would refuse none")


def main():
    """One vendor, its client, one daemon."""
    studio = Studio()
    client = Client(studio.server_port)
    theirs = client.own.create_secret_key({"name": "Production key", "agentIds": [AGENT]})
    with tempfile.TemporaryDirectory() as folder:
        for name in ("policies", "state"):
            os.mkdir(os.path.join(folder, name), 0o755)
        admin_key = os.path.join(folder, "admin-key")
        with open(admin_key, "w", encoding="utf-8") as file:
            file.write(ADMIN_KEY + "\n")
        policy = POLICY.replace("PORT", str(studio.server_port)).replace("ADMIN_KEY_FILE", admin_key)
        with open(os.path.join(folder, "policies", "sources.yaml"), "w", encoding="utf-8") as file:
            file.write(policy.replace("APPLICATION", APPLICATION).replace("[AGENT]", f"[{AGENT}]"))
        arguments = ["run", "--policies", os.path.join(folder, "policies"), "--state-dir", os.path.join(folder, "state")]
        daemon = Daemon(sys.argv[1], [*arguments, "--runtime-dir", folder], "sources", folder)
        try:
            daemon.wait_until_ready(60)
            seen = equal_tokens(daemon, client)
            end = time.monotonic() + DEADLINE
            while seen[0] in client.keys():
                if time.monotonic() > end:
                    raise SystemExit(f"{seen[0]} was not deleted within {DEADLINE} s\n{daemon.tail()}")
                time.sleep(0.2)
        finally:
            daemon.stop()
        if theirs.id not in client.keys():
            raise SystemExit("a key that is not keyrota's was deleted")
        equal_traffic(studio, client)
        with open(daemon.log, encoding="utf-8") as log:
            if any(key.value in text for text in [log.read()] for key in client.keys().values()):
                raise SystemExit("a secret stands in the log")


if __name__ == "__main__":
    main()
