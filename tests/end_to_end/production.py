"""policies/production.yaml as a new user has it, on AWS Secrets Manager (moto): it comes up with all its keysets. Then the same policy
with its waits turned into seconds runs two rotations of every keyset, while boto3 signers, PyJWT and a JWKS client of PyJWT's own follow.

Usage: production.py BINARY     (from any folder; needs what tests/requirements-aws.txt names)
"""

import base64
import datetime
import hashlib
import importlib.metadata
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

import jwt
import yaml

from daemon import Daemon
from followers import Followers, SecretVerifier, Signer, Verifier
from service import CREDENTIALS, Moto, secret_document

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
POLICY = os.path.join(ROOT, "policies", "production.yaml")
PREFIX = "keyrota/production/"
# What each wait of the policy becomes; the others are facts of production that stay, or have no place in a life of seconds.
SECONDS = {"rotate_every": "40s", "verifier_refresh": "4s", "signer_refresh": "3s", "clock_skew": "1s", "token_ttl": "8s"}


def today(text):
    """The policy on the day it begins."""
    day = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    begun, count = re.subn(r"(?m)^(\s+inception:) \S+", rf"\1 {day}", text)
    if count != 1:
        raise SystemExit(f"the policy names {count} days of inception")
    return begun


def documented():
    """What docs/aws.md has a reader type: what is exported, and how the daemon is started. Its moto is the one that runs here."""
    with open(os.path.join(ROOT, "docs", "aws.md"), encoding="utf-8") as file:
        (block,) = re.findall(r"^```console first-day\n(.*?)^```$", file.read(), flags=re.MULTILINE | re.DOTALL)
    moto, *lines = [shlex.split(line.removeprefix("$ ")) for line in block.splitlines()]
    if f"moto[server]=={importlib.metadata.version('moto')}" not in moto:
        raise SystemExit(f"docs/aws.md installs another moto: {moto}")
    exports = dict(word.split("=", 1) for words in lines if words[0] == "export" for word in words[1:])
    (command,) = [words for words in lines if words[0] == "keyrota"]
    return exports, command[1:]


def in_seconds(text):
    """The same policy with its waits turned into seconds."""
    policy = yaml.safe_load(text)
    policy["reconcile"] = "* * * * * *"
    policy["store"] |= {"sweep": "read", "sweep_every": "1s"}
    for part in [policy["defaults"], *policy["keysets"].values()]:
        part |= {name: span for name, span in SECONDS.items() if name in part}
        part.pop("inception", None)
        part.pop("rotation_window", None)
        part.pop("verifier_profile", None)
    policy["defaults"] |= {"verifier_retry": "2s", "cache_max_age": "1s", "margin": "0s", "unsafe": {"reason": "A test in seconds."}}
    return yaml.safe_dump(policy)


def start(binary, folder, name, text, typed=("run", "--policies", "policies")):
    """A daemon of its own with that policy, by that command in a folder of its own."""
    home = os.path.join(folder, name)
    for part in ("policies", "runtime"):
        os.makedirs(os.path.join(home, part), mode=0o700)
    with open(os.path.join(home, "policies", "production.yaml"), "w", encoding="utf-8") as file:
        file.write(text)
    runtime = os.path.join(home, "runtime")
    places = {"policies": os.path.join(home, "policies")}
    arguments = [places.get(word, word) for word in typed] + ["--state-dir", os.path.join(home, "state"), "--runtime-dir", runtime]
    return Daemon(binary, arguments, "production", runtime)


def wait(daemon, what, seconds, holds):
    """Waits until something holds."""
    end = time.monotonic() + seconds
    while True:
        try:
            if daemon.process.poll() is not None:
                raise SystemExit(f"keyrota ended with {daemon.process.returncode}:\n{daemon.tail()}")
            if holds():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise SystemExit(f"waited {seconds} s in vain until {what}:\n{daemon.tail()}")
        time.sleep(0.2)


def check_online(binary, policies, url):
    """`keyrota check --online`, as JSON."""
    return subprocess.run(
        [binary, "check", "--policies", policies, "--online", "--output", "json"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120, check=False, env={**os.environ, "AWS_ENDPOINT_URL_SECRETS_MANAGER": url},
    )


def first_day(binary, folder, text):
    """As it is, started as docs/aws.md says: every keyset is there, is announced to verifiers, and waits until replicas have seen it."""
    moto = Moto()
    exports, typed = documented()
    os.environ.update(CREDENTIALS, **(exports | {"AWS_ENDPOINT_URL_SECRETS_MANAGER": moto.url}))
    names = set(yaml.safe_load(text)["keysets"])
    daemon = start(binary, folder, "first-day", today(text), typed)
    try:
        def published():
            if daemon.operators("/readyz")[0] != 200:
                return False
            found = daemon.status()
            documents = [keyset.get("document") for keyset in found.values()]
            return set(found) == names and all(d and [key["state"] for key in d["keys"]] == ["published"] for d in documents)

        wait(daemon, "every keyset is published", 120, published)
        wait(daemon, "it is ready", 60, lambda: daemon.operators("/readyz")[0] == 200)
        client = moto.client()
        secrets = {secret["Name"]: secret for secret in client.list_secrets()["SecretList"]}
        if set(secrets) != {PREFIX + name for name in names}:
            raise SystemExit(f"secrets: {sorted(secrets)}")
        for name in names:
            document, _ = secret_document(client, PREFIX + name)
            tags = {tag["Key"]: tag["Value"] for tag in secrets[PREFIX + name]["Tags"]}
            wanted = {"managed-by": "keyrota", "environment": "production", "keyset": name, "team": "identity"}
            if document["keyset"] != name or tags != wanted:
                raise SystemExit(f"{name}: {document['keyset']}, {tags}")
            status, _, body = daemon.verifiers(name)
            if "jwks" in document and (status != 200 or json.loads(body) != document["jwks"]):
                raise SystemExit(f"{name}: verifiers get {status} {body!r}")
        waits = {p["label"] for k in daemon.status().values() for p in k["pending"] if p["step"] == "activate"}
        if waits != {"store-refresh"}:
            raise SystemExit(f"first keys wait for {waits}")
        permissions = daemon.command("doctor", "production", exits=(0, 3))["findings"]
        tried = {f["whose"].split()[0]: f["verdict"] for f in permissions if f["what"] == "aws-permissions"}
        if len(tried) != 8 or set(tried.values()) != {"ok"}:
            raise SystemExit(f"permissions: {tried}")
        # The same without a daemon.
        checked = check_online(binary, os.path.join(folder, "first-day", "policies"), moto.url)
        if checked.returncode != 0 or checked.stdout.count('"ok"') != 8:
            raise SystemExit(f"check --online: {checked.returncode} {checked.stdout} {checked.stderr}")
        print(f"first day: {len(names)} keysets are there", flush=True)
    finally:
        daemon.stop()
        moto.stop()


class Client:
    """PyJWT's own client of key sets, as an application has it."""

    def __init__(self, daemon, keyset):
        self.client = jwt.PyJWKClient(daemon.url(keyset), lifespan=4)

    def verdict(self, _, token):
        """As the other verifiers."""
        try:
            key = self.client.get_signing_key_from_jwt(token)
            jwt.decode(token, key, algorithms=[key.algorithm_name])
        except jwt.PyJWKClientConnectionError:
            return "late"
        except jwt.PyJWTError as error:
            return repr(error)
        return None


def rotations(binary, folder, text):
    """In seconds: every keyset changes over twice."""
    moto = Moto()
    os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL_SECRETS_MANAGER=moto.url)
    keysets = yaml.safe_load(text)["keysets"]
    tokens = [name for name, keyset in keysets.items() if keyset["algorithm"] != "api-key"]
    public = [name for name in tokens if not keysets[name]["algorithm"].startswith("HS")]
    daemon = start(binary, folder, "seconds", in_seconds(text))
    try:
        daemon.wait_until_ready(120)
        client = moto.client()
        read = lambda keyset: lambda: secret_document(client, PREFIX + keyset)[0]
        signers = [Signer(keyset, read(keyset)) for keyset in tokens]
        caches = [Verifier(lambda: [daemon], public, pause) for pause in (0.5, 2.5)]
        for cache in caches:
            cache.start()
        wait(daemon, "verifiers have key sets", 30, lambda: all(cache.sets for cache in caches))
        verifiers = {keyset: [*caches, Client(daemon, keyset)] for keyset in public}
        verifiers |= {keyset: [SecretVerifier(read(keyset))] for keyset in tokens if keyset not in public}
        followers = Followers(signers, verifiers)
        followers.start()
        presented = []

        def approved_and_rotated():
            # Whatever has `mode: approve` is told to the partner, and then approved.
            for name, keyset in daemon.status().items():
                for pending in keyset["pending"]:
                    if pending["label"] == "approval":
                        daemon.command("approve", f"production/{name}", pending["kid"], "--yes")
            for name in set(keysets) - set(tokens):
                document = read(name)()
                digests = {key["secret_sha256"] for key in document["keys"]}
                digest = base64.urlsafe_b64encode(hashlib.sha256(document["secret"].encode()).digest()).decode().rstrip("=")
                accepted = digest in digests
                if not accepted:
                    raise SystemExit(f"{name}: the key that is presented is not among those accepted: {digest} {digests}")
                if document["kid"] not in presented:
                    presented.append(document["kid"])
            return all(len(signer.kids) >= 3 for signer in signers) and len(presented) >= 3

        followers.until("every keyset rotated twice", approved_and_rotated, 300)
        for cache in caches:
            cache.over = True
        followers.verdict()
    except BaseException:
        print(daemon.tail(), flush=True)
        raise
    finally:
        daemon.stop()
        moto.stop()


def main():
    binary = os.path.abspath(sys.argv[1])
    with open(POLICY, encoding="utf-8") as file:
        text = file.read()
    with tempfile.TemporaryDirectory(prefix="keyrota-production-") as folder:
        first_day(binary, folder, text)
        rotations(binary, folder, text)


if __name__ == "__main__":
    main()
