"""The dashboard, as Grafana's own types read it: they take all of it, and leave nothing out."""

import copy
import json
import unittest

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from chart import CHART

plugins.register_default_plugins()


def dashboard():
    return json.loads((CHART / "files" / "dashboard.json").read_text())


def read(item):
    """What Grafana's types keep of it."""
    return json.loads(json.dumps(Dashboard.from_json(copy.deepcopy(item)), cls=JSONEncoder))


def lost(item, kept, path=""):
    """What is not kept as it is, by path; what types add by themselves does not matter."""
    if isinstance(item, dict) and isinstance(kept, dict):
        keys = item.keys() & kept.keys()
        missing = [f"{path}.{key}" for key in item.keys() - keys]
        return missing + [found for key in keys for found in lost(item[key], kept[key], f"{path}.{key}")]
    if isinstance(item, list) and isinstance(kept, list) and len(item) == len(kept):
        pairs = enumerate(zip(item, kept))
        return [found for index, pair in pairs for found in lost(*pair, f"{path}[{index}]")]
    return [] if item == kept else [path]


class Types(unittest.TestCase):
    def test_nothing_of_it_is_unknown_to_grafana(self):
        self.assertEqual(lost(dashboard(), read(dashboard())), [])

    def test_what_is_unknown_is_noticed_in_each_kind_of_panel(self):
        for index, panel in enumerate(dashboard()["panels"]):
            if panel["type"] == "row":
                continue
            broken = dashboard()
            broken["panels"][index]["options"]["placment"] = "right"
            broken["panels"][index]["targets"][0]["exprr"] = "up"
            expected = {f".panels[{index}].options.placment", f".panels[{index}].targets[0].exprr"}
            self.assertEqual(set(lost(broken, read(broken))), expected)


class Layout(unittest.TestCase):
    def test_no_panel_lies_on_another_or_beyond_the_edge(self):
        taken = {}
        for panel in dashboard()["panels"]:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    self.assertNotIn((x, y), taken, panel["title"])
                    taken[x, y] = panel["title"]

    def test_each_panel_has_a_number_of_its_own_and_says_what_it_shows(self):
        panels = dashboard()["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        for panel in panels:
            if panel["type"] != "row":
                self.assertTrue(panel["description"], panel["title"])


if __name__ == "__main__":
    unittest.main()
