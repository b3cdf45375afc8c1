"""The crates that the binary is built from, in the format of `cargo auditable`, which scanners look for in the section `.dep-v0`.

crates.py > FILE     (from the top of the checkout; needs cargo)

cargo says what it builds for this target; lists made from `cargo metadata`, as most tools make them, also name optional crates that
nobody asked for, and then a scanner warns of what is not there.
"""

import json
import re
import subprocess
import sys
import zlib


def built(host, edges):
    """What cargo builds along these edges: each crate, and which it depends on."""
    command = ["cargo", "tree", "--locked", "--no-dedupe", "--edges", edges, "--target", host, "--prefix", "depth", "--format", " {p}"]
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    found, above = {}, []
    for line in lines:
        depth, name, version = line.split()[:3]
        crate = name, version.removeprefix("v")
        found.setdefault(crate, set())
        del above[int(depth):]
        if above:
            found[above[-1]].add(crate)
        above.append(crate)
    return found


def main():
    """Writes the list, compressed."""
    said = subprocess.run(["rustc", "-vV"], stdout=subprocess.PIPE, check=True, text=True).stdout
    host = re.search(r"^host: (\S+)$", said, re.MULTILINE).group(1)
    linked, everything = built(host, "normal"), built(host, "normal,build")
    names = sorted(everything)
    packages = []
    for name, version in names:
        needed = sorted(names.index(crate) for crate in everything[name, version])
        package = {"name": name, "version": version, "source": "local" if name == "keyrota" else "crates.io"}
        if (name, version) not in linked:
            package["kind"] = "build"
        if needed:
            package["dependencies"] = needed
        if name == "keyrota":
            package["root"] = True
        packages.append(package)
    sys.stdout.buffer.write(zlib.compress(json.dumps({"packages": packages}, separators=(",", ":")).encode(), 9))


if __name__ == "__main__":
    main()
