"""What `helm upgrade` does with what it finds in the cluster."""

import copy
import os
import unittest

from chart import CHART, KUBEWARDEN, LEAST, NAMESPACE, RELEASE, helm, rendered, template, variants
from cluster import Cluster
from handshake import accounts, htpasswd, is_password, is_trusted, tls

SERVER = ("--dry-run=server", "--disable-openapi-validation")


def upgrade(found, *values, variant="small"):
    """Renders a variant in a cluster in which these objects are found."""
    kinds = [item for name in variants() for item in rendered(name)]
    with Cluster(found, kinds) as env:
        return template("--values", str(variants()[variant]), *SERVER, *values, env={**os.environ, **env})


def secrets(objects):
    return {item["metadata"]["name"]: item["data"] for item in objects.of("Secret")}


class Upgrade(unittest.TestCase):
    def setUp(self):
        self.first = rendered("small")

    def test_an_upgrade_changes_nothing(self):
        self.assertEqual(upgrade(self.first.of("Secret")), self.first)

    def test_what_is_generated_is_new_for_each_release(self):
        other = template("--values", str(variants()["small"]), *KUBEWARDEN)
        for name, data in secrets(self.first).items():
            self.assertNotEqual(data, secrets(other)[name])

    def test_another_name_for_the_caller_keeps_the_password(self):
        second = upgrade(self.first.of("Secret"), "--set=front.callers.username=other")
        [before], [after] = accounts(self.first).values(), accounts(second).values()
        self.assertEqual((after["username"], after["password"]), ("other", before["password"]))
        self.assertTrue(is_password(htpasswd(second), "other", before["password"]))
        self.assertEqual(tls(second), tls(self.first))

    def test_another_port_keeps_the_password_and_the_certificate(self):
        second = upgrade(self.first.of("Secret"), "--set=front.port=9443")
        self.assertEqual(list(accounts(second)), ["image-replicator.image-replicator.svc:9443"])
        self.assertEqual(list(accounts(second).values()), list(accounts(self.first).values()))
        self.assertEqual((tls(second), htpasswd(second)), (tls(self.first), htpasswd(self.first)))

    def test_a_lost_pull_secret_makes_a_new_password_and_a_lost_hash_does_not(self):
        for lost, is_same in [("kubernetes.io/dockerconfigjson", False), ("Opaque", True)]:
            second = upgrade([item for item in self.first.of("Secret") if item["type"] != lost])
            [before], [after] = accounts(self.first).values(), accounts(second).values()
            self.assertEqual(before["password"] == after["password"], is_same, lost)
            self.assertTrue(is_password(htpasswd(second), after["username"], after["password"]), lost)

    def test_a_certificate_for_another_host_is_made_anew_and_trusted(self):
        found = copy.deepcopy(self.first.of("Secret"))
        for item in found:
            if item["type"] == "kubernetes.io/tls":
                item["metadata"]["annotations"]["image-replicator.io/host"] = "former.image-replicator.svc"
        second = upgrade(found)
        self.assertNotEqual(tls(second), tls(self.first))
        address = second.one("ClusterAdmissionPolicy")["spec"]["settings"]["replicator"]
        [authority] = second.one("PolicyServer")["spec"]["sourceAuthorities"][address]
        self.assertTrue(is_trusted(tls(second)["tls.crt"], authority, address.rpartition(":")[0]))

    def test_with_cert_manager_the_policy_comes_once_the_ca_is_there(self):
        former = next(item for item in self.first.of("Secret") if item["type"] == "kubernetes.io/tls")
        issued = copy.deepcopy(former)
        issued["metadata"].pop("annotations")
        for found in [], [former]:
            self.assertEqual(upgrade(found, variant="cert-manager").of("ClusterAdmissionPolicy"), [])
        second = upgrade([issued], variant="cert-manager")
        address = second.one("ClusterAdmissionPolicy")["spec"]["settings"]["replicator"]
        authorities = second.one("PolicyServer")["spec"]["sourceAuthorities"]
        self.assertEqual(authorities, {address: [tls(self.first)["ca.crt"]]})
        self.assertFalse([item for item in second.of("Secret") if item["type"] == "kubernetes.io/tls"])

    def test_the_policy_server_is_of_the_version_that_the_cluster_has(self):
        default = {"apiVersion": "policies.kubewarden.io/v1", "kind": "PolicyServer"}
        default |= {"metadata": {"name": "default"}, "spec": {"image": "r.example/policy-server:v1.36.2"}}

        def image(objects):
            return objects.one("PolicyServer")["spec"]["image"]

        self.assertEqual(image(upgrade([default])), "r.example/policy-server:v1.36.2")
        self.assertEqual(image(upgrade([default], "--set=policyServer.image=other:v1")), "other:v1")


class Notes(unittest.TestCase):
    def notes(self, *values, kubewarden=True):
        kinds = [item for name in variants() for item in rendered(name)]
        if not kubewarden:
            kinds = [item for item in kinds if "kubewarden" not in item["apiVersion"]]
        with Cluster([], kinds) as env:
            command = ("install", RELEASE, str(CHART), "--namespace", NAMESPACE, *SERVER, *LEAST, *values)
            run = helm(*command, env={**os.environ, **env})
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout.partition("\nNOTES:\n")[2]

    def test_they_say_the_next_step(self):
        notes = self.notes()
        self.assertIn("helm test image-replicator --namespace image-replicator", notes)
        doctor = "-- image-replicator doctor --config /etc/image-replicator/config.yaml"
        self.assertIn(f"kubectl exec --namespace image-replicator deploy/image-replicator {doctor}", notes)
        self.assertIn("kubectl get clusteradmissionpolicy image-replicator", notes)
        self.assertNotIn("MISSING", notes)

    def test_they_say_that_kubewarden_is_missing(self):
        notes = self.notes(kubewarden=False)
        self.assertIn("KUBEWARDEN IS MISSING", notes)
        self.assertNotIn("kubectl get clusteradmissionpolicy", notes)

    def test_they_say_what_an_existing_policy_server_must_be_told(self):
        notes = self.notes("--set=policyServer.create=false", "--set=policyServer.name=default")
        self.assertIn('PolicyServer "default"', notes)
        self.assertIn("imagePullSecret: image-replicator\n", notes)
        self.assertIn("'{{ index .data \"ca.crt\" | base64decode }}'", notes)
        self.assertIn("REFUSED", notes)
        self.assertIn(
            "run from their sources",
            self.notes(
                "--set=policyServer.create=false",
                "--set=policyServer.name=default",
                "--set=policy.settings.onUnavailable=allow",
            ),
        )

    def test_they_say_that_the_ca_is_not_known_yet(self):
        notes = self.notes("--set=tls.mode=certManager")
        self.assertIn("THE POLICY IS NOT THERE YET", notes)
        self.assertNotIn("kubectl get clusteradmissionpolicy", notes)


if __name__ == "__main__":
    unittest.main()
