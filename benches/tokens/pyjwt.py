"""PyJWT minting and verifying as fast as it can, with a key that is parsed once: half a second of each.

Usage: pyjwt.py     (asked on stdin and answering on stdout, in JSON: see peers.rs beside it)
"""

import json
import sys
import time

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

SECONDS = 0.5


def each(work):
    """Seconds of processor time for one piece of work."""
    work()
    times, began = 0, time.process_time()
    while (spent := time.process_time() - began) < SECONDS:
        for _ in range(20):
            work()
        times += 20
    return spent / times


def main():
    """Answers one question."""
    asked = json.load(sys.stdin)
    algorithm, claims = asked["algorithm"], asked["claims"]
    if asked["public"] is None:
        private = public = asked["private"].encode()
    else:
        private, public = load_pem_private_key(asked["private"].encode(), None), load_pem_public_key(asked["public"].encode())
    # Its own clock has gone on since the token was minted.
    rules = {"algorithms": [algorithm], "audience": claims["aud"], "issuer": claims["iss"], "leeway": time.time() - asked["now"] + 3600}

    def mint():
        return jwt.encode(claims, private, algorithm=algorithm, headers={"kid": asked["kid"]})

    token = mint()
    print(json.dumps({"token": token, "mint": each(mint), "verify": each(lambda: jwt.decode(token, public, **rules))}))


if __name__ == "__main__":
    main()
