#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Read the domain XMLs named on standard input, print the vhost-user endpoints of each: one JSON object a line.

Shares nothing with the program: another language, another XML library, written from libvirt's documentation.
"""

import json
import sys
import xml.etree.ElementTree as ET

QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"


def interface(device):
    source = device.find("source")
    backend = device.find("backend")
    if backend is not None and backend.get("type") == "passt" and (source is None or not source.get("path")):
        return "passt", None, "client"
    return "interface", source.get("path"), source.get("mode")


def video(device):
    drivers = [device.find("driver"), device.find("model/driver")]
    return any(driver is not None and driver.get("name") == "vhostuser" for driver in drivers)


def options(text):
    """QEMU's key=value list; a bare first word is the kind."""
    parts = text.replace(",,", "\0").split(",")
    found = {"": "" if "=" in parts[0] else parts[0]}
    for part in parts:
        key, _, value = part.partition("=")
        found[key] = value.replace("\0", ",") if "=" in part else "on"
    return found


def command_line(domain):
    words = [arg.get("value") for arg in domain.findall(f"{QEMU}commandline/{QEMU}arg")]
    chardevs, users = {}, []
    for flag, text in zip(words, words[1:]):
        flag = (flag or "").lstrip("-")
        given = options(text or "")
        if flag == "chardev" and given[""] == "socket":
            chardevs[given.get("id")] = given
        elif flag == "netdev" and "vhost-user" in (given[""], given.get("type")):
            users.append(given.get("chardev"))
        elif flag == "device" and given.get("driver", given[""]).startswith("vhost-user-"):
            users.append(given.get("chardev"))
    for user in users:
        chardev = chardevs.get(user)
        if chardev and "path" in chardev:
            yield "command-line", chardev["path"], "server" if chardev.get("server") == "on" else "client"


def endpoints(domain):
    for device in domain.findall("devices/*"):
        if device.tag == "interface" and device.get("type") == "vhostuser":
            yield interface(device)
        elif device.tag == "disk" and device.get("type") == "vhostuser":
            yield "disk", device.find("source").get("path"), "client"
        elif device.tag == "filesystem":
            driver, source = device.find("driver"), device.find("source")
            if driver is not None and driver.get("type") == "virtiofs":
                yield "filesystem", source.get("socket") if source is not None else None, "client"
        elif device.tag == "video" and video(device):
            yield "video", None, "client"
    yield from command_line(domain)


def strangers(domain):
    """Elements that say vhostuser in a way that is not known above: a new kind of endpoint."""
    known = {("interface", "type"), ("disk", "type"), ("driver", "name")}
    for element in domain.iter():
        for name, value in element.attrib.items():
            if value in ("vhostuser", "vhost-user") and (element.tag, name) not in known:
                yield f"{element.tag} {name}={value}"


for path in sys.stdin.read().splitlines():
    answer = {"path": path}
    try:
        top = ET.parse(path).getroot()
        domain = top if top.tag == "domain" else top.find("domain") if top.tag == "domstatus" else None
        if domain is not None:
            answer["name"] = (domain.findtext("name") or "").strip()
            answer["endpoints"] = [list(endpoint) for endpoint in endpoints(domain)]
            answer["strangers"] = list(strangers(domain))
    except (ET.ParseError, AttributeError) as error:
        answer["error"] = f"{type(error).__name__}: {error}"
    print(json.dumps(answer))
