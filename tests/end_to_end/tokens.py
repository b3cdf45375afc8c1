"""Tokens that keyrota mints, judged by libraries that keyrota's makers did not write: PyJWT, jwcrypto, joserfc, npm jose, and, where it
is installed, Debian's jose; every algorithm. And a token for Algolia equals the one that the vendor's own client forges, byte for byte.

Usage: tokens.py BINARY     (from any folder; needs tests/requirements.txt, and jose in tests/node)
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request

import algoliasearch.agent_studio.client as algolia
import joserfc.jwk
import joserfc.jwt
import jwcrypto.jwk
import jwcrypto.jwt
import jwt

from daemon import Daemon
from peers import NpmJose

PAIRS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
SECRETS = ["HS256", "HS384", "HS512"]
ISSUER, AUDIENCE = "https://auth.example.com", "api"
HEAD = """version: 1
environment: tokens
store: { kind: embedded }
defaults: { token_ttl: 24h, verifier_refresh: 15m, signer_refresh: 5m, rotate_every: 30d }
keysets:
  search: { algorithm: HS256, secret_format: { prefix: sk-alg- }, token: { profile: algolia } }
"""
USERS = ["ada", "zoë", "user|\U0001f511", "a\"b\\c/d", "<>&'"]


def policy():
    """One keyset for each algorithm."""
    lines = [HEAD]
    for algorithm in PAIRS + SECRETS:
        size = ", rsa_bits: 2048" if algorithm[:2] in ("RS", "PS") else ""
        token = f'{{ profile: generic, issuer: "{ISSUER}", audience: {AUDIENCE} }}'
        lines.append(f"  {algorithm.lower()}: {{ algorithm: {algorithm}{size}, token: {token} }}\n")
    return "".join(lines)


def mint(daemon, keyset, *more):
    """A token from the command line."""
    command = [daemon.binary, "token", "mint", f"tokens/{keyset}", *more, "--runtime-dir", daemon.folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    return done.stdout.strip()


def algolias_own(daemon):
    """The vendor's helper, on a clock that stands where keyrota's stood, writes the same bytes."""
    document = daemon.document("search")
    for user in USERS:
        ours = mint(daemon, "search", "--sub", user)
        expires = jwt.decode(ours, options={"verify_signature": False})["exp"]
        algolia.time = lambda: expires - 24 * 3600 + 0.75
        client = algolia.AgentStudioClientSync.__new__(algolia.AgentStudioClientSync)
        theirs = client.forge_secured_user_token(document["secret"], document["kid"], user)
        if ours != theirs:
            raise SystemExit(f"for {user!r}:\n  ours   {ours}\n  theirs {theirs}")
    print(f"algoliasearch: {len(USERS)} tokens, byte for byte")


def by_pyjwt(key, algorithm, token):
    """PyJWT."""
    key = jwt.PyJWK(key).key if key["kty"] != "oct" else jwt.utils.base64url_decode(key["k"])
    return jwt.decode(token, key, algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER)


def by_jwcrypto(key, algorithm, token):
    """jwcrypto."""
    judged = jwcrypto.jwt.JWT(jwt=token, key=jwcrypto.jwk.JWK(**key), algs=[algorithm], check_claims={"iss": ISSUER, "aud": AUDIENCE})
    return json.loads(judged.claims)


def by_joserfc(key, algorithm, token):
    """joserfc."""
    judged = joserfc.jwt.decode(token, joserfc.jwk.import_key(key), algorithms=[algorithm])
    joserfc.jwt.JWTClaimsRegistry(iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}).validate(judged.claims)
    return judged.claims


def by_debian_jose(key, algorithm, token):
    """Debian's jose, a C program. It knows no EdDSA."""
    if algorithm == "EdDSA":
        return None
    with tempfile.NamedTemporaryFile("w", suffix=".jwk") as file:
        json.dump(key, file)
        file.flush()
        command = ["jose", "jws", "ver", "-i", "-", "-k", file.name, "-O", "-"]
        return json.loads(subprocess.run(command, input=token, check=True, capture_output=True, text=True).stdout)


def bent(token):
    """The same with one bit of the signature turned."""
    front, signature = token.rsplit(".", 1)
    octets = bytearray(jwt.utils.base64url_decode(signature))
    octets[5] ^= 1
    return f"{front}.{jwt.utils.base64url_encode(bytes(octets)).decode()}"


def key_of(daemon, keyset, algorithm):
    """The key as a verifier holds it: out of the key set, or the shared secret."""
    document = daemon.document(keyset)
    if algorithm in SECRETS:
        secret = jwt.utils.base64url_encode(document["secret"].encode()).decode()
        return {"kty": "oct", "kid": document["kid"], "alg": algorithm, "k": secret}
    with urllib.request.urlopen(daemon.url(keyset), timeout=10) as answer:
        return next(key for key in json.load(answer)["keys"] if key["kid"] == document["kid"])


def everybody(daemon, judges, npm):
    """Every algorithm is accepted by everybody as it stands, and by nobody with a bit turned."""
    for algorithm in PAIRS + SECRETS:
        keyset = algorithm.lower()
        token, key = mint(daemon, keyset, "--sub", "ada", "--ttl", "10m"), key_of(daemon, keyset, algorithm)
        for name, judge in judges.items():
            claims = judge(key, algorithm, token)
            if claims is None:
                continue
            if (claims["sub"], claims["iss"], claims["exp"] - claims["iat"]) != ("ada", ISSUER, 600):
                raise SystemExit(f"{name} read {claims} from a token of {algorithm}")
            try:
                judge(key, algorithm, bent(token))
            except Exception:  # each library has errors of its own
                continue
            raise SystemExit(f"{name} accepts a damaged token of {algorithm}")
        if algorithm in PAIRS:
            url = daemon.url(keyset)
            if (why := npm.verify(url, algorithm, token)) is not None:
                raise SystemExit(f"{npm.name} refuses a token of {algorithm}: {why}")
            if npm.verify(url, algorithm, bent(token)) is None:
                raise SystemExit(f"{npm.name} accepts a damaged token of {algorithm}")
    print(f"{', '.join(judges)} and {npm.name}: {len(PAIRS)} algorithms with key pairs, {len(SECRETS)} with secrets")


def main():
    """One daemon, every judge."""
    judges = {"PyJWT": by_pyjwt, "jwcrypto": by_jwcrypto, "joserfc": by_joserfc}
    if shutil.which("jose"):
        judges["Debian's jose"] = by_debian_jose
    node = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "node")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("policies", "state"):
            os.mkdir(os.path.join(folder, name), 0o755)
        with open(os.path.join(folder, "policies", "tokens.yaml"), "w", encoding="utf-8") as file:
            file.write(policy())
        arguments = ["run", "--policies", os.path.join(folder, "policies"), "--state-dir", os.path.join(folder, "state")]
        arguments += ["--runtime-dir", folder]
        daemon = Daemon(sys.argv[1], arguments, "tokens", folder)
        npm = NpmJose({"verifier_refresh": 600}, node)
        try:
            daemon.wait_until_ready(120)
            algolias_own(daemon)
            everybody(daemon, judges, npm)
        finally:
            npm.close()
            daemon.stop()


if __name__ == "__main__":
    main()
