"""Well-behaved signers and verifiers beside a daemon: they keep the stated facts to the second, and say when a token is rejected."""

import heapq
import http.client
import json
import threading
import time

import jwt

TTL, VERIFIER_REFRESH, SIGNER_REFRESH = 8.0, 4.0, 3.0
# The same in a policy's `defaults`.
FACTS = """  token_ttl: 8s
  verifier_refresh: 4s
  verifier_retry: 2s
  signer_refresh: 3s
  clock_skew: 1s
  cache_max_age: 1s
  margin: 0s
  unsafe: { reason: "A test: its verifiers refresh every four seconds, and it counts no versions." }"""


def fetch(port, path, timeout=1.0):
    """One GET with little patience: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    except (OSError, http.client.HTTPException):
        return 0, {}, b""
    finally:
        connection.close()


class Verifier(threading.Thread):
    """Takes key sets from the first daemon of those that `daemons` gives, or the next if that fails, and keeps them for as long as the
    facts allow."""

    def __init__(self, daemons, keysets, pause, patience=1.0):
        super().__init__(daemon=True)
        self.daemons, self.keysets, self.pause, self.patience = daemons, keysets, pause, patience
        self.sets, self.fetched_at, self.over, self.misses = {}, -1e9, False, 0

    def run(self):
        while not self.over:
            if self.refresh():
                time.sleep(self.pause)
            else:
                self.misses += 1
                time.sleep(0.1)

    def refresh(self):
        """Whether new key sets were fetched."""
        began = time.monotonic()
        for daemon in self.daemons():
            sets = {}
            for keyset in self.keysets:
                path = f"/{daemon.environment}/{keyset}/.well-known/jwks.json"
                status, headers, body = fetch(daemon.listen, path, self.patience)
                if status != 200 or headers.get("keyrota-stale"):
                    break
                sets[keyset] = {key["kid"]: key for key in json.loads(body)["keys"]}
            else:
                self.sets, self.fetched_at = sets, began
                return True
        return False

    def verdict(self, keyset, token):
        """None: good. `late`: the cache is older than the facts allow, so nothing can be said."""
        sets, fetched_at = self.sets, self.fetched_at
        if time.monotonic() - fetched_at > VERIFIER_REFRESH:
            return "late"
        kid = jwt.get_unverified_header(token)["kid"]
        key = sets[keyset].get(kid)
        if key is None:
            return f"kid {kid} is not in the key set fetched {time.monotonic() - fetched_at:.1f} s ago"
        try:
            jwt.decode(token, jwt.PyJWK(key), algorithms=[key["alg"]])
        except jwt.PyJWTError as error:
            return repr(error)
        return None


class SecretVerifier:
    """Checks tokens under an HMAC secret with the secrets of the document that `read` gives."""

    def __init__(self, read):
        self.read, self.secrets, self.fetched_at = read, {}, -1e9

    def verdict(self, _, token):
        """As a verifier of key sets."""
        if time.monotonic() - self.fetched_at > VERIFIER_REFRESH - 0.5:
            began, document = time.monotonic(), self.read()
            if document is not None:
                self.secrets = {key["kid"]: (key["secret"], key["algorithm"]) for key in document["keys"]}
                self.fetched_at = began
        if time.monotonic() - self.fetched_at > VERIFIER_REFRESH:
            return "late"
        kid = jwt.get_unverified_header(token)["kid"]
        if kid not in self.secrets:
            return f"kid {kid} is not in the document read {time.monotonic() - self.fetched_at:.1f} s ago"
        secret, algorithm = self.secrets[kid]
        try:
            jwt.decode(token, secret, algorithms=[algorithm])
        except jwt.PyJWTError as error:
            return repr(error)
        return None


class Signer:
    """Mints with the document that `read` gives (None: not now), for as long as the facts allow."""

    def __init__(self, keyset, read):
        self.keyset, self.read = keyset, read
        self.document, self.read_at, self.kids, self.refused = None, -1e9, [], 0

    def mint(self):
        """A token and when it expires; None while no document may be used."""
        if time.monotonic() - self.read_at > SIGNER_REFRESH - 1.0:
            began, document = time.monotonic(), self.read()
            if document is not None and document.get("kid"):
                self.document, self.read_at = document, began
            else:
                self.refused += 1
        if time.monotonic() - self.read_at > SIGNER_REFRESH:
            return None
        kid = self.document["kid"]
        if not self.kids or self.kids[-1] != kid:
            assert kid not in self.kids, f"{self.keyset}: {kid} signs again"
            self.kids.append(kid)
        now = time.time()
        claims = {"sub": "somebody", "iat": int(now), "exp": int(now + TTL)}
        key = self.document.get("private_key") or self.document["secret"]
        return jwt.encode(claims, key, algorithm=self.document["algorithm"], headers={"kid": kid}), claims["exp"]


class Followers(threading.Thread):
    """Mints with every signer and checks with every verifier of its keyset: at once, and just before the token expires."""

    def __init__(self, signers, verifiers):
        super().__init__(daemon=True)
        self.signers, self.verifiers = signers, verifiers
        self.counts, self.problems, self.over = {"minted": 0, "verified": 0, "late": 0}, [], False

    def run(self):
        due, serial = [], 0
        while not self.over:
            began = time.monotonic()
            for signer in self.signers:
                try:
                    minted = signer.mint()
                except AssertionError as error:
                    self.problems.append(str(error))
                    continue
                if minted is None:
                    continue
                token, expires = minted
                self.counts["minted"] += 1
                self.check(signer.keyset, token, "when it is minted")
                serial += 1
                heapq.heappush(due, (expires - 0.7, serial, signer.keyset, token, expires))
            while due and due[0][0] <= time.time():
                _, _, keyset, token, expires = heapq.heappop(due)
                if time.time() < expires - 0.1:
                    self.check(keyset, token, "just before it expires")
            time.sleep(max(0.0, 0.25 - (time.monotonic() - began)))

    def check(self, keyset, token, moment):
        """Every verifier of the keyset."""
        for verifier in self.verifiers[keyset]:
            why = verifier.verdict(keyset, token)
            if why is None:
                self.counts["verified"] += 1
            elif why == "late":
                self.counts["late"] += 1
            else:
                self.problems.append(f"{time.strftime('%H:%M:%S')} {keyset}, {moment}: {why}")
                print(f"  PROBLEM {self.problems[-1]}", flush=True)

    def until(self, what, holds, seconds):
        """Waits until something holds; whatever is rejected meanwhile ends it."""
        end = time.monotonic() + seconds
        while not holds():
            if self.problems:
                raise SystemExit("\n".join(self.problems))
            if not self.is_alive():
                raise SystemExit("the followers ended")
            if time.monotonic() > end:
                raise SystemExit(f"waited {seconds} s in vain until {what}; {self.counts}")
            time.sleep(0.1)
        print(f"{what}: {self.counts}", flush=True)

    def verdict(self):
        """Ends it; raises if anything was rejected, or too little was checked to say so."""
        self.over = True
        self.join(30)
        if self.problems:
            raise SystemExit("\n".join(self.problems))
        if self.counts["verified"] < 200 or self.counts["late"] > self.counts["verified"] / 3:
            raise SystemExit(f"hardly anything was verified: {self.counts}")
        print(f"no token was rejected: {self.counts}", flush=True)
