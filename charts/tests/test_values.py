"""Values: what is documented is what there is, and a mistake is told before anything is installed."""

import json
import tempfile
import textwrap
import unittest

import yaml

from chart import CHART, KUBEWARDEN, LEAST, ROOT, complaint, template
from values_table import documented, table


def leaves(values, known, prefix=""):
    """The keys of values.yaml down to where the schema describes them."""
    for key, value in values.items():
        path = f"{prefix}{key}"
        if path in known or not isinstance(value, dict):
            yield path
        else:
            yield from leaves(value, known, f"{path}.")


def objects_of(schema, path=""):
    """All schemas of objects with keys of their own, with where they are."""
    if isinstance(schema, list):
        for item in schema:
            yield from objects_of(item, path)
    elif isinstance(schema, dict):
        if "properties" in schema:
            yield path, schema
        for key, value in schema.items():
            yield from objects_of(value, f"{path}/{key}")


class Documented(unittest.TestCase):
    def setUp(self):
        self.schema = json.loads((CHART / "values.schema.json").read_text())
        self.values = yaml.safe_load((CHART / "values.yaml").read_text())

    def test_the_readme_has_the_table_of_values(self):
        expected = table()
        readme = (CHART / "README.md").read_text()
        self.assertTrue(expected in readme, f"README.md of the chart lacks this table:\n{expected}")

    def test_each_value_is_described_and_what_is_described_has_a_default(self):
        known = dict(documented(self.schema))
        # The replicator has defaults of its own for these.
        without = {
            "config.target.naming",
            "config.target.credentials",
            "config.target.create_repository",
            "tenancy.namespaceBytes",
            "global",
        }
        self.assertEqual(set(leaves(self.values, known)), known.keys() - without)

    def test_each_object_of_the_schema_says_that_there_is_no_other_key(self):
        for path, schema in objects_of(self.schema):
            self.assertIs(schema.get("additionalProperties"), False, path)

    def test_the_values_of_the_documentation_render(self):
        blocks = (ROOT / "docs" / "install.md").read_text().split("```yaml\n")[1:]
        blocks = [textwrap.dedent(block.partition("```")[0]) for block in blocks]
        self.assertEqual(len(blocks), 3)
        for values in blocks:
            with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                file.write(values)
                file.flush()
                least = () if "config:" in values else LEAST
                objects = template(*least, *KUBEWARDEN, "--values", file.name)
            self.assertTrue(objects.one("ClusterAdmissionPolicy"))

    def test_versions_are_those_of_the_project(self):
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        version = next(
            line.split('"')[1]
            for line in (ROOT / "Cargo.toml").read_text().splitlines()
            if line.startswith("version =")
        )
        self.assertEqual(chart["appVersion"], version)
        package = yaml.safe_load((ROOT / "artifacthub-pkg.yml").read_text())
        images = {image["image"] for image in yaml.safe_load(chart["annotations"]["artifacthub.io/images"])}
        objects = template(*LEAST, *KUBEWARDEN)
        module = objects.one("ClusterAdmissionPolicy")["spec"]["module"].removeprefix("registry://")
        replicator = objects.deployment()["spec"]["template"]["spec"]["containers"][0]["image"]
        self.assertEqual(images, {module, replicator})
        self.assertEqual([module], [image["image"] for image in package["containersImages"]])


class Mistakes(unittest.TestCase):
    def refused(self, words, *values):
        said = complaint(*values)
        self.assertIn(words, said, f"for {values}")

    def test_what_is_required_is_asked_for(self):
        self.refused("config.target.root: where shall replicas live?")
        self.refused(
            "config.rules: nothing is copied that no rule allows", "--set=config.target.root=r.corp/m"
        )
        postgres = (*LEAST, "--set=ledger.engine=postgres")
        self.refused("ledger.postgres.host: where is PostgreSQL?", *postgres)
        self.refused(
            "ledger.postgres.secret: name the Secret", *postgres, "--set=ledger.postgres.host=db.corp"
        )
        self.refused("tls.existingSecret: name the Secret", *LEAST, "--set=tls.mode=existingSecret")
        self.refused(
            "policyServer.name: name the PolicyServer", *LEAST, *KUBEWARDEN, "--set=policyServer.create=false"
        )

    def test_what_does_not_fit_is_told(self):
        for words, value in [
            ("SQLite is a file of one replicator", "replicas=2"),
            ("must be more than a second below policy.timeoutEvalSeconds", "policy.settings.budgetMs=4000"),
            ("must be more than a second below policy.timeoutEvalSeconds", "policy.timeoutEvalSeconds=4"),
            ("must be below policy.timeoutSeconds", "policy.timeoutEvalSeconds=10"),
            ("set both or none", "front.callers.existingSecret=s"),
            ("set both or none", "policyServer.existingPullSecret=s"),
            ("credentials.team: a rule or the target names it", "config.rules[0].credentials=team"),
            ("credentials.target: a rule or the target names it", "config.target.credentials=target"),
            ("if a rule has namespace_secrets: true, and only then", "tenancy.secretNamespaces[0]=shop"),
            ("if a rule has namespace_secrets: true, and only then", "config.rules[0].namespace_secrets=true"),
        ]:
            self.refused(words, *LEAST, f"--set={value}")

    def test_a_key_that_is_not_known_is_refused_wherever_it_is(self):
        for value in [
            "replica=2",
            "config.front.listen=0.0.0.0:1",
            "config.ledger=sqlite:/x",
            "config.credentials.a=/x",
            "config.target.roots=x",
            "config.rules[0].source=x",
            "config.rules[0].referrers.enable=true",
            "config.registries.r.ca=/x",
            "config.copy.worker=1",
            "ledger.postgres.password=hunter2",
            "front.callers.password=hunter2",
            "front.rights[0].caler=x",
            "registryCAs.r.pem=x",
            "tls.certManager.issuerRef.nam=x",
            "policy.settings.target=x",
            "policyServer.spec.image=x",
            "networkPolicy.registries.port=1",
            "networkPolicy.front.from[0].ipblock.cidr=::/0",
            "monitoring.enabled=true",
            "tenancy.secret_namespaces[0]=shop",
            "tenancy.namespace_bytes=1",
            "config.tenancy.secret_namespaces[0]=shop",
        ]:
            self.refused("values don't meet the specifications of the schema", *LEAST, f"--set={value}")

    def test_a_value_that_is_none_is_refused(self):
        for value in [
            "tls.mode=certmanager",
            "ledger.engine=mysql",
            "front.port=70000",
            "replicas=0",
            "config.drain_ms=-1",
            "image.digest=sha256:1",
            "tls.ca=none",
            "networkPolicy.dns.to=",
            "registryCAs.r.configMap=Corp_CA",
            "credentials.Team=x",
            "tenancy.secretNamespaces[0]=team-*",
            "tenancy.namespaceBytes=0",
            "tenancy.namespaceBytes=100Gi",
            "front.callers.username=a:b",
        ]:
            self.refused("values don't meet the specifications of the schema", *LEAST, f"--set={value}")


if __name__ == "__main__":
    unittest.main()
