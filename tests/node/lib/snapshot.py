"""Print one line per path: what a change to the node could be seen by, and nothing that time changes.

Arguments: the exclude list, then further paths. A line is
  PATH TYPE MODE UID GID CONTENT [XATTR=HEX ...]
where CONTENT is size:sha256 of a file, the target of a link, the numbers of a device, or -. POSIX ACLs are xattrs
(system.posix_acl_access, system.posix_acl_default). Odd bytes in names are escaped; in the name of a control socket
(daemon.1234.ctl) PID stands for the number.
"""

import fnmatch
import hashlib
import os
import re
import stat
import sys

ROOTS = ["/etc", "/usr/lib", "/var/lib", "/run/openvswitch", "/dev/hugepages"]
TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
}


def escaped(name):
    return name.encode("unicode_escape", "surrogateescape").decode().replace(" ", "\\x20")


def content_of(path, status):
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            return f"{status.st_size}:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if kind == stat.S_IFLNK:
        return escaped(os.readlink(path))
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return "-"


def line_of(path, ignore_content):
    status = os.lstat(path)
    try:
        content = "ignored" if ignore_content else content_of(path, status)
    except OSError as error:
        content = f"unreadable:{error.errno}"
    try:
        names = sorted(os.listxattr(path, follow_symlinks=False))
    except OSError:
        names = []
    attributes = [f"{escaped(n)}={os.getxattr(path, n, follow_symlinks=False).hex()}" for n in names]
    kind = TYPES.get(stat.S_IFMT(status.st_mode), "?")
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    name = re.sub(r"\.\d+\.ctl$", ".PID.ctl", escaped(path))
    return " ".join([name, kind, mode, str(status.st_uid), str(status.st_gid), content, *attributes])


class Excludes:
    """A line `PATTERN` leaves a path and what is below it out, `content PATTERN` only what the file says."""

    def __init__(self, text):
        words = [line.split() for line in text.splitlines()]
        self.gone = self.compiled(w[0] for w in words if len(w) == 1)
        self.content = self.compiled(w[1] for w in words if len(w) == 2 and w[0] == "content")

    @staticmethod
    def compiled(patterns):
        joined = "|".join(fnmatch.translate(p) for p in patterns)
        return re.compile(joined or r"(?!)")


def walk(path, excludes, lines):
    if excludes.gone.match(path):
        return
    try:
        lines.append(line_of(path, excludes.content.match(path) is not None))
        if stat.S_ISDIR(os.lstat(path).st_mode):
            for name in os.listdir(path):
                walk(os.path.join(path, name), excludes, lines)
    except FileNotFoundError:
        # Gone while we looked. A root that is not there shows by its absence.
        pass


def main():
    excludes = Excludes(sys.argv[1])
    lines = []
    for root in dict.fromkeys(ROOTS + sys.argv[2:]):
        walk(root, excludes, lines)
    print("\n".join(sorted(set(lines))))


main()
