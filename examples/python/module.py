"""An idempotent module as Ansible has them: JSON arguments in, JSON out, nothing changed if all is as wanted, and `--check` for what would be done.

    echo '{"network": {"name": "private", "mode": "nat", "subnets": ["10.0.0.0/24"]}, "state": "started"}' | python3 module.py [--check] [--rehearsal DIR]

Arguments: `network` (the keywords of xennet.Network) or `bridge` (those of xennet.BridgeSpec), and `state`: "started" (the default) or "stopped" for a
network. The answer has `changed`, `diff` (a line for each step), `notes`, and on failure `failed` and `msg`.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import xennet


def wanted(host: xennet.Host, arguments: dict[str, Any]) -> xennet.Plan | None:
    """What has to be done, as a plan; None for nothing."""
    state = arguments.get("state", "started")
    if state not in ("started", "stopped") or ("network" in arguments) == ("bridge" in arguments):
        raise TypeError("give one of network and bridge, and as state started or stopped")
    if "bridge" in arguments:
        return host.plan_bridge(xennet.BridgeSpec(**arguments["bridge"]))
    network = xennet.Network(**arguments["network"])
    return host.plan_start(network) if state == "started" else host.plan_stop(network.name)


def run(host: xennet.Host, arguments: dict[str, Any], check: bool) -> dict[str, Any]:
    try:
        plan = wanted(host, arguments)
        answer: dict[str, Any] = {"changed": bool(plan), "diff": [str(step) for step in plan or ()], "notes": list(plan.notes) if plan else []}
        if plan and not check:
            # As it was shown, or not at all.
            host.apply(plan)
        return answer
    except xennet.XennetError as error:
        changed = error.outcome == xennet.Outcome.INCOMPLETE
        return {"failed": True, "changed": changed, "msg": str(error), "kind": error.kind, "hint": error.hint}
    except TypeError as error:
        return refused(error)


def refused(error: Exception) -> dict[str, Any]:
    return {"failed": True, "changed": False, "msg": str(error), "kind": "invalid", "hint": None}


def main(arguments: list[str]) -> int:
    try:
        rehearsal = arguments[arguments.index("--rehearsal") + 1] if "--rehearsal" in arguments else None
        wishes = json.load(sys.stdin)
        if not isinstance(wishes, dict):
            raise TypeError("the arguments are a JSON object")
        with xennet.Host() if rehearsal is None else xennet.Host.fake(state_dir=rehearsal) as host:
            answer = run(host, wishes, "--check" in arguments)
    except xennet.XennetError as error:
        # No host could be opened.
        answer = {"failed": True, "changed": False, "msg": str(error), "kind": error.kind, "hint": error.hint}
    except (IndexError, TypeError, ValueError) as error:
        answer = refused(error)
    json.dump(answer, sys.stdout)
    print()
    return 1 if answer.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
