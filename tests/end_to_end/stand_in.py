"""A stand-in of a vendor's API: it answers in JSON, one request after the other, and counts what the vendor would refuse."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn(ThreadingHTTPServer):
    """Listens on a port of its own until the process ends."""

    daemon_threads = True

    def __init__(self, asked):
        super().__init__(("127.0.0.1", 0), asked)
        self.unlawful, self.lock = [], threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Asked(BaseHTTPRequestHandler):
    """One request. `judge` does what it asks for; `fault` is how the vendor words a refusal."""

    def log_message(self, *_):
        pass

    def answer(self, status, body=None):
        """Says it."""
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if body is not None:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def refuse(self, status, why):
        """What no lawful client hears."""
        self.server.unlawful.append(f"{self.command} {self.path}: {status} {why}")
        self.answer(status, self.fault(why))

    def in_turn(self):
        """One after the other."""
        content = self.rfile.read(int(self.headers.get("content-length", "0")))
        with self.server.lock:
            self.judge(content)

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = in_turn
