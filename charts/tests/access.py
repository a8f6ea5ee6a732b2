"""NetworkPolicies and RBAC as rules: who reaches whom, and who may do what."""

import dataclasses
import ipaddress

# What Kubernetes takes for a NetworkPolicy's port that names no protocol.
DEFAULT_PROTOCOL = "TCP"


def selects(selector, labels):
    """Whether a label selector has an object with these labels; {} has all."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions", []):
        value, values = labels.get(expression["key"]), expression.get("values", [])
        holds = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[expression["operator"]]
        if not holds:
            return False
    return True


@dataclasses.dataclass(frozen=True)
class Peer:
    """A pod in a namespace; or something else on the network, which has neither."""

    address: str
    namespace: str | None = None
    labels: dict = dataclasses.field(default_factory=dict, hash=False)
    # The numbers of its named ports.
    ports: dict = dataclasses.field(default_factory=dict, hash=False)

    def namespace_labels(self):
        """The label that Kubernetes gives to each namespace."""
        return {"kubernetes.io/metadata.name": self.namespace}


def reaches(policies, source, target, port, protocol=DEFAULT_PROTOCOL):
    """Whether `source` can open a connection to a port of `target`."""
    return allows(policies, "Ingress", target, source, target, port, protocol) and allows(
        policies, "Egress", source, target, target, port, protocol
    )


def allows(policies, direction, guarded, other, target, port, protocol):
    """Whether the policies for `guarded` let the connection with `other` pass."""
    about = [policy for policy in policies if direction in types(policy) and governs(policy, guarded)]
    if not about:
        return True
    peers = {"Ingress": "from", "Egress": "to"}[direction]
    return any(
        has_peer(policy, rule.get(peers), other) and has_port(rule.get("ports"), target, port, protocol)
        for policy in about
        for rule in policy["spec"].get(direction.lower(), [])
    )


def types(policy):
    """In which directions a policy speaks."""
    spec = policy["spec"]
    return spec.get("policyTypes") or ["Ingress"] + (["Egress"] if "egress" in spec else [])


def governs(policy, pod):
    """Whether a policy is about this pod."""
    same_namespace = policy["metadata"]["namespace"] == pod.namespace
    return same_namespace and selects(policy["spec"]["podSelector"], pod.labels)


def has_peer(policy, peers, other):
    """Whether a rule's list of peers has this one; no list, or an empty one, has everybody."""
    return not peers or any(is_peer(policy, peer, other) for peer in peers)


def is_peer(policy, peer, other):
    if "ipBlock" in peer:
        address = ipaddress.ip_address(other.address)

        def inside(block):
            return address in ipaddress.ip_network(block)

        block = peer["ipBlock"]
        return inside(block["cidr"]) and not any(map(inside, block.get("except", [])))
    if other.namespace is None:
        return False
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], other.namespace_labels()):
            return False
    elif other.namespace != policy["metadata"]["namespace"]:
        return False
    return selects(peer.get("podSelector", {}), other.labels)


def has_port(ports, target, port, protocol):
    """Whether a rule's list of ports has this one; no list, or an empty one, has all."""
    return not ports or any(is_port(entry, target, port, protocol) for entry in ports)


def is_port(entry, target, port, protocol):
    if entry.get("protocol", DEFAULT_PROTOCOL) != protocol:
        return False
    if "port" not in entry:
        return True
    first = target.ports.get(entry["port"], entry["port"])
    # A name that the target does not have is no port of it.
    return isinstance(first, int) and first <= port <= entry.get("endPort", first)


def rights(objects, namespace, account):
    """What a ServiceAccount may do: (namespace or "*", API group, resource, verb)."""
    roles = {
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]): item.get("rules") or []
        for item in objects
        if item["kind"] in ("Role", "ClusterRole")
    }
    found = set()
    for binding in objects:
        if binding["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        if not any(is_subject(subject, namespace, account) for subject in binding.get("subjects", [])):
            continue
        where = binding["metadata"].get("namespace") if binding["kind"] == "RoleBinding" else None
        reference = binding["roleRef"]
        owner = where if reference["kind"] == "Role" else None
        # A role that is not among the objects may allow anything.
        everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
        for rule in roles.get((reference["kind"], owner, reference["name"]), everything):
            found.update(
                (where or "*", group, resource, verb)
                for group in rule.get("apiGroups", [])
                for resource in rule.get("resources", [])
                for verb in rule["verbs"]
            )
    return found


def is_subject(subject, namespace, account):
    """Whether a binding's subject is the ServiceAccount, or a group that it is in."""
    if subject["kind"] == "Group":
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return subject["name"] in groups
    if subject["kind"] == "User":
        return subject["name"] == f"system:serviceaccount:{namespace}:{account}"
    return (
        subject["kind"] == "ServiceAccount"
        and subject["name"] == account
        and subject.get("namespace") == namespace
    )
