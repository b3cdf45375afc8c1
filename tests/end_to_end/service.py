"""AWS Secrets Manager for tests: moto on loopback, and for each daemon a proxy to it that misbehaves on command."""

import http.client
import http.server
import json
import os
import random
import socket
import socketserver
import subprocess
import sys
import threading
import time

from daemon import free_port

REGION = "eu-west-3"
# Never the credentials, files or metadata service of the machine that runs this.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


class Moto:
    """moto's server, ended by its process id."""

    def __init__(self):
        self.port = free_port()
        server = os.path.join(os.path.dirname(sys.executable), "moto_server")
        command = [server, "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **CREDENTIALS},
        )
        self.url = f"http://127.0.0.1:{self.port}"
        for _ in range(150):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("moto does not listen")

    def client(self):
        """boto3, as any consumer has it."""
        import boto3

        return boto3.client(
            "secretsmanager", endpoint_url=self.url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test",
        )

    def stop(self):
        """Ends the server."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Hand(http.server.BaseHTTPRequestHandler):
    """Passes one request on, or does what the proxy is told to do with it instead."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Says nothing."""

    def do_POST(self):
        """The service knows no other method."""
        proxy = self.server
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        fault = proxy.fault()
        proxy.seen[fault] = proxy.seen.get(fault, 0) + 1
        if fault == "delay":
            time.sleep(random.uniform(0.05, 1.5))
        elif fault == "hang":
            time.sleep(random.uniform(4, 8))
            return self.hang_up()
        elif fault == "drop":
            return self.hang_up()
        elif fault == "500":
            return self.answer(500, b'{"__type":"InternalServiceError","message":"a test did this"}')
        elif fault == "throttle":
            return self.answer(400, b'{"__type":"ThrottlingException","message":"a test did this"}')
        try:
            status, answer = proxy.ask(self.path, body, self.headers)
        except OSError:
            return self.hang_up()
        if fault == "unheard":
            return self.hang_up()
        return self.answer(status, answer)

    def answer(self, status, body):
        """One whole answer."""
        try:
            self.send_response(status)
            self.send_header("content-type", "application/x-amz-json-1.1")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def hang_up(self):
        """No answer."""
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Proxy(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """One daemon's way to the service."""

    daemon_threads = True
    request_queue_size = 128
    FAULTS = ("delay", "drop", "unheard", "500", "throttle", "hang")

    def __init__(self, moto):
        super().__init__(("127.0.0.1", 0), Hand)
        self.moto, self.mode, self.share, self.seen = moto, None, 0.0, {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def fault(self):
        """What becomes of the next request."""
        mode = self.mode
        if mode is None or random.random() >= self.share:
            return None
        return random.choice(self.FAULTS) if mode == "mixed" else mode

    def ask(self, path, body, headers):
        """The service's answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.moto.port, timeout=20)
        try:
            kept = {name: value for name, value in headers.items() if name.lower() not in ("host", "connection", "content-length")}
            connection.request("POST", path, body, kept)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def handle_error(self, *_):
        """A peer that went away is no error."""


def secret_document(client, name):
    """What a signer reads with boto3: the document and its version."""
    # The label is the service's default; moto's default forgets that the label was moved.
    answer = client.get_secret_value(SecretId=name, VersionStage="AWSCURRENT")
    return json.loads(answer["SecretString"]), answer["VersionId"]
