"""All parsers: what they give, and that nothing but Invalid comes of any text."""

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xennet
from xennet import VifSpec, _xennet

DIALECTS = [dialect.value for dialect in xennet.Dialect]

#: Texts that come close to what is read: words of the grammar, in any order, with any character between.
WORDS = st.sampled_from(
    "mac bridge ip script vifname type rate mtu vlan backend = , : / @ 00:16:3e:01:02:03 xenbr0 192.0.2.6 10Mb/s 10p/20 1500 vif ioemu "
    "[ ] ( ) ' \" # \\ \n \t ; network-script vif-script vif-bridge [network.lan] mode nat subnets 10.0.0.0/24 true 1".split(" ")
)
NEAR = st.lists(st.one_of(WORDS, st.text(max_size=4)), max_size=14).map("".join)
TEXTS = st.one_of(st.text(max_size=60), NEAR)
LINES = st.one_of(TEXTS, st.dictionaries(st.sampled_from(["mac", "bridge", "ip", "mtu", "rate", "vlan", "x"]), NEAR, max_size=4).map(
    lambda keys: ",".join(f"{key}={value}" for key, value in keys.items())
))

PARSERS = [
    lambda text, dialect: VifSpec.parse(text, dialect=dialect),
    lambda text, dialect: xennet.parse_vif(text, dialect=dialect),
    lambda text, dialect: xennet.parse_vif_list(text, dialect=dialect),
    lambda text, dialect: xennet.parse_attach(text.split(","), dialect=dialect),
    lambda text, dialect: xennet.parse_rate(text, dialect=dialect),
    lambda text, dialect: xennet.parse_mac(text, dialect=dialect),
    lambda text, dialect: xennet.parse_vlan(text),
    lambda text, dialect: xennet.parse_xend_config(text),
    lambda text, dialect: xennet.parse_hotplug(text),
    lambda text, dialect: xennet.parse_networks(text),
    lambda text, dialect: xennet.Network.from_json(text),
    lambda text, dialect: xennet.parse_vifs(text, dialect=dialect),
    lambda text, dialect: xennet.parse_vifs([text, text], dialect=dialect, errors="return"),
]


@pytest.mark.parametrize("parser", PARSERS, ids=range(len(PARSERS)))
@settings(max_examples=150, deadline=None)
@given(text=st.one_of(LINES, TEXTS), dialect=st.sampled_from(DIALECTS))
def test_nothing_but_invalid_comes_of_any_text(parser, text, dialect):
    try:
        parser(text, dialect)
    except xennet.Invalid as error:
        assert str(error) and "\n" not in str(error) and error.report().startswith("error: ")
        if error.span is not None:
            begin, end = error.span
            assert 0 <= begin <= end and error.line >= 1 and error.column >= 1


@settings(max_examples=300, deadline=None)
@given(line=LINES, dialect=st.sampled_from(DIALECTS))
def test_what_was_read_is_written_and_read_again(line, dialect):
    try:
        spec = VifSpec.parse(line, dialect=dialect)
    except xennet.Invalid:
        return
    assert VifSpec.parse(str(spec)) == spec and eval(repr(spec), {"VifSpec": VifSpec}) == spec
    assert spec.replace() == spec and hash(spec.replace()) == hash(spec)


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(LINES, max_size=6), dialect=st.sampled_from(DIALECTS))
def test_many_lines_are_as_each_of_them(lines, dialect):
    def one(line):
        try:
            return VifSpec.parse(line, dialect=dialect)
        except xennet.Invalid as error:
            return str(error)

    many = xennet.parse_vifs(lines, dialect=dialect, errors="return")
    assert [str(item) if isinstance(item, xennet.Invalid) else item for item in many] == [one(line) for line in lines]


def test_many_lines_come_as_a_text_a_list_or_anything_with_items():
    lines = ["bridge=xenbr0", "", "bridge=xenbr1,accel=1"]
    specs = [VifSpec.parse(line) for line in lines]
    for given_ in ("\n".join(lines), lines, tuple(lines), iter(lines), dict.fromkeys(lines)):
        assert xennet.parse_vifs(given_) == specs
    assert xennet.parse_vifs(lines)[2].notes == specs[2].notes != ()
    assert xennet.parse_vifs([]) == [] and xennet.parse_vifs("") == []
    with pytest.raises(xennet.Invalid) as caught:
        xennet.parse_vifs(["bridge=xenbr0", "bridge=x,brigde=y"])
    assert caught.value.object == "line 2" and str(caught.value).startswith("line 2: ") and caught.value.column == 10
    with pytest.raises(xennet.Invalid):
        xennet.parse_vifs(["bridge=a\nbridge=b"])
    assert len(xennet.parse_vifs(["bridge=a\nbridge=b"], errors="return")) == 1
    with pytest.raises(ValueError, match="errors cannot be"):
        xennet.parse_vifs([], errors="ignore")


def test_the_documents_have_the_fields_that_their_types_say():
    documents = xennet.documents
    for document, kind in [
        (xennet.parse_vif("bridge=xenbr0"), documents.ParsedVif),
        (xennet.parse_vif_list("vif = ['']"), documents.ParsedVifList),
        (xennet.parse_attach(["bridge=xenbr0"]), documents.ParsedVif),
        (xennet.parse_rate("10Mb/s"), documents.ParsedRate),
        (xennet.parse_rate("10Mb/s")["rate"], documents.Rate),
        (xennet.parse_rate("10Mb/s", dialect="xl")["rate"], documents.Rate),
        (xennet.parse_mac("00:16:3e:01:02:03"), documents.ParsedMac),
        (xennet.parse_mac("00:16:3e:01:02:03")["mac"], documents.Mac),
        (xennet.parse_vlan("10p/20"), documents.Vlan),
        (xennet.parse_xend_config("(vif-script vif-bridge)"), documents.ParsedXendConfig),
        (xennet.parse_xend_config("")["config"], documents.XendConfig),
        (xennet.parse_hotplug(""), documents.HotplugSettings),
    ]:
        assert set(document) == set(kind.__annotations__), kind


def test_enums_are_the_library_s_words():
    for name, words in _xennet.WORDS.items():
        if name != "Question":
            kind = getattr(xennet, name)
            assert [str(member) for member in kind] == words and kind(words[0]) == words[0]
    asked = {"subnets" if name == "subnet" else name for name in _xennet.WORDS["Question"]}
    import inspect

    assert set(inspect.signature(xennet.advise).parameters) == asked
    assert {mode.value for mode in xennet.NetworkMode} == {"bridge", "nat", "routed"}
    assert xennet.Host.fake().picture(xennet.PictureForm.DOT).startswith("graph")


def test_addresses_may_be_objects():
    four, six = ipaddress.ip_address("192.0.2.6"), ipaddress.ip_network("2001:db8::/64")
    assert VifSpec(ip=[four, six, "192.0.2.7"]).ip == ("192.0.2.6", "2001:db8::/64", "192.0.2.7")
    network = xennet.Network(
        name="n", mode="nat", subnets=[ipaddress.ip_network("10.0.0.0/24")], gateways=(ipaddress.ip_address("10.0.0.1"),)
    )
    assert network.gateways == ("10.0.0.1",)
    told = xennet.guest_config("bridge=b,ip=192.0.2.6/24", format="kernel", gateway=[ipaddress.ip_address("192.0.2.1")])
    assert "192.0.2.1" in told["files"][0]["text"]
    interface = ipaddress.ip_interface("192.168.0.3/24")
    assert xennet.advise(lan=True, addresses="lan", dom0=interface)["network"]["mode"] == "bridge"
    for wrong in (four, six, [5], [b"192.0.2.6"], 5):
        with pytest.raises(TypeError, match="ip"):
            VifSpec(ip=wrong)


class Own(Exception):
    pass


def raises_later(error):
    yield "bridge=xenbr0"
    raise error


class RaisesAtOnce:
    def __init__(self, error):
        self.error = error

    def __iter__(self):
        raise self.error


@pytest.mark.parametrize("error", [Own(), TypeError("its own"), UnicodeDecodeError("utf-8", b"x", 0, 1, "its own")], ids=repr)
@pytest.mark.parametrize("items", [raises_later, RaisesAtOnce])
@pytest.mark.parametrize(
    "call",
    [
        xennet.parse_vifs,
        xennet.parse_attach,
        lambda items: VifSpec(ip=items),
        lambda items: xennet.Network(name="n", mode="nat", subnets=items),
        lambda items: xennet.Applied(steps=0, notes=items),
        lambda items: xennet.snippets(items),
        lambda items: xennet.advise(subnets=items),
        lambda items: xennet.Host.fake(faults=items),
        lambda items: xennet.Host.fake().stop_networks(items),
        lambda items: xennet.hotplug("vif-bridge", items),
        lambda items: xennet.import_xend(wrappers=items),
    ],
    ids=range(11),
)
def test_what_an_iterator_raises_comes_through_as_it_is(call, items, error):
    if items is raises_later and call not in (xennet.parse_vifs, xennet.parse_attach):
        pytest.skip("its first item means something else there")
    with pytest.raises(type(error)) as caught:
        call(items(error))
    assert caught.value is error
