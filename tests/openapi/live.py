"""Tests a cluster of real processes from the API documents.

Starts one with TLS below a temporary directory, runs schemathesis (all checks, all phases) over what a
controller and a gateway serve, stops it, and ends with failure when anything was found. Usage:
live.py TIDEGATE [--max-examples N] [--seed N] [--only sc|gateway]
"""

import argparse
import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCUMENTS = {
    "sc": HERE / "../../openapi/control-plane.json",
    "gateway": HERE / "../../openapi/tidegate.json",
}
# Sockets speak another protocol after the upgrade; their frames have a document and tests of their own.
SOCKETS = "/ws$"
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
# Above every long poll that the documents allow by default.
REQUEST_TIMEOUT_S = 90


def start(program, home):
    data = home / "cluster"
    counts = ["--scs", "1", "--spus", "2", "--gateways", "1"]
    log = open(home / "cluster.log", "wb")
    command = [program, "cluster", "start", "--data-dir", str(data), *counts]
    holder = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and holder.poll() is None:
        if (data / "cluster.json").exists():
            return holder, json.loads((data / "cluster.json").read_text())
        time.sleep(0.1)
    holder.kill()
    sys.exit("the cluster did not start:\n" + (home / "cluster.log").read_text()[-4000:])


def create_topic(cluster, url):
    """A topic that parameters named `topic` lead to, so that reads find something."""
    body = json.dumps({"name": "flights", "partitions": 2}).encode()
    request = urllib.request.Request(f"{url}/v1/topics", data=body, method="POST")
    request.add_header("Authorization", f"Bearer {cluster['token']}")
    request.add_header("Content-Type", "application/json")
    context = ssl.create_default_context(cafile=cluster["ca"])
    urllib.request.urlopen(request, context=context, timeout=30).close()


def tested(cluster, role, arguments):
    url = next(node["url"] for node in cluster["nodes"] if node["role"] == role)
    if role == "gateway":
        create_topic(cluster, url)
    tool = Path(sys.executable).parent / "schemathesis"
    command = [str(tool), "--config-file", str(HERE / "schemathesis.toml")]
    command += ["run", str(DOCUMENTS[role].resolve()), "--url", url]
    command += ["--tls-verify", cluster["ca"]]
    command += ["--header", f"Authorization: Bearer {cluster['token']}"]
    command += ["--checks", "all", "--exclude-path-regex", SOCKETS]
    command += ["--request-timeout", str(REQUEST_TIMEOUT_S), "--continue-on-failure"]
    command += ["--max-examples", str(arguments.max_examples)]
    command += ["--seed", str(arguments.seed)]
    print(f"== {role} at {url}", flush=True)
    return subprocess.run(command, cwd=os.environ.get("TMPDIR", "/tmp")).returncode == 0


def main():
    # Ended from outside, the cluster ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--max-examples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=DOCUMENTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        # Postgres runs under another account when we are root and walks through here.
        os.chmod(home, 0o755)
        holder, cluster = start(arguments.program, Path(home))
        try:
            roles = [arguments.only] if arguments.only else list(DOCUMENTS)
            passed = [tested(cluster, role, arguments) for role in roles]
        finally:
            holder.send_signal(signal.SIGTERM)
            holder.wait(STOP_TIMEOUT_S)
    sys.exit(0 if all(passed) else 1)


main()
