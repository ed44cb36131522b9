"""Run inside a node: speaks as VPP or SPDK does by their sources, and has a real vhost-user disk where they would have a port.

VPP: src/vlib/unix/main.c (setegid), src/vlib/unix/cli.c (the socket 0775, telnet's options, a zero byte after each answer),
src/plugins/vhost/vhost_user.c (show vhost-user). SPDK: lib/rpc/rpc.c and lib/jsonrpc, lib/vhost/vhost_rpc.c.
"""
import grp, json, os, socket, subprocess, sys, threading, time

OPTIONS = bytes([255, 252, 34, 255, 254, 34, 255, 251, 3, 255, 253, 3, 255, 251, 1, 255, 254, 1, 255, 253, 24,
                 255, 250, 24, 1, 255, 240, 255, 253, 31, 255, 250, 31, 1, 255, 240])
who, image, path = sys.argv[1:4]


def listen(at, mode=None):
    if os.path.exists(at):
        os.unlink(at)
    listener = socket.socket(socket.AF_UNIX)
    # clib_socket_init: S_IWOTH around bind, whatever the umask.
    before = os.umask(0o002) if mode else None
    listener.bind(at)
    if mode:
        os.umask(before)
    listener.listen()
    return listener


def disk(at):
    node = os.path.basename(at)
    subprocess.Popen(["/usr/bin/qemu-storage-daemon", "--blockdev", f"driver=file,node-name=f,filename={image}", "--export",
                      f"type=vhost-user-blk,id=e,node-name=f,writable=on,addr.type=unix,addr.path={at}"])
    return node


def said():
    refused = "" if len(sys.argv) < 5 else (
        "Interface: VirtualEthernet0/0/1 (ifindex 2)\r\nvirtio_net_hdr_sz 0\r\n\r\n"
        f" socket filename {sys.argv[4]} type client errno \"Permission denied\"\r\n\r\n Memory regions (total 0)\r\n")
    return ("Virtio vhost-user interfaces\r\nGlobal:\r\n  coalesce frames 32 time 1.000000e-03\r\n\r\n"
            "Interface: VirtualEthernet0/0/0 (ifindex 1)\r\nvirtio_net_hdr_sz 12\r\n\r\n"
            f" socket filename {path} type server errno \"Success\"\r\n\r\n Memory regions (total 0)\r\n" + refused)


def vpp(connection):
    connection.sendall(OPTIONS)
    received = b""
    while b"\n" not in received:
        part = connection.recv(100)
        if not part:
            return
        received += part
    assert received.startswith(b"\xff\xfa\x18\0vppctl\xff\xf0"), received
    connection.sendall(b"\0" + said().encode() + b"\0")
    connection.recv(100)


def spdk(connection):
    request = json.loads(connection.recv(4096))
    controller = {"ctrlr": os.path.basename(path), "cpumask": "0x1", "delay_base_us": 0, "iops_threshold": 60000,
                  "socket": path, "sessions": [], "backend_specific": {"block": {"readonly": False, "bdev": "Malloc0"}}}
    result = [controller] if request["method"] == "vhost_get_controllers" else None
    connection.sendall(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode())
    connection.recv(100)


if who == "vpp":
    os.makedirs("/run/vpp", exist_ok=True)
    os.setegid(grp.getgrnam("vpp").gr_gid)
    listeners = [listen("/run/vpp/cli.sock", 0o775), listen("/run/vpp/api.sock", 0o775)]
else:
    listeners = [listen("/run/spdk/rpc.sock")]
disk(path)
while True:
    connection = listeners[0].accept()[0]
    threading.Thread(target={"vpp": vpp, "spdk": spdk}[who], args=(connection,)).start()
