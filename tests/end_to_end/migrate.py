"""An environment moves from the embedded store to AWS Secrets Manager (moto) and back, while signers mint and PyJWT verifies. The
daemon is killed in the middle of the move, which is then repeated. No token may be rejected, and no kid may change by it.

Usage: migrate.py BINARY [SEED]     (from any folder; needs what tests/requirements-aws.txt names)
"""

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

from daemon import Daemon
from followers import FACTS, Followers, SecretVerifier, Signer, Verifier
from service import CREDENTIALS, Moto, secret_document

PUBLIC = {"user-sessions": "ES256", "service-calls": "EdDSA", "search": "ES384"}
SECRET = {"webhooks": "HS256"}
POLICY = """version: 1
environment: moving
reconcile: "* * * * * *"
store: {store}
defaults:
  rotate_every: 35s
{facts}
keysets:
{keysets}
"""
EMBEDDED = "{ kind: embedded }"
AWS = "{ kind: aws-secrets-manager, region: eu-west-3, sweep: read, sweep_every: 1s }"


class Home:
    """The folders, and the daemon that runs in them now."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.starts = binary, folder, 0
        self.state = os.path.join(folder, "state")
        for name in ("policies", "edited"):
            os.mkdir(os.path.join(folder, name))
        self.write("policies", EMBEDDED)
        self.daemon = None
        self.start()

    def write(self, where, store):
        """A policy that differs in its store only."""
        keysets = "\n".join(f"  {name}: {{ algorithm: {algorithm} }}" for name, algorithm in {**PUBLIC, **SECRET}.items())
        with open(os.path.join(self.folder, where, "moving.yaml"), "w", encoding="utf-8") as file:
            file.write(POLICY.format(facts=FACTS, store=store, keysets=keysets))

    def start(self):
        """Starts it, with the state it left behind."""
        runtime = os.path.join(self.folder, f"run-{self.starts}")
        os.makedirs(runtime, mode=0o700)
        policies = os.path.join(self.folder, "policies")
        arguments = ["run", "--policies", policies, "--state-dir", self.state, "--runtime-dir", runtime]
        self.daemon = Daemon(self.binary, arguments, "moving", runtime)
        self.starts += 1

    def daemons(self):
        """The daemon, whichever start it is."""
        return [self.daemon]

    def document(self, keyset):
        """What a signer reads on the socket; None while it is refused."""
        try:
            return self.daemon.document(keyset)
        except (OSError, SystemExit):
            return None

    def kids(self):
        """The kids of every keyset with their states, as `status` tells them."""
        return {name: [(key["kid"], key["state"]) for key in keyset["document"]["keys"]] for name, keyset in self.daemon.status().items()}

    def migrate(self, *arguments, exits=(0,)):
        """`keyrota migrate`."""
        return self.daemon.command("migrate", "moving", *arguments, exits=exits)

    def killed_in_the_middle(self, *arguments):
        """The same, with the daemon dead some moments after it began."""
        command = [self.binary, "migrate", "moving", *arguments, "--yes", "--runtime-dir", self.daemon.folder]
        # Written just before the first keyset is sealed.
        noted = os.path.join(self.state, "moves", "moving.json")
        before = os.stat(noted).st_mtime_ns if os.path.exists(noted) else None
        asking = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while asking.poll() is None and (not os.path.exists(noted) or os.stat(noted).st_mtime_ns == before):
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.06))
        self.daemon.process.kill()
        self.daemon.process.wait()
        asking.wait(30)
        self.start()
        self.daemon.wait_until_ready(60)

    def switch(self):
        """The edit is merged, and the daemon takes it without a restart."""
        shutil.copy(os.path.join(self.folder, "edited", "moving.yaml"), os.path.join(self.folder, "policies", "moving.yaml"))
        done = subprocess.run(
            [self.binary, "reload", "--wait", "--runtime-dir", self.daemon.folder], capture_output=True, timeout=120, check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"the switch was refused: {done.stdout.decode()} {done.stderr.decode()}\n{self.daemon.tail()}")

    def stored(self):
        """How many keysets the embedded store holds."""
        database = sqlite3.connect(f"file:{os.path.join(self.state, 'keysets.db')}?mode=ro", uri=True)
        try:
            return database.execute("SELECT count(*) FROM keyset WHERE sealed IS NOT NULL").fetchone()[0]
        finally:
            database.close()


def expect(holds, what):
    """Ends the test with a sentence."""
    if not holds:
        raise SystemExit(what)


def go(home, followers, store, kind):
    """There: killed in the middle, repeated, switched, ended."""
    home.write("edited", store)
    # A daemon that is told of an empty store does not take it.
    shutil.copy(os.path.join(home.folder, "policies", "moving.yaml"), os.path.join(home.folder, "before.yaml"))
    home.write("policies", store)
    refused = subprocess.run(
        [home.binary, "reload", "--wait", "--runtime-dir", home.daemon.folder], capture_output=True, timeout=60, check=False,
    )
    expect(refused.returncode != 0 and b"keyrota migrate moving" in refused.stdout, f"it was taken: {refused.stdout.decode()}")
    shutil.copy(os.path.join(home.folder, "before.yaml"), os.path.join(home.folder, "policies", "moving.yaml"))
    flags = ("--to", kind, "--policies", os.path.join(home.folder, "edited"))
    foreseen = home.migrate(*flags, "--dry-run")
    expect([keyset["standing"] for keyset in foreseen["keysets"]] == ["here"] * 4, f"foreseen: {foreseen}")
    for _ in range(4):
        home.killed_in_the_middle(*flags)
        stood = [keyset["standing"] for keyset in home.migrate(*flags, "--dry-run")["keysets"]]
        print(f"  killed, and everything stands: {' '.join(stood)}", flush=True)
    done = home.migrate(*flags, "--yes")
    expect({keyset["standing"] for keyset in done["keysets"]} == {"there"}, f"done: {done}")
    before = home.kids()
    repeated = home.migrate(*flags, "--yes")
    expect([k["generation"] for k in repeated["keysets"]] == [k["generation"] for k in done["keysets"]], f"repeated: {repeated}")
    status = home.daemon.status()
    expect(all(any(p["label"] == "moved-to" for p in k["pending"]) for k in status.values()), f"sealed and not said: {status}")
    refused = subprocess.run(
        [home.binary, "rotate", "moving/search", "--yes", "--runtime-dir", home.daemon.folder], capture_output=True, timeout=30, check=False,
    )
    expect(refused.returncode == 4 and b"moved to the" in refused.stdout + refused.stderr, f"a sealed keyset took a verb: {refused}")
    early = subprocess.run(
        [home.binary, "migrate", "moving", "--erase-source", "--yes", "--runtime-dir", home.daemon.folder],
        capture_output=True, timeout=30, check=False,
    )
    expect(early.returncode != 0 and b"still in use" in early.stderr, f"the store in use was erased: {early}")
    home.switch()
    expect(home.kids() == before, f"kids changed by the switch: {before} {home.kids()}")
    followers.until("it has switched and serves", lambda: home.document("search") is not None, 30)
    home.migrate("--erase-source", "--yes")
    home.daemon.wait_until_ready(60)


def rotated(signers, times):
    """Whether every signer has seen so many more kids than when this was made."""
    before = {signer.keyset: len(signer.kids) for signer in signers}
    return lambda: all(len(signer.kids) >= before[signer.keyset] + times for signer in signers)


def main():
    binary = os.path.abspath(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    random.seed(seed)
    moto = Moto()
    os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL_SECRETS_MANAGER=moto.url)
    home = None
    with tempfile.TemporaryDirectory(prefix="keyrota-migrate-") as folder:
        try:
            home = Home(binary, folder)
            home.daemon.wait_until_ready(60)
            signers = [Signer(keyset, lambda keyset=keyset: home.document(keyset)) for keyset in {**PUBLIC, **SECRET}]
            public = [Verifier(home.daemons, PUBLIC, pause) for pause in (0.5, 1.5, 2.5)]
            for verifier in public:
                verifier.start()
            while any(not verifier.sets for verifier in public):
                time.sleep(0.1)
            verifiers = {keyset: public for keyset in PUBLIC}
            verifiers |= {keyset: [SecretVerifier(lambda keyset=keyset: home.document(keyset))] for keyset in SECRET}
            followers = Followers(signers, verifiers)
            followers.start()
            followers.until("everything rotated in the embedded store", rotated(signers, 2), 180)
            go(home, followers, AWS, "aws-secrets-manager")
            expect(home.stored() == 0, f"the embedded store still holds {home.stored()} keysets")
            client = moto.client()
            for keyset in PUBLIC:
                document, _ = secret_document(client, f"keyrota/moving/{keyset}")
                expect(document["kid"] == home.document(keyset)["kid"], f"{keyset}: AWS and the socket differ")
            followers.until("everything rotated on AWS", rotated(signers, 1), 240)
            go(home, followers, EMBEDDED, "embedded")
            expect(home.stored() == 4, f"the embedded store holds {home.stored()} keysets")
            waiting = client.list_secrets(IncludePlannedDeletion=True)["SecretList"]
            expect(len(waiting) == 4 and all("DeletedDate" in secret for secret in waiting), f"not all are scheduled: {waiting}")
            followers.until("everything rotated in the embedded store again", rotated(signers, 1), 240)
            for verifier in public:
                verifier.over = True
            followers.verdict()
            trail = subprocess.run(
                [binary, "audit", "verify", "--runtime-dir", home.daemon.folder], capture_output=True, timeout=60, check=False,
            )
            expect(trail.returncode == 0, f"the audit trail: {trail.stdout.decode()} {trail.stderr.decode()}")
            told = subprocess.run(
                [binary, "audit", "tail", "--runtime-dir", home.daemon.folder], capture_output=True, timeout=60, check=True,
            ).stdout.decode()
            expect(told.count("migrated") >= 8 or told.count("moved from the") >= 8, f"the trail does not tell of the moves: {told[-2000:]}")
        except BaseException:
            if home is not None:
                print(home.daemon.tail(), flush=True)
            raise
        finally:
            if home is not None:
                home.daemon.stop()
            moto.stop()


if __name__ == "__main__":
    main()
