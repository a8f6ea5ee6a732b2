"""Who reaches the replicator, whom it reaches, and what it may do in the cluster."""

import unittest

from access import Peer, reaches, rights, selects
from chart import NAMESPACE, rendered, template, variants, KUBEWARDEN, LEAST

# Addresses of the pods and machines that the questions are about.
CLUSTER, INTERNET, METADATA = "10.0.0.9", "203.0.113.7", "169.254.169.254"


def replicator(objects):
    template_ = objects.deployment()["spec"]["template"]
    ports = template_["spec"]["containers"][0]["ports"]
    numbers = {port["name"]: port["containerPort"] for port in ports}
    return Peer("10.0.0.1", NAMESPACE, template_["metadata"]["labels"], numbers)


def policy_server_pod(name, namespace):
    """A pod as Kubewarden's controller makes it for a PolicyServer."""
    labels = {
        "app": f"kubewarden-policy-server-{name}",
        "app.kubernetes.io/component": "policy-server",
        "app.kubernetes.io/instance": f"policy-server-{name}",
        "app.kubernetes.io/part-of": "kubewarden",
        "kubewarden/policy-server": name,
    }
    return Peer(CLUSTER, namespace, labels)


def world(objects):
    """Who is around, by what they are to us."""
    server = objects.one("ClusterAdmissionPolicy")["spec"]["policyServer"]
    kubewarden = next(
        namespace
        for namespace in objects.one("ClusterAdmissionPolicy")["spec"]["settings"]["ignoreNamespaces"]
        if namespace not in ("kube-system", NAMESPACE)
    )
    return {
        "our policy server": policy_server_pod(server, kubewarden),
        "another policy server": policy_server_pod("another", kubewarden),
        "Kubewarden's controller": Peer(CLUSTER, kubewarden, {"app.kubernetes.io/component": "controller"}),
        "an impostor": policy_server_pod(server, "shop"),
        "a pod of the shop": Peer(CLUSTER, "shop", {"app": "shop"}),
        "a neighbour in our namespace": Peer(CLUSTER, NAMESPACE, {"app": "other"}),
        "Prometheus": Peer(CLUSTER, "monitoring", {"app.kubernetes.io/name": "prometheus"}),
        "somebody outside": Peer(INTERNET),
    }


def with_policy():
    return [variant for variant in variants() if rendered(variant).of("ClusterAdmissionPolicy")]


class Network(unittest.TestCase):
    def who(self, objects, port):
        target = replicator(objects)
        policies = objects.of("NetworkPolicy")
        return {
            name
            for name, source in world(objects).items()
            if reaches(policies, source, target, target.ports[port])
        }

    def test_the_front_is_for_our_policy_server_alone(self):
        for variant in with_policy():
            self.assertEqual(self.who(rendered(variant), "front"), {"our policy server"}, variant)

    def test_metrics_are_for_monitoring_alone(self):
        for variant in with_policy():
            expected = set() if variant == "monitoring-off" else {"Prometheus"}
            self.assertEqual(self.who(rendered(variant), "status"), expected, variant)

    def test_further_callers_are_those_that_are_named(self):
        objects = rendered("everything-on")
        target = replicator(objects)
        for address, expected in [("10.0.1.7", True), ("10.0.2.7", False)]:
            may = reaches(objects.of("NetworkPolicy"), Peer(address), target, target.ports["front"])
            self.assertEqual(may, expected, address)

    def test_the_replicator_reaches_registries_names_and_its_database_alone(self):
        dns = Peer("10.96.0.10", "kube-system", {"k8s-app": "kube-dns"})
        database = Peer("10.0.3.3", "databases", {"cnpg.io/cluster": "ledger"})
        cases = [
            # who, port, protocol, reached by `small`, reached by `ha`
            (Peer(INTERNET), 443, "TCP", True, True),
            (Peer("2001:db8::7"), 443, "TCP", True, True),
            (Peer(INTERNET), 80, "TCP", False, False),
            (Peer(INTERNET), 53, "UDP", False, False),
            (Peer(METADATA), 443, "TCP", False, False),
            (Peer(METADATA), 80, "TCP", False, False),
            (Peer("fd00:ec2::254"), 443, "TCP", False, False),
            (dns, 53, "UDP", True, True),
            (dns, 53, "TCP", True, True),
            (dns, 9153, "TCP", False, False),
            (database, 5432, "TCP", False, True),
            (Peer("10.0.3.4", "databases", {"cnpg.io/cluster": "other"}), 5432, "TCP", False, False),
            (Peer("10.0.3.5", "shop", {"cnpg.io/cluster": "ledger"}), 5432, "TCP", False, False),
        ]
        for target, port, protocol, *expected in cases:
            for variant, may in zip(["small", "ha"], expected):
                objects = rendered(variant)
                found = reaches(objects.of("NetworkPolicy"), replicator(objects), target, port, protocol)
                self.assertEqual(found, may, f"{variant} {target.address}:{port}/{protocol}")

    def test_the_api_server_is_reached_where_the_replicator_asks_it_alone(self):
        for variant, expected in [("tenancy", True), ("everything-on", True), ("small", False)]:
            objects = rendered(variant)
            us, server = replicator(objects), Peer("10.0.255.3")
            found = reaches(objects.of("NetworkPolicy"), us, server, 6443)
            self.assertEqual(found, expected, variant)
        objects = rendered("tenancy")
        elsewhere = Peer("10.0.254.3")
        self.assertFalse(reaches(objects.of("NetworkPolicy"), replicator(objects), elsewhere, 6443))

    def test_a_metadata_service_is_reached_where_the_values_say_so_and_there_alone(self):
        objects = rendered("credential-helper")
        for address, port, expected in [
            ("169.254.170.23", 80, True),
            ("169.254.170.23", 443, False),
            (METADATA, 80, False),
            (INTERNET, 80, False),
        ]:
            found = reaches(objects.of("NetworkPolicy"), replicator(objects), Peer(address), port)
            self.assertEqual(found, expected, f"{address}:{port}")

    def test_air_gapped_means_the_registry_of_the_house(self):
        objects = rendered("air-gapped")
        for address, port, expected in [
            ("10.20.0.5", 5000, True),
            ("10.20.0.5", 443, False),
            (INTERNET, 443, False),
        ]:
            found = reaches(objects.of("NetworkPolicy"), replicator(objects), Peer(address), port)
            self.assertEqual(found, expected, f"{address}:{port}")

    def test_the_database_that_the_configuration_names_is_one_that_is_reached(self):
        objects = rendered("everything-on")
        self.assertIn(":6432/", objects.config()["ledger"])
        policies, us = objects.of("NetworkPolicy"), replicator(objects)
        self.assertTrue(reaches(policies, us, Peer("10.0.3.3"), 6432))
        self.assertFalse(reaches(policies, us, Peer(INTERNET), 6432))

    def test_those_that_are_told_are_reached_where_somebody_is(self):
        scanner = Peer("10.0.3.8", "security", {"app": "scanner"})
        objects = rendered("everything-on")
        policies, us = objects.of("NetworkPolicy"), replicator(objects)
        self.assertTrue(reaches(policies, us, scanner, 8443))
        self.assertFalse(reaches(policies, us, scanner, 9443))
        self.assertFalse(reaches(policies, us, Peer("10.0.3.9", "shop", {"app": "scanner"}), 8443))
        # Registries may be anywhere on port 443, unless their place is named.
        narrow = ("--set=networkPolicy.registries.to[0].ipBlock.cidr=192.0.2.0/24", *LEAST, *KUBEWARDEN)
        told = ("--set=notifications[0].name=scanner", "--set=notifications[0].url=https://scanner.security.svc/")
        for values, expected in [((), False), (told, True)]:
            objects = template(*narrow, *values)
            found = reaches(objects.of("NetworkPolicy"), replicator(objects), scanner, 443)
            self.assertEqual(found, expected, values)

    def test_without_network_policies_there_is_none(self):
        objects = template(*LEAST, *KUBEWARDEN, "--set=networkPolicy.enabled=false")
        self.assertEqual(objects.of("NetworkPolicy"), [])
        self.assertIn("a pod of the shop", self.who(objects, "front"))


class Cluster(unittest.TestCase):
    def test_nobody_gets_a_right_or_a_token_that_the_values_do_not_give(self):
        for variant in variants():
            objects = rendered(variant)
            config = objects.config()
            is_given = "inventory" in config or "secret_namespaces" in config.get("tenancy", {})
            for account in objects.of("ServiceAccount"):
                found = rights(objects, NAMESPACE, account["metadata"]["name"])
                self.assertEqual(bool(found), is_given, variant)
                self.assertIs(account["automountServiceAccountToken"], False)
            roles = [item for item in objects if item["kind"].endswith(("Role", "RoleBinding"))]
            self.assertEqual(bool(roles), is_given, variant)
            for name, spec in objects.pod_specs().items():
                has_token = is_given and name == objects.deployment()["metadata"]["name"]
                self.assertIs(spec["automountServiceAccountToken"], has_token, f"{variant} {name}")

    def test_secrets_are_readable_in_the_namespaces_of_tenancy_alone(self):
        objects = rendered("tenancy")
        namespaces = objects.config()["tenancy"]["secret_namespaces"]
        self.assertEqual(namespaces, ["shop", "team-c"])
        account = objects.one("ServiceAccount")["metadata"]["name"]
        expected = {
            (namespace, "", "secrets", verb) for namespace in namespaces for verb in ("get", "list", "watch")
        }
        self.assertEqual(rights(objects, NAMESPACE, account), expected)
        for binding in objects.of("RoleBinding"):
            self.assertEqual([subject["name"] for subject in binding["subjects"]], [account])
        self.assertFalse(objects.of("ClusterRole") + objects.of("ClusterRoleBinding"))

    def test_pods_are_readable_everywhere_where_they_are_watched_and_nothing_else_is(self):
        found = {}
        for variant in variants():
            objects = rendered(variant)
            account = objects.one("ServiceAccount")["metadata"]["name"]
            everywhere = {right for right in rights(objects, NAMESPACE, account) if right[0] == "*"}
            expected = set()
            if objects.config().get("inventory", {}).get("watch_pods"):
                expected = {("*", "", "pods", verb) for verb in ("get", "list", "watch")}
            self.assertEqual(everywhere, expected, variant)
            found[variant] = bool(everywhere)
        self.assertTrue(found["everything-on"])
        self.assertFalse(found["small"] or found["tenancy"])

    def test_the_token_is_readable_for_the_user_of_the_pod(self):
        # The kubelet gives a projected token to the group of the pod, and to no others.
        spec = rendered("tenancy").pod_specs()["image-replicator"]
        self.assertEqual(spec["securityContext"]["fsGroup"], spec["securityContext"]["runAsGroup"])

    def test_the_replicator_runs_as_its_own_account(self):
        for variant in variants():
            objects = rendered(variant)
            account = objects.deployment()["spec"]["template"]["spec"]["serviceAccountName"]
            self.assertEqual(objects.one("ServiceAccount")["metadata"]["name"], account)

    def test_secrets_are_in_our_namespace_and_one_in_kubewardens(self):
        for variant in with_policy():
            objects = rendered(variant)
            kubewarden = world(objects)["our policy server"].namespace
            for secret in objects.of("Secret"):
                is_pull = secret["type"] == "kubernetes.io/dockerconfigjson"
                expected = kubewarden if is_pull else NAMESPACE
                self.assertEqual(secret["metadata"]["namespace"], expected, variant)

    def test_the_policy_leaves_alone_what_must_start_without_the_replicator(self):
        for variant in with_policy():
            objects = rendered(variant)
            spec = objects.one("ClusterAdmissionPolicy")["spec"]
            kubewarden = world(objects)["our policy server"].namespace
            for namespace, expected in [
                ("kube-system", False),
                (NAMESPACE, False),
                (kubewarden, False),
                ("shop", True),
            ]:
                labels = {"kubernetes.io/metadata.name": namespace}
                self.assertEqual(
                    selects(spec["namespaceSelector"], labels), expected, f"{variant} {namespace}"
                )
                self.assertEqual(namespace not in spec["settings"]["ignoreNamespaces"], expected, variant)
        further = rendered("everything-on").one("ClusterAdmissionPolicy")["spec"]
        self.assertFalse(selects(further["namespaceSelector"], {"kubernetes.io/metadata.name": "databases"}))


class Evaluator(unittest.TestCase):
    """That the questions above can be answered otherwise."""

    def test_rights_are_found(self):
        role = {"kind": "Role", "metadata": {"namespace": "a", "name": "r"}}
        role["rules"] = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list"]}]
        subject = {"kind": "ServiceAccount", "name": "us", "namespace": "ours"}
        binding = {"kind": "RoleBinding", "metadata": {"namespace": "a", "name": "b"}, "subjects": [subject]}
        binding["roleRef"] = {"kind": "Role", "name": "r"}
        expected = {("a", "", "secrets", "get"), ("a", "", "secrets", "list")}
        self.assertEqual(rights([role, binding], "ours", "us"), expected)
        self.assertEqual(rights([role, binding], "theirs", "us"), set())
        self.assertEqual(
            rights([{**role, "metadata": {"namespace": "b", "name": "r"}}, binding], "ours", "us"),
            {("a", "*", "*", "*")},
        )
        everywhere = {
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "c"},
            "roleRef": {"kind": "ClusterRole", "name": "admin"},
        }
        everywhere["subjects"] = [{"kind": "Group", "name": "system:serviceaccounts:ours"}]
        self.assertEqual(rights([everywhere], "ours", "us"), {("*", "*", "*", "*")})

    def test_a_pod_without_policies_is_open_and_an_empty_rule_has_all(self):
        us, them = Peer("10.0.0.1", "a", {"app": "us"}), Peer("10.0.0.2", "b", {"app": "them"})
        self.assertTrue(reaches([], them, us, 80))
        policy = {"metadata": {"namespace": "a"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
        self.assertFalse(reaches([policy], them, us, 80))
        self.assertTrue(reaches([policy], us, them, 80))
        policy["spec"]["ingress"] = [{}]
        self.assertTrue(reaches([policy], them, us, 80))
        policy["spec"]["ingress"] = [{"from": [{"podSelector": {"matchLabels": {"app": "them"}}}]}]
        self.assertFalse(reaches([policy], them, us, 80), "a peer without a namespace is in the policy's own")
        policy["spec"]["ingress"] = [{"from": [{"namespaceSelector": {}}], "ports": [{"port": 81}]}]
        self.assertFalse(reaches([policy], them, us, 80))
        self.assertTrue(reaches([policy], them, us, 81))
        policy["spec"]["ingress"] = [{"ports": [{"port": 80, "endPort": 90}, {"port": "name"}]}]
        self.assertEqual([port for port in (79, 80, 90, 91) if reaches([policy], them, us, port)], [80, 90])


if __name__ == "__main__":
    unittest.main()
