"""A host is lost and comes back, by the very commands of docs/operations.md; and the age tool opens the back-up too.

Usage: backup.py BINARY     (needs bash, age and age-keygen)
"""

import json
import os
import re
import subprocess
import sys
import tempfile

from daemon import Daemon, write_policy

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEYSET = "user-sessions"


def block(mark):
    """The commands that are marked so."""
    with open(os.path.join(ROOT, "docs", "operations.md"), encoding="utf-8") as file:
        found = re.findall(rf"^```sh {mark}\n(.*?)^```$", file.read(), flags=re.MULTILINE | re.DOTALL)
    if len(found) != 1:
        raise SystemExit(f"docs/operations.md has {len(found)} blocks `{mark}`")
    return found[0]


def shell(binary, script, folder, state):
    """Runs commands of the documentation in a folder: the binary, the state directory and the environment are the test's."""
    script = script.replace("/var/lib/keyrota", state)
    path = os.path.dirname(binary) + ":" + os.environ["PATH"]
    done = subprocess.run(
        ["bash", "-c", "set -euo pipefail\n" + script], cwd=folder, timeout=120, check=False, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"PATH": path, "KEYROTA_RUNTIME_DIR": folder},
    )
    print("".join(f"  $ {line}\n" for line in script.splitlines()), end="", flush=True)
    if done.returncode != 0:
        raise SystemExit(f"ended with {done.returncode}:\n{done.stdout.decode()}")
    return done.stdout.decode()


def daemon_of(binary, folder, state):
    """keyrota with that state directory."""
    folders = ["--policies", os.path.join(folder, "policies"), "--state-dir", state, "--runtime-dir", folder]
    return Daemon(binary, ["run", *folders], "production", folder)


def check(what, holds, shown=""):
    """One thing that must be so."""
    if not holds:
        raise SystemExit(f"{what}: {shown}")
    print(f"  {what}", flush=True)


def lost_host(binary, folder):
    """Takes the back-up and is lost: what its signers read."""
    daemon = daemon_of(binary, folder, os.path.join(folder, "lost"))
    try:
        daemon.wait_until_ready(60)
        shell(binary, block("backup"), folder, os.path.join(folder, "lost"))
        return daemon.document(KEYSET)
    finally:
        daemon.stop()


def opened_by_age(folder, before):
    """The format is age's own, and what is inside is what signers read."""
    command = ["age", "-d", "-i", os.path.join(folder, "identity.txt"), os.path.join(folder, "keyrota.backup")]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    check("age opens it", done.returncode == 0, done.stderr.decode())
    inside = json.loads(done.stdout)
    check("it says what it is", inside["format"] == "keyrota.backup.v1", inside.keys())
    (document,) = [document for document in inside["documents"] if document["keyset"] == KEYSET]
    check("the private key is in it", document["private_key"] == before["private_key"])
    with open(os.path.join(folder, "keyrota.backup"), "rb") as file:
        sealed = file.read()
    check("and not in the file", before["private_key"].splitlines()[1].encode() not in sealed and before["kid"].encode() not in sealed)


def main():
    """Ends with an exit status other than 0 at the first thing that is wrong."""
    binary = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="keyrota-backup-") as folder:
        write_policy(folder)
        before = lost_host(binary, folder)
        opened_by_age(folder, before)
        state = os.path.join(folder, "state")
        os.mkdir(state, 0o700)
        said = shell(binary, block("restore"), folder, state)
        check("it says what to type next", "keyrota restored production" in said, said)
        daemon = daemon_of(binary, folder, state)
        try:
            said = shell(binary, WAIT + block("restored"), folder, state)
            check("it says that it is held, and what comes", "back-up" in said and "activate" in said, said)
            daemon.wait_until_ready(60)
            after = daemon.document(KEYSET)
            check("the same key signs", after["kid"] == before["kid"] and after["private_key"] == before["private_key"])
            check("generations go on beyond", after["generation"] > before["generation"] + 1000)
            kids = [key["kid"] for key in json.loads(daemon.verifiers(KEYSET)[2])["keys"]]
            check("its tokens are accepted", before["kid"] in kids, kids)
        finally:
            daemon.stop()


# Until the daemon answers on its socket and has said that what it found is held.
WAIT = "for i in $(seq 300); do { keyrota status || true; } 2>&1 | grep -q 'comes from a back-up' && break || sleep 0.2; done\n"

if __name__ == "__main__":
    main()
