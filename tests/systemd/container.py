"""A booted systemd in a container: this machine's own, or that of another root directory; and the ways into it."""

import os
import re
import shutil
import subprocess
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
# Users that policies and groups name; the ids do not matter, as long as they are no others'.
USERS = """\
u app 4001 "a signer"
u other 4002 "nobody's friend"
u operator 4003 "an operator"
m operator keyrota
"""


class Failed(SystemExit):
    """The test has failed; the text says how."""


def until(what, seconds, holds):
    """Waits until `holds()` answers something that is true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        answer = holds()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"waited {seconds} s in vain until {what}")
        time.sleep(0.1)


def documented(which, page="docs/systemd.md"):
    """The commands of these blocks of a page, in their order."""
    with open(os.path.join(TOP, page), encoding="utf-8") as file:
        found = re.findall(r"^```sh (\S+)\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
    return [block for name, block in found if name in which]


class Container:
    """One root that is booted. What is written below /usr and what an installation leaves elsewhere outlives it, as on a real machine."""

    # What outlives the container, besides /usr.
    KEPT = {
        "units": "/etc/systemd/system", "credentials": "/etc/credstore.encrypted", "systemd": "/var/lib/systemd",
        "state": "/var/lib/keyrota", "config": "/etc/keyrota", "checkout": "/checkout",
    }

    def __init__(self, folder, root="/"):
        """Lays out in `folder` what the container sees; boots nothing yet."""
        self.folder, self.root, self.process, self.leader = folder, root, None, None
        for name in ("usr/lib/sysusers.d", *self.KEPT):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        os.chmod(os.path.join(folder, "credentials"), 0o700)
        self.state = os.path.join(folder, "state")
        self.write("usr/lib/sysusers.d/test.conf", USERS)
        # A machine that knows who it is has no first boot, at which everything that is installed would be enabled.
        self.write("machine-id", f"{uuid.uuid4().hex}\n")

    def check_out(self, binary):
        """What there is in a checkout after a build; the build is the one that is tested."""
        checkout = os.path.join(self.folder, "checkout")
        shutil.copytree(os.path.join(TOP, "systemd"), os.path.join(checkout, "systemd"))
        os.makedirs(os.path.join(checkout, "target/release"))
        shutil.copy(binary, os.path.join(checkout, "target/release/keyrota"))

    def write(self, path, text):
        """Writes a file of what the container sees."""
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def policy(self, text):
        """Writes the policy of the only environment."""
        self.write("config/policies/fast.yaml", text)

    def boot(self):
        """Boots it and waits until it is up."""
        below = "" if self.root == "/" else self.root
        command = [
            "systemd-nspawn", "--quiet", "-D", self.root, "--boot", "--volatile=yes", "--register=no", "--keep-unit", "--console=pipe",
            "--private-network", f"--machine=keyrota-{os.getpid()}", f"--overlay={below}/usr:{self.folder}/usr:/usr",
            f"--bind-ro={self.folder}/machine-id:/etc/machine-id",
            *(f"--bind={self.folder}/{name}:{place}" for name, place in self.KEPT.items()),
        ]
        # Newer ones boot on nothing but cgroup v2.
        unified = {} if self.root == "/" else {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with open(os.path.join(self.folder, "console"), "ab") as console:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, env={**os.environ, **unified}, start_new_session=True,
            )
        self.leader = until("the container has a first process", 30, self.first_process)
        until("the container is up", 90, lambda: self.run("systemctl", "is-system-running", check=False) in ("running", "degraded"))

    def first_process(self):
        """The process id, out here, of what is 1 in there."""
        if self.process.poll() is not None:
            with open(os.path.join(self.folder, "console"), encoding="utf-8", errors="replace") as console:
                raise Failed(f"systemd-nspawn ended with {self.process.returncode}: {console.read()}")
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as children:
            for pid in children.read().split():
                with open(f"/proc/{pid}/comm", encoding="ascii") as name:
                    if name.read().strip() == "systemd":
                        return pid
        return None

    def shut_down(self):
        """Shuts it down in order."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed("the container did not shut down within a minute") from None

    def run(self, *command, check=True, stderr=False):
        """Runs a command in there as root; what it says without the last line break, on standard error if that is asked for."""
        done = subprocess.run(
            ["nsenter", "--target", self.leader, "--all", *command], capture_output=True, timeout=120, check=False, encoding="utf-8",
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode != 0:
            raise Failed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}\n{self.journal()}")
        return (done.stderr if stderr else done.stdout).rstrip("\n")

    def put(self, place, text):
        """Writes a file in there, wherever it is."""
        with open(f"/proc/{self.leader}/root{place}", "w", encoding="utf-8") as file:
            file.write(text)

    def install(self, *which):
        """Runs the documented commands in the checkout."""
        for block in documented(which):
            self.run("sh", "-euc", f"cd /checkout\n{block}")

    def fails(self, *command):
        """Runs a command that must fail; all that it says."""
        done = subprocess.run(
            ["nsenter", "--target", self.leader, "--all", *command], capture_output=True, timeout=120, check=False, encoding="utf-8",
            stdin=subprocess.DEVNULL,
        )
        if done.returncode == 0:
            raise Failed(f"{' '.join(command)} went well, and should have failed:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def show(self, name, unit="keyrota.service"):
        """A property of a unit."""
        return self.run("systemctl", "show", unit, "--property", name, "--value")

    def journal(self, *arguments):
        """The service's journal, or what of it these arguments choose."""
        return self.run("journalctl", "--boot", "--no-pager", "--quiet", *(arguments or ("--unit=keyrota.service", "--lines=60")), check=False)

    def version(self):
        """The version of systemd in there."""
        return int(self.run("systemctl", "--version").split()[1])

    def visitor(self, *arguments, wait=True):
        """visitor.py on the container's network; its process, or what it says."""
        command = ["nsenter", "--target", self.leader, "--net", "python3", os.path.join(HERE, "visitor.py"), *arguments]
        if not wait:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False, encoding="utf-8")
        if done.returncode != 0:
            raise Failed(f"visitor.py {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout
