"""The chart as `helm template` renders it: objects to ask questions about."""

import base64
import functools
import pathlib
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "image-replicator"

# What the README installs: the names from which all others follow.
RELEASE = NAMESPACE = "image-replicator"

# Whoever renders without a cluster says which kinds it has.
KUBEWARDEN = ("--api-versions", "policies.kubewarden.io/v1")

# The least that the chart needs to know.
LEAST = (
    "--set=config.target.root=registry.corp/mirror",
    "--set=config.rules[0].name=public",
    "--set=config.rules[0].sources[0]=docker.io/**",
)


def helm(*arguments, env=None):
    """Runs Helm; its output, and what it complained of."""
    return subprocess.run(["helm", *arguments], capture_output=True, text=True, env=env)


def variants():
    """The values files that stand for how people install, by name."""
    return {path.stem: path for path in sorted((CHART / "ci").glob("*.yaml"))}


def template(*arguments, env=None):
    """The objects that these arguments render; a complaint of Helm is an error."""
    run = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *arguments, env=env)
    if run.returncode != 0:
        raise AssertionError(run.stderr)
    return Objects(item for item in yaml.safe_load_all(run.stdout) if item)


@functools.cache
def rendered(variant):
    """The objects of a variant, where Kubewarden is installed."""
    return template("--values", str(variants()[variant]), *KUBEWARDEN)


def complaint(*arguments):
    """What Helm says to values that it does not take."""
    run = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, *arguments)
    if run.returncode == 0:
        raise AssertionError(f"Helm took {arguments}")
    return run.stderr


def decoded(secret):
    """A Secret's content, by key."""
    return {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}


class Objects(list):
    """Objects of Kubernetes."""

    def of(self, kind):
        """All of a kind."""
        return [item for item in self if item["kind"] == kind]

    def one(self, kind, name=None):
        """The only one of a kind, or of that name."""
        found = [item for item in self.of(kind) if name in (None, item["metadata"]["name"])]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} objects of {kind} {name or ''}")
        return found[0]

    def config(self):
        """The replicator's configuration."""
        return yaml.safe_load(
            self.one("ConfigMap", self.deployment()["metadata"]["name"])["data"]["config.yaml"]
        )

    def deployment(self):
        """The replicator's Deployment."""
        return self.one("Deployment")

    def pod_specs(self):
        """The specs of all pods, by the name of what makes them."""
        specs = {item["metadata"]["name"]: item["spec"]["template"]["spec"] for item in self.of("Deployment")}
        specs.update({item["metadata"]["name"]: item["spec"] for item in self.of("Pod")})
        return specs
