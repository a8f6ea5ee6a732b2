"""Every object of every variant is what its kind's schema says, and nothing else."""

import copy
import subprocess
import tempfile
import unittest

import yaml

from chart import CHART, helm, rendered, variants
from schemas import complaints


class Schemas(unittest.TestCase):
    def test_helm_finds_nothing_to_complain_of(self):
        for values in [[], *(["--values", str(path)] for path in variants().values())]:
            run = helm("lint", "--strict", str(CHART), *values)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_each_object_is_as_its_schema_says(self):
        self.assertGreaterEqual(len(variants()), 8)
        for variant in variants():
            for item in rendered(variant):
                with self.subTest(variant=variant, kind=item["kind"], name=item["metadata"]["name"]):
                    self.assertEqual(complaints(item), [])

    def test_each_kind_of_the_chart_is_in_some_variant(self):
        kinds = {item["kind"] for variant in variants() for item in rendered(variant)}
        self.assertEqual(
            kinds,
            {
                *("ConfigMap", "Deployment", "NetworkPolicy", "PersistentVolumeClaim", "Pod"),
                *("PodDisruptionBudget", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Secret", "Service", "ServiceAccount"),
                *("Certificate", "Issuer", "ClusterAdmissionPolicy", "PolicyServer"),
                *("PrometheusRule", "ServiceMonitor"),
            },
        )

    def test_a_field_that_no_schema_knows_is_noticed_in_each_kind(self):
        objects = {item["kind"]: item for variant in variants() for item in rendered(variant)}
        for kind, item in objects.items():
            for place in ["spec", "metadata"]:
                broken = copy.deepcopy(item)
                broken.setdefault(place, {})["replicass"] = 1
                self.assertTrue(complaints(broken), f"{kind}.{place}")

    def test_no_two_objects_of_a_variant_have_one_name(self):
        for variant in variants():
            keys = [
                (
                    item["apiVersion"],
                    item["kind"],
                    item["metadata"].get("namespace"),
                    item["metadata"]["name"],
                )
                for item in rendered(variant)
            ]
            self.assertEqual(len(keys), len(set(keys)), variant)

    def test_prometheus_takes_the_alerts(self):
        spec = rendered("everything-on").one("PrometheusRule")["spec"]
        self.assertTrue(spec["groups"])
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump(spec, file)
            file.flush()
            run = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)


if __name__ == "__main__":
    unittest.main()
