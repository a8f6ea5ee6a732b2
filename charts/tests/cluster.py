"""An API server that knows some objects and nothing else: what Helm's `lookup` asks."""

import http.server
import json
import pathlib
import tempfile
import threading

import yaml

from chart import NAMESPACE, RELEASE

# Kinds that are not in a namespace.
CLUSTER_WIDE = {"PolicyServer", "ClusterAdmissionPolicy"}


class Cluster:
    """Serves `objects` while it is entered; what it gives is the environment for Helm."""

    def __init__(self, objects, kinds):
        """`kinds` has objects of all kinds that there are; `objects` are there."""
        self.answers = discovery(kinds)
        self.answers.update((path(item), owned(item)) for item in objects)
        # Where Helm keeps its releases: there is none yet.
        releases = {"kind": "SecretList", "apiVersion": "v1", "items": []}
        self.answers[f"/api/v1/namespaces/{NAMESPACE}/secrets"] = releases

    def __enter__(self):
        answers = self.answers

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                where = self.path.partition("?")[0]
                found = answers.get(where)
                missing = {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "status": "Failure",
                    "reason": "NotFound",
                    "code": 404,
                }
                body = json.dumps(found or missing).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.folder = tempfile.TemporaryDirectory()
        kubeconfig = pathlib.Path(self.folder.name) / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(self.kubeconfig()))
        # Helm keeps what it discovered below HOME, by address.
        return {"HOME": self.folder.name, "KUBECONFIG": str(kubeconfig)}

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.folder.cleanup()

    def kubeconfig(self):
        address = f"http://127.0.0.1:{self.server.server_port}"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": address}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "users": [{"name": "test", "user": {}}],
            "current-context": "test",
        }


def version_path(item):
    return ("/apis/" if "/" in item["apiVersion"] else "/api/") + item["apiVersion"]


def resource(item):
    kind = item["kind"].lower()
    return kind.removesuffix("y") + "ies" if kind.endswith("y") else f"{kind}s"


def path(item):
    metadata = item["metadata"]
    where = "" if item["kind"] in CLUSTER_WIDE else f"/namespaces/{metadata['namespace']}"
    return f"{version_path(item)}{where}/{resource(item)}/{metadata['name']}"


def owned(item):
    """An object as Helm leaves it: it touches none that it did not make."""
    notes = {"meta.helm.sh/release-name": RELEASE, "meta.helm.sh/release-namespace": NAMESPACE}
    notes.update(item["metadata"].get("annotations", {}))
    return {**item, "metadata": {**item["metadata"], "annotations": notes}}


def discovery(kinds):
    """Which kinds there are, as an API server tells it."""
    answers = {
        "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
    }
    groups = {}
    for item in kinds:
        version, kind = item["apiVersion"], item["kind"]
        listed = answers.setdefault(
            version_path(item), {"kind": "APIResourceList", "groupVersion": version, "resources": []}
        )
        entry = {"name": resource(item), "singularName": "", "kind": kind, "verbs": ["get", "list"]}
        entry["namespaced"] = kind not in CLUSTER_WIDE
        if entry not in listed["resources"]:
            listed["resources"].append(entry)
        if "/" in version:
            form = {"groupVersion": version, "version": version.split("/")[1]}
            group = version.split("/")[0]
            groups[group] = {"name": group, "versions": [form], "preferredVersion": form}
    answers["/apis"] = {"kind": "APIGroupList", "apiVersion": "v1", "groups": list(groups.values())}
    return answers
