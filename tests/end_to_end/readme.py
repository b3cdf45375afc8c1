"""Does what the README says, as a new user would: runs its `sh` blocks, checks its policy, follows its links.

The first block starts the daemon: the same command line with the binary at hand, in a folder and on ports that nobody else uses.

Usage: readme.py BINARY     (needs bash and curl)
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile

from daemon import Daemon

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FIRST = "cargo run --release -- "
BUILT = "target/release/keyrota"
FOLDER = "/tmp/keyrota-demo"
# A command of the README that fails, or an address that answers with an error, ends the block.
PRELUDE = "set -euo pipefail\ncurl() { command curl --fail --max-time 20 --silent --show-error \"$@\"; }\n"


def blocks(text, language):
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def check_policy(binary, text, folder):
    """A policy shown in the README is one."""
    environment = re.search(r"^environment: (\S+)", text, flags=re.MULTILINE).group(1)
    policies = os.path.join(folder, "shown")
    os.mkdir(policies, 0o755)
    with open(os.path.join(policies, f"{environment}.yaml"), "w", encoding="utf-8") as file:
        file.write(text)
    subprocess.run([binary, "check", "--policies", policies], check=True, timeout=30, stdout=subprocess.DEVNULL)
    print("  the policy that is shown is sound", flush=True)


def check_links(text):
    """What the README points to is there."""
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    missing = [target for target in targets if not os.path.exists(os.path.join(ROOT, target))]
    if missing:
        raise SystemExit(f"README.md points to what is not there: {missing}")
    print(f"  {len(targets)} links lead somewhere", flush=True)


def run_blocks(binary, shell, folder):
    """The daemon of the first block, and every block after it."""
    line = shell[0].strip().replace("\\\n", " ")
    if not line.startswith(FIRST) or "\n" in line:
        raise SystemExit(f"the first `sh` block of README.md is not one line with `{FIRST}…`: {line!r}")
    arguments = shlex.split(line.removeprefix(FIRST).replace(FOLDER, folder))
    daemon = Daemon(binary, arguments, "demo", folder)
    try:
        daemon.wait_until_ready(30)
        print(f"  $ {line}", flush=True)
        environment = dict(os.environ)
        for block in shell[1:]:
            script = block.replace(FOLDER, folder).replace(BUILT, shlex.quote(binary))
            script = script.replace("127.0.0.1:8480", f"127.0.0.1:{daemon.listen}")
            script = script.replace("127.0.0.1:8481", f"127.0.0.1:{daemon.metrics}")
            done = subprocess.run(
                ["bash", "-c", PRELUDE + script], cwd=ROOT, env=environment, timeout=120, check=False,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
            print("".join(f"  $ {command}\n" for command in block.splitlines()), end="", flush=True)
            if done.returncode != 0 or not done.stdout.strip():
                raise SystemExit(f"ended with {done.returncode}:\n{done.stdout.decode()}\nthe daemon's log:\n{daemon.tail()}")
            # What a reader types stays typed.
            for name, value in re.findall(r"^export (\w+)=(\S+)$", script, flags=re.MULTILINE):
                environment[name] = value
    finally:
        status = daemon.stop()
    if status != 0:
        raise SystemExit(f"SIGTERM ended keyrota with {status}")


def main():
    """Ends with an exit status other than 0 at the first thing that is not as the README says."""
    binary = os.path.abspath(sys.argv[1])
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    check_links(text)
    with tempfile.TemporaryDirectory(prefix="keyrota-readme-") as folder:
        for number, policy in enumerate(blocks(text, "yaml")):
            if "\nenvironment:" in policy:
                inner = os.path.join(folder, str(number))
                os.mkdir(inner)
                check_policy(binary, policy, inner)
        run_blocks(binary, blocks(text, "sh"), folder)


if __name__ == "__main__":
    main()
