#!/usr/bin/env python3
"""Prints every crate that is linked into the program, its licence, and the text of that licence as the crate brings it.

Fails on a crate without one. Asks cargo and the sources that it has fetched already; nothing is downloaded."""

import json
import pathlib
import subprocess
import sys

HOST = next(
    line.split()[1]
    for line in subprocess.check_output(["rustc", "-vV"], text=True).splitlines()
    if line.startswith("host:")
)


def linked(metadata):
    """Package ids that are reached from the root without build-time or test-time dependencies."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    proc_macros = {
        package["id"]
        for package in metadata["packages"]
        if any("proc-macro" in target["kind"] for target in package["targets"])
    }
    root = metadata["resolve"]["root"]
    found, waiting = set(), [root]
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            identity = dependency["pkg"]
            if normal and identity not in found and identity not in proc_macros:
                found.add(identity)
                waiting.append(identity)
    return found


def texts(package):
    """The files of the crate that say what may be done with it."""
    directory = pathlib.Path(package["manifest_path"]).parent
    names = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "UNLICENSE", "NOTICE")
    return sorted(path for path in directory.iterdir() if path.is_file() and path.name.upper().startswith(names))


def main():
    metadata = json.loads(
        subprocess.check_output(
            ["cargo", "metadata", "--locked", "--offline", "--format-version=1", "--filter-platform", HOST]
        )
    )
    wanted = linked(metadata)
    packages = sorted((p for p in metadata["packages"] if p["id"] in wanted), key=lambda p: (p["name"], p["version"]))
    print("Crates that are linked into vhost-accord, with their licences.\n")
    for package in packages:
        if not package["license"]:
            sys.exit(f"{package['name']}: no licence")
        print(f"{package['name']} {package['version']}: {package['license']}")
    # The same text is brought by many.
    known = {}
    for package in packages:
        for path in texts(package):
            # The Apache licence is in every distribution and in the package's own copyright file.
            text = path.read_text(errors="replace").strip()
            if "Apache License" in text[:400] and "Version 2.0" in text[:400]:
                continue
            known.setdefault(text, []).append(package["name"])
    for text, names in known.items():
        print(f"\n{'-' * 100}\n{', '.join(dict.fromkeys(names))}:\n\n{text}")


if __name__ == "__main__":
    main()
