"""A second daemon of the same environment that has nothing in common with the first: another policy, another store (moto's AWS Secrets
Manager, which can be cut off), and a clock that is two minutes ahead."""

import os
import subprocess

from daemon import Daemon
from service import CREDENTIALS, Moto, Proxy

POLICY = """version: 1
environment: {environment}
reconcile: "* * * * * *"
store: {{ kind: aws-secrets-manager, region: eu-west-3, sweep: read, sweep_every: 1s }}
defaults:
  rotate_every: 30d
  token_ttl: 3s
  verifier_refresh: 500ms
  verifier_retry: 100ms
  signer_refresh: 500ms
  clock_skew: 500ms
  cache_max_age: 100ms
  margin: 0s
  unsafe: {{ reason: "A test that has little time, and counts no versions." }}
keysets:
  vendor: {{ algorithm: HS256, source: external }}
"""


class Another:
    """The daemon, its store and the way to it."""

    def __init__(self, binary, folder, environment, port):
        policies = os.path.join(folder, "policies")
        os.makedirs(policies, 0o755)
        with open(os.path.join(policies, f"{environment}.yaml"), "w", encoding="utf-8") as file:
            file.write(POLICY.format(environment=environment))
        # Not under `faketime` itself, which would stay as the parent and take the signals.
        library = subprocess.run(["faketime", "-f", "+0", "printenv", "LD_PRELOAD"], capture_output=True, timeout=30, check=True)
        self.moto = Moto()
        self.proxy = Proxy(self.moto)
        variables = {
            **CREDENTIALS, "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.proxy.url,
            "LD_PRELOAD": library.stdout.decode().strip(), "FAKETIME": "+2m", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        command = [*(f"{name}={value}" for name, value in variables.items()), binary, "run", "--policies", policies]
        self.instance = f"127.0.0.1:{port}"
        self.daemon = Daemon("env", [*command, "--state-dir", folder, "--runtime-dir", folder], environment, folder, metrics=port)

    def cut_off(self, away):
        """Its store does not answer, or answers again."""
        self.proxy.share, self.proxy.mode = 1.0, "drop" if away else None

    def stop(self):
        """Ends all three; more than once is no harm."""
        self.daemon.stop()
        self.proxy.shutdown()
        self.proxy.server_close()
        self.moto.stop()
