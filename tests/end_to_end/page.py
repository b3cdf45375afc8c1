"""Opens the status page of the real daemon in a real Chromium, with 1, 20 and 2,000 keysets.

Usage: page.py BINARY [FOLDER]     (needs Chromium, and node with tests/node installed; pictures are left in FOLDER)
"""

import os
import subprocess
import sys
import tempfile

from daemon import Daemon

HERE = os.path.dirname(os.path.abspath(__file__))
LOOK = os.path.join(os.path.dirname(HERE), "node", "page.mjs")
# The largest goes through key generation, pages and Chromium on a slow shared machine.
STARTED_WITHIN = 180.0


def policy(count):
    """So many keysets, whose names and figures look like those of a company."""
    algorithms = ("ES256", "EdDSA", "HS256")
    lines = ["version: 1", "environment: wide", "defaults: { rotate_every: 30d, verifier_refresh: 15m, signer_refresh: 5m, token_ttl: 1h }"]
    lines.append("keysets:")
    lines += [f"  service-{n:04}: {{ algorithm: {algorithms[n % 3]} }}" for n in range(count)]
    return "\n".join(lines) + "\n"


def look(binary, count, pictures):
    """Starts a daemon with that many keysets and looks at its page."""
    with tempfile.TemporaryDirectory(prefix="keyrota-page-") as folder:
        for name in ("policies", "state", "run"):
            os.mkdir(os.path.join(folder, name), 0o755)
        with open(os.path.join(folder, "policies", "wide.yaml"), "w", encoding="utf-8") as file:
            file.write(policy(count))
        arguments = ["run", "--policies", f"{folder}/policies", "--state-dir", f"{folder}/state", "--runtime-dir", f"{folder}/run"]
        daemon = Daemon(binary, arguments, "wide", os.path.join(folder, "run"))
        try:
            daemon.wait_until_ready(STARTED_WITHIN)
            into = os.path.join(pictures, str(count))
            os.makedirs(into, exist_ok=True)
            subprocess.run(["node", LOOK, f"http://127.0.0.1:{daemon.metrics}/", str(count), into], check=True, timeout=300)
        finally:
            daemon.stop()
    print(f"  {count} keysets: read in light, dark, on a phone, by keyboard and without JavaScript", flush=True)


def main():
    """All sizes."""
    binary = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="keyrota-pictures-") as folder:
        for count in (1, 20, 2000):
            look(binary, count, sys.argv[2] if len(sys.argv) > 2 else folder)


if __name__ == "__main__":
    main()
