"""The worker, which asks the API for its next job, by its name in Consul."""

import json
import os
import pathlib
import signal
import time
import urllib.request

VERSION = pathlib.Path(__file__).with_name("VERSION").read_text().strip()
API = "http://api.service.consul:8000/api/hello"


def work() -> None:
    """Do one job."""
    with urllib.request.urlopen(API, timeout=5) as answer:
        print(f"{VERSION}: {json.load(answer)}", flush=True)


stopping: list[bool] = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
# A rehearsal proves that the worker starts. It takes no job.
rehearsal = "RELEASE_REHEARSAL" in os.environ
while not stopping:
    if not rehearsal:
        try:
            work()
        except OSError as error:
            print(f"{VERSION}: no job: {error}", flush=True)
    time.sleep(1)
