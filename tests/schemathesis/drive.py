"""Has schemathesis ask a homeserver everything that the specification's OpenAPI document lists, with valid and invalid
data, and check that no answer is an error of the server or unlike the document.

Usage: drive.py HEARTH_NODE OPENAPI_DOCUMENT [EXAMPLES_PER_OPERATION]

The homeserver is started here, on a free port, without a database on disk. What ends the session itself is left out:
everything after it would be refused.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

CHECKS = "not_a_server_error,content_type_conformance,response_schema_conformance"
CONFIGURATION = pathlib.Path(__file__).with_name("schemathesis.toml")
ENDING_THE_SESSION = r"/(logout|logout/all|account/deactivate|account/password)$"


def main(node, document, examples="5"):
    with tempfile.NamedTemporaryFile("w") as secret:
        secret.write("shared")
        secret.flush()
        command = [
            node, "homeserver", "--listen", "127.0.0.1:0", "--open-registration", "--no-rate-limits",
            # Without a TURN server one answer is an object without fields, for which the document has no place.
            "--turn", "turn:turn.example:3478", "--turn-secret", secret.name,
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                url = address(server)
                return ask(url, register(url), document, examples)
            finally:
                server.terminate()


def address(server):
    """The URL that the homeserver prints when it listens."""
    for line in server.stdout:
        if found := re.search(r"http://\S+", line):
            return found.group()
    raise SystemExit("the homeserver did not start")


def register(url):
    """The access token of a new user."""
    body = {"username": "ada", "password": "a long password", "auth": {"type": "m.login.dummy"}}
    request = urllib.request.Request(f"{url}/_matrix/client/v3/register", json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request) as response:
        return json.load(response)["access_token"]


def ask(url, token, document, examples):
    command = [
        pathlib.Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIGURATION,
        "run", document, "--url", url,
        "--header", f"Authorization: Bearer {token}",
        "--checks", CHECKS,
        "--exclude-path-regex", ENDING_THE_SESSION,
        "--phases", "examples,fuzzing",
        "--max-examples", examples,
        # The same run every time, on any machine.
        "--seed", "1", "--generation-deterministic",
        "--request-timeout", "40", "--continue-on-failure", "--no-shrink",
        "--warnings", "off", "--no-color",
        "--suppress-health-check", "all",
    ]  # fmt: skip
    return subprocess.run(command).returncode


sys.exit(main(*sys.argv[1:]))
