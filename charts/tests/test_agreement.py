"""Parts that must agree to the letter: replicator, policy server, policy, and what finds them."""

import pathlib
import unittest

import yaml

from chart import ROOT, KUBEWARDEN, LEAST, NAMESPACE, rendered, template, variants
from handshake import accounts, htpasswd, is_password, is_trusted, tls

FOLDER = pathlib.PurePosixPath("/etc/image-replicator")


def with_policy():
    return [variant for variant in variants() if rendered(variant).of("ClusterAdmissionPolicy")]


def policy(variant):
    return rendered(variant).one("ClusterAdmissionPolicy")["spec"]


class Handshake(unittest.TestCase):
    def test_the_policy_asks_where_the_service_is(self):
        for variant in with_policy():
            objects = rendered(variant)
            service = objects.one("Service")
            port = next(port for port in service["spec"]["ports"] if port["name"] == "front")["port"]
            address = f"{service['metadata']['name']}.{NAMESPACE}.svc:{port}"
            self.assertEqual(policy(variant)["settings"]["replicator"], address)

    def test_the_policys_target_is_the_replicators(self):
        for variant in with_policy():
            root = rendered(variant).config()["target"]["root"]
            self.assertEqual(policy(variant)["settings"]["target"], root)

    def test_the_policy_server_trusts_the_certificate_for_the_host_that_the_policy_names(self):
        seen = 0
        for variant in with_policy():
            objects = rendered(variant)
            address = policy(variant)["settings"]["replicator"]
            host = address.rpartition(":")[0]
            if any(item["type"] == "kubernetes.io/tls" for item in objects.of("Secret")):
                made = tls(objects)
                self.assertTrue(is_trusted(made["tls.crt"], made["ca.crt"], host), variant)
                self.assertFalse(is_trusted(made["tls.crt"], made["ca.crt"], f"other.{host}"), variant)
                self.assertFalse(
                    is_trusted(
                        made["tls.crt"],
                        tls(rendered("existing-policyserver" if variant == "small" else "small"))["ca.crt"],
                        host,
                    )
                )
                seen += 1
            for certificate in objects.of("Certificate"):
                if not certificate["spec"].get("isCA"):
                    self.assertEqual(certificate["spec"]["dnsNames"], [host])
            for server in objects.of("PolicyServer"):
                [authority] = server["spec"]["sourceAuthorities"][address]
                self.assertIn("BEGIN CERTIFICATE", authority)
                if objects.of("Certificate") or variant == "no-cert-manager":
                    continue
                self.assertEqual(authority, tls(objects)["ca.crt"])
        self.assertGreater(seen, 4)

    def test_the_password_of_the_policy_server_is_the_one_that_the_front_takes(self):
        seen = 0
        for variant in with_policy():
            objects = rendered(variant)
            if not any(item["type"] == "Opaque" for item in objects.of("Secret")):
                continue
            [(address, account)] = accounts(objects).items()
            self.assertEqual(address, policy(variant)["settings"]["replicator"])
            username, password = account["username"], account["password"]
            self.assertTrue(is_password(htpasswd(objects), username, password), variant)
            self.assertFalse(is_password(htpasswd(objects), username, password + "x"), variant)
            self.assertGreaterEqual(len(password), 32)
            seen += 1
        self.assertGreater(seen, 4)

    def test_the_policy_server_has_the_pull_secret_that_is_there(self):
        for variant in with_policy():
            objects = rendered(variant)
            pull = [
                item["metadata"]["name"]
                for item in objects.of("Secret")
                if item["type"].endswith("dockerconfigjson")
            ]
            for server in objects.of("PolicyServer"):
                self.assertEqual(policy(variant)["policyServer"], server["metadata"]["name"])
                expected = ["image-replicator-house"] if variant == "air-gapped" else pull
                self.assertEqual([server["spec"]["imagePullSecret"]], expected)

    def test_there_is_no_policy_before_its_server_can_trust_the_replicator(self):
        objects = rendered("cert-manager")
        self.assertNotIn("sourceAuthorities", objects.one("PolicyServer")["spec"])
        self.assertEqual(objects.of("ClusterAdmissionPolicy"), [])

    def test_without_kubewarden_nothing_of_it_is_rendered(self):
        objects = template(*LEAST)
        self.assertEqual([item for item in objects if "kubewarden" in item["apiVersion"]], [])
        self.assertEqual({item["metadata"]["namespace"] for item in objects}, {NAMESPACE})


class Policy(unittest.TestCase):
    def test_it_says_what_the_example_of_its_mode_says(self):
        def rules(spec):
            return sorted(yaml.safe_dump(rule) for rule in spec["rules"])

        for mode, more in [
            ("rewrite", ()),
            ("wait", ("policy.timeoutEvalSeconds=8", "policy.settings.budgetMs=6500")),
            ("keep", ("policy.failurePolicy=Ignore", "policy.settings.kinds={Pod,Deployment}")),
        ]:
            example = yaml.safe_load((ROOT / "examples" / f"{mode}.yaml").read_text())["spec"]
            ours = template(
                *LEAST,
                *KUBEWARDEN,
                *(f"--set={change}" for change in (*more, f"policy.settings.mode={mode}")),
            )
            ours = ours.one("ClusterAdmissionPolicy")["spec"]
            self.assertEqual(rules(ours), rules(example), mode)
            for key in example.keys() - {"rules", "settings", "namespaceSelector"}:
                self.assertEqual(ours[key], example[key], f"{mode} {key}")
            for key in ("replicator", "target", "mode", "budgetMs"):
                self.assertEqual(ours["settings"][key], example["settings"][key], f"{mode} {key}")

            def excluded(spec):
                return set(spec["namespaceSelector"]["matchExpressions"][0]["values"])

            self.assertEqual(excluded(ours), excluded(example), mode)

    def test_each_kind_of_the_settings_has_a_rule_as_the_module_says(self):
        metadata = yaml.safe_load((ROOT / "metadata.yml").read_text())

        def pairs(rules):
            return {(rule["apiGroups"][0], resource) for rule in rules for resource in rule["resources"]}

        self.assertEqual(pairs(policy("everything-on")["rules"]), pairs(metadata["rules"]))
        self.assertEqual(pairs(policy("small")["rules"]), {("", "pods"), ("", "pods/ephemeralcontainers")})

    def test_the_budget_ends_before_the_evaluation_and_that_before_the_webhook(self):
        for variant in with_policy():
            spec = policy(variant)
            self.assertLess(spec["settings"]["budgetMs"] + 1000, spec["timeoutEvalSeconds"] * 1000, variant)
            self.assertLess(spec["timeoutEvalSeconds"], spec["timeoutSeconds"], variant)


class Files(unittest.TestCase):
    def mounted(self, spec):
        """The paths that a pod sees in its folder, each with the object and key that it is from."""
        [volume] = [volume for volume in spec["volumes"] if volume["name"] == "files"]
        [mount] = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == "files"]
        self.assertEqual(mount["mountPath"], str(FOLDER))
        found = {}
        for source in volume["projected"]["sources"]:
            [(kind, of)] = source.items()
            for item in of["items"]:
                path = str(FOLDER / item["path"])
                self.assertNotIn(path, found)
                found[path] = kind, of["name"], item["key"]
        return found

    def named(self, value):
        """All paths below the folder that a configuration names."""
        if isinstance(value, dict):
            return {path for item in value.values() for path in self.named(item)}
        if isinstance(value, list):
            return {path for item in value for path in self.named(item)}
        if isinstance(value, str) and str(FOLDER) in value:
            return {value[value.index(str(FOLDER)) :]}
        return set()

    def test_each_file_that_the_configuration_names_is_mounted_and_no_other(self):
        for variant in variants():
            objects = rendered(variant)
            named = self.named(objects.config()) | {str(FOLDER / "config.yaml")}
            for name, spec in objects.pod_specs().items():
                self.assertEqual(set(self.mounted(spec)), named, f"{variant} {name}")
                self.assertIn(str(FOLDER / "config.yaml"), spec["containers"][0]["args"])

    def test_what_the_chart_makes_has_the_keys_that_are_mounted(self):
        for variant in variants():
            objects = rendered(variant)
            made = {
                (item["kind"].lower(), item["metadata"]["name"]): item["data"]
                for item in objects
                if "data" in item and item["metadata"]["namespace"] == NAMESPACE
            }
            for kind, name, key in self.mounted(objects.deployment()["spec"]["template"]["spec"]).values():
                data = made.get((kind.lower(), name))
                self.assertTrue(data is None or key in data, f"{variant} {name} {key}")

    def test_credentials_that_rules_name_are_mounted_from_the_secrets_of_the_values(self):
        config = rendered("tenancy").config()
        mounted = self.mounted(rendered("tenancy").deployment()["spec"]["template"]["spec"])
        for rule, secret in [("team-a", "pull-team-a"), ("team-b", "pull-team-b")]:
            [named] = [one["credentials"] for one in config["rules"] if one["name"] == rule]
            self.assertEqual(mounted[config["credentials"][named]], ("secret", secret, ".dockerconfigjson"))

    def test_those_that_are_told_have_their_secrets_and_authorities(self):
        objects = rendered("everything-on")
        scanner, watch = objects.config()["notifications"]
        mounted = self.mounted(objects.deployment()["spec"]["template"]["spec"])
        self.assertEqual(mounted[scanner["secret"]], ("secret", "scanner-secret", "secret"))
        self.assertEqual(mounted[scanner["ca"]], ("configMap", "corp-ca", "ca.crt"))
        self.assertEqual(scanner["events"], ["copied"])
        self.assertEqual(watch.keys(), {"name", "url", "plain_http", "events"})

    def test_a_password_of_postgresql_is_in_the_environment_alone(self):
        for variant, secret, keys in [
            ("ha", "ledger-app", ("username", "password")),
            ("everything-on", "ledger", ("user", "pass")),
        ]:
            objects = rendered(variant)
            self.assertNotIn("@", objects.config()["ledger"])
            environment = objects.deployment()["spec"]["template"]["spec"]["containers"][0]["env"]
            found = {
                entry["name"]: entry["valueFrom"]["secretKeyRef"]
                for entry in environment
                if entry["name"].startswith("PG")
            }
            expected = {
                name: {"name": secret, "key": key} for name, key in zip(("PGUSER", "PGPASSWORD"), keys)
            }
            self.assertEqual(found, expected)

    def test_what_the_values_say_of_the_configuration_is_in_it(self):
        values = yaml.safe_load(variants()["everything-on"].read_text())["config"]
        config = rendered("everything-on").config()
        for key in values.keys() - {"registries"}:
            self.assertEqual(config[key], values[key])
        self.assertEqual(config["tenancy"], {"namespace_bytes": 107374182400})
        for host, said in values["registries"].items():
            self.assertLessEqual(said.items(), config["registries"][host].items())


class Selectors(unittest.TestCase):
    def test_what_selects_the_replicator_has_its_pods_and_not_the_tests(self):
        for variant in variants():
            objects = rendered(variant)
            template_ = objects.deployment()["spec"]["template"]
            selectors = [
                objects.deployment()["spec"]["selector"]["matchLabels"],
                objects.one("Service")["spec"]["selector"],
                *(item["spec"]["podSelector"]["matchLabels"] for item in objects.of("NetworkPolicy")),
            ]
            for selector in selectors:
                self.assertLessEqual(selector.items(), template_["metadata"]["labels"].items())
                for pod in objects.of("Pod"):
                    self.assertFalse(selector.items() <= pod["metadata"]["labels"].items())

    def test_ports_by_name_are_ports_of_the_replicator(self):
        for variant in variants():
            objects = rendered(variant)
            names = {
                port["name"]
                for port in objects.deployment()["spec"]["template"]["spec"]["containers"][0]["ports"]
            }
            service = objects.one("Service")["spec"]["ports"]
            self.assertEqual({port["targetPort"] for port in service}, names)
            for item in objects.of("ServiceMonitor"):
                for endpoint in item["spec"]["endpoints"]:
                    self.assertIn(endpoint["port"], {port["name"] for port in service})
                self.assertLessEqual(
                    item["spec"]["selector"]["matchLabels"].items(),
                    objects.one("Service")["metadata"]["labels"].items(),
                )
                self.assertEqual(item["spec"]["namespaceSelector"]["matchNames"], [NAMESPACE])


if __name__ == "__main__":
    unittest.main()
