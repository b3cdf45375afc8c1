"""Somebody in the container's network who takes what webhooks post."""

import json
import threading

from container import until


class Receiver:
    """Listens on a port of loopback in there, from `with` to its end."""

    def __init__(self, container, port):
        self.process = container.visitor("receive", str(port), wait=False)
        self.received, self.lock = [], threading.Lock()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        """Keeps every line that it prints."""
        for line in self.process.stdout:
            with self.lock:
                self.received.append(json.loads(line))

    def messages(self):
        """What came until now, without its first word, which is that it listens."""
        with self.lock:
            return self.received[1:]

    def __enter__(self):
        until("the receiver listens", 30, lambda: self.received)
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
