"""Signers and verifiers that keyrota did not write: PyJWT here, npm jose in a process beside it."""

import hashlib
import hmac
import json
import subprocess
import time

import jwt


class Signer:
    """Mints with the document it read last, and uses it for as long as the policy allows."""

    def __init__(self, daemon, keyset, facts):
        self.daemon, self.keyset, self.facts = daemon, keyset, facts
        self.document, self.read_at = None, 0.0
        self.kids = []

    def current(self):
        """The document in use: never older than signer_refresh, and hardly ever younger."""
        if self.document is None or time.monotonic() - self.read_at > self.facts["signer_refresh"] - 0.3:
            self.read_at = time.monotonic()
            self.document = self.daemon.document(self.keyset)
        return self.document

    def use(self):
        """The document and what it signs with; notes the kid."""
        document = self.current()
        if not self.kids or self.kids[-1] != document["kid"]:
            self.kids.append(document["kid"])
        return document, document.get("private_key") or document["secret"]

    def mint(self):
        """A token that lives as long as the policy says: the token, its kid, its algorithm, its expiry."""
        document, key = self.use()
        now = int(time.time())
        claims = {"sub": "somebody", "iat": now, "exp": now + int(self.facts["token_ttl"])}
        token = jwt.encode(claims, key, algorithm=document["algorithm"], headers={"kid": document["kid"]})
        return token, document["kid"], document["algorithm"], claims["exp"]


class PyJwt:
    """PyJWT's own client: it keeps a key set for verifier_refresh and asks no sooner for a kid that it does not know."""

    name = "PyJWT"

    def __init__(self, facts):
        self.lifespan, self.clients = facts["verifier_refresh"], {}

    def verify(self, url, algorithm, token):
        """None if the token is good, else why not."""
        client = self.clients.get(url)
        if client is None:
            client = jwt.PyJWKClient(url, lifespan=self.lifespan, cooldown_duration=self.lifespan, timeout=5)
            self.clients[url] = client
        try:
            key = client.get_signing_key_from_jwt(token)
            jwt.decode(token, key, algorithms=[algorithm])
        except jwt.PyJWTError as error:
            return f"{type(error).__name__}: {error}"
        return None

    def close(self):
        """Nothing to end."""


class NpmJose:
    """npm jose's createRemoteJWKSet in a process that lives as long as the test."""

    name = "npm jose"

    def __init__(self, facts, folder):
        milliseconds = str(int(facts["verifier_refresh"] * 1000))
        self.process = subprocess.Popen(
            ["node", "verifier.mjs", milliseconds, milliseconds],
            cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        self.asked = 0

    def verify(self, url, algorithm, token):
        """None if the token is good, else why not."""
        self.asked += 1
        question = {"id": self.asked, "url": url, "algorithm": algorithm, "token": token}
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the verifier in node ended with {self.process.wait()}")
        answer = json.loads(line)
        if answer["id"] != self.asked:
            raise SystemExit(f"the verifier in node answered {answer} to question {self.asked}")
        return None if answer["ok"] else answer["why"]

    def close(self):
        """Ends the process by closing what it reads."""
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class SecretVerifier:
    """Checks what was made with a shared secret: reads the document like a signer and keeps it for verifier_refresh."""

    name = "holder of the secrets"

    def __init__(self, daemon, keyset, facts):
        self.daemon, self.keyset, self.facts = daemon, keyset, facts
        self.accepted, self.read_at = {}, float("-inf")
        self.most_at_once = 0

    def current(self):
        """What is accepted, by kid."""
        if time.monotonic() - self.read_at > self.facts["verifier_refresh"] - 0.3:
            self.read_at = time.monotonic()
            self.accepted = {key["kid"]: key for key in self.daemon.document(self.keyset)["keys"]}
            self.most_at_once = max(self.most_at_once, len(self.accepted))
        return self.accepted

    def verify(self, _url, algorithm, token):
        """None if the token is good, else why not."""
        key = self.current().get(jwt.get_unverified_header(token)["kid"])
        if key is None:
            return "its kid is not among the accepted secrets"
        try:
            jwt.decode(token, key["secret"], algorithms=[algorithm])
        except jwt.PyJWTError as error:
            return f"{type(error).__name__}: {error}"
        return None

    def admits(self, presented):
        """Whether an API key is known, by its secret or by the secret's digest."""
        digest = jwt.utils.base64url_encode(hashlib.sha256(presented.encode()).digest()).decode()
        keys = self.current().values()
        return any(hmac.compare_digest(key.get("secret_sha256", ""), digest) for key in keys)
