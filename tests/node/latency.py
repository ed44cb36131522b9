# SPDX-License-Identifier: Apache-2.0
"""From a socket's bind to its grant, as inotify tells of both. Ends when the file named first exists; prints microseconds."""

import ctypes
import os
import select
import struct
import sys
import time

CREATE, ATTRIB = 0x100, 0x4
libc = ctypes.CDLL(None, use_errno=True)
inotify = libc.inotify_init1(os.O_NONBLOCK)
libc.inotify_add_watch(inotify, sys.argv[2].encode(), CREATE | ATTRIB)
open(sys.argv[1] + ".ready", "w").close()
born, taken = {}, []
while not os.path.exists(sys.argv[1]):
    if not select.select([inotify], [], [], 0.2)[0]:
        continue
    events, now = os.read(inotify, 65536), time.monotonic_ns()
    at = 0
    while at < len(events):
        _, mask, _, length = struct.unpack_from("iIII", events, at)
        name = events[at + 16 : at + 16 + length].rstrip(b"\0")
        at += 16 + length
        if mask & CREATE:
            born[name] = now
        elif name in born:
            taken.append((now - born.pop(name)) // 1000)
print("\n".join(map(str, sorted(taken))))
