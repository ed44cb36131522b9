# SPDX-License-Identifier: Apache-2.0
# Runs each command of /root/commands.json by a shell, a few side by side; prints code, output and errors of each as JSON.
import concurrent.futures
import json
import subprocess


def run(command):
    done = subprocess.run(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return [done.returncode, *(text.decode(errors="replace") for text in (done.stdout, done.stderr))]


with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(json.dumps(list(pool.map(run, json.load(open("/root/commands.json"))))))
