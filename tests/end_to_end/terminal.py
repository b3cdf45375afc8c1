"""The question before a verb, on a real terminal: what is typed decides, and anything but yes does nothing.

Usage: terminal.py BINARY
"""

import os
import pty
import select
import subprocess
import sys
import tempfile
import time

from daemon import Daemon, write_policy

KEYSET = "production/user-sessions"
QUESTION = b"Go on? [y/N] "
PATIENCE = 60.0


def on_terminal(command, typed):
    """Runs a command on a terminal of its own and types once it asks: exit status (a signal as a negative number), what was shown."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(command[0], command)
    shown, answered, end = b"", False, time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # how Linux says that nobody has the other end open any more
                break
            if not piece:
                break
            shown += piece
        if not answered and QUESTION in shown:
            os.write(terminal, typed)
            answered = True
    else:
        raise SystemExit(f"{command} did not end: {shown.decode()}")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.close(terminal)
    if not answered:
        raise SystemExit(f"{command} did not ask: {shown.decode()}")
    return status, shown.decode()


def generation(daemon):
    """Where the keyset stands."""
    return daemon.document(KEYSET.split("/")[1])["generation"]


def check(what, holds, shown):
    """One thing that must be so."""
    if not holds:
        raise SystemExit(f"{what}:\n{shown}")
    print(f"  {what}", flush=True)


def main():
    """Ends with an exit status other than 0 at the first thing that is wrong."""
    binary = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="keyrota-terminal-") as folder:
        folders = ["--policies", write_policy(folder), "--state-dir", os.path.join(folder, "state"), "--runtime-dir", folder]
        daemon = Daemon(binary, ["run", *folders], "production", folder)
        try:
            daemon.wait_until_ready(60)
            questions(binary, daemon, folder)
        finally:
            daemon.stop()


def questions(binary, daemon, folder):
    """Everything that can be typed, for a verb and for the change of the master key."""
    with open(os.path.join(folder, "state", "master.key"), encoding="ascii") as file:
        key = file.read()
    verbs = [["freeze", KEYSET, "--until", "1h", "--reason", "a test"], ["rekey"]]
    nos = {"n": b"n\n", "no": b"no\n", "Enter": b"\n", "nonsense": b"yup\n", "end of file": b"\x04", "Ctrl-C": b"\x03"}
    before = generation(daemon)
    for verb in verbs:
        command = [binary, *verb, "--runtime-dir", folder]
        for name, typed in nos.items():
            status, shown = on_terminal(command, typed)
            expected = -2 if name == "Ctrl-C" else 1
            check(f"{verb[0]}: {name} ends with {status}", status == expected, shown)
            check(f"{verb[0]}: {name} says so", name == "Ctrl-C" or "nothing was changed" in shown, shown)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        said = done.stdout + done.stderr
        check(f"{verb[0]}: without a terminal ends with {done.returncode}", done.returncode == 1 and "hint: --yes" in said, said)
    with open(os.path.join(folder, "state", "master.key"), encoding="ascii") as file:
        check("nothing was done", generation(daemon) == before and file.read() == key, daemon.tail())
    for verb, typed in [(verbs[0], b"y\n"), (["unfreeze", KEYSET], b"yes\n"), (verbs[1], b"Y\n")]:
        status, shown = on_terminal([binary, *verb, "--runtime-dir", folder], typed)
        check(f"{verb[0]}: {typed.decode().strip()} does it", status == 0 and "done" in shown, shown)
    with open(os.path.join(folder, "state", "master.key"), encoding="ascii") as file:
        check("it was done", generation(daemon) == before + 2 and file.read() != key, daemon.tail())


if __name__ == "__main__":
    main()
