"""Prometheus and Alertmanager of Debian on loopback, in folders of their own, and a webhook that alerts are sent to."""

import http.server
import json
import os
import re
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from daemon import free_port

PATIENCE = 60.0
# How long a state must last before it is told of: in the copy for this test a moment, in the shipped file minutes.
FOR = re.compile(r"^( +for:) \S+$", flags=re.MULTILINE)
PROMETHEUS = """global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}
rule_files: [rules.yaml]
alerting:
  alertmanagers:
    - static_configs: [{{ targets: ["127.0.0.1:{alertmanager}"] }}]
scrape_configs:
  - job_name: keyrota
    static_configs: [{{ targets: {targets} }}]
"""
ALERTMANAGER = """route:
  receiver: test
  group_by: ["..."]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: test
    webhook_configs: [{{ url: "http://127.0.0.1:{webhook}/", send_resolved: true }}]
"""


class Server:
    """A program that listens, ended by its process id."""

    def __init__(self, name, command, port, folder, ready):
        self.name, self.url = name, f"http://127.0.0.1:{port}"
        self.log = os.path.join(folder, f"{name}.log")
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while not self.answers(ready):
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise SystemExit(f"{name} does not answer:\n{self.said()}")
            time.sleep(0.1)

    def answers(self, path):
        """Whether it is there."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as response:
                return response.status == 200
        except OSError:
            return False

    def said(self):
        """Its log."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def stop(self):
        """SIGTERM, and after a while SIGKILL."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Prometheus(Server):
    """Scrapes keyrotas every second and evaluates the shipped rules, of which only `for:` is replaced."""

    def __init__(self, folder, shipped, targets, alertmanager):
        with open(shipped, encoding="utf-8") as file:
            text = file.read()
        with open(os.path.join(folder, "rules.yaml"), "w", encoding="utf-8") as file:
            file.write(FOR.sub(r"\1 1s", text))
        config = os.path.join(folder, "prometheus.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(PROMETHEUS.format(alertmanager=alertmanager, targets=json.dumps(targets)))
        port = free_port()
        command = [
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={os.path.join(folder, 'series')}", "--log.level=warn",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        super().__init__("prometheus", command, port, folder, "/-/ready")

    def get(self, path, **parameters):
        """What its API answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{path} {parameters}: {json.load(error)['error']}") from error

    def value(self, expression):
        """The samples of an expression at this moment."""
        data = self.get("query", query=expression)
        return data["result"] if data["resultType"] != "scalar" else [data["result"]]

    def alert_rules(self):
        """The alerts as they were loaded: name and expression."""
        groups = self.get("rules", type="alert")["groups"]
        return [(rule["name"], rule["query"], rule["health"], rule.get("lastError")) for group in groups for rule in group["rules"]]


class Alertmanager(Server):
    """Sends every alert on its own to the webhook, and that it is over."""

    def __init__(self, folder, webhook):
        config = os.path.join(folder, "alertmanager.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(ALERTMANAGER.format(webhook=webhook))
        self.port = free_port()
        command = [
            "prometheus-alertmanager", f"--config.file={config}", f"--storage.path={os.path.join(folder, 'alerts')}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address=", "--log.level=warn",
        ]
        super().__init__("alertmanager", command, self.port, folder, "/-/ready")


class Edge:
    """A server of somebody else's that hands a key set on: whatever `fetch` answers at that moment."""

    def __init__(self, fetch):
        class Handler(http.server.BaseHTTPRequestHandler):
            """Answers every path alike."""

            def do_GET(self):  # noqa: N802: the name is the library's
                """One look."""
                status, _, body = fetch()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format, *arguments):  # noqa: A002: the name is the library's
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        """It answers no more."""
        self.server.shutdown()
        self.server.server_close()


class Webhook:
    """Keeps what it is sent."""

    def __init__(self):
        self.received, self.came = [], threading.Condition()
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            """Takes what Alertmanager posts."""

            def do_POST(self):  # noqa: N802: the name is the library's
                """One message."""
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()
                with webhook.came:
                    webhook.received.extend(message["alerts"])
                    webhook.came.notify_all()

            def log_message(self, format, *arguments):  # noqa: A002: the name is the library's
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for(self, status, alert, seconds=PATIENCE, **labels):
        """The message that this alert fires, or that it is resolved."""
        end = time.monotonic() + seconds
        wanted = {"alertname": alert, **labels}.items()
        with self.came:
            while True:
                for message in self.received:
                    if message["status"] == status and wanted <= message["labels"].items():
                        return message
                left = end - time.monotonic()
                if left <= 0:
                    told = sorted({(m["status"], m["labels"]["alertname"], m["labels"].get("keyset")) for m in self.received}, key=str)
                    raise SystemExit(f"{alert} {labels} was not {status} within {seconds:.0f} s; what came: {told}")
                self.came.wait(left)

    def fired(self, **labels):
        """The names of all alerts that fired with these labels."""
        with self.came:
            fired = [message["labels"] for message in self.received if message["status"] == "firing"]
        return {found["alertname"] for found in fired if labels.items() <= found.items()}

    def stop(self):
        """Ends it."""
        self.server.shutdown()
        self.server.server_close()
