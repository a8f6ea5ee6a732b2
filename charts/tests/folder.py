"""Puts the replicator's folder on disk, as its pod of a variant sees it, so that the real binary can
read what the chart made: `folder.py VARIANT FOLDER` prints the path of the configuration.

What the values only name (existing Secrets and ConfigMaps) is stood in for.
"""

import functools
import pathlib
import subprocess
import sys
import tempfile

from chart import decoded, rendered

MOUNTED = "/etc/image-replicator"
LEDGER = "/var/lib/image-replicator"


@functools.cache
def certificate():
    """A certificate and its key, as openssl makes them."""
    with tempfile.TemporaryDirectory() as folder:
        key, pem = (pathlib.Path(folder) / name for name in ("key.pem", "cert.pem"))
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=stand-in"]
        subprocess.run([*command, "-keyout", key, "-out", pem], check=True, capture_output=True)
        return pem.read_text(), key.read_text()


def stand_in(key):
    """What a key of an existing Secret or ConfigMap may hold."""
    if key == ".dockerconfigjson":
        return '{"auths": {"registry.corp": {"auth": "dXNlcjpwYXNz"}}}'
    if key == "htpasswd":
        run = subprocess.run(["htpasswd", "-nbB", "policy-server", "stand-in"], check=True, capture_output=True, text=True)
        return run.stdout
    return certificate()[1 if key == "tls.key" else 0]


def write(variant, folder):
    """Writes the folder; the path of the configuration in it."""
    objects = rendered(variant)
    made = {("secret", item["metadata"]["name"]): decoded(item) for item in objects.of("Secret")}
    made |= {("configMap", item["metadata"]["name"]): item["data"] for item in objects.of("ConfigMap")}
    [volume] = [volume for volume in objects.deployment()["spec"]["template"]["spec"]["volumes"] if volume["name"] == "files"]
    for source in volume["projected"]["sources"]:
        [(kind, of)] = source.items()
        for item in of["items"]:
            content = made.get((kind, of["name"]), {}).get(item["key"]) or stand_in(item["key"])
            path = folder / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content.replace(MOUNTED, str(folder)).replace(LEDGER, str(folder)))
    return folder / "config.yaml"


if __name__ == "__main__":
    print(write(sys.argv[1], pathlib.Path(sys.argv[2]).resolve()))
