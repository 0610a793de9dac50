"""What Rust's front door has is in Python, or left out for a reason."""

import pathlib
import re

import xennet
from xennet import Host
from xennet.aio import AsyncHost

SOURCES = pathlib.Path(__file__).parents[2] / "xennet-core" / "src" / "host"

#: What has another name in Python (`backend` is Rust's for a value, and here a word), or is a keyword of what makes a host.
OTHERWISE = {
    "netlink": "netlink",
    "with_state_dir": "fake",
    "with_lock_deadline": "fake",
    "with_mac_binding": "fake",
    "set_budget": "fake",
    "fake_in": "fake",
    "with_interrupt": "interrupt",
    "undo_last": "undo",
    "plan_undo_last": "plan_undo",
    "apply_shown": "apply",
    "guest_config_of": "guest_config",
    "from_recording_with": "from_recording",
    "detach_unwritten": "detach_unwritten",
    "started_in_order_of_stop": "in_order_of_stop",
}

LEFT_OUT = {
    "with_backend": "a backend is written in Rust",
    "with_locks_kept": "of use to a hotplug call, which `xennet.hotplug` is the whole of",
    "lock": "as with_locks_kept",
    "release": "as with_locks_kept",
    "start_guarded": "a part of start_confirmed, which calls the guard, too",
    "undo_start": "a part of the guard",
    "undo_unconfirmed": "a part of the guard",
    "started_in_order_of_stop": "in_order_of_stop and started_networks say it",
    "guard": "what start_confirmed calls in a process of its own",
    "plan_request": "the request of a plan is its method in Python; a plan that was kept is a document for Host.apply",
    "overview_of": "Host.from_recording(recording).overview() is the same",
    "document": "of Recovered: what Host.recover gives",
}


def functions():
    found = set()
    for path in sorted(SOURCES.glob("*.rs")):
        for block in re.split(r"^(?=impl|pub fn|fn )", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            if block.startswith("impl Host {"):
                found |= set(re.findall(r"^    pub (?:const )?fn (\w+)", block, flags=re.MULTILINE))
    return found


def test_every_function_of_the_front_door_is_here_or_left_out_for_a_reason():
    theirs = functions()
    assert len(theirs) > 45
    missing = {name for name in theirs if not hasattr(Host, OTHERWISE.get(name, name)) and name not in LEFT_OUT}
    assert not missing, f"add them to Python, or say why not: {sorted(missing)}"
    assert not {name for name in LEFT_OUT if hasattr(Host, name)}, "these are not left out any more"
    gone = (set(LEFT_OUT) | set(OTHERWISE)) - theirs - {"document"}
    assert not gone, f"the front door has these no more: {sorted(gone)}"


def test_the_other_way_round_python_has_little_of_its_own():
    own = {name for name in dir(Host) if not name.startswith("_")} - functions()
    assert own == {
        # Python's ways of saying it.
        "applied", "close", "interrupt", "rehearse", "set_faults", "state_dir",
        # Of other modules of the core.
        "link_events", "sandbox", "trace", "watch",
    }, own
    assert {"aevents", "events"} <= set(dir(xennet.xenstore.Store)) and hasattr(AsyncHost, "call")
