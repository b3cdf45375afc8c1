"""docs/vendors.md, as somebody reads it who has such a vendor: the keysets of all its policies at one daemon, and every request typed as it
stands. What would go to a vendor goes to a stand-in, which judges the token with PyJWT by what the vendor was given.

Usage: vendors_docs.py BINARY     (from any folder; needs bash, curl and tests/requirements.txt)
"""

import http.server
import json
import os
import sys
import tempfile
import threading

import jwt
import yaml

from reader import Reader, blocks

PAGE = "vendors.md"
# Where a page's requests go: to the vendor itself, with the token in this header, of this keyset.
VENDORS = {
    "/agent-studio/": ("x-algolia-secure-user-token", "shop-assistant"),
    "/v1/chat/completions": ("user-token", "help"),
}


class Vendor(http.server.BaseHTTPRequestHandler):
    """Takes a request with a token that its keyset's own key has signed, and no other."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Any call of a vendor's API."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        header, keyset = next(found for path, found in VENDORS.items() if self.path.startswith(path))
        document = self.server.daemon.document(keyset)
        try:
            if "secret" in document:
                key, algorithms = document["secret"].encode(), ["HS256"]
            else:
                key, algorithms = jwt.PyJWKSet.from_dict(document["jwks"])[document["kid"]], [document["algorithm"]]
            claims = jwt.decode(self.headers[header], key, algorithms=algorithms, options={"verify_aud": False})
            self.server.seen.append((keyset, claims))
            status, answer = 200, {"claims": claims}
        except jwt.PyJWTError as error:
            status, answer = 401, {"error": repr(error)}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


def keysets():
    """Those of the page's policies, with keys of keyrota's own: no vendor is asked for any, and none is given any."""
    found = {}
    for mark, text in blocks(PAGE):
        if mark == "yaml":
            policy = yaml.safe_load(text)
            for name, keyset in policy["keysets"].items():
                keyset = {**policy.get("defaults", {}), **keyset}
                keyset.pop("publish", None)
                if keyset.pop("source", None):
                    keyset["secret_format"] = {"prefix": "sk-alg-"}
                found[name] = keyset
    return found


def typed(reader, vendor):
    """Every request of the page; what each of them answered is JSON, or a token."""
    daemon, count = reader.daemon, 0
    partner = daemon.document("partner")
    reader.environment |= {"KEY": partner["secret"], "KEY_ID": partner["kid"]}
    places = {
        r"https://keys\.example\.com": f"http://127.0.0.1:{daemon.listen}",
        r"https://(\$APP\.algolia\.net|api\.inkeep\.com)": f"http://127.0.0.1:{vendor.server_port}",
    }
    for mark, text in blocks(PAGE):
        if mark == "sh request":
            said = reader.types("vendors", text, places)
            tokens = [line for line in said.splitlines() if line.count(".") == 2 and "eyJ" in line]
            if not (tokens or "claims" in said or "token" in said or "user_id" in said):
                raise SystemExit(f"{text} said: {said}")
            count += 1
    asked = {keyset for keyset, _ in vendor.seen}
    if count < 5 or asked != {keyset for _, keyset in VENDORS.values()}:
        raise SystemExit(f"{count} blocks were typed, and vendors were asked with tokens of {asked}")
    print(f"{count} blocks of docs/{PAGE} were typed; vendors took the tokens of {sorted(asked)}", flush=True)


def main():
    """Ends with an exit status other than 0 at the first thing that is not as the page says."""
    binary, found = os.path.abspath(sys.argv[1]), keysets()
    policy = {"version": 1, "environment": "support", "store": {"kind": "embedded"}, "keysets": found}
    with tempfile.TemporaryDirectory(prefix="keyrota-vendors-docs-") as folder:
        variables = {"APP": "APP", "AGENT": "agent", "SEARCH_KEY": "search", "INTEGRATION_KEY": "integration"}
        reader = Reader(binary, folder, "support", {"policies": yaml.safe_dump(policy)}, variables)
        vendor = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vendor)
        vendor.daemon, vendor.seen = reader.daemon, []
        threading.Thread(target=vendor.serve_forever, daemon=True).start()
        try:
            reader.waits_for_keys(list(found))
            typed(reader, vendor)
        finally:
            vendor.shutdown()
            vendor.server_close()
            status = reader.daemon.stop()
        if status != 0:
            raise SystemExit(f"SIGTERM ended keyrota with {status}:\n{reader.daemon.tail()}")


if __name__ == "__main__":
    main()
