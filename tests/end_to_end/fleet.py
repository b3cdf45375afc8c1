"""Three daemons on one AWS Secrets Manager (moto), killed, stopped and cut off at random, while signers read the secrets with boto3
and verifiers take key sets from whatever replica is ready, or read them with boto3 from secrets of their own. No token may be rejected,
and rotations go on.

Usage: fleet.py BINARY [SEED [ROTATIONS]]     (from any folder; needs what tests/requirements-aws.txt names)
"""

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time

from daemon import Daemon
from followers import FACTS, Followers, Signer, Verifier, fetch
from service import CREDENTIALS, Moto, Proxy, secret_document

KEYSETS = {
    "user-sessions": "ES256", "service-calls": "EdDSA", "search": "ES384", "inkeep": "ES256", "partners": "EdDSA", "reports": "ES512",
}
# Those whose public keys stand in a second secret too.
SECOND = ["user-sessions", "service-calls"]
ROTATIONS = int(sys.argv[3]) if len(sys.argv) > 3 else 24
DEADLINE = 180.0 + 10.0 * ROTATIONS
REPLICAS = 3
# How long a verifier waits for an answer, in seconds, before it asks another replica.
PATIENCE = 0.4
POLICY = """version: 1
environment: fleet
reconcile: "* * * * * *"
store: {{ kind: aws-secrets-manager, region: eu-west-3, sweep: read, sweep_every: 1s }}
defaults:
  rotate_every: 30s
{facts}
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
        return fetch(self.daemon.metrics, "/readyz", PATIENCE)[0] == 200


class SecondVerifier(Verifier):
    """Reads key sets with boto3 from the secrets that hold nothing else."""

    def __init__(self, moto, pause):
        super().__init__(list, SECOND, pause)
        self.client, self.versions = moto.client(), {keyset: [] for keyset in SECOND}

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


def reading(moto, keyset):
    """What boto3 reads of it; None while there is none."""
    client = moto.client()

    def read():
        try:
            return secret_document(client, f"keyrota/fleet/{keyset}")[0]
        except client.exceptions.ResourceNotFoundException:
            return None

    return read


def wait_for_keys(signers):
    """Until every keyset has a key that signs."""
    end = time.monotonic() + 90
    while missing := [signer.keyset for signer in signers if signer.mint() is None]:
        if time.monotonic() > end:
            raise SystemExit(f"no key for {missing} within 90 s")
        time.sleep(0.5)


def main():
    binary = os.path.abspath(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    moto = Moto()
    replicas, over, told = [], threading.Event(), {}
    striker = threading.Thread(target=lambda: told.update(trouble(replicas, over)), daemon=True)
    with tempfile.TemporaryDirectory(prefix="keyrota-fleet-") as folder:
        try:
            policies = os.path.join(folder, "policies")
            os.mkdir(policies)
            second = {name: ", publish: [aws_secret: { format: jwks }]" for name in SECOND}
            keysets = "\n".join(f"  {name}: {{ algorithm: {algorithm}{second.get(name, '')} }}" for name, algorithm in KEYSETS.items())
            with open(os.path.join(policies, "fleet.yaml"), "w", encoding="utf-8") as file:
                file.write(POLICY.format(facts=FACTS, keysets=keysets))
            replicas = [Replica(number, binary, folder, policies, moto) for number in range(REPLICAS)]
            signers = [Signer(keyset, reading(moto, keyset)) for keyset in KEYSETS]
            wait_for_keys(signers)
            print("every keyset signs", flush=True)
            ready = lambda: (replica.daemon for replica in random.sample(replicas, len(replicas)) if replica.is_ready())
            verifiers = [Verifier(ready, list(KEYSETS), pause, PATIENCE) for pause in (1.0, 2.0, 2.6)]
            reader = SecondVerifier(moto, 1.0)
            for verifier in [*verifiers, reader]:
                verifier.start()
            while any(not verifier.sets for verifier in [*verifiers, reader]):
                time.sleep(0.1)
            striker.start()
            whose = {keyset: [*verifiers, reader] if keyset in SECOND else verifiers for keyset in KEYSETS}
            followers = Followers(signers, whose)
            followers.start()
            rotated = lambda: sum(len(signer.kids) - 1 for signer in signers)
            followers.until(f"{ROTATIONS} rotations", lambda: rotated() >= ROTATIONS, DEADLINE)
            over.set()
            striker.join(60)
            problems = []
            settle(replicas, problems)
            faults = {}
            for replica in replicas:
                for fault, count in replica.proxy.seen.items():
                    faults[fault or "none"] = faults.get(fault or "none", 0) + count
            print(f"{rotated()} rotations")
            print(f"struck: {told}; starts: {[replica.starts for replica in replicas]}; requests by fault: {faults}")
            problems += [f"an older key set was put over a newer one: {what}" for what in reader.went_back()]
            print(f"second secrets: {', '.join(f'{len(v)} versions of {k}' for k, v in reader.versions.items())}")
            if problems:
                raise SystemExit("\n".join(problems))
            followers.verdict()
            for verifier in [*verifiers, reader]:
                verifier.over = True
        except SystemExit:
            for replica in replicas:
                print(f"-- replica {replica.number}\n{replica.daemon.tail()}")
            raise
        finally:
            over.set()
            if striker.is_alive():
                striker.join(60)
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
