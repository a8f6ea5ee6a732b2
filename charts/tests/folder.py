"""Puts a variant on disk as its pods see it, so that the real binary can run on what the chart made:
`folder.py VARIANT FOLDER` writes

  config.yaml …         what the replicator's pod has mounted
  serve, test           the arguments of the replicator's pod and of the test's, one a line
  settings              those of the policy, as JSON
  address, ca.pem, netrc  what the policy server knows of the replicator

What the values only name (existing Secrets and ConfigMaps) is stood in for.
"""

import functools
import json
import pathlib
import subprocess
import sys
import tempfile

from chart import decoded, rendered
from handshake import accounts

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
    if key == "token":
        return "stand-in-0123456789"
    if key == "htpasswd":
        run = subprocess.run(
            ["htpasswd", "-nbB", "policy-server", "stand-in"], check=True, capture_output=True, text=True
        )
        return run.stdout
    return certificate()[1 if key == "tls.key" else 0]


def write_mounted(objects, write):
    """The files of the replicator's pod."""
    made = {("secret", item["metadata"]["name"]): decoded(item) for item in objects.of("Secret")}
    made |= {("configMap", item["metadata"]["name"]): item["data"] for item in objects.of("ConfigMap")}
    volumes = objects.deployment()["spec"]["template"]["spec"]["volumes"]
    [volume] = [volume for volume in volumes if volume["name"] == "files"]
    for source in volume["projected"]["sources"]:
        [(kind, of)] = source.items()
        for item in of["items"]:
            content = made.get((kind, of["name"]), {}).get(item["key"])
            write(item["path"], content or stand_in(item["key"]))


def write_policy_server(objects, write):
    """What the policy server knows, where the chart makes all of it."""
    [(address, account)] = accounts(objects).items()
    write("address", address)
    write("ca.pem", objects.one("PolicyServer")["spec"]["sourceAuthorities"][address][0])
    host = address.rpartition(":")[0]
    write("netrc", f"machine {host} login {account['username']} password {account['password']}\n")


def main(variant, folder):
    folder = pathlib.Path(folder).resolve()
    objects = rendered(variant)

    def write(path, content):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content.replace(MOUNTED, str(folder)).replace(LEDGER, str(folder)))

    write_mounted(objects, write)
    for name, pod in [("serve", objects.deployment()["spec"]["template"]), ("test", objects.one("Pod"))]:
        write(name, "".join(f"{argument}\n" for argument in pod["spec"]["containers"][0]["args"]))
    for policy in objects.of("ClusterAdmissionPolicy"):
        write("settings", json.dumps(policy["spec"]["settings"]))
    secrets = {item["type"] for item in objects.of("Secret")}
    if secrets >= {"kubernetes.io/tls", "kubernetes.io/dockerconfigjson"} and objects.of("PolicyServer"):
        write_policy_server(objects, write)


if __name__ == "__main__":
    main(*sys.argv[1:])
