"""The types of documents are those of the schemas, and what the package gives is as they say."""

import ast
import importlib
import json
import os
import pathlib

import pytest

import xennet

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
    "ViolationCount": "violations#ViolationCount",
    "Violations": "violations",
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


def valid(name, document):
    """Whether a document is as its schema says, which comes with what it refers to."""
    jsonschema = pytest.importorskip("jsonschema") if not os.environ.get("CI") else importlib.import_module("jsonschema")
    # What json writes, and no objects of Python.
    document = json.loads(json.dumps(document, allow_nan=False))
    bundled = xennet.schema(name)
    jsonschema.Draft202012Validator.check_schema(bundled)
    jsonschema.validate(document, bundled, cls=jsonschema.Draft202012Validator)


NETWORKS = """
[network.lan]
mode = "bridge"
uplink = "eth0"

[network.inside]
mode = "nat"
subnets = ["10.7.0.0/24"]
bridge = "natbr0"
"""


def test_what_the_package_gives_is_as_the_schemas_say(tmp_path):
    config = tmp_path / "xend-config.sxp"
    config.write_text("(network-script network-bridge)\n(vif-script vif-bridge)\n")
    host = xennet.Host.fake()
    lan, inside = xennet.parse_networks(NETWORKS)
    plan = host.plan_attach(5, "bridge=xenbr0,ip=192.0.2.7,mac=00:16:3e:00:00:07")
    host.apply(plan)
    host.start_network(inside)
    host.attach(6, "bridge=natbr0,ip=10.7.0.6,mac=00:16:3e:00:00:08")
    recording = host.record()
    given = {
        "advice": xennet.advise(lan=True, addresses="own", reachable=False),
        "checked-managers": xennet.managers_here(),
        "findings": xennet.doctor(recording),
        "guest": host.guest_config("bridge=natbr0,ip=10.7.0.6,mac=00:16:3e:00:00:08", format="netplan"),
        "hotplug-settings": xennet.parse_hotplug("deadline = 7"),
        "import": xennet.import_xend(config),
        "mac": xennet.parse_mac("00:16:3e:00:00:01")["mac"],
        "network": lan.to_dict(),
        "network-status": host.network_status(inside),
        "overview": host.overview(),
        "violations": host.violations(),
        "parsed-vif": xennet.parse_vif("bridge=xenbr0,rate=10Mb/s,nonsense=1", dialect="xl"),
        "picture": json.loads(str(host.picture("json"))),
        "plan": plan.to_dict(),
        "rate": xennet.parse_rate("10Mb/s@20ms")["rate"],
        "recording": recording,
        "schemas": xennet.schema(),
        "show": host.show(),
        "trace": host.trace("vif5.0", "outside", "tcp", 443),
        "vif": xennet.VifSpec(bridge="xenbr0", mac="00:16:3e:00:00:07").to_dict(),
        "vifs": {name: value for name, value in xennet.parse_vif_list("vif = ['bridge=xenbr0']").items() if name != "notes"},
        "vlan": xennet.parse_vlan("10p/20"),
        "xend-config": xennet.parse_xend_config("(network-script network-bridge)")["config"],
    }
    for name, document in given.items():
        valid(name, document)
