"""Follows the demo's keysets through two whole rotations, as signers and verifiers outside would.

Every token is verified by independent libraries when it is minted and again just before it expires. Their caches are kept for as
long as the policy's facts allow and not a moment less, so that a wait that is too short shows as a rejection.

Usage: run.py BINARY     (from any folder; needs PyJWT, node with tests/node installed, and promtool)
"""

import heapq
import json
import os
import subprocess
import sys
import tempfile
import time

import jwt

from daemon import Daemon
from peers import NpmJose, PyJwt, SecretVerifier, Signer

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ASYMMETRIC = ("user-sessions", "service-calls", "inkeep-agents")
PUBLISHED = ("user-sessions", "demo/user-sessions.jwks.json")
CHANGE_OVERS = 2
DEADLINE = 240.0
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}


def seconds(text):
    """A duration of the policy in seconds; the demo's have one unit each."""
    return float(text.removesuffix("s"))


class Run:
    """What was seen so far."""

    def __init__(self, daemon, folder):
        self.daemon = daemon
        self.facts = {}
        for name, value in daemon.status()["user-sessions"]["rules"]["stated"]["facts"].items():
            self.facts[name] = seconds(value)
        self.signers = {name: Signer(daemon, name, self.facts) for name in (*ASYMMETRIC, "webhooks", "partner-api")}
        self.remote = [PyJwt(self.facts), NpmJose(self.facts, folder)]
        self.secrets = {name: SecretVerifier(daemon, name, self.facts) for name in ("webhooks", "partner-api")}
        self.due, self.serial = [], 0
        self.verified = self.refused = self.compared = 0
        self.most_in_set = dict.fromkeys(ASYMMETRIC, 0)
        self.problems = []

    def problem(self, text):
        """Something that must not be; the run goes on, to see more of it."""
        self.problems.append(f"{time.strftime('%H:%M:%S')} {text}")
        print(f"  PROBLEM {self.problems[-1]}", flush=True)

    def verifiers_of(self, keyset):
        """Who checks this keyset's tokens."""
        return self.remote if keyset in ASYMMETRIC else [self.secrets[keyset]]

    def check(self, keyset, minted, moment):
        """Every verifier looks at a token."""
        token, kid, algorithm, _ = minted
        for verifier in self.verifiers_of(keyset):
            why = verifier.verify(self.daemon.url(keyset), algorithm, token)
            if why is None:
                self.verified += 1
            else:
                self.refused += 1
                self.problem(f"{keyset}: {verifier.name} refuses a token of kid {kid} {moment}: {why}")

    def mint(self):
        """One token of each keyset, looked at now and once more at the end of its life."""
        for keyset in (*ASYMMETRIC, "webhooks"):
            minted = self.signers[keyset].mint()
            self.check(keyset, minted, "when it is minted")
            self.serial += 1
            heapq.heappush(self.due, (minted[3] - 0.8, self.serial, keyset, minted))
        _, presented = self.signers["partner-api"].use()
        if not self.secrets["partner-api"].admits(presented):
            self.problem("partner-api: the API key that is presented is not accepted")

    def check_due(self):
        """Tokens that are about to expire."""
        while self.due and self.due[0][0] <= time.time():
            *_, keyset, minted = heapq.heappop(self.due)
            if time.time() < minted[3] - 0.1:
                self.check(keyset, minted, "just before it expires")
            else:
                self.problem(f"{keyset}: this machine was too slow to look at a token before it expired")

    def look(self):
        """What the command line, the listeners and the file say agrees with what signers use."""
        before = {name: self.daemon.document(name)["kid"] for name in self.signers}
        status, plan = self.daemon.status(), self.daemon.plan()
        after = {name: self.daemon.document(name)["kid"] for name in self.signers}
        for name, keyset in status.items():
            active = [key["kid"] for key in keyset["document"]["keys"] if key["state"] == "active"]
            if active not in ([before[name]], [after[name]]):
                self.problem(f"{name}: status says that {active} is active, the signer's document says {after[name]}")
            if name not in plan or not any(step["step"] == "activate" for step in plan[name]["calendar"]):
                self.problem(f"{name}: the plan knows of no change-over within three minutes")
            if before[name] == after[name]:
                self.compared += 1
        for name in ASYMMETRIC:
            self.look_at_set(name)
        self.look_at_file()

    def look_at_set(self, name):
        """The key set is what verifiers can bear, and keeps secrets."""
        status, headers, body = self.daemon.verifiers(name)
        keys = json.loads(body)["keys"]
        kids = [key["kid"] for key in keys]
        self.most_in_set[name] = max(self.most_in_set[name], len(kids))
        if status != 200 or not 1 <= len(kids) <= 5 or len(set(kids)) != len(kids):
            self.problem(f"{name}: the key set was answered with {status} and the kids {kids}")
        if any(PRIVATE_MEMBERS & set(key) for key in keys):
            self.problem(f"{name}: a private member is in the key set")
        if headers["Cache-Control"] != f"public, max-age={int(self.facts['cache_max_age'])}":
            self.problem(f"{name}: Cache-Control is {headers['Cache-Control']}")

    def look_at_file(self):
        """The published file catches up with the listener."""
        keyset, path = PUBLISHED
        for _ in range(30):
            served = self.daemon.verifiers(keyset)[2]
            with open(os.path.join(self.daemon.folder, path), "rb") as file:
                held = file.read()
            if json.loads(served) == json.loads(held):
                return
            time.sleep(0.1)
        self.problem(f"{path} does not become what the listener serves")

    def changed_over(self):
        """Whether every keyset has a new kid for the second time."""
        return all(len(signer.kids) > CHANGE_OVERS for signer in self.signers.values())

    def close(self):
        """Ends what was started."""
        for verifier in self.remote:
            verifier.close()


def at_the_end(run):
    """What can be said only when all is over."""
    for name, signer in run.signers.items():
        document = run.daemon.document(name)
        used = document["keys"] + document.get("tombstones", [])
        ever = {key["kid"] for key in used if key.get("activated_at")}
        if not ever <= set(signer.kids) | {document["kid"]}:
            run.problem(f"{name}: change-overs that the signer never saw: {ever - set(signer.kids)}")
        if len(set(signer.kids)) != len(signer.kids):
            run.problem(f"{name}: a kid came back: {signer.kids}")
    for name in ASYMMETRIC:
        if run.most_in_set[name] < 2:
            run.problem(f"{name}: no two kids were ever seen side by side")
    for name, verifier in run.secrets.items():
        if verifier.most_at_once < 2:
            run.problem(f"{name}: no two secrets were ever accepted side by side")
    answers = [run.daemon.verifiers(name)[0] for name in run.secrets]
    if answers != [404, 404]:
        run.problem(f"key sets of shared secrets were answered with {answers}")
    if run.compared == 0:
        run.problem("status was never compared with a signer's document")
    metrics(run)


def metrics(run):
    """A live scrape is what Prometheus wants to read, and no invariant was broken."""
    status, _, text = run.daemon.operators("/metrics")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=30, check=False)
    said = (checked.stdout + checked.stderr).decode().strip()
    if status != 200 or checked.returncode != 0 or said:
        run.problem(f"promtool check metrics ends with {checked.returncode}: {said}")
    lines = text.decode().splitlines()
    broken = [line for line in lines if line.startswith("keyrota_invariant_violated{") and not line.endswith(" 0")]
    if broken or not any(line.startswith("keyrota_invariant_violated{") for line in lines):
        run.problem(f"invariants: {broken or 'the series are missing'}")


def follow(run):
    """Mints and verifies until two change-overs are over and every token has been seen out."""
    end, next_look, told = time.monotonic() + DEADLINE, 0.0, 0
    while True:
        if time.monotonic() > end:
            kids = {name: signer.kids for name, signer in run.signers.items()}
            run.problem(f"not done within {DEADLINE:.0f} s: {kids}")
            return
        over = run.changed_over()
        if over and not run.due:
            return
        if not over:
            run.mint()
        run.check_due()
        if time.monotonic() > next_look:
            run.look()
            next_look = time.monotonic() + 5
        seen = sum(len(signer.kids) for signer in run.signers.values())
        if seen != told:
            told = seen
            print(f"  {seen} kids seen to sign, {run.verified} times verified, {run.refused} refused", flush=True)
        time.sleep(0.3)


def main():
    """Exit status 0 only if nothing went wrong."""
    binary = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="keyrota-end-to-end-") as folder:
        policies = os.path.join(ROOT, "policies")
        folders = ["--policies", policies, "--state-dir", folder, "--runtime-dir", folder]
        daemon = Daemon(binary, ["run", "--environment", "demo", *folders], "demo", folder)
        run = None
        try:
            daemon.wait_until_ready(30)
            run = Run(daemon, os.path.join(ROOT, "tests", "node"))
            print(f"  PyJWT {jwt.__version__}, npm jose; facts {run.facts}", flush=True)
            follow(run)
            at_the_end(run)
            status = daemon.stop()
            if status != 0:
                run.problem(f"SIGTERM ended keyrota with {status}")
        finally:
            daemon.stop()
            if run is not None:
                run.close()
        if run.problems:
            print(f"the daemon's log ends:\n{daemon.tail()}")
            print(f"{len(run.problems)} problems, {run.refused} refusals:")
            print("\n".join(run.problems))
            return 1
    rotations = {name: len(signer.kids) - 1 for name, signer in run.signers.items()}
    print(f"  {run.verified} verifications, 0 refused; change-overs {rotations}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
