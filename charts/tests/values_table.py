"""The table of values in the chart's README: keys and defaults are those of values.yaml, what they
mean is said in values.schema.json. Run it to print the table."""

import json

import yaml

from chart import CHART

HEADER = "| key | default | meaning |\n| --- | --- | --- |\n"


def documented(schema, prefix=""):
    """The keys that the schema describes, with what they mean: (key, meaning)."""
    for key, sub in schema.get("properties", {}).items():
        path = f"{prefix}{key}"
        if "description" in sub:
            yield path, sub["description"]
        else:
            yield from documented(sub, f"{path}.")


def default(values, path):
    """What values.yaml says of a key, as one writes it; None where it says nothing."""
    for key in path.split("."):
        if not isinstance(values, dict) or key not in values:
            return None
        values = values[key]
    return values


def shown(value):
    """A default as a cell: long ones are in values.yaml."""
    if value is None:
        return ""
    text = json.dumps(value)
    return f"`{text}`" if len(text) <= 60 else "see values.yaml"


def rows():
    """The table's rows: (key, default, meaning). What the chart does not use is not told."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for key, meaning in documented(schema):
        if key != "global":
            yield key, shown(default(values, key)), meaning


def table():
    return HEADER + "".join(f"| `{key}` | {value} | {meaning} |\n" for key, value, meaning in rows())


if __name__ == "__main__":
    print(table(), end="")
