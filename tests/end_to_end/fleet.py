"""Three daemons on one AWS Secrets Manager (moto), killed, stopped and cut off at random, while signers read the secrets with boto3
and verifiers take key sets from whatever replica is ready, or read them with boto3 from secrets of their own. No token may be rejected,
and rotations go on.

Usage: fleet.py BINARY [SEED [ROTATIONS]]     (from any folder; needs what tests/requirements-aws.txt names)
"""

import heapq
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time

import jwt

from daemon import Daemon
from service import CREDENTIALS, Moto, Proxy, secret_document

KEYSETS = {
    "user-sessions": "ES256", "service-calls": "EdDSA", "search": "ES384", "inkeep": "ES256", "partners": "EdDSA", "reports": "ES512",
}
# Those whose public keys stand in a second secret too.
SECOND = ["user-sessions", "service-calls"]
TTL, VERIFIER_REFRESH, SIGNER_REFRESH = 8.0, 4.0, 3.0
ROTATIONS = int(sys.argv[3]) if len(sys.argv) > 3 else 24
DEADLINE = 180.0 + 10.0 * ROTATIONS
REPLICAS = 3
POLICY = """version: 1
environment: fleet
reconcile: "* * * * * *"
store: {{ kind: aws-secrets-manager, region: eu-west-3, sweep: read, sweep_every: 1s }}
defaults:
  rotate_every: 30s
  token_ttl: 8s
  verifier_refresh: 4s
  verifier_retry: 2s
  signer_refresh: 3s
  clock_skew: 1s
  cache_max_age: 1s
  margin: 0s
  unsafe: {{ reason: "A test: its verifiers refresh every four seconds, and it counts no versions." }}
keysets:
{keysets}
"""


class Replica:
    """One daemon that can be lost and started again, with its own state and its own way to the service."""

    def __init__(self, number, binary, folder, policies, moto):
        self.number, self.binary, self.policies = number, binary, policies
        self.folder = os.path.join(folder, f"replica-{number}")
        os.makedirs(self.folder, mode=0o700)
        self.proxy = Proxy(moto)
        self.daemon, self.stopped, self.starts = None, False, 0
        self.start()

    def start(self):
        """Starts it, with the state it left behind."""
        os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL_SECRETS_MANAGER=self.proxy.url)
        runtime = os.path.join(self.folder, f"run-{self.starts}")
        os.makedirs(runtime, mode=0o700)
        state = os.path.join(self.folder, "state")
        arguments = ["run", "--policies", self.policies, "--state-dir", state, "--runtime-dir", runtime]
        self.daemon = Daemon(self.binary, arguments, "fleet", runtime)
        self.starts += 1

    def kill(self):
        """As the kernel does it."""
        self.daemon.process.kill()
        self.daemon.process.wait()

    def stop(self, stopped):
        """Frozen, or going on."""
        self.daemon.process.send_signal(signal.SIGSTOP if stopped else signal.SIGCONT)
        self.stopped = stopped

    def is_ready(self):
        """What a load balancer asks."""
        return fetch(self.daemon.metrics, "/readyz")[0] == 200


def fetch(port, path):
    """One GET with little patience: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.4)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    except (OSError, http.client.HTTPException):
        return 0, {}, b""
    finally:
        connection.close()


class Verifier(threading.Thread):
    """Keeps key sets for as long as the facts allow; asks any replica that is ready, and the next one if that fails."""

    def __init__(self, replicas, pause):
        super().__init__(daemon=True)
        self.replicas, self.pause, self.sets, self.fetched_at = replicas, pause, {}, 0.0
        self.keysets = set(KEYSETS)
        self.over, self.misses = False, 0

    def run(self):
        while not self.over:
            if self.refresh():
                time.sleep(self.pause)
            else:
                self.misses += 1
                time.sleep(0.1)

    def refresh(self):
        """Whether new key sets were fetched."""
        began = time.monotonic()
        for replica in random.sample(self.replicas, len(self.replicas)):
            if not replica.is_ready():
                continue
            sets = {}
            for keyset in KEYSETS:
                status, headers, body = fetch(replica.daemon.listen, f"/fleet/{keyset}/.well-known/jwks.json")
                if status != 200 or headers.get("keyrota-stale"):
                    break
                sets[keyset] = {key["kid"]: key for key in json.loads(body)["keys"]}
            else:
                self.sets, self.fetched_at = sets, began
                return True
        return False

    def verdict(self, keyset, token):
        """None: good. `late`: the cache is older than the facts allow, so nothing can be said."""
        sets, fetched_at = self.sets, self.fetched_at
        if time.monotonic() - fetched_at > VERIFIER_REFRESH:
            return "late"
        kid = jwt.get_unverified_header(token)["kid"]
        key = sets[keyset].get(kid)
        if key is None:
            return f"kid {kid} is not in the key set fetched {time.monotonic() - fetched_at:.1f} s ago"
        try:
            jwt.decode(token, jwt.PyJWK(key), algorithms=[key["alg"]])
        except jwt.PyJWTError as error:
            return repr(error)
        return None


class SecretVerifier(Verifier):
    """Reads key sets with boto3 from the secrets that hold nothing else."""

    def __init__(self, moto, pause):
        super().__init__([], pause)
        self.client, self.keysets, self.versions = moto.client(), set(SECOND), {keyset: [] for keyset in SECOND}

    def refresh(self):
        """Whether new key sets were read."""
        began, sets = time.monotonic(), {}
        for keyset in SECOND:
            try:
                found = self.client.get_secret_value(SecretId=f"keyrota/fleet/{keyset}.jwks", VersionStage="AWSCURRENT")
            except self.client.exceptions.ResourceNotFoundException:
                return False
            assert "PRIVATE" not in found["SecretString"] and '"d":' not in found["SecretString"], f"{keyset}: a private key"
            sets[keyset] = {key["kid"]: key for key in json.loads(found["SecretString"])["keys"]}
            if found["VersionId"] not in self.versions[keyset][-1:]:
                self.versions[keyset].append(found["VersionId"])
        self.sets, self.fetched_at = sets, began
        return True

    def went_back(self):
        """Where an older generation was put over a newer one: version ids bear the generation, and sort by it."""
        return [f"{keyset}: {versions}" for keyset, versions in self.versions.items()
                if any(after.split("-")[1] <= before.split("-")[1] for before, after in zip(versions, versions[1:]))]


class Signer:
    """Reads its secret with boto3, and uses it for as long as the facts allow."""

    def __init__(self, moto, keyset):
        self.client, self.name = moto.client(), f"keyrota/fleet/{keyset}"
        self.document, self.read_at, self.kids, self.versions = None, -1e9, [], set()

    def mint(self):
        """A token, and when it expires."""
        if time.monotonic() - self.read_at > SIGNER_REFRESH - 0.5:
            began = time.monotonic()
            self.document, version = secret_document(self.client, self.name)
            self.read_at = began
            self.versions.add(version)
        kid = self.document["kid"]
        if not self.kids or self.kids[-1] != kid:
            assert kid not in self.kids, f"{self.name}: {kid} signs again"
            self.kids.append(kid)
        now = time.time()
        claims = {"sub": "somebody", "iat": int(now), "exp": int(now + TTL)}
        token = jwt.encode(claims, self.document["private_key"], algorithm=self.document["algorithm"], headers={"kid": kid})
        return token, claims["exp"]


def trouble(replicas, over):
    """Something happens to at most two of the three at any time; what is left is what verifiers fail over to."""
    told = {}
    while not over.is_set():
        healthy = random.choice(replicas)
        for replica in replicas:
            if replica is healthy:
                continue
            what = random.choice(["kill", "stop", "mixed", "mixed", *Proxy.FAULTS])
            told[what] = told.get(what, 0) + 1
            if what == "kill":
                replica.kill()
                replica.start()
            elif what == "stop":
                replica.stop(True)
            else:
                replica.proxy.share = random.choice([0.2, 0.5, 1.0])
                replica.proxy.mode = what
        over.wait(random.uniform(2, 10))
        for replica in replicas:
            if replica.stopped:
                replica.stop(False)
            replica.proxy.mode = None
        # Time in which everybody comes back before others are struck: or else nobody would be ready.
        over.wait(random.uniform(3, 8))
    return told


def wait_for_keys(signers):
    """Until every keyset has a key that signs."""
    end = time.monotonic() + 90
    missing = dict(signers)
    while missing:
        if time.monotonic() > end:
            raise SystemExit(f"no key for {sorted(missing)} within 90 s")
        for keyset, signer in list(missing.items()):
            try:
                if secret_document(signer.client, signer.name)[0].get("kid"):
                    del missing[keyset]
            except signer.client.exceptions.ResourceNotFoundException:
                pass
        time.sleep(0.5)


def follow(replicas, signers, verifiers):
    """Mints and verifies until enough has rotated; returns counts and what must not be."""
    due, serial, counts, problems = [], 0, {"verified": 0, "late": 0}, []

    def check(keyset, token, moment):
        for verifier in (verifier for verifier in verifiers if keyset in verifier.keysets):
            why = verifier.verdict(keyset, token)
            if why is None:
                counts["verified"] += 1
            elif why == "late":
                counts["late"] += 1
            else:
                problems.append(f"{time.strftime('%H:%M:%S')} {keyset}, {moment}: {why}")
                print(f"  PROBLEM {problems[-1]}", flush=True)

    end = time.monotonic() + DEADLINE
    rotations = 0
    while rotations < ROTATIONS and time.monotonic() < end and len(problems) < 20:
        began = time.monotonic()
        for keyset, signer in signers.items():
            token, expires = signer.mint()
            check(keyset, token, "when it is minted")
            serial += 1
            heapq.heappush(due, (expires - 0.7, serial, keyset, token, expires))
        while due and due[0][0] <= time.time():
            _, _, keyset, token, expires = heapq.heappop(due)
            if time.time() < expires - 0.1:
                check(keyset, token, "just before it expires")
        rotations = sum(len(signer.kids) - 1 for signer in signers.values())
        time.sleep(max(0.0, 0.25 - (time.monotonic() - began)))
    return rotations, counts, problems


def main():
    binary = os.path.abspath(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    moto = Moto()
    replicas = []
    with tempfile.TemporaryDirectory(prefix="keyrota-fleet-") as folder:
        try:
            policies = os.path.join(folder, "policies")
            os.mkdir(policies)
            second = {name: ", publish: [aws_secret: { format: jwks }]" for name in SECOND}
            keysets = "\n".join(f"  {name}: {{ algorithm: {algorithm}{second.get(name, '')} }}" for name, algorithm in KEYSETS.items())
            with open(os.path.join(policies, "fleet.yaml"), "w", encoding="utf-8") as file:
                file.write(POLICY.format(keysets=keysets))
            replicas = [Replica(number, binary, folder, policies, moto) for number in range(REPLICAS)]
            signers = {keyset: Signer(moto, keyset) for keyset in KEYSETS}
            wait_for_keys(signers)
            print("every keyset signs", flush=True)
            verifiers = [Verifier(replicas, pause) for pause in (1.0, 2.0, 2.6)]
            reader = SecretVerifier(moto, 1.0)
            verifiers.append(reader)
            for verifier in verifiers:
                verifier.start()
            while any(not verifier.sets for verifier in verifiers):
                time.sleep(0.1)
            over, told = threading.Event(), {}
            striker = threading.Thread(target=lambda: told.update(trouble(replicas, over)), daemon=True)
            striker.start()
            rotations, counts, problems = follow(replicas, signers, verifiers)
            over.set()
            striker.join(60)
            for verifier in verifiers:
                verifier.over = True
            settle(replicas, problems)
            faults = {}
            for replica in replicas:
                for fault, count in replica.proxy.seen.items():
                    faults[fault or "none"] = faults.get(fault or "none", 0) + count
            print(f"{rotations} rotations, {counts['verified']} verifications, {counts['late']} with a cache too old to count")
            print(f"struck: {told}; starts: {[replica.starts for replica in replicas]}; requests by fault: {faults}")
            problems += [f"an older key set was put over a newer one: {what}" for what in reader.went_back()]
            print(f"second secrets: {', '.join(f'{len(v)} versions of {k}' for k, v in reader.versions.items())}")
            if rotations < ROTATIONS:
                problems.append(f"only {rotations} rotations of {ROTATIONS} within {DEADLINE:.0f} s")
            if counts["late"] > counts["verified"] / 3:
                problems.append("verifiers hardly ever had a key set that was young enough")
            if problems:
                for replica in replicas:
                    print(f"-- replica {replica.number}\n{replica.daemon.tail()}")
                raise SystemExit("\n".join(problems))
            print("no token was rejected")
        finally:
            for replica in replicas:
                if replica.stopped:
                    replica.stop(False)
                replica.daemon.stop()
            moto.stop()


def settle(replicas, problems):
    """With nothing in the way, everybody is ready and of one mind."""
    for _ in range(300):
        if all(replica.is_ready() for replica in replicas):
            break
        time.sleep(0.1)
    else:
        problems.append("not every replica came back")
        return
    for _ in range(300):
        minds = {json.dumps({k: v["document"]["generation"] for k, v in r.daemon.status().items()}, sort_keys=True) for r in replicas}
        if len(minds) == 1:
            return
        time.sleep(0.1)
    problems.append(f"replicas are not of one mind: {minds}")


if __name__ == "__main__":
    main()
