"""The real binary in folders of its own, and the ways to it: the listeners, the sockets, the command line."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time


# Keys that nothing happens to unless somebody asks for it.
CALM = """version: 1
environment: production
store: { kind: embedded }
keysets:
  user-sessions:
    algorithm: ES256
    token_ttl: 1h
    rotate_every: 30d
    verifier_refresh: 15m
    signer_refresh: 5m
"""


def in_seconds(environment, keysets, **waits):
    """A policy whose keys change over every twelve seconds, for a test that has little time; `keysets` is YAML, `waits` are other defaults."""
    defaults = {
        "rotate_every": "12s", "token_ttl": "6s", "verifier_refresh": "1s", "verifier_retry": "100ms", "signer_refresh": "1s",
        "clock_skew": "500ms", "cache_max_age": "100ms", "margin": "0s", "unsafe": {"reason": "A test that has little time."}, **waits,
    }
    return f"""version: 1
environment: {environment}
reconcile: "* * * * * *"
store: {{ kind: embedded }}
defaults: {json.dumps(defaults)}
keysets: {keysets}"""


def write_policy(folder):
    """A folder of policies with that one in it."""
    policies = os.path.join(folder, "policies")
    os.mkdir(policies, 0o755)
    with open(os.path.join(policies, "production.yaml"), "w", encoding="utf-8") as file:
        file.write(CALM)
    return policies


class UnixConnection(http.client.HTTPConnection):
    """HTTP on a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def ask(connection, path):
    """One GET: status, headers, body."""
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


class Daemon:
    """One keyrota, started and stopped by its process id."""

    def __init__(self, binary, arguments, environment, folder, metrics=None, listen=None):
        """Runs `binary run` with these arguments and sockets in `folder`, where its log goes too; on these ports, or free ones."""
        self.binary, self.environment, self.folder = binary, environment, folder
        self.log = os.path.join(folder, "log")
        self.listen, self.metrics = listen or free_port(), metrics or free_port()
        command = [
            binary, *arguments, "--listen", f"127.0.0.1:{self.listen}", "--metrics-listen", f"127.0.0.1:{self.metrics}",
        ]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until_ready(self, seconds):
        """Waits for /readyz and for every keyset to have a key."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise SystemExit(f"keyrota ended with {self.process.returncode}:\n{self.tail()}")
            try:
                keysets = self.status() if self.operators("/readyz")[0] == 200 else []
                if keysets and all(keyset.get("document", {}).get("kid") for keyset in keysets.values()):
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit(f"keyrota was not ready within {seconds} s:\n{self.tail()}")

    def url(self, keyset):
        """Where verifiers fetch a key set."""
        return f"http://127.0.0.1:{self.listen}/{self.environment}/{keyset}/.well-known/jwks.json"

    def verifiers(self, keyset):
        """The key set as any HTTP client sees it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.listen, timeout=10)
        return ask(connection, f"/{self.environment}/{keyset}/.well-known/jwks.json")

    def operators(self, path):
        """What the operators' listener says."""
        return ask(http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=10), path)

    def document(self, keyset):
        """What a signer reads."""
        connection = UnixConnection(os.path.join(self.folder, "signer.sock"))
        status, _, body = ask(connection, f"/v1/keysets/{self.environment}/{keyset}")
        if status != 200:
            raise SystemExit(f"the document of {keyset} was answered with {status}: {body!r}\n{self.tail()}")
        return json.loads(body)

    def command(self, *arguments, exits=(0,)):
        """A command of the same binary, as JSON."""
        done = subprocess.run(
            [self.binary, *arguments, "--runtime-dir", self.folder, "--output", "json"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False,
        )
        if done.returncode not in exits:
            raise SystemExit(f"keyrota {' '.join(arguments)} ended with {done.returncode}: {done.stderr.decode()}")
        return json.loads(done.stdout)

    def status(self):
        """`keyrota status`: its keysets by name."""
        (environment,) = self.command("status", exits=(0, 3))["environments"]
        return {keyset["name"]: keyset for keyset in environment["keysets"]}

    def plan(self):
        """`keyrota plan`: its keysets by name."""
        return {keyset["keyset"]: keyset for keyset in self.command("plan", "--horizon", "3m")["keysets"]}

    def stop(self):
        """SIGTERM, which is obeyed within seconds; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def tail(self):
        """The end of its log."""
        with open(self.log, encoding="utf-8") as log:
            return re.sub(r"\x1b\[[0-9;]*m", "", "".join(log.readlines()[-30:]))


def free_port():
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
