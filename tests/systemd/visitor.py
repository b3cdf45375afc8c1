"""Whoever comes to keyrota from outside, on the network and in the skin of a user.

visitor.py get URL                        one GET; status (0: no answer) and body as JSON
visitor.py unix SOCKET PATH UID GID...    one GET on a Unix socket as this user with these groups, the first its own; the same
visitor.py siege URL...                   GETs from all sides until standard input ends; the counts as JSON
visitor.py receive PORT                   takes every POST until standard input ends; each as a line of JSON, with headers and body
"""

import http.client
import http.server
import json
import os
import socket
import sys
import threading
import time
import urllib.parse

SIDES = 3
# Longer than any restart: who waits in a queue is answered late.
PATIENCE = 20


def get(url):
    """One GET on a connection of its own."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def unix(path, asked):
    """One GET on a Unix socket; 0 if we may not even connect."""
    connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(PATIENCE)
    try:
        connection.sock.connect(path)
    except PermissionError:
        return 0, "permission denied"
    connection.request("GET", asked)
    response = connection.getresponse()
    return response.status, response.read().decode()


def siege(urls):
    """Asks without a pause; what is no 200, or no answer, is a failure."""
    counts = {url: {"asked": 0, "slowest": 0.0, "failed": []} for url in urls}
    over = threading.Event()

    def side(url):
        count = counts[url]
        while not over.is_set():
            began = time.monotonic()
            try:
                status, body = get(url)
                failure = None if status == 200 else f"{status}: {body[:200]}"
            except (OSError, http.client.HTTPException) as error:
                failure = repr(error)
            count["asked"] += 1
            count["slowest"] = max(count["slowest"], time.monotonic() - began)
            if failure:
                count["failed"].append(failure)
            time.sleep(0.002)

    sides = [threading.Thread(target=side, args=(url,)) for url in urls for _ in range(SIDES)]
    for one in sides:
        one.start()
    sys.stdin.read()
    over.set()
    for one in sides:
        one.join()
    return counts


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes what webhooks post."""

    def do_POST(self):  # noqa: N802: the name is the library's
        """One message."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        headers = {name.lower(): value for name, value in self.headers.items()}
        # Several come at once.
        with self.server.lines:
            print(json.dumps({"headers": headers, "body": body}), flush=True)

    def log_message(self, format, *arguments):  # noqa: A002: the name is the library's
        """Says nothing."""


def receive(port):
    """Listens on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    server.lines = threading.Lock()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps("listening"), flush=True)
    sys.stdin.read()


def main():
    """Does what is asked for."""
    what, *rest = sys.argv[1:]
    if what == "receive":
        receive(int(rest[0]))
        return
    if what == "get":
        try:
            answer = get(*rest)
        except (OSError, http.client.HTTPException) as error:
            answer = 0, repr(error)
    elif what == "unix":
        path, asked, uid, *gids = rest
        # Below /proc/PID/root, where this user has no way to by itself.
        os.chdir(os.path.dirname(path))
        os.setgroups([int(gid) for gid in gids])
        os.setgid(int(gids[0]))
        os.setuid(int(uid))
        answer = unix(os.path.basename(path), asked)
    else:
        answer = siege(rest)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
