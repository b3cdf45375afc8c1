"""The shipped alerts and the shipped dashboard on a real Prometheus and a real Alertmanager, which scrape a real daemon.

What happens to the daemon: a keyset is frozen until its key is stale; one has no key, and is then given one that expires soon; a revoked
key stands in a file that cannot be written; somebody alters a file; the policy breaks; a second daemon has another policy, another store
and a wrong clock, and is cut off; a document is damaged; the daemons end. Each alert that this must raise comes to a webhook, and that it is over where
it is mended; of a keyset that rotates all the while nobody is told. Every expression of rules and dashboard is asked of the same Prometheus.

Usage: alerts.py BINARY     (needs promtool, prometheus, prometheus-alertmanager, faketime and moto)
"""

import glob
import json
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time

from another import Another
from daemon import Daemon, UnixConnection, free_port, in_seconds
from monitoring import PATIENCE, Alertmanager, Edge, Prometheus, Webhook
from promql import as_a_question, selectors

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RULES = os.path.join(ROOT, "systemd", "prometheus", "keyrota.rules.yaml")
DASHBOARD = os.path.join(ROOT, "systemd", "prometheus", "dashboard.json")
# Waits take seven seconds; `sessions` may grow 20 s old and `leaked` rotates once in a month.
POLICY = in_seconds("watched", """
  sessions: { algorithm: ES256 }
  rolling: { algorithm: ES256, token_ttl: 20s }
  altered:
    algorithm: ES256
    rotate_every: 30d
    signer_refresh: 20m
    publish:
      - file: { path: "{state_dir}/altered.json", format: jwks }
    probe:
      - { jwks_url: "http://127.0.0.1:EDGE/keys.json", every: 1s, timeout: 1s }
  leaked:
    algorithm: ES256
    rotate_every: 30d
    verifier_refresh: 20m
    publish:
      - file: { path: "{state_dir}/leaked.json", format: jwks }
  vendor: { algorithm: HS256, source: external, rotate_every: 30d }
""", token_ttl="3s", verifier_refresh="500ms", signer_refresh="500ms")


def promtool(*arguments, **options):
    """What promtool finds wrong ends the test."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, timeout=300, check=False, **options)
    said = (done.stdout + done.stderr).decode()
    if done.returncode != 0:
        raise SystemExit(f"promtool {' '.join(arguments)} ends with {done.returncode}:\n{said}")
    return said


def check_rules():
    """The rules can be loaded and their cases hold; and none holds any more with an alert that never or always fires."""
    promtool("check", "rules", RULES)
    cases = {os.path.basename(path): read(path) for path in glob.glob(os.path.join(ROOT, "tests", "alerts", "*.yaml"))}
    rules = read(RULES)
    alerts = sorted(set(re.findall(r"- alert: (\w+)", rules)))
    if not cases_hold(rules, cases):
        raise SystemExit("the cases do not hold; hint: promtool test rules tests/alerts/*.yaml")
    for alert in alerts:
        own = {name: text for name, text in cases.items() if re.search(rf"\b{alert}\b", text)}
        for what, instead in (("never", "vector(0) > 1"), ("always", "vector(1)")):
            # From the name to what follows the expression.
            wrong = re.sub(rf"(- alert: {alert}\n)(?:.*\n)*?( +(?:for|labels):)", rf"\1        expr: {instead}\n\2", rules)
            if wrong == rules or cases_hold(wrong, own):
                raise SystemExit(f"the cases hold although {alert} {what} fires")
    print(f"  the cases of {len(alerts)} alerts hold, and not if one of them never or always fires", flush=True)
    return alerts


def cases_hold(rules, cases):
    """Whether promtool agrees with these cases of these rules."""
    with tempfile.TemporaryDirectory(prefix="keyrota-alerts-") as folder:
        for name, text in {**cases, "rules": rules}.items():
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text.replace("../../systemd/prometheus/keyrota.rules.yaml", "rules"))
        done = subprocess.run(["promtool", "test", "rules", *cases], cwd=folder, capture_output=True, timeout=300, check=False)
        if b"error parsing" in done.stderr or b"unmarshal" in done.stderr:
            raise SystemExit(f"the rules cannot be read: {done.stderr.decode()}")
        return done.returncode == 0


def read(path):
    """A text."""
    with open(path, encoding="utf-8") as file:
        return file.read()


class World:
    """The daemon and what is around it."""

    def __init__(self, binary, folder):
        self.folder, self.state = folder, os.path.join(folder, "state")
        self.policies = os.path.join(folder, "policies")
        for name in ("state", "policies", "run", "watch"):
            os.mkdir(os.path.join(folder, name), 0o755)
        self.edge = Edge(lambda: self.daemon.verifiers("altered"))
        self.write_policy(POLICY)
        arguments = ["run", "--policies", self.policies, "--state-dir", self.state, "--runtime-dir", os.path.join(folder, "run")]
        self.daemon = Daemon(binary, arguments, "watched", os.path.join(folder, "run"))
        self.instance, self.running = f"127.0.0.1:{self.daemon.metrics}", [self.edge]
        try:
            self.other = Another(binary, os.path.join(folder, "other"), "watched", free_port())
            self.running.append(self.other)
            self.webhook = Webhook()
            self.running.append(self.webhook)
            watch = os.path.join(folder, "watch")
            alertmanager = Alertmanager(watch, self.webhook.port)
            self.running.append(alertmanager)
            targets = [self.instance, self.other.instance]
            self.prometheus = Prometheus(watch, RULES, targets, alertmanager.port)
            self.running.append(self.prometheus)
            self.wait("four keysets have keys", lambda: sum("kid" in k.get("document", {}) for k in self.keysets()) == 4)
        except BaseException:
            self.stop()
            raise

    def keysets(self):
        """`keyrota status`."""
        try:
            return self.daemon.status().values()
        except SystemExit:
            return []

    def write_policy(self, text):
        """The policy file, whatever is in it."""
        with open(os.path.join(self.policies, "watched.yaml"), "w", encoding="utf-8") as file:
            file.write(text.replace("EDGE", str(self.edge.port)))

    def keyrota(self, *arguments, exits=(0,), **options):
        """A command as an operator types it."""
        command = [self.daemon.binary, *arguments, "--runtime-dir", self.daemon.folder]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, **options)
        if done.returncode not in exits:
            raise SystemExit(f"keyrota {' '.join(arguments)} ended with {done.returncode}: {(done.stdout + done.stderr).decode()}")

    def path(self, name):
        """A target."""
        return os.path.join(self.state, name)

    def wait(self, what, holds, seconds=PATIENCE):
        """Until it is so."""
        end = time.monotonic() + seconds
        while not holds():
            if self.daemon.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"not within {seconds:.0f} s: {what}\n{self.daemon.tail()}")
            time.sleep(0.1)

    def fires(self, alert, **labels):
        """The webhook is told of it, in whole sentences; of the first daemon's keysets unless another is named."""
        notes = self.webhook.wait_for("firing", alert, **self.own(labels))["annotations"]
        for name in ("summary", "description"):
            # What a template cannot do stands in the text.
            if re.search(r"<no value>|<error|%!|{{|NaN", notes[name]) or not notes[name]:
                raise SystemExit(f"{alert}: {name} is {notes[name]!r}")
        print(f"  fires: {notes['summary']}. {notes['description']}", flush=True)

    def is_over(self, alert, **labels):
        """The webhook is told of that, within a minute of the cure."""
        self.webhook.wait_for("resolved", alert, **self.own(labels))
        print(f"  over:  {alert} {' '.join(labels.values())}", flush=True)

    def own(self, labels):
        """Alerts that compare replicas are about none of them."""
        return labels if "about" in labels else {"instance": self.instance, **labels}

    def stop(self):
        """Ends everything that was started."""
        self.daemon.stop()
        for server in reversed(self.running):
            server.stop()


def break_things(world):
    """What must be told of, all at once. Answers the kid that is revoked."""
    world.fires("KeyrotaNoActiveKey", keyset="vendor")
    world.fires("KeyrotaRotationOverdue", keyset="vendor")
    world.keyrota("freeze", "watched/sessions", "--until", "1h", "--reason", "a test", "--yes")
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    arguments = ("import", "watched/vendor", "--kid", "SK-1", "--as", "active", "--expires", soon, "--yes")
    world.keyrota(*arguments, input=b"an-external-secret-of-a-vendor-0123456789")
    with open(world.path("altered.json"), "w", encoding="utf-8") as file:
        file.write("{}")
    os.remove(world.path("leaked.json"))
    os.mkdir(world.path("leaked.json"))
    # Counts for as long as a signer may go on without asking.
    connection = UnixConnection(os.path.join(world.daemon.folder, "signer.sock"))
    connection.request("PUT", "/v1/keysets/watched/altered/signers/web-1", json.dumps({"generation": 1}))
    if connection.getresponse().status != 204:
        raise SystemExit("the report of a signer was not taken")
    connection.close()
    kid = next(k["document"]["kid"] for k in world.keysets() if k["name"] == "leaked")
    world.keyrota("revoke", "watched/leaked", kid, "--reason", "a test", "--yes")
    world.fires("KeyrotaExternalKeyExpiring", keyset="vendor", severity="warning")
    world.fires("KeyrotaExternalKeyExpiring", keyset="vendor", severity="critical")
    world.fires("KeyrotaPublishDrift", keyset="altered")
    world.fires("KeyrotaPublishFailing", keyset="leaked")
    world.fires("KeyrotaRevocationUnconfirmed", keyset="leaked", kid=kid)
    world.fires("KeyrotaSigningKeyStale", keyset="sessions")
    world.fires("KeyrotaRotationOverdue", keyset="sessions")
    rotated = world.prometheus.value('changes(keyrota_last_rotation_timestamp_seconds{keyset="rolling"}[5m])')
    told = world.webhook.fired(keyset="rolling")
    if told or len(rotated) != 1 or float(rotated[0]["value"][1]) < 1:
        raise SystemExit(f"`rolling` was to rotate and nobody to be told: {rotated}, {told}")
    return kid


def mend_things(world, kid):
    """Over within a minute, each."""
    world.keyrota("unfreeze", "watched/sessions", "--yes")
    os.rmdir(world.path("leaked.json"))
    world.is_over("KeyrotaSigningKeyStale", keyset="sessions")
    world.is_over("KeyrotaRotationOverdue", keyset="sessions")
    world.is_over("KeyrotaNoActiveKey", keyset="vendor")
    world.is_over("KeyrotaPublishFailing", keyset="leaked")
    world.is_over("KeyrotaRevocationUnconfirmed", keyset="leaked", kid=kid)
    world.write_policy(POLICY.replace('"rotate_every": "12s"', '"rotate_every": "1s"'))
    world.keyrota("reload", "--wait", exits=(1,))
    world.fires("KeyrotaPolicyReloadFailed")
    world.write_policy(POLICY)
    world.keyrota("reload", "--wait")
    world.is_over("KeyrotaPolicyReloadFailed")


def lose_another(world):
    """The second daemon differs in everything, is cut off from its store, and is gone."""
    other = world.other
    world.fires("KeyrotaReplicasDisagree", about="policy")
    # `vendor` has a key here and none there.
    world.fires("KeyrotaReplicasDisagree", about="generation", keyset="vendor")
    world.fires("KeyrotaClockSkew", instance=other.instance)
    other.cut_off(True)
    world.fires("KeyrotaStoreUnreachable", instance=other.instance)
    world.is_over("KeyrotaReplicasDisagree", about="generation", keyset="vendor")
    other.cut_off(False)
    world.is_over("KeyrotaStoreUnreachable", instance=other.instance)
    other.daemon.stop()
    world.fires("KeyrotaAbsent", instance=other.instance)
    world.is_over("KeyrotaReplicasDisagree", about="policy")


def damage(world):
    """Somebody writes to the store."""
    with sqlite3.connect(os.path.join(world.state, "keysets.db"), timeout=30) as store:
        store.execute("UPDATE store SET last_change = last_change + 1")
        change = "change = (SELECT last_change FROM store), sealed = zeroblob(length(sealed)), write_id = randomblob(16)"
        store.execute(f"UPDATE keyset SET {change} WHERE keyset = 'altered'")
    store.close()
    world.fires("KeyrotaDocumentUnreadable")


class Asked:
    """Expressions held against a live Prometheus."""

    def __init__(self, world):
        self.prometheus = world.prometheus
        self.problems, self.count = [], 0

    def ask(self, of, expression, patience=20.0):
        """It must be answered with something before long, and each of its selectors must have been of late: keys come and go."""
        self.count += 1
        for asked in (expression, *(f"present_over_time({selector}[5m])" for selector in selectors(expression))):
            end = time.monotonic() + patience
            while not self.prometheus.value(asked):
                if time.monotonic() >= end:
                    self.problems.append(f"{of}: {asked} returns nothing")
                    break
                time.sleep(0.5)

    def rules(self):
        """Every alert."""
        for name, expression, health, error in self.prometheus.alert_rules():
            if health != "ok":
                self.problems.append(f"{name} cannot be evaluated: {error}")
            self.ask(name, as_a_question(expression))

    def dashboard(self):
        """Every panel and every variable, as Grafana asks them with everything selected."""
        dashboard = json.loads(read(DASHBOARD))
        variables = {v["name"]: v for v in dashboard["templating"]["list"]}
        if dashboard["uid"] != "keyrota" or list(variables) != ["datasource", "environment", "keyset"]:
            self.problems.append(f"the dashboard {dashboard['uid']} has the variables {list(variables)}")
        for name in ("environment", "keyset"):
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variables[name]["query"]["query"]).groups()
            if not any(label in sample["metric"] for sample in self.prometheus.value(filled_in(metric))):
                self.problems.append(f"the variable {name} has no values")
        asked = [(p["title"], t["expr"]) for p in dashboard["panels"] for t in p.get("targets", [])]
        for title, expression in asked:
            self.ask(f"panel {title!r}", filled_in(expression))


def filled_in(expression):
    """The variables of Grafana."""
    filled = expression.replace("$__rate_interval", "1m").replace("$environment", ".*").replace("$keyset", ".*")
    if "$" in filled:
        raise SystemExit(f"a variable that nobody fills in: {filled}")
    return filled


def ask_everything(world):
    """Rules and dashboard, and that this would notice what is misspelt."""
    asked = Asked(world)
    asked.ask("misspelt", as_a_question('keyrota_keys{state="activ"} == 0'), patience=0)
    wrong = "keyrota_clock_unix_seconds - keyrota_reconcile_last_success_timestamp_seconds > 300"
    asked.ask("joined wrongly", as_a_question(wrong), patience=0)
    if len(asked.problems) != 3:
        raise SystemExit(f"expressions that return nothing are not noticed: {asked.problems}")
    asked.problems.clear()
    asked.count = 0
    asked.rules()
    of_rules = asked.count
    asked.dashboard()
    if asked.problems:
        raise SystemExit("\n".join(asked.problems))
    print(f"  {of_rules} expressions of alerts and {asked.count - of_rules} of the dashboard return something", flush=True)


def main():
    """Ends with an exit status other than 0 at the first thing that is not as it must be."""
    binary = os.path.abspath(sys.argv[1])
    alerts = check_rules()
    with tempfile.TemporaryDirectory(prefix="keyrota-alerts-") as folder:
        world = World(binary, folder)
        try:
            kid = break_things(world)
            promtool("check", "metrics", input=world.daemon.operators("/metrics")[2])
            ask_everything(world)
            mend_things(world, kid)
            lose_another(world)
            damage(world)
            if world.daemon.stop() != 0:
                raise SystemExit(f"SIGTERM ended keyrota with {world.daemon.process.returncode}")
            world.fires("KeyrotaAbsent")
            fired = world.webhook.fired()
        finally:
            world.stop()
    print(f"  seen to fire here: {', '.join(sorted(fired))}; held by cases alone: {', '.join(sorted(set(alerts) - fired))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
