"""What replicator and policy server must know of each other, and whether it fits; told by openssl
and htpasswd, which are not ours."""

import json
import pathlib
import subprocess
import tempfile

from chart import decoded


def tls(objects):
    """The front's certificate, key and CA."""
    return decoded(next(item for item in objects.of("Secret") if item["type"] == "kubernetes.io/tls"))


def accounts(objects):
    """The pull Secret's accounts, by registry."""
    pull = next(item for item in objects.of("Secret") if item["type"] == "kubernetes.io/dockerconfigjson")
    return json.loads(decoded(pull)[".dockerconfigjson"])["auths"]


def htpasswd(objects):
    """The front's file of callers."""
    return decoded(next(item for item in objects.of("Secret") if item["type"] == "Opaque"))["htpasswd"]


def is_password(file, username, password):
    """Whether htpasswd takes it."""
    with tempfile.NamedTemporaryFile("w") as callers:
        callers.write(file)
        callers.flush()
        run = subprocess.run(
            ["htpasswd", "-v", "-i", callers.name, username], input=password, text=True, capture_output=True
        )
    return run.returncode == 0


def is_trusted(certificate, authority, host):
    """Whether openssl, with this CA alone, takes the certificate for a server of that name."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in [("ca.pem", authority), ("leaf.pem", certificate)]:
            paths.append(pathlib.Path(folder) / name)
            paths[-1].write_text(text)
        options = [
            "-no-CApath",
            "-no-CAstore",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-verify_hostname",
            host,
        ]
        run = subprocess.run(
            ["openssl", "verify", *options, "-CAfile", *map(str, paths)], capture_output=True
        )
    return run.returncode == 0
