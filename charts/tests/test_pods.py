"""Pods: what Pod Security's level `restricted` asks for, field by field, and how they run and end."""

import copy
import unittest

from chart import KUBEWARDEN, LEAST, rendered, template, variants

# What `restricted` allows.
VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
CAPABILITIES = {"NET_BIND_SERVICE"}
SECCOMP = {"RuntimeDefault", "Localhost"}


def violations(spec):
    """In what a pod is not `restricted`, by the standard's names (Kubernetes 1.37)."""
    found = set()
    found.update(key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key))
    for volume in spec.get("volumes", []):
        found.update(f"volume type {kind}" for kind in volume.keys() - {"name"} - VOLUMES)
    pod = spec.get("securityContext", {})
    found.update(sysctl["name"] for sysctl in pod.get("sysctls", []))
    for container in spec["containers"] + spec.get("initContainers", []):
        own = container.get("securityContext", {})

        def either(key):
            return own.get(key, pod.get(key))

        capabilities = own.get("capabilities", {})
        checks = {
            "privileged": own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
            "capabilities.drop": "ALL" not in capabilities.get("drop", []),
            "capabilities.add": set(capabilities.get("add", [])) - CAPABILITIES,
            "runAsNonRoot": either("runAsNonRoot") is not True,
            "runAsUser": either("runAsUser") == 0,
            "seccompProfile": (either("seccompProfile") or {}).get("type") not in SECCOMP,
            "procMount": own.get("procMount", "Default") != "Default",
            "seLinuxOptions": either("seLinuxOptions"),
            "hostPort": any(port.get("hostPort") for port in container.get("ports", [])),
        }
        found.update(name for name, is_violated in checks.items() if is_violated)
    return found


class Security(unittest.TestCase):
    def test_all_pods_are_restricted(self):
        for variant in variants():
            for name, spec in rendered(variant).pod_specs().items():
                self.assertEqual(violations(spec), set(), f"{variant} {name}")

    def test_all_pods_have_a_root_that_nobody_writes_and_a_user_that_is_not_root(self):
        for variant in variants():
            for name, spec in rendered(variant).pod_specs().items():
                for container in spec["containers"]:
                    self.assertIs(container["securityContext"]["readOnlyRootFilesystem"], True, name)
                self.assertGreater(spec["securityContext"]["runAsUser"], 0)
                self.assertGreater(spec["securityContext"]["fsGroup"], 0)

    def test_what_is_mounted_is_read_only_but_the_ledger(self):
        for variant in variants():
            for spec in rendered(variant).pod_specs().values():
                mounts = spec["containers"][0]["volumeMounts"]
                writable = {mount["name"] for mount in mounts if not mount.get("readOnly")}
                self.assertLessEqual(writable, {"ledger"}, variant)

    def test_what_runs_before_is_as_confined_unless_the_values_say_otherwise(self):
        for variant, user in [("credential-helper", None), ("everything-on", 1000)]:
            spec = rendered(variant).deployment()["spec"]["template"]["spec"]
            [before], [replicator] = spec["initContainers"], spec["containers"]
            expected = dict(replicator["securityContext"], **({"runAsUser": user} if user else {}))
            self.assertEqual(before["securityContext"], expected, variant)

    def test_the_status_token_is_mounted_where_the_configuration_looks_for_it(self):
        objects = rendered("everything-on")
        spec = objects.deployment()["spec"]["template"]["spec"]
        mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
        files = next(volume for volume in spec["volumes"] if volume["name"] == "files")
        sources = [source["secret"] for source in files["projected"]["sources"] if "secret" in source]
        token = next(secret for secret in sources if secret["name"] == "status-token")
        self.assertEqual(token["items"], [{"key": "token", "path": "status-token"}])
        self.assertEqual(objects.config()["status"]["token"], f"{mounts['files']}/status-token")
        self.assertNotIn("token", rendered("small").config()["status"])

    def test_each_violation_is_noticed(self):
        good = rendered("small").deployment()["spec"]["template"]["spec"]

        def broken(change):
            spec = copy.deepcopy(good)
            change(spec, spec["containers"][0]["securityContext"])
            return violations(spec)

        changes = {
            "hostNetwork": lambda pod, own: pod.update(hostNetwork=True),
            "volume type hostPath": lambda pod, own: pod["volumes"].append(
                {"name": "x", "hostPath": {"path": "/"}}
            ),
            "privileged": lambda pod, own: own.update(privileged=True),
            "allowPrivilegeEscalation": lambda pod, own: own.pop("allowPrivilegeEscalation"),
            "capabilities.drop": lambda pod, own: own.pop("capabilities"),
            "capabilities.add": lambda pod, own: own["capabilities"].update(add=["SYS_ADMIN"]),
            "runAsNonRoot": lambda pod, own: own.update(runAsNonRoot=False),
            "runAsUser": lambda pod, own: pod["securityContext"].update(runAsUser=0),
            "seccompProfile": lambda pod, own: pod["securityContext"].pop("seccompProfile"),
            "hostPort": lambda pod, own: pod["containers"][0]["ports"][0].update(hostPort=1),
        }
        for name, change in changes.items():
            self.assertEqual(broken(change), {name})


class Life(unittest.TestCase):
    def test_probes_ask_the_status_port(self):
        for variant in variants():
            container = rendered(variant).deployment()["spec"]["template"]["spec"]["containers"][0]
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            asked = {
                probe: container[probe]["httpGet"]
                for probe in ("startupProbe", "livenessProbe", "readinessProbe")
            }
            self.assertEqual({get["port"] for get in asked.values()}, {"status"})
            self.assertEqual(asked["readinessProbe"]["path"], "/readyz")
            self.assertEqual(
                {asked[probe]["path"] for probe in ("startupProbe", "livenessProbe")}, {"/healthz"}
            )
            config = rendered(variant).config()
            self.assertTrue(config["status"]["listen"].endswith(f":{ports['status']}"))
            self.assertTrue(config["front"]["listen"].endswith(f":{ports['front']}"))

    def test_the_grace_period_is_longer_than_copies_may_go_on(self):
        for variant in variants():
            objects = rendered(variant)
            grace = objects.deployment()["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            self.assertGreaterEqual(grace * 1000, objects.config()["drain_ms"] + 10_000, variant)

    def test_copies_that_may_not_go_on_at_all_end_at_once(self):
        objects = template(*LEAST, "--set=config.drain_ms=0")
        self.assertEqual(objects.config()["drain_ms"], 0)

    def test_a_helper_is_where_the_replicator_looks_for_programs(self):
        spec = rendered("credential-helper").deployment()["spec"]["template"]["spec"]
        [before], [replicator] = spec["initContainers"], spec["containers"]
        environment = {entry["name"]: entry.get("value") for entry in replicator["env"]}
        volumes = {volume["name"] for volume in spec["volumes"]}
        [seen] = [mount for mount in replicator["volumeMounts"] if mount["name"] == "helpers"]
        [written] = before["volumeMounts"]
        self.assertIn(seen["mountPath"], environment["PATH"].split(":"))
        self.assertEqual(before["command"][-1], written["mountPath"] + "/")
        self.assertLessEqual({seen["name"], written["name"]}, volumes)

    def test_sqlite_sorts_where_it_may_write(self):
        for variant in variants():
            objects = rendered(variant)
            [replicator] = objects.deployment()["spec"]["template"]["spec"]["containers"]
            environment = {entry["name"]: entry.get("value") for entry in replicator["env"]}
            ledgers = [mount["mountPath"] for mount in replicator["volumeMounts"] if mount["name"] == "ledger"]
            self.assertEqual(ledgers, [environment[key] for key in ["SQLITE_TMPDIR"] if key in environment])

    def test_one_with_sqlite_many_with_postgresql(self):
        for variant in variants():
            objects = rendered(variant)
            spec = objects.deployment()["spec"]
            volumes = {volume["name"]: volume for volume in spec["template"]["spec"]["volumes"]}
            if objects.config()["ledger"].startswith("sqlite:"):
                self.assertEqual((spec["replicas"], spec["strategy"]), (1, {"type": "Recreate"}))
                claim = volumes["ledger"]["persistentVolumeClaim"]["claimName"]
                made = [item["metadata"]["name"] for item in objects.of("PersistentVolumeClaim")]
                self.assertEqual(made, [] if variant == "no-cert-manager" else [claim])
            else:
                self.assertEqual(spec["strategy"]["type"], "RollingUpdate")
                self.assertEqual(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0)
                self.assertNotIn("ledger", volumes)
                self.assertEqual(objects.of("PersistentVolumeClaim"), [])

    def test_many_are_spread_and_not_taken_away_at_once(self):
        for variant, count in [("ha", 3), ("everything-on", 2)]:
            objects = rendered(variant)
            spec = objects.deployment()["spec"]
            self.assertEqual(spec["replicas"], count)
            labels = spec["template"]["metadata"]["labels"].items()
            budget = objects.one("PodDisruptionBudget")["spec"]
            self.assertEqual(budget["maxUnavailable"], 1)
            spread = spec["template"]["spec"]["topologySpreadConstraints"]
            self.assertEqual(
                {one["topologyKey"] for one in spread},
                {"kubernetes.io/hostname", "topology.kubernetes.io/zone"},
            )
            for selector in [budget["selector"], *(one["labelSelector"] for one in spread)]:
                self.assertLessEqual(selector["matchLabels"].items(), labels)
        self.assertEqual(rendered("small").of("PodDisruptionBudget"), [])

    def test_of_several_policy_servers_one_is_taken_away_at_once(self):
        def server(objects):
            return objects.one("PolicyServer")["spec"]

        self.assertEqual(server(rendered("small"))["maxUnavailable"], 1)
        self.assertNotIn("maxUnavailable", server(rendered("ha")))
        self.assertNotIn(
            "maxUnavailable", server(template(*LEAST, *KUBEWARDEN, "--set=policyServer.replicas=1"))
        )

    def test_a_changed_configuration_starts_new_pods_and_nothing_else_does(self):
        def pods(*more):
            return template(*LEAST, *KUBEWARDEN, *more).deployment()["spec"]["template"]

        self.assertEqual(pods(), pods())
        self.assertEqual(pods(), pods("--set=policy.settings.mode=wait", "--set=replicas=1"))
        self.assertNotEqual(pods(), pods("--set=config.copy.workers=9"))


if __name__ == "__main__":
    unittest.main()
