#!/usr/bin/env python3
"""A vif script for xl, whole: `vif = [ "bridge=xenbr0,script=/etc/xen/scripts/vif-python" ]` calls this file by that name.

It does what vif-bridge does, with xennet's plans, records and messages; what fails stands in xenstore, where xl waits for it.
"""

import sys

import xennet

try:
    xennet.hotplug("vif-bridge", sys.argv[1:])
except xennet.XennetError as error:
    print(f"vif-python: {error.report()}", file=sys.stderr)
    sys.exit(1)
