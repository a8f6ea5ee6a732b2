"""Holds objects against the schemas of their kinds, strictly: what a schema does not know is wrong.

Kubernetes' own kinds by kubernetes-validate, others by their CustomResourceDefinitions. (Rules in
CEL are left out: they need an API server.)
"""

import functools

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate import utils

from chart import ROOT

CRDS = ROOT / "tests" / "data" / "crds"

# The oldest that Chart.yaml allows, and the newest that there are schemas of.
KUBERNETES_VERSIONS = ("1.27", "1.37")

# Each call reads all definitions of a Kubernetes version: once is enough.
utils.schema_contents = functools.cache(utils.schema_contents)


def strict(schema):
    """A schema that refuses the fields that an API server would drop."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        result["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            result.setdefault("additionalProperties", False)
    return result


@functools.cache
def custom_kinds():
    """A validator for each version of each custom kind."""
    validators = {}
    for path in CRDS.glob("*.yaml"):
        crd = yaml.safe_load(path.read_text())["spec"]
        for version in crd["versions"]:
            schema = strict(version["schema"]["openAPIV3Schema"])
            key = f"{crd['group']}/{version['name']}", crd["names"]["kind"]
            validators[key] = jsonschema.Draft7Validator(schema)
    return validators


def complaints(item):
    """What is wrong with an object."""
    validator = custom_kinds().get((item["apiVersion"], item["kind"]))
    if validator is None:
        return of_kubernetes(item)
    found = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(item)]
    # A CustomResourceDefinition says nothing of metadata, which are the same for all kinds.
    return found + of_kubernetes({"apiVersion": "v1", "kind": "ConfigMap", "metadata": item["metadata"]})


def of_kubernetes(item):
    """What is wrong with an object of Kubernetes' own kinds, in any of the versions."""
    found = []
    for version in KUBERNETES_VERSIONS:
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{version}: {'.'.join(map(str, error.path))}: {error.message[:200]}")
    return found
