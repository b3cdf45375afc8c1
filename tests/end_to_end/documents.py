"""Types the commands of the docs' pages, as they stand there, against a real daemon: the runbook's for every alert, those of the pages on
tokens, operations and AWS. And every piece of a policy that a page shows is one.

What is marked (`sh drill`) or needs a machine of its own is run elsewhere: HELD says where.

Usage: documents.py BINARY     (from any folder; needs bash, curl and what tests/requirements-aws.txt names)
"""

import os
import re
import subprocess
import sys
import tempfile
import time

import yaml

from daemon import Daemon
from service import CREDENTIALS, Moto

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Which test runs a page's blocks of commands, by the block's language and mark.
HELD = {
    "getting-started.md": {"": "tests/systemd/package.py"},
    "systemd.md": {"": "tests/systemd/run.py"},
    "operations.md": {
        "sh drill": "tests/daemon/drill.rs", "sh drill after": "tests/daemon/drill.rs", "sh backup": "tests/end_to_end/backup.py",
        "sh restore": "tests/end_to_end/backup.py", "sh restored": "tests/end_to_end/backup.py", "sh tls": "tests/daemon/tls.rs",
    },
    "tokens.md": {"sh network": "tests/daemon/endpoints.rs"},
    "aws.md": {"console first-day": "tests/end_to_end/production.py"},
}
POLICY = """version: 1
environment: production
store: {{ kind: {store} }}
defaults: {{ token_ttl: 1h, verifier_refresh: 15m, signer_refresh: 1h, rotate_every: 30d }}
keysets:
  user-sessions:
    algorithm: ES256
    token: {{ profile: generic, issuer: "https://auth.example.com", audience: [api, web] }}
  search: {{ algorithm: HS256, token_ttl: 24h, secret_format: {{ prefix: sk-alg- }}, token: {{ profile: algolia }} }}
"""
AWS = "aws-secrets-manager, region: eu-west-3"
VENDOR = "  vendor: { algorithm: HS256, source: external }\n"
# A verb asks on a terminal; here it is told at once. A status or a doctor that finds something has said so.
SHELL = """set -euo pipefail
keyrota() {
    local asks=
    case " $* " in *" --dry-run "*) ;; *) case "$1" in freeze|unfreeze|accept|import|migrate) asks=--yes ;; esac ;; esac
    case "$1" in
        status|doctor) "$BINARY" "$@" || [ $? -eq 3 ] ;;
        check) "$BINARY" "$@" --policies "$POLICIES" ;;
        *) "$BINARY" "$@" $asks ;;
    esac
}
curl() { command curl --fail --max-time 20 --silent --show-error "$@"; }
"""


def page(name):
    """The text of a page of docs/."""
    with open(os.path.join(ROOT, "docs", name), encoding="utf-8") as file:
        return file.read()


def blocks(name):
    """A page's fenced blocks: what follows the fence, and the text."""
    return re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", page(name), flags=re.MULTILINE | re.DOTALL)


def typed_here(name):
    """The blocks of commands of a page that no other test runs."""
    held = HELD.get(name, {})
    if "" in held:
        return []
    unknown = set(held) - {mark for mark, _ in blocks(name)}
    if unknown:
        raise SystemExit(f"docs/{name} has no block {sorted(unknown)}")
    found = [(mark, text) for mark, text in blocks(name) if re.match(r"(sh|console)\b", mark) and mark not in held]
    strange = [mark for mark, _ in found if mark not in ("sh", "console", "console migrate")]
    if strange:
        raise SystemExit(f"docs/{name}: nobody runs {strange}")
    return found


def commands(mark, text):
    """What somebody types: of a console, what stands after the prompt."""
    lines = [line.removeprefix("$ ") for line in text.splitlines()] if mark.startswith("console") else text.splitlines()
    return [line for line in lines if line.strip()]


def merged(under, over):
    """A mapping with another laid over it."""
    both = dict(under)
    for name, value in over.items():
        both[name] = merged(both[name], value) if isinstance(value, dict) and isinstance(both.get(name), dict) else value
    return both


def whole(name, piece):
    """A policy around a piece of one: what a page leaves out is as ordinary as it can be."""
    if "version" in piece:
        return piece
    if "keysets" not in piece and "store" not in piece:
        piece = {"keysets": {"user-sessions": piece}}
    base = yaml.safe_load(POLICY.format(store=AWS if name == "aws.md" else "embedded"))
    keysets = {name: merged({"algorithm": "ES256"}, keyset) for name, keyset in piece.get("keysets", {}).items()}
    for keyset in keysets.values():
        if keyset["algorithm"] == "api-key":
            base["defaults"].pop("token_ttl", None)
    if "token_ttl" not in base["defaults"]:
        for keyset in keysets.values():
            if keyset["algorithm"] != "api-key":
                keyset.setdefault("token_ttl", "1h")
    return {**base, **piece, "keysets": keysets or {"user-sessions": {"algorithm": "ES256"}}}


def policies_are_sound(binary):
    """`keyrota check` of each piece of a policy on any page."""
    count = 0
    for name in sorted(os.listdir(os.path.join(ROOT, "docs"))):
        for mark, text in blocks(name) if name.endswith(".md") else []:
            if mark != "yaml" or "" in HELD.get(name, {}):
                continue
            policy = whole(name, yaml.safe_load(text))
            with tempfile.TemporaryDirectory(prefix="keyrota-documents-") as folder:
                os.chmod(folder, 0o755)
                with open(os.path.join(folder, f"{policy['environment']}.yaml"), "w", encoding="utf-8") as file:
                    yaml.safe_dump(policy, file)
                done = subprocess.run([binary, "check", "--policies", folder], capture_output=True, text=True, timeout=30, check=False)
            if done.returncode != 0:
                raise SystemExit(f"docs/{name} shows\n{text}\nof which `keyrota check` says\n{done.stdout}{done.stderr}")
            count += 1
    print(f"{count} pieces of policies are sound", flush=True)


class Reader:
    """Somebody who types what a page says, on the host of a daemon."""

    def __init__(self, binary, folder):
        self.folder, self.policies, self.token = folder, os.path.join(folder, "policies"), ""
        self.environment = {**os.environ, "BINARY": binary, "POLICIES": self.policies, "KEYROTA_RUNTIME_DIR": folder}
        for name, store in (("policies", "embedded"), ("edited", AWS)):
            os.mkdir(os.path.join(folder, name), 0o755)
            with open(os.path.join(folder, name, "production.yaml"), "w", encoding="utf-8") as file:
                file.write(POLICY.format(store=store) + VENDOR)
        self.daemon = Daemon(
            binary, ["run", "--policies", self.policies, "--state-dir", folder, "--runtime-dir", folder], "production", folder,
        )

    def waits_until_there_are_keys(self):
        """The keysets whose keys keyrota makes have theirs."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                found = self.daemon.status() if self.daemon.operators("/readyz")[0] == 200 else {}
                if sum(bool((keyset.get("document") or {}).get("kid")) for keyset in found.values()) == 2:
                    return
            except (OSError, SystemExit):
                pass
            time.sleep(0.1)
        raise SystemExit(f"there are no keys:\n{self.daemon.tail()}")

    def types(self, name, line, keyset="user-sessions"):
        """One command of a page, with its names and places filled in."""
        print(f"  {name}: $ {line}", flush=True)
        line = re.sub(r"\bENV/KEYSET\b", f"production/{keyset}", line)
        line = re.sub(r"\bENV\b", "production", line)
        line = line.replace("eyJ…", self.token)
        line = re.sub(r"\bKID\b", "SK-1", line).replace("< FILE", "< secret")
        line = line.replace("/run/keyrota/", f"{self.folder}/")
        generation = self.daemon.document("user-sessions")["generation"]
        line = line.replace('"generation": 7', f'"generation": {generation}')
        line = line.replace("https://auth.example.com/jwks.json", self.daemon.url("user-sessions"))
        done = subprocess.run(
            ["bash", "-c", SHELL + line], cwd=self.folder, env=self.environment, timeout=120, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        # Nobody set this host's clock, so there is none to accept; tests/daemon has the command where there is.
        idle = " accept " in line and done.returncode == 1 and b"that this verb concerns now" in done.stdout
        if done.returncode != 0 and not idle:
            raise SystemExit(f"ended with {done.returncode}:\n{done.stdout.decode()}\nthe daemon's log:\n{self.daemon.tail()}")
        return done.stdout.decode()


def types_the_pages(reader):
    """The runbook, then the pages on operations and tokens."""
    with open(os.path.join(reader.folder, "secret"), "w", encoding="utf-8") as file:
        os.chmod(file.name, 0o600)
        file.write("a secret that a vendor has made, long enough")
    for mark, text in typed_here("runbook.md"):
        for line in commands(mark, text):
            reader.types("runbook", line, "vendor" if "import" in text else "user-sessions")
    reader.types("runbook", "keyrota unfreeze ENV/KEYSET")
    for mark, text in typed_here("operations.md"):
        for line in commands(mark, text):
            reader.types("operations", line)
    reader.token = reader.daemon.command("token", "mint", "production/user-sessions", "--sub", "ada")["token"]
    with open(os.path.join(reader.folder, "token"), "w", encoding="utf-8") as file:
        file.write(reader.token)
    for mark, text in typed_here("tokens.md"):
        for line in commands(mark, text):
            said = reader.types("tokens", line)
            if not said.strip():
                raise SystemExit(f"nothing was said to {line}")


def moves(reader):
    """The environment moves to AWS Secrets Manager by the commands of the page, and has the same kids there."""
    before = {name: reader.daemon.document(name)["kid"] for name in ("user-sessions", "search")}
    ((mark, text),) = [block for block in typed_here("aws.md") if block[0] == "console migrate"]
    dry_run, *others = commands(mark, text)
    said = reader.types("aws", dry_run)
    reader.types("aws", dry_run.split("#")[0].replace(" --dry-run", ""))
    for line in others:
        reader.types("aws", line)
    after = {name: reader.daemon.document(name)["kid"] for name in before}
    if before != after or "user-sessions" not in said:
        raise SystemExit(f"{before} became {after}: {said}")


def main():
    """Ends with an exit status other than 0 at the first command that does not do what its page says."""
    binary = os.path.abspath(sys.argv[1])
    policies_are_sound(binary)
    for name, held in HELD.items():
        for where in held.values():
            with open(os.path.join(ROOT, where), encoding="utf-8") as file:
                if name not in file.read():
                    raise SystemExit(f"{where} does not read docs/{name}")
    moto = Moto()
    os.environ.update(CREDENTIALS, AWS_ENDPOINT_URL_SECRETS_MANAGER=moto.url)
    try:
        with tempfile.TemporaryDirectory(prefix="keyrota-documents-") as folder:
            reader = Reader(binary, folder)
            try:
                reader.waits_until_there_are_keys()
                types_the_pages(reader)
                moves(reader)
            finally:
                status = reader.daemon.stop()
            if status != 0:
                raise SystemExit(f"SIGTERM ended keyrota with {status}:\n{reader.daemon.tail()}")
    finally:
        moto.stop()


if __name__ == "__main__":
    main()
