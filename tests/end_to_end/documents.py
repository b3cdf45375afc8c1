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

import yaml

from reader import ROOT, Reader, blocks
from service import CREDENTIALS, Moto

# Which test runs a page's blocks of commands, by the block's language and mark.
HELD = {
    "getting-started.md": {"": "tests/systemd/package.py"},
    "systemd.md": {"": "tests/systemd/run.py"},
    "operations.md": {
        "sh drill": "tests/daemon/drill.rs", "sh drill after": "tests/daemon/drill.rs", "sh backup": "tests/end_to_end/backup.py",
        "sh restore": "tests/end_to_end/backup.py", "sh restored": "tests/end_to_end/backup.py", "sh tls": "tests/daemon/tls.rs",
    },
    "tokens.md": {"sh network": "tests/daemon/endpoints.rs", "sh refresh": "tests/daemon/refresh.rs"},
    "vendors.md": {"sh cut-over": "tests/daemon/cut_over.rs", "sh request": "tests/end_to_end/vendors_docs.py"},
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


def places(daemon, keyset="user-sessions"):
    """What stands on this host for the names and places of the pages."""
    return {
        r"\bENV/KEYSET\b": f"production/{keyset}",
        r"\bENV\b": "production",
        r"\bKID\b": "SK-1",
        "< FILE": "< secret",
        "/run/keyrota/": f"{daemon.folder}/",
        "https://auth\\.example\\.com/jwks\\.json": daemon.url("user-sessions"),
    }


def types_the_pages(reader):
    """The runbook, then the pages on operations and tokens."""
    daemon = reader.daemon
    with open(os.path.join(reader.folder, "secret"), "w", encoding="utf-8") as file:
        os.chmod(file.name, 0o600)
        file.write("a secret that a vendor has made, long enough")
    for mark, text in typed_here("runbook.md"):
        for line in commands(mark, text):
            # Nobody set this host's clock, so there is none to accept.
            reader.types("runbook", line, places(daemon, "vendor" if "import" in text else "user-sessions"), idle="this verb concerns now")
    reader.types("runbook", "keyrota unfreeze ENV/KEYSET", places(daemon))
    generation = {'"generation": 7': f'"generation": {daemon.document("user-sessions")["generation"]}'}
    for mark, text in typed_here("operations.md"):
        for line in commands(mark, text):
            reader.types("operations", line, places(daemon) | generation)
    token = daemon.command("token", "mint", "production/user-sessions", "--sub", "ada")["token"]
    with open(os.path.join(reader.folder, "token"), "w", encoding="utf-8") as file:
        file.write(token)
    for mark, text in typed_here("tokens.md"):
        for line in commands(mark, text):
            said = reader.types("tokens", line, places(daemon) | {"eyJ…": token})
            if not said.strip():
                raise SystemExit(f"nothing was said to {line}")


def moves(reader):
    """The environment moves to AWS Secrets Manager by the commands of the page, and has the same kids there."""
    before = {name: reader.daemon.document(name)["kid"] for name in ("user-sessions", "search")}
    ((mark, text),) = [block for block in typed_here("aws.md") if block[0] == "console migrate"]
    dry_run, *others = commands(mark, text)
    said = reader.types("aws", dry_run, {})
    for line in [dry_run.split("#")[0].replace(" --dry-run", ""), *others]:
        reader.types("aws", line, {})
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
            policies = {name: POLICY.format(store=store) + VENDOR for name, store in (("policies", "embedded"), ("edited", AWS))}
            reader = Reader(binary, folder, "production", policies)
            try:
                reader.waits_for_keys(["user-sessions", "search"])
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
