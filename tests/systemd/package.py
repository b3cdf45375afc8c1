"""The Debian package under a real systemd, by the commands of docs/getting-started.md: installed, started, watched until an alert has fired
and is over, upgraded under load, given drop-ins, removed, installed again, purged.

package.py PACKAGE HIGHER [ROOT]    two packages, the second of a higher version; ROOT: a root directory to boot instead of this machine's
own, with prometheus, prometheus-alertmanager and curl in it. Needs root and systemd-nspawn.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time

from container import TOP, Container, Failed, documented, until
from receiver import Receiver
from run import equal, holds, say

PAGE = "docs/getting-started.md"
JWKS = "http://127.0.0.1:8480/demo/user-sessions/.well-known/jwks.json"
HEALTH = "http://127.0.0.1:8481/healthz"
UNITS = ["keyrota.service", "keyrota.socket", "keyrota-metrics.socket"]
RULES = "/usr/share/keyrota/prometheus/keyrota.rules.yaml"
ALERTS, HOOKS = 9100, 9101
# Debian's services as they run on a host before keyrota comes, but every second.
MONITORING = {
    "default/prometheus": 'ARGS="--web.listen-address=127.0.0.1:9090 --storage.tsdb.path=/var/lib/prometheus/series"\n',
    "default/prometheus-alertmanager":
        'ARGS="--web.listen-address=127.0.0.1:9093 --cluster.listen-address= --storage.path=/var/lib/prometheus/alertmanager"\n',
    "prometheus/prometheus.yml": """\
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
alerting: { alertmanagers: [{ static_configs: [{ targets: ["127.0.0.1:9093"] }] }] }
""",
    "prometheus/alertmanager.yml": f"""\
route: {{ receiver: pager, group_by: ["..."], group_wait: 0s, group_interval: 1s, repeat_interval: 1h }}
receivers: [{{ name: pager, webhook_configs: [{{ url: "http://127.0.0.1:{ALERTS}/", send_resolved: true }}] }}]
""",
}
# A keyset with a webhook and a target behind a program.
PUSHED = f"""\
version: 1
environment: pushed
store: {{ kind: embedded }}
keysets:
  edge:
    algorithm: ES256
    rotate_every: 30d
    token_ttl: 1h
    verifier_refresh: 15m
    signer_refresh: 5m
    publish:
      - exec: {{ argv: [/usr/local/bin/push-key-set], format: jwks }}
      - webhook: {{ url: "http://127.0.0.1:{HOOKS}/", secret: {{ credential: keyrota.webhook }}, allow_http: true }}
"""
# Nothing but what the shell can do itself: no other program may be started.
PUSH = """\
#!/bin/sh
IFS= read -r line
printf '%s\\n' "$line" > /var/lib/keyrota/pushed
"""


class Host(Container):
    """A machine with dpkg's book and apt's in it; what is installed outlives a boot."""

    KEPT = {**Container.KEPT, "dpkg": "/var/lib/dpkg", "packages": "/packages", "prometheus": "/var/lib/prometheus"}

    def __init__(self, folder, root):
        super().__init__(folder, root)
        self.write("usr/lib/sysusers.d/prometheus.conf", 'u prometheus - "as Debian\'s packages make it"\n')
        book = os.path.join(folder, "dpkg")
        shutil.rmtree(book)
        shutil.copytree(os.path.join(root, "var/lib/dpkg"), book, symlinks=True)
        # They name groups that only the packages' own scripts made.
        open(os.path.join(book, "statoverride"), "w", encoding="utf-8").close()
        # Not what this test is about, and slow.
        triggers = os.path.join(book, "triggers/File")
        with open(triggers, encoding="utf-8") as file:
            kept = [line for line in file if "man-db" not in line]
        with open(triggers, "w", encoding="utf-8") as file:
            file.writelines(kept)

    def offer(self, package):
        """The only package in the folder from which is installed."""
        folder = os.path.join(self.folder, "packages")
        for name in os.listdir(folder):
            os.remove(os.path.join(folder, name))
        shutil.copy(package, folder)

    def type(self, *which, page=PAGE):
        """Runs what the page says there, in the folder of the packages; all that it prints."""
        blocks = documented(which, page)
        equal(f"blocks {which} of {page}", len(blocks), len(which))
        return "\n".join(self.run("sh", "-euc", f"export DEBIAN_FRONTEND=noninteractive; cd /packages\n{block}") for block in blocks)

    def get(self, url=JWKS):
        """One GET as a verifier makes it."""
        return json.loads(self.visitor("get", url))

    def document(self, keyset="demo/user-sessions"):
        """What a signer reads."""
        asked = f"http://keyrota/v1/keysets/{keyset}"
        return json.loads(self.run("curl", "-sS", "--fail", "--unix-socket", "/run/keyrota/signer.sock", asked))

    def installed(self):
        """The version that dpkg has."""
        return self.run("dpkg-query", "--show", "--showformat=${Version}", "keyrota")


def installed(host):
    """Everything is in its place, and nothing runs."""
    said = host.type("install")
    holds(f"it says how to go on: {said}", "/usr/share/doc/keyrota/getting-started.md" in said)
    equal("states of the units", [host.show("ActiveState", unit) for unit in UNITS], ["inactive"] * 3)
    equal("enabled units", [host.run("systemctl", "is-enabled", unit, check=False) for unit in UNITS], ["disabled"] * 3)
    equal("what dpkg finds altered", host.run("dpkg", "--verify", "keyrota"), "")
    equal("the folder of policies", host.run("stat", "--format=%U %a", "/etc/keyrota/policies"), "root 755")
    equal("the group of operators", host.run("getent", "group", "keyrota").split(":")[0], "keyrota")
    files = host.run("dpkg", "--listfiles", "keyrota").splitlines()
    commands = re.findall(r"^  ([a-z-]+)  ", host.run("keyrota", "--help"), re.MULTILINE)
    commands.remove("help")
    holds(f"the help names commands: {commands}", len(commands) > 20)
    for page in ("keyrota", *(f"keyrota-{command}" for command in commands)):
        holds(f"{page} has a manual page", f"/usr/share/man/man1/{page}.1.gz" in files)
    complete = ". /usr/share/bash-completion/completions/keyrota; COMP_WORDS=(keyrota fre); COMP_CWORD=1; _keyrota keyrota fre keyrota; echo ${COMPREPLY[*]}"
    equal("what bash makes of `keyrota fre`", host.run("bash", "-c", complete), "freeze")
    with open(os.path.join(TOP, "Cargo.toml"), encoding="utf-8") as file:
        holds(f"a version: {host.installed()}", f'version = "{host.installed().split("-")[0]}"' in file.read())
    # A link of the page that a reader has there leads to what the package has.
    with open(os.path.join(TOP, PAGE), encoding="utf-8") as file:
        for link in re.findall(r"\]\(([^)#:]+)[^):]*\)", file.read()):
            holds(f"{link} is installed", f"/usr/share/doc/keyrota/{link}" in files)
    say(f"installed {host.installed()}: {len(files)} files, {len(commands)} commands with manual pages; nothing is started")


def started(host):
    """By the page, from the credential to a signer and a verifier."""
    host.type("credential", *([] if host.version() >= 254 else ["credential-252"]))
    host.type("start")
    equal("states of the units", [host.show("ActiveState", unit) for unit in UNITS], ["active"] * 3)
    shown = host.type("look")
    document = host.document()
    holds("the signer's key stands in the key set", document["kid"] in host.get()[1])
    holds("the page shows both", shown.count(document["kid"]) >= 2 and "PRIVATE KEY" in shown)
    equal("no key of ours on the disk", os.path.exists(os.path.join(host.state, "master.key")), False)
    before = document["kid"]
    until("a key changes over", 120, lambda: host.document()["kid"] != before)
    say(f"started: {host.show('StatusText')}")


def monitored(host):
    """Debian's Prometheus and Alertmanager watch it, by the page; only how long a state must last is shortened."""
    host.run("mkdir", "--parents", "/etc/default", "/etc/prometheus")
    with open(os.path.join(TOP, PAGE), encoding="utf-8") as file:
        added = re.search(r"^```yaml\n(rule_files:.*?)^```$", file.read(), re.MULTILINE | re.DOTALL).group(1)
    for place, text in MONITORING.items():
        host.put(f"/etc/{place}", text)
    host.run("chown", "prometheus:", "/var/lib/prometheus")
    host.run("systemctl", "start", "prometheus.service", "prometheus-alertmanager.service")
    host.put("/etc/prometheus/prometheus.yml", MONITORING["prometheus/prometheus.yml"] + added)
    host.type("monitor")
    rules = "http://127.0.0.1:9090/api/v1/rules?type=alert"
    loaded = until("the rules are loaded", 60, lambda: json.loads(host.run("curl", "-sS", rules, check=False) or '{"data":{}}')["data"].get("groups"))
    holds("they are the installed ones", all(group["file"] == RULES for group in loaded))
    host.run("sh", "-euc", f"sed -E 's/^( +for:) .*/\\1 1s/' {RULES} > /etc/prometheus/keyrota.rules.yaml")
    host.put("/etc/prometheus/prometheus.yml", MONITORING["prometheus/prometheus.yml"] + added.replace(RULES, "keyrota.rules.yaml"))
    host.run("systemctl", "reload", "prometheus.service")
    say(f"monitored: {sum(len(group['rules']) for group in loaded)} alerts are loaded from {RULES}")


def alerted(host):
    """Freezing raises the alert, and unfreezing ends it."""
    with Receiver(host, ALERTS) as pager:

        def told(status):
            """Whether the pager has it."""
            alerts = [alert for message in pager.messages() for alert in json.loads(message["body"])["alerts"]]
            wanted = {"alertname": "KeyrotaSigningKeyStale", "environment": "demo", "keyset": "user-sessions"}.items()
            return next((a["annotations"]["summary"] for a in alerts if a["status"] == status and wanted <= a["labels"].items()), None)

        host.type("freeze")
        summary = until("the alert fires", 180, lambda: told("firing"))
        equal("the end of what fires", told("resolved"), None)
        host.type("unfreeze")
        until("the alert is over", 120, lambda: told("resolved"))
    host.run("systemctl", "stop", "prometheus.service", "prometheus-alertmanager.service")
    say(f"fired and resolved: {summary}")


def upgraded(host, package):
    """To a higher version under load, with the same keysets and no request lost."""
    host.type("policy")
    until("the new keyset has a key", 60, lambda: host.document("production/user-sessions").get("kid"))
    old, before, pid = host.installed(), host.document("production/user-sessions"), host.show("MainPID")
    host.offer(package)
    siege = host.visitor("siege", JWKS, HEALTH, wait=False)
    try:
        time.sleep(1)
        host.type("upgrade")
        time.sleep(2)
    finally:
        counts, _ = siege.communicate(timeout=60)
    holds("a new version", host.installed() != old)
    holds("a new process", host.show("MainPID") not in ("0", pid))
    for url, count in json.loads(counts).items():
        equal(f"failed requests for {url}", count["failed"], [])
        holds(f"{url} was asked often enough: {count['asked']}", count["asked"] > 100)
    equal("the key that signs", host.document("production/user-sessions")["kid"], before["kid"])
    asked = sum(count["asked"] for count in json.loads(counts).values())
    say(f"upgraded from {old} to {host.installed()}: the same keys, 0 of {asked} requests failed")


def dropped_in(host):
    """A webhook's secret is a credential, and a target's program runs, by the drop-ins of docs/systemd.md."""
    secret = b"whsec_" + base64.b64encode(os.urandom(32))
    host.put("/run/keyrota.webhook", secret.decode())
    host.put("/usr/local/bin/push-key-set", PUSH)
    host.run("chmod", "755", "/usr/local/bin/push-key-set")
    host.type("webhook", *([] if host.version() >= 254 else ["webhook-252"]), "program", page="docs/systemd.md")
    with Receiver(host, HOOKS) as receiver:
        host.run("systemctl", "restart", "keyrota.service")
        host.put("/etc/keyrota/policies/pushed.yaml", PUSHED)
        host.run("systemctl", "reload", "keyrota.service")
        message = until("the webhook is told", 60, lambda: next(iter(receiver.messages()), None))
        headers = message["headers"]
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{message['body']}".encode()
        code = hmac.digest(base64.b64decode(secret.removeprefix(b"whsec_")), signed, hashlib.sha256)
        equal("the signature of the message", headers["webhook-signature"], f"v1,{base64.b64encode(code).decode()}")
        kid = until("the keyset has a key", 60, lambda: host.document("pushed/edge").get("kid"))
        pushed = os.path.join(host.state, "pushed")
        until("the program was handed the key set", 60, lambda: os.path.exists(pushed) and kid in host.run("cat", "/var/lib/keyrota/pushed"))
    say("drop-ins: a webhook is signed with a credential, a program is handed the key set, in the sandbox of the unit")


def removed(host):
    """Nothing runs any more, and nothing is lost: installed again it goes on."""
    host.type("demo-over")
    before = host.document("production/user-sessions")
    host.run("apt-get", "remove", "--yes", "keyrota")
    holds("the binary is gone", host.run("sh", "-c", "command -v keyrota", check=False) == "")
    equal("an answer", host.get(HEALTH)[0], 0)
    holds("the keys are there", os.path.exists(os.path.join(host.state, "keysets.db")))
    host.type("install")
    equal("enabled units, as before", [host.run("systemctl", "is-enabled", unit, check=False) for unit in UNITS], ["enabled"] * 3)
    host.run("systemctl", "start", "keyrota.service")
    equal("the key that signs", host.document("production/user-sessions")["kid"], before["kid"])
    say("removed and installed again: the same keys")


def purged(host):
    """It says where keys remain; what it says to type takes them away."""
    said = host.run("apt-get", "purge", "--yes", "keyrota")
    for place in ("/var/lib/keyrota", "/etc/credstore.encrypted/keyrota.master-key", "/etc/keyrota", "/etc/systemd/system/keyrota.service.d"):
        holds(f"{place} is named and there: {said}", f"  {place}: " in said and host.run("ls", "-d", place) == place)
    links = host.run("sh", "-c", "find /etc/systemd/system -name 'keyrota*' -type l")
    equal("links to units that are gone", links, "")
    kept = sorted(os.listdir(host.state))
    holds(f"the keys are there: {kept}", "keysets.db" in kept)
    hint = re.search(r"^hint: .*: (rm -r .*)$", said, re.MULTILINE)
    # Folders of the test are mounted there: emptied, they cannot be taken away.
    host.run("sh", "-c", f"{hint.group(1)} 2>/dev/null", check=False)
    equal("what is left then", (os.listdir(host.state), os.listdir(os.path.join(host.folder, "config"))), ([], []))
    say(f"purged: said where keys remain ({', '.join(kept)})")


def main():
    """Everything, one after the other."""
    package, higher, root = *(os.path.abspath(path) for path in sys.argv[1:3]), (sys.argv[3:] or ["/"])[0]
    folder = tempfile.mkdtemp(prefix="keyrota-package-")
    os.chmod(folder, 0o755)
    host = Host(folder, root)
    # Whoever ends this ends the container too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    try:
        host.offer(package)
        host.boot()
        # Machines that build images forbid packages to start anything; this one is to be like a host.
        host.run("rm", "--force", "/usr/sbin/policy-rc.d")
        say(f"systemd {host.version()} is up")
        installed(host)
        started(host)
        monitored(host)
        alerted(host)
        upgraded(host, higher)
        for step in (dropped_in, removed, purged):
            step(host)
    except BaseException:
        if host.leader and host.process.poll() is None:
            print(host.journal(), file=sys.stderr)
        raise
    finally:
        host.shut_down()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
