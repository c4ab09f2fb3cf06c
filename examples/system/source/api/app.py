"""The API, which answers with its host and its version."""

import json
import os
import pathlib

VERSION = pathlib.Path(__file__).with_name("VERSION").read_text().strip()


def app(environ, start_response):
    """Answer /health and /api/hello."""
    known = environ["PATH_INFO"] in ("/health", "/api/hello")
    start_response("200 OK" if known else "404 Not Found", [("Content-Type", "application/json")])
    return [json.dumps({"version": VERSION, "host": os.uname().nodename}).encode()]
