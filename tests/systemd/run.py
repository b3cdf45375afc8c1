"""The units as they are shipped, under a real systemd: installed, started, reloaded, restarted, stuck, misconfigured, rebooted.

run.py BINARY [ROOT]    ROOT: a root directory to boot instead of this machine's own. Needs root and systemd-nspawn.
"""

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time

from container import TOP, Container, Failed, until

JWKS = "http://127.0.0.1:8480/fast/sessions/.well-known/jwks.json"
HEALTH = "http://127.0.0.1:8481/healthz"
CREDENTIAL = "keyrota.master-key"
# Seconds, to see rotations happen. The longest wait is the announcement of a key: 5 s store + 1 + 3 + 2 + 1 = 12 s.
POLICY = """\
version: 1
environment: fast
store: { kind: embedded }
defaults:
  rotate_every: 20s
  token_ttl: 3s
  verifier_refresh: 3s
  verifier_retry: 1s
  signer_refresh: 2s
  clock_skew: 1s
  cache_max_age: 1s
  margin: 1s
  unsafe: { reason: "A test: its verifiers refresh every three seconds." }
keysets:
  sessions:
    algorithm: ES256
    signers: [{ user: app }]
"""
MORE = POLICY + "  calls:\n    algorithm: EdDSA\n"
BAD = POLICY.replace("algorithm: ES256", "algorithm: ES257")
# As the unit says.
RESTART_SECONDS = 3
# The watchdog's patience as shipped would outlast the test.
QUICK = "[Service]\nWatchdogSec=15s\n"
# What a systemd says of a unit that is written for a newer one.
UNKNOWN_TO_252 = ("Failed to parse service type, ignoring: notify-reload", "Unknown key 'ImportCredential'")


def say(text):
    """One line of what was seen."""
    print(f"   {text}", flush=True)


class Machine:
    """The container with keyrota in it, and what the test knows of both."""

    def __init__(self, binary, folder, root):
        self.container = Container(folder, root)
        self.container.check_out(binary)
        self.modern = None

    def install(self):
        """Installs keyrota as docs/systemd.md says, and starts it."""
        container = self.container
        container.boot()
        version = container.version()
        self.modern = version >= 254
        container.write("units/keyrota.service.d/quick.conf", QUICK)
        container.install("install", *([] if self.modern else ["install-252"]))
        say(f"systemd {version} is up, and keyrota installed as its documentation says")

    def credential(self, *moves):
        """Moves credentials about where systemd looks for them."""
        for source, target in moves:
            folder = os.path.join(self.container.folder, "credentials")
            os.rename(os.path.join(folder, source), os.path.join(folder, target))

    def pid(self):
        """The daemon's process id in there, as systemd has it."""
        return self.container.show("MainPID")

    def get(self, url=JWKS):
        """One GET as a verifier makes it."""
        status, body = json.loads(self.container.visitor("get", url))
        return status, body

    def unix(self, socket, asked, uid, *gids):
        """One GET on a socket in the skin of a user."""
        path = f"/proc/{self.container.leader}/root/run/keyrota/{socket}"
        return json.loads(self.container.visitor("unix", path, asked, str(uid), *(str(gid) for gid in gids)))

    def document(self):
        """What the signer `app` reads."""
        status, body = self.unix("signer.sock", "/v1/keysets/fast/sessions", 4001, 4001)
        if status != 200:
            raise Failed(f"the signer was answered with {status}: {body}")
        return json.loads(body)

    def status_line(self):
        """The line of `systemctl status`."""
        return self.container.show("StatusText")


def equal(what, found, wanted):
    """Fails if the two differ."""
    if found != wanted:
        raise Failed(f"{what}: {found!r} instead of {wanted!r}")


def holds(what, found):
    """Fails if it is not so."""
    if not found:
        raise Failed(f"it does not hold: {what}")


def judged(machine):
    """systemd's own judgement of the units."""
    container = machine.container
    units = ["keyrota.service", "keyrota.socket", "keyrota-metrics.socket"]
    # It ends with 0 whatever it finds.
    said = container.run("systemd-analyze", "verify", "--man=no", *(f"/etc/systemd/system/{unit}" for unit in units), stderr=True)
    lines = [line for line in said.splitlines() if "keyrota" in line]
    if machine.modern:
        equal("what systemd-analyze verify says", lines, [])
    else:
        unknown = [line for line in lines if not any(known in line for known in UNKNOWN_TO_252)]
        equal("what systemd-analyze verify says besides what it is too old for", unknown, [])
        equal("the lines that it is too old for", len(lines), len(UNKNOWN_TO_252))
    say("systemd-analyze verify is silent" if machine.modern else "systemd-analyze verify tells of what it is too old for, and nothing else")
    with open(os.path.join(TOP, "docs/systemd.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| (.*`.*) \| .* \| (\d\.\d) \|$", file.read(), re.MULTILINE)
    equal("rows in the table of drop-ins", len(rows), 6)
    for row, exposure in rows:
        names = re.findall(r"`(.*?\.conf)`", row)
        equal(f"the exposure of {row}", judged_with(container, names), exposure)
    say(f"exposure: {', '.join(f'{exposure} {row}' for row, exposure in rows)}".replace("`", ""))


def judged_with(container, names):
    """What systemd-analyze makes of the unit with these drop-ins, as text."""
    tree = "/run/judged/etc/systemd/system"
    container.run("rm", "--recursive", "--force", "/run/judged")
    container.run("mkdir", "--parents", f"{tree}/keyrota.service.d")
    for name in names:
        container.run("cp", f"/checkout/systemd/{name}", f"{tree}/keyrota.service.d/")
    for unit in ("keyrota.service", "keyrota.socket", "keyrota-metrics.socket"):
        container.run("cp", f"/checkout/systemd/{unit}", tree)
    judgement = container.run("systemd-analyze", "security", "--root=/run/judged", "--offline=true", "--no-pager", "keyrota.service")
    return re.search(r"Overall exposure level for keyrota.service: (\S+)", judgement).group(1)


def started(machine):
    """READY came when signers can sign; the process is in the sandbox that the unit describes."""
    container = machine.container
    equal("the state after the start", container.show("ActiveState"), "active")
    holds("READY means that there is a key", machine.document()["kid"])
    holds(f"a line for people: {machine.status_line()}", machine.status_line().startswith("1 keyset of 1 environment, all is well; next: "))
    pid = machine.pid()
    status = dict(line.split(":\t", 1) for line in container.run("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line)
    holds("a user of its own", status["Uid"].split()[0] not in ("0", "4001"))
    equal("capabilities", status["CapEff"].strip("0"), "")
    equal("new privileges, system call filter", (status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
    limits = container.run("cat", f"/proc/{pid}/limits")
    core = next(line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core file size"))
    equal("the limit on core files", core, ["0", "0"])
    equal("who may look into its memory", container.run("stat", "--format=%U", f"/proc/{pid}/environ"), "root")
    networks = [container.run("readlink", f"/proc/{one}/ns/net") for one in (1, pid)]
    holds("a network namespace of its own", networks[0] != networks[1])
    equal("no key of ours on the disk", os.path.exists(os.path.join(container.state, "master.key")), False)
    say(f"started: {machine.status_line()}; memory locked: {status['VmLck'].strip()}")


def rotated(machine):
    """Keys change over by the clock, and verifiers saw the new one before."""
    before = machine.document()["kid"]

    def successor():
        status, body = machine.get()
        equal(f"the answer to a verifier: {body}", status, 200)
        kids = [key["kid"] for key in json.loads(body)["keys"]]
        document = machine.document()
        holds("verifiers have the key that signs", document["kid"] in kids)
        return document["kid"] != before and document["kid"]

    kid = until("a key changes over", 90, successor)
    holds("the key before is still accepted", before in machine.get()[1])
    equal("restarts meanwhile, with a watchdog of 15 s", machine.container.show("NRestarts"), "0")
    say(f"rotated: {before[:8]} gave way to {kid[:8]}")


def told_apart(machine):
    """Who is at the other end of both sockets."""
    asked = "/v1/keysets/fast/sessions"
    equal("the signer", machine.unix("signer.sock", asked, 4001, 4001)[0], 200)
    status, body = machine.unix("signer.sock", asked, 4002, 4002)
    equal("another user on the signer socket", status, 403)
    holds(f"it is called by its name: {body}", "other" in body)
    group = machine.container.run("getent", "group", "keyrota").split(":")[2]
    equal("a member of the group keyrota on the control socket", machine.unix("control.sock", "/v1/status", 4003, 4003, group)[0], 200)
    equal("another user on the control socket", machine.unix("control.sock", "/v1/status", 4002, 4002)[0], 0)
    machine.container.run("setpriv", "--reuid=4003", "--regid=4003", "--init-groups", "keyrota", "freeze", "fast", "--until", "1s", "--reason", "test", "--yes")
    trail = machine.container.run("keyrota", "audit", "tail", "--since", "1h", "--output", "json")
    actors = [line.get("actor") for line in map(json.loads, trail.splitlines()) if "freeze" in json.dumps(line)]
    holds(f"the trail has who froze: {actors}", any("operator" in (actor or "") for actor in actors))
    say("peer credentials: the signer, the operator and the stranger are told apart on both sockets")


def reloaded(machine):
    """A good policy is taken; a bad one fails loudly, and the daemon goes on."""
    container, pid = machine.container, machine.pid()
    container.policy(MORE)
    container.run("systemctl", "reload", "keyrota.service")
    other = JWKS.replace("sessions", "calls")
    until("the new keyset is served", 30, lambda: machine.get(other)[0] == 200)
    container.policy(BAD)
    container.fails("systemctl", "reload", "keyrota.service")
    said = container.journal("--unit=keyrota.service", "--output=cat")
    line = 1 + BAD.splitlines().index("    algorithm: ES257")
    holds("the journal says in which line", f"fast.yaml:{line}: keysets.sessions.algorithm: `ES257`" in said)
    equal("the daemon after it", (machine.pid(), container.show("ActiveState")), (pid, "active"))
    equal("the policy that was in force", machine.get(other)[0], 200)
    until("the line for people says it", 15, lambda: "the policy file of fast is refused" in machine.status_line())
    container.policy(MORE)
    container.run("systemctl", "reload", "keyrota.service")
    until("all is well again", 15, lambda: "all is well" in machine.status_line())
    equal("the daemon at the end", machine.pid(), pid)
    say("reloaded: a good policy is in force, a bad one was refused with its line while the daemon went on")


def restarted(machine):
    """No request is lost over restarts."""
    container = machine.container
    siege = container.visitor("siege", JWKS, HEALTH, wait=False)
    pids = {machine.pid()}
    try:
        # Slower than systemd's limit on starts, which is five within ten seconds.
        for _ in range(5):
            time.sleep(2.5)
            container.run("systemctl", "restart", "keyrota.service")
            pids.add(machine.pid())
        time.sleep(1)
    finally:
        counts, _ = siege.communicate(timeout=60)
    equal("processes", len(pids), 6)
    for url, count in json.loads(counts).items():
        equal(f"failed requests for {url}", count["failed"], [])
        holds(f"{url} was asked often enough: {count['asked']}", count["asked"] > 200)
        say(f"restarted 5 times: 0 of {count['asked']} requests failed, the slowest took {count['slowest']:.1f} s ({url})")


def stuck(machine):
    """A daemon that does nothing is killed, leaves no core file, and is started again."""
    container, pid = machine.container, machine.pid()
    restarts = int(container.show("NRestarts"))
    container.run("kill", "-STOP", pid)
    until("the watchdog has it started again", 90, lambda: machine.pid() not in (pid, "0"))
    until("it is ready", 60, lambda: container.show("ActiveState") == "active")
    equal("restarts", int(container.show("NRestarts")), restarts + 1)
    said = container.journal("--unit=keyrota.service", "--output=cat")
    holds("systemd says why", "Watchdog timeout" in said)
    holds("no core was dumped", "code=killed, status=6/ABRT" in said and "code=dumped" not in said)
    until("it serves", 30, lambda: machine.get()[0] == 200)
    say("stuck: killed by the watchdog, started again")


def misconfigured(machine):
    """A wrong master key is no reason to try again and again."""
    container = machine.container
    container.run("systemctl", "stop", "keyrota.service", "keyrota.socket", "keyrota-metrics.socket")
    kept = sorted(os.listdir(container.state))
    machine.credential((CREDENTIAL, "right"))
    container.run("sh", "-c", f"openssl rand -hex 32 | systemd-creds encrypt --name={CREDENTIAL} - /etc/credstore.encrypted/{CREDENTIAL}")
    container.fails("systemctl", "start", "keyrota.service")
    equal("its exit status", container.show("ExecMainStatus"), "78")
    time.sleep(2 * RESTART_SECONDS)
    equal("restarts, twice the time after which there would be one", container.show("NRestarts"), "0")
    equal("its state", container.show("ActiveState"), "failed")
    equal("what is in the state directory", sorted(os.listdir(container.state)), kept)
    holds("the journal says what to do", "hint: give keyrota the key that was in use" in container.journal())
    status, _ = machine.get()
    equal("an answer to who asks all the same", status, 0)
    until("systemd closes the socket", 60, lambda: container.show("ActiveState", "keyrota.socket") == "failed")
    machine.credential((CREDENTIAL, "wrong"), ("right", CREDENTIAL))
    container.run("systemctl", "reset-failed", "keyrota*")
    container.run("systemctl", "start", "keyrota.service")
    holds("with the right key it goes on", machine.document()["kid"] and machine.get()[0] == 200)
    say("misconfigured: ended with 78, not started again until the key was put right")


def rebooted(machine):
    """A machine that went down and came up starts keyrota by itself, with the same keysets."""
    container = machine.container
    before = machine.document()
    container.shut_down()
    container.boot()
    until("it is ready", 60, lambda: container.show("ActiveState") == "active")
    after = machine.document()
    holds("the generations go on", after["generation"] >= before["generation"])
    holds("the key of before is known", before["kid"] in json.dumps(after))
    verified = container.run("keyrota", "audit", "verify")
    say(f"rebooted: the same keysets; {verified.splitlines()[0]}")


def logged(machine):
    """The journal has the fields of events, by their own names."""
    text = machine.container.journal("--output=json", "KEYROTA_KIND=key-moved", "KEYROTA_KEYSET=sessions")
    entries = [json.loads(line) for line in text.splitlines()]
    into = {entry["KEYROTA_TO"] for entry in entries}
    holds(f"keys were seen to enter these states: {into}", into >= {"staged", "published", "active", "retiring"})
    for entry in entries:
        holds("a kid and a generation", entry["KEYROTA_KID"] and int(entry["KEYROTA_GENERATION"]) > 0)
        equal("prefixed fields", [name for name in entry if name.startswith("F_")], [])
        holds(f"a MESSAGE_ID of 128 bits: {entry.get('MESSAGE_ID')}", len(entry.get("MESSAGE_ID", "")) == 32)
        equal("the environment", entry["KEYROTA_ENVIRONMENT"], "fast")
    found = machine.container.journal("--output=cat", f"MESSAGE_ID={entries[0]['MESSAGE_ID']}")
    holds("an entry is found by its MESSAGE_ID", found)
    explained = machine.container.journal("--catalog", f"MESSAGE_ID={entries[0]['MESSAGE_ID']}")
    holds("the catalogue says what it means", "Defined-By: keyrota" in explained)
    say(f"journal: {len(entries)} entries with their fields")


def main():
    """Everything, one after the other."""
    binary, root = os.path.abspath(sys.argv[1]), (sys.argv[2:] or ["/"])[0]
    folder = tempfile.mkdtemp(prefix="keyrota-systemd-")
    os.chmod(folder, 0o755)
    machine = Machine(binary, folder, root)
    # Whoever ends this ends the container too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    machine.container.policy(POLICY)
    try:
        machine.install()
        for step in (judged, started, told_apart, reloaded, rotated, restarted, stuck, logged, rebooted, misconfigured):
            step(machine)
    except BaseException:
        if machine.container.leader and machine.container.process.poll() is None:
            print(machine.container.journal(), file=sys.stderr)
        raise
    finally:
        machine.container.shut_down()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
