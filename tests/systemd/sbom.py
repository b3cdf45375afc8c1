"""The list of crates in the binary of a package names those that are linked into it, in the versions of Cargo.lock, and how they hang together.

sbom.py PACKAGE     (needs dpkg-deb, objcopy and cargo)
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import zlib

from container import TOP
from run import equal, holds, say


def embedded(package):
    """What stands in the section where scanners look for it, as JSON."""
    with tempfile.TemporaryDirectory(prefix="keyrota-sbom-") as folder:
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
        section = os.path.join(folder, "section")
        binary = os.path.join(folder, "usr/bin/keyrota")
        subprocess.run(["objcopy", "--dump-section", f".dep-v0={section}", binary, os.path.join(folder, "copy")], check=True)
        with open(section, "rb") as file:
            return json.loads(zlib.decompress(file.read()))


def compiled():
    """What cargo compiles for the binary, as it reports each crate; without optimizing, which changes nothing about which they are."""
    command = ["cargo", "build", "--locked", "--bin", "keyrota", "--message-format", "json"]
    said = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, check=True, text=True).stdout
    messages = [json.loads(line) for line in said.splitlines()]
    ids = {message["package_id"] for message in messages if message["reason"] == "compiler-artifact"}
    # …#name@version, or …/name#version where the folder has the name.
    found = {re.search(r"[#/]([\w-]+)[@#]([^@#]+)$", one) for one in ids}
    return {one.groups() for one in found}


def main():
    """Ends with an exit status other than 0 if the lists differ."""
    packages = embedded(sys.argv[1])["packages"]
    listed = {(package["name"], package["version"]) for package in packages}
    with open(os.path.join(TOP, "Cargo.lock"), "rb") as file:
        locked = {(package["name"], package["version"]) for package in tomllib.load(file)["package"]}
    equal("listed, and not in Cargo.lock", sorted(listed - locked), [])
    wanted = compiled()
    equal("compiled, and not listed", sorted(wanted - listed), [])
    equal("listed, and not compiled", sorted(listed - wanted), [])
    roots = [package["name"] for package in packages if package.get("root")]
    equal("what it is a list for", roots, ["keyrota"])
    reached, ahead = set(), [next(n for n, package in enumerate(packages) if package.get("root"))]
    while ahead:
        one = ahead.pop()
        if one not in reached:
            reached.add(one)
            ahead += packages[one].get("dependencies", [])
    equal("crates that nothing depends on", len(packages) - len(reached), 0)
    holds("there are many", len(listed) > 100)
    say(f"the binary lists the {len(listed)} crates that it was built from, of {len(locked)} in Cargo.lock")


if __name__ == "__main__":
    main()
