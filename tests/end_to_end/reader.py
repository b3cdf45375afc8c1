"""Somebody who reads a page of docs/ and types what it says, on the host of a real daemon."""

import os
import re
import subprocess
import time

from daemon import Daemon

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
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


class Reader:
    """The person, and a daemon of one environment."""

    def __init__(self, binary, folder, environment, policies, variables=()):
        """Starts a daemon with the first of `policies`, which are texts by the name of their folder; `variables` are exported."""
        self.folder, self.policies = folder, os.path.join(folder, next(iter(policies)))
        self.environment = {**os.environ, "BINARY": binary, "POLICIES": self.policies, "KEYROTA_RUNTIME_DIR": folder, **dict(variables)}
        for name, text in policies.items():
            os.mkdir(os.path.join(folder, name), 0o755)
            with open(os.path.join(folder, name, f"{environment}.yaml"), "w", encoding="utf-8") as file:
                file.write(text)
        self.daemon = Daemon(
            binary, ["run", "--policies", self.policies, "--state-dir", folder, "--runtime-dir", folder], environment, folder,
        )

    def waits_for_keys(self, keysets):
        """Until these keysets have a key that signs."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                found = self.daemon.status() if self.daemon.operators("/readyz")[0] == 200 else {}
                if all((found.get(keyset, {}).get("document") or {}).get("kid") for keyset in keysets):
                    return
            except (OSError, SystemExit):
                pass
            time.sleep(0.1)
        raise SystemExit(f"there are no keys:\n{self.daemon.tail()}")

    def types(self, name, typed, places, idle=None):
        """What stands on a page, with its names and places filled in; one that ends with 1 and says `idle` had nothing to do."""
        print("".join(f"  {name}: $ {line}\n" for line in typed.splitlines()), end="", flush=True)
        for pattern, place in places.items():
            typed = re.sub(pattern, lambda _, place=place: place, typed)
        done = subprocess.run(
            ["bash", "-c", SHELL + typed], cwd=self.folder, env=self.environment, timeout=120, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        said = done.stdout.decode()
        if done.returncode != 0 and not (idle and done.returncode == 1 and idle in said):
            raise SystemExit(f"ended with {done.returncode}:\n{said}\nthe daemon's log:\n{self.daemon.tail()}")
        return said
