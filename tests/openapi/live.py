"""Tests running servers from the API documents.

Starts a cluster of real processes and a single one, both with TLS below a temporary directory, runs schemathesis (all
checks, all phases) over what a controller, a gateway and `tidegate up` serve, stops them, and ends with failure when
anything was found. Usage:
live.py TIDEGATE [--max-examples N] [--seeds N,N,..] [--only sc|gateway|up] [--quick]
"""

import argparse
import json
import os
import re
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
    "up": HERE / "../../openapi/tidegate.json",
}
# Sockets speak another protocol after the upgrade; their frames have a document and tests of their own.
SOCKETS = "/ws$"
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
# Above every long poll that the documents allow by default.
REQUEST_TIMEOUT_S = 90
# What fits into a minute: everything through a gateway, without the phase that walks every bound of every parameter.
QUICK = ["--phases", "examples,fuzzing,stateful"]
QUICK_EXAMPLES = 10
# Of the links in a document, at least this share is followed in the best run, or walks get stuck. Many begin at a `PUT` that
# creates, and no walk comes to one.
LINKS_FOLLOWED_MIN = 0.25


def start(command, home, manifest):
    """The process, and what it says once it is ready."""
    log = home / "log"
    with open(log, "ab") as words:
        holder = subprocess.Popen(command, stdout=words, stderr=words)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and holder.poll() is None:
        if manifest.exists():
            return holder, json.loads(manifest.read_text())
        time.sleep(0.1)
    holder.kill()
    sys.exit("the server did not start:\n" + log.read_text()[-4000:])


def start_cluster(program, home):
    data = home / "cluster"
    counts = ["--scs", "1", "--spus", "2", "--gateways", "1"]
    command = [program, "cluster", "start", "--data-dir", str(data), *counts]
    holder, cluster = start(command, home, data / "cluster.json")
    urls = {node["role"]: node["url"] for node in cluster["nodes"]}
    target = {"ca": cluster["ca"], "token": cluster["token"]}
    return holder, {role: {**target, "url": urls[role]} for role in ("sc", "gateway")}


def start_up(program, home):
    data = home / "up"
    command = [program, "up", "--listen", "127.0.0.1:0", "--disk-ballast", "0", "--data-dir", str(data)]
    holder, up = start(command, home, data / "up.json")
    return holder, {"up": {"ca": up["ca"], "token": up["token"], "url": up["url"]}}


def create_topic(target):
    """A topic that parameters named `topic` lead to, so that reads find something."""
    body = json.dumps({"partitions": 2, "replication_factor": 1}).encode()
    request = urllib.request.Request(f"{target['url']}/v1/topics/flights", data=body, method="PUT")
    request.add_header("Authorization", f"Bearer {target['token']}")
    request.add_header("Content-Type", "application/json")
    context = ssl.create_default_context(cafile=target["ca"])
    urllib.request.urlopen(request, context=context, timeout=30).close()


def tested(role, target, seed, arguments):
    """Whether nothing was found, and how many links of how many were followed."""
    tool = Path(sys.executable).parent / "schemathesis"
    command = [str(tool), "--config-file", str(HERE / "schemathesis.toml")]
    command += ["run", str(DOCUMENTS[role].resolve()), "--url", target["url"]]
    command += ["--tls-verify", target["ca"]]
    command += ["--header", f"Authorization: Bearer {target['token']}"]
    command += ["--checks", "all", "--exclude-path-regex", SOCKETS]
    command += ["--request-timeout", str(REQUEST_TIMEOUT_S), "--continue-on-failure"]
    command += ["--max-examples", str(arguments.max_examples), "--seed", str(seed)]
    command += QUICK if arguments.quick else []
    own = {"SCHEMATHESIS_HOOKS": str(HERE / "choices.py"), "PYTHONDONTWRITEBYTECODE": "1"}
    print(f"== {role} at {target['url']}, seed {seed}", flush=True)
    words = []
    with subprocess.Popen(
        command, cwd=os.environ.get("TMPDIR", "/tmp"), env={**os.environ, **own}, stdout=subprocess.PIPE, text=True
    ) as run:
        for line in run.stdout:
            print(line, end="", flush=True)
            words.append(line)
    links = re.search(r"(\d+) covered / (\d+) selected", "".join(words))
    return run.returncode == 0, tuple(map(int, links.groups())) if links else (0, 1)


def test_all(targets, arguments):
    passed = True
    for role, target in targets.items():
        if arguments.only not in (None, role):
            continue
        create_topic(target)
        best = 0.0
        for seed in arguments.seeds.split(","):
            clean, (followed, there) = tested(role, target, int(seed), arguments)
            passed &= clean
            best = max(best, followed / there)
        if best < LINKS_FOLLOWED_MIN:
            print(f"{role}: only {best:.0%} of the links were followed: requests that should lead on are refused")
            passed = False
    return passed


def main():
    # Ended from outside, the servers end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--max-examples", type=int)
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--only", choices=DOCUMENTS)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.only = arguments.only or "gateway"
    arguments.max_examples = arguments.max_examples or (QUICK_EXAMPLES if arguments.quick else 100)
    passed = True
    with tempfile.TemporaryDirectory() as home:
        # Postgres runs under another account when we are root and walks through here.
        os.chmod(home, 0o755)
        for begin, roles in [(start_cluster, ("sc", "gateway")), (start_up, ("up",))]:
            if arguments.only not in (None, *roles):
                continue
            holder, targets = begin(arguments.program, Path(home))
            try:
                passed &= test_all(targets, arguments)
            finally:
                holder.send_signal(signal.SIGTERM)
                holder.wait(STOP_TIMEOUT_S)
    sys.exit(0 if passed else 1)


main()
