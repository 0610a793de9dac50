"""The types of documents are those of the schemas, and what the package gives is as they say."""

import ast
import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCHEMAS = ROOT / "xennet-core" / "schemas"
DOCUMENTS = ROOT / "xennet-py" / "python" / "xennet" / "documents.py"

#: The class, and where the schemas have it: a document, or a definition in one.
CLASSES = {
    "Advice": "advice",
    "HotplugSettings": "hotplug-settings",
    "Imported": "import",
    "LinkEvent": "link-event",
    "Mac": "mac",
    "ManagerWarning": "checked-managers#Warning",
    "ManagersHere": "checked-managers",
    "Rate": "rate",
    "Snippet": "snippets#Snippet",
    "Vlan": "vlan",
    "XendConfig": "xend-config",
    "CodeRow": "codes#Row",
    "Doctor": "findings",
    "Finding": "findings#Finding",
    "Fix": "findings#Fix",
    "GuestFile": "guest#GuestFile",
    "GuestTold": "guest",
    "Hop": "trace#Hop",
    "NetworkStatus": "network-status",
    "Overview": "overview",
    "ParsedVif": "parsed-vif",
    "Recovered": "recovered#RecoveredSubject",
    "Shown": "show",
    "ShownBridge": "show#ShownBridge",
    "ShownFilter": "overview#ShownFilter",
    "ShownNetwork": "overview#ShownNetwork",
    "ShownRoute": "overview#ShownRoute",
    "ShownVif": "show#ShownVif",
    "Trace": "trace",
}
#: Classes that are of no document, and why.
OTHERS = {
    "ParsedMac": "the document mac, and its notes beside it",
    "ParsedRate": "the document rate, and its notes beside it",
    "ParsedVifList": "the document vifs, with its notes in it",
    "ParsedXendConfig": "the document xend-config, and its notes beside it",
    "PortForward": "a forward in the words of networks.toml, as Network takes it",
}
TYPES = {"str": "string", "int": "integer", "bool": "boolean", "list": "array", "dict": "object", "None": "null"}


def schema(name):
    return json.loads((SCHEMAS / f"{name}.json").read_text())


class Written:
    """The classes as they are written; so the test needs nothing that is built."""

    def __init__(self):
        tree = ast.parse(DOCUMENTS.read_text())
        self.classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}

    def bases(self, name):
        return [base.id for base in self.classes[name].bases if isinstance(base, ast.Name) and base.id in self.classes]

    def members(self, name):
        """Each member's annotation, and whether it is always there."""
        found = {}
        for base in self.bases(name):
            found.update(self.members(base))
        total = not any(keyword.arg == "total" for keyword in self.classes[name].keywords)
        for node in self.classes[name].body:
            if isinstance(node, ast.AnnAssign):
                found[node.target.id] = (node.annotation, total)
        return found

    def kinds(self, annotation):
        """The kinds of JSON values that an annotation stands for."""
        if isinstance(annotation, ast.BinOp):
            return self.kinds(annotation.left) | self.kinds(annotation.right)
        if isinstance(annotation, ast.Subscript):
            return self.kinds(annotation.value)
        name = "None" if isinstance(annotation, ast.Constant) else annotation.id
        return {"object"} if name in self.classes else {TYPES[name]}


WRITTEN = Written()


def kinds(value, root):
    """The kinds of JSON values that a schema takes."""
    if "$ref" in value:
        target = value["$ref"]
        if not target.startswith("#"):
            name, _, inside = target.partition("#")
            root = schema(name.split(":")[2])
            return kinds(root["$defs"][inside.rsplit("/")[-1]] if inside else root, root)
        return kinds(root["$defs"][target.rsplit("/")[-1]], root)
    for cases in ("oneOf", "anyOf"):
        if cases in value:
            return set().union(*(kinds(case, root) for case in value[cases]))
    kind = value["type"]
    return {kind} if isinstance(kind, str) else set(kind)


def place(where):
    name, _, inside = where.partition("#")
    root = schema(name)
    return (root["$defs"][inside] if inside else root), root


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_class_has_the_members_of_its_schema(name):
    wanted, root = place(CLASSES[name])
    members = WRITTEN.members(name)
    assert set(members) == set(wanted["properties"])
    assert {member for member, (_, is_there) in members.items() if is_there} == set(wanted["required"])
    for member, (annotation, _) in members.items():
        assert WRITTEN.kinds(annotation) == kinds(wanted["properties"][member], root), member


def test_every_class_is_compared():
    public = {name for name in WRITTEN.classes if not name.startswith("_")}
    assert public == set(CLASSES) | set(OTHERS)
    assert all(OTHERS.values())


def test_a_wrong_class_is_found():
    wanted, root = place("show#ShownVif")
    assert kinds(wanted["properties"]["link"], root) == {"string", "null"}
    assert kinds(wanted["properties"]["domid"], root) == {"integer"}
    assert kinds(place("overview")[0]["properties"]["picture"], place("overview")[1]) == {"object"}
