"""A receiver of webhooks that keyrota's makers did not write: the Standard Webhooks library judges every message.

It answers 500 to the first two attempts, so the first message must come a third time, under the same name and signed anew.

Usage: webhook.py BINARY     (from any folder; needs standardwebhooks)
"""

import base64
import http.server
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from daemon import Daemon

FAILURES = 2
DEADLINE = 90.0
POLICY = """version: 1
environment: fast
reconcile: "* * * * * *"
store: {{ kind: embedded }}
keysets:
  sessions:
    algorithm: ES256
    rotate_every: 30d
    token_ttl: 1h
    verifier_refresh: 15m
    signer_refresh: 5m
    publish:
      - webhook: {{ url: "http://127.0.0.1:{port}/hook", secret: {{ file: {secret} }}, events: [key-moved] }}
"""


class Receiver(http.server.ThreadingHTTPServer):
    """Takes messages on loopback."""

    def __init__(self, secret):
        super().__init__(("127.0.0.1", 0), Handler)
        self.judge, self.attempts, self.problems, self.lock = Webhook(secret), [], [], threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    """One attempt."""

    def do_POST(self):
        """Judges it, then takes it or not."""
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            for altered, good in ((body, True), (body.replace(b"staged", b"active") + b" ", False)):
                try:
                    self.server.judge.verify(altered, headers)
                    verified = True
                except WebhookVerificationError:
                    verified = False
                if verified != good:
                    self.server.problems.append(f"verified: {verified}, and it should be {good}: {altered!r}")
            self.server.attempts.append((headers["webhook-id"], json.loads(body)))
            status = 500 if len(self.server.attempts) <= FAILURES else 204
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Says nothing."""


def judge(daemon, receiver, secret):
    """Waits for what must come, and says what is wrong with it."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        with receiver.lock:
            taken = receiver.attempts[FAILURES:]
        if any(event["to"] == "active" for _, event in taken):
            break
        time.sleep(0.1)
    attempts, problems = receiver.attempts, receiver.problems
    if len(attempts) < FAILURES + 1 or len({attempt[0] for attempt in attempts[: FAILURES + 1]}) != 1:
        problems.append(f"the first message did not come {FAILURES + 1} times: {attempts}")
    taken = attempts[FAILURES:]
    if [event["to"] for _, event in taken[:3]] != ["staged", "published", "active"]:
        problems.append(f"the first key's life was not told in order: {taken}")
    if any(event["kind"] != "key-moved" or event["keyset"] != "sessions" for _, event in attempts):
        problems.append(f"something was told that was not asked for: {attempts}")
    if len({name for name, _ in taken}) != len(taken):
        problems.append(f"two messages have one name: {taken}")
    told = json.dumps(attempts) + daemon.tail()
    private = daemon.document("sessions")["private_key"].splitlines()[1]
    if private in told or secret in told:
        problems.append("a secret is in a message or in the log")
    text = daemon.operators("/metrics")[2].decode()
    series = {line.split("result=")[1] for line in text.splitlines() if line.startswith("keyrota_publish_total{") and "webhook " in line}
    if f'"failed"}} {FAILURES}' not in series or f'"written"}} {len(taken)}' not in series:
        problems.append(f"keyrota_publish_total says {series}")
    return problems


def main():
    """Exit status 0 only if nothing went wrong."""
    binary = os.path.abspath(sys.argv[1])
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    with tempfile.TemporaryDirectory(prefix="keyrota-webhook-") as folder:
        receiver = Receiver(secret)
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        paths = {name: os.path.join(folder, name) for name in ("policies", "secret")}
        os.mkdir(paths["policies"])
        with open(os.open(paths["secret"], os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as file:
            file.write(secret + "\n")
        with open(os.path.join(paths["policies"], "fast.yaml"), "w", encoding="utf-8") as file:
            file.write(POLICY.format(port=receiver.server_port, secret=paths["secret"]))
        subprocess.run([binary, "check", "--policies", paths["policies"]], stdin=subprocess.DEVNULL, check=True, timeout=30)
        folders = ["--policies", paths["policies"], "--state-dir", folder, "--runtime-dir", folder]
        daemon = Daemon(binary, ["run", "--environment", "fast", *folders], "fast", folder)
        try:
            daemon.wait_until_ready(60)
            problems = judge(daemon, receiver, secret)
            status = daemon.stop()
            if status != 0:
                problems.append(f"SIGTERM ended keyrota with {status}")
        finally:
            daemon.stop()
            receiver.shutdown()
        if problems:
            print(f"the daemon's log ends:\n{daemon.tail()}")
            print("\n".join(problems))
            return 1
    print(f"  {len(receiver.attempts)} attempts, all signed as the convention says; {FAILURES} were refused and came again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
