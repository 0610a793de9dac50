#!/usr/bin/env python3
"""What a hotplug call costs as a process, side by side with what it replaces and with the least that it could cost.

    xennet-core/benches/hotplug/run.py one     [--rounds 15] [--ports 10]   one vif: online, offline, --version
    xennet-core/benches/hotplug/run.py growth  [--rounds 9]                 the same at 10 and at 1,000 ports
    xennet-core/benches/hotplug/run.py many    [--vifs 1000]                vifs one after another, and two at once; with
                                                                            --stock some ten minutes
    xennet-core/benches/hotplug/run.py modes   [--rounds 15]                vif-nat and vif-route, with their networks started;
                                                                            Xen's vif-route needs net-tools
    xennet-core/benches/hotplug/run.py instructions                         instructions of each call that are run outside of
                                                                            the kernel, of xennet and floor.c; needs valgrind
    xennet-core/benches/hotplug/run.py order                                measures nothing: writes xennet-cli/hotplug.ld
                                                                            anew, by which the linker puts what a call runs
                                                                            side by side; needs valgrind, and a build with
                                                                            `cargo static --config profile.static.strip=false`

Contestants: a static program that does nothing; `floor.c`, a static C program with the same conversation with xenstore and
the messages to the kernel that change something, and once more with all messages that xennet sends; xennet as `vif-bridge`;
with `--helper PROGRAM`, the helper in C (examples/c/hotplug.c, linked with libxennet); and, with `--stock DIR`, Xen's own
script (a directory with the scripts of Debian's xen-utils-common; without Debian's early
`return 0` in handle_iptable it is upstream's). All are run in turn in every round, in the same namespaces, on the same
xenstored; the first round does not count. Times are medians, with the least and the quartiles in brackets. Which C library the
contestants are linked with stands at the top.

Needs root, iproute2, gcc with a static libc; for the script bridge-utils, iptables and xenstore-utils. Build before:
`cargo static && cargo build --release -p xennet-examples`. Nothing outside of the namespaces is touched.
"""
import argparse
import contextlib
import os
import re
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../../.."))
MAC = "00:16:3e:%02x:%02x:%02x"


def inside():
    """Takes this program into network, mount and process namespaces of its own, with an empty /run and /var/log."""
    if os.environ.get("XENNET_BENCH") != "inside":
        os.environ["XENNET_BENCH"] = "inside"
        os.execvp("unshare", ["unshare", "-n", "-m", "-p", "--fork", "--mount-proc", "--kill-child", sys.executable, *sys.argv])
    # /sys shows the links of the namespace in which it was mounted.
    subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
    for place in ("/run", "/var/log"):
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    for place in ("/run/xen-hotplug", "/run/lock", "/var/log/xen"):
        os.makedirs(place)
    # The scripts lock and log below /var/run, which is a link to /run.
    sh("ip link set lo up")


def sh(script):
    subprocess.run(["bash", "-ec", script], check=True)


class Store:
    """Enough of xenstore's protocol to write nodes."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)

    def write(self, path, value):
        payload = path.encode() + b"\0" + value.encode()
        self.socket.sendall(struct.pack("=IIII", 11, 1, 0, len(payload)) + payload)
        self.answer()

    def read(self, path):
        payload = path.encode() + b"\0"
        self.socket.sendall(struct.pack("=IIII", 2, 1, 0, len(payload)) + payload)
        return self.answer()

    def answer(self):
        head = struct.unpack("=IIII", self.take(16))
        return self.take(head[3]).decode()

    def take(self, count):
        data = b""
        while len(data) < count:
            data += self.socket.recv(count - len(data))
        return data


class Lab:
    """A bridge with ports, vifs whose other ends are up, a xenstored with their nodes."""

    def __init__(self, args, ports):
        self.dir = tempfile.mkdtemp(dir="/run")
        self.socket = self.dir + "/xenstored"
        self.daemon = subprocess.Popen([args.xenstored, self.socket], stdout=subprocess.PIPE)
        self.daemon.stdout.readline()
        self.store = Store(self.socket)
        self.bin = self.dir + "/scripts"
        os.mkdir(self.bin)
        os.symlink(args.xennet, self.bin + "/vif-bridge")
        sh("ip link add xenbr0 type bridge forward_delay 0 stp_state 0; ip link set xenbr0 address 02:00:00:00:00:01 up")
        lines = []
        # A thousand links with addresses of IPv6 would tell each other of them for minutes.
        self.own_addresses(False)
        for n in range(ports):
            lines.append(f"link add p{n} type veth peer name q{n}")
            lines.append(f"link set q{n} up")
            lines.append(f"link set p{n} master xenbr0 up")
        self.batch(lines)
        self.own_addresses(True)

    def own_addresses(self, wanted):
        with open("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "w") as setting:
            setting.write("0" if wanted else "1")

    def batch(self, lines):
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines).encode(), check=True)

    def vif(self, n):
        self.batch([
            f"link add vif{n}.0 address fe:ff:ff:ff:ff:ff type veth peer name g{n}",
            f"link set g{n} up",
        ])
        nodes = {"bridge": "xenbr0", "ip": f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}",
                 "mac": MAC % (n >> 16, n >> 8 & 255, n & 255), "handle": "0", "frontend-id": str(n), "script": "vif-bridge"}
        for key, value in nodes.items():
            self.store.write(f"/local/domain/0/backend/vif/{n}/0/{key}", value)
        self.store.write(f"/local/domain/{n}/device/vif/0/mtu", "1500")

    def environment(self, n):
        return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "vif": f"vif{n}.0", "XENBUS_PATH": f"backend/vif/{n}/0",
                "XENBUS_TYPE": "vif", "XENBUS_BASE_PATH": "backend", "netdev": "", "script": "vif-bridge",
                "XENSTORED_PATH": self.socket}

    def master(self, n):
        link = f"/sys/class/net/vif{n}.0/master"
        return os.path.basename(os.readlink(link)) if os.path.lexists(link) else None

    def close(self):
        self.daemon.kill()
        self.daemon.wait()


def timed(argv, environment):
    """Wall and CPU milliseconds of one process and of those that it waited for."""
    null = os.open("/dev/null", os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1)]
    if not os.environ.get("XENNET_BENCH_VERBOSE"):
        actions.append((os.POSIX_SPAWN_DUP2, null, 2))
    start = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    wall = (time.perf_counter() - start) * 1e3
    os.close(null)
    if status != 0:
        sys.exit(f"{argv} {environment}: status {status}")
    return wall, (usage.ru_utime + usage.ru_stime) * 1e3


def contestants(args, lab):
    """Name, command by verb, whether it changes anything."""
    found = {
        "static no-op": lambda verb: [args.nothing],
        "floor.c, static": lambda verb: [args.floor, verb],
        "floor.c that reads too": lambda verb: [args.floor, verb, "reading"],
        "xennet, static": lambda verb: [lab.bin + "/vif-bridge", verb, "type_if=vif"],
    }
    if args.helper:
        found["helper in C"] = lambda verb: [args.helper, verb, "type_if=vif"]
    if args.stock:
        found["vif-bridge of Xen"] = lambda verb: ["/bin/bash", args.stock + "/vif-bridge", verb, "type_if=vif"]
    return found


def median(values):
    return statistics.median(values)


def spread(values):
    """The median, and in brackets the least and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle:.2f} ({min(values):.2f}; {low:.2f}-{high:.2f})"


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if row is rows[0]:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def rounds_of(args, lab, vif, rounds, names=None):
    """Times by contestant and verb: lists of (wall, cpu). Each changes the same vif, one behind the other."""
    times = {}
    found = {name: c for name, c in contestants(args, lab).items() if not names or name in names}
    environment = lab.environment(vif)
    for number in range(rounds + 1):
        for name, command in found.items():
            for verb, wanted in (("online", "xenbr0"), ("offline", None)):
                result = timed(command(verb), environment)
                if name != "static no-op" and lab.master(vif) != wanted:
                    sys.exit(f"{name} {verb}: the vif is a port of {lab.master(vif)}")
                if number:
                    times.setdefault((name, verb), []).append(result)
                if verb == "offline":
                    # A domain gets an id that none had before: nothing is known of its vif when it comes.
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(f"/run/xennet/vif{vif}.0.journal")
                    # What one removes from nftables the kernel cleans up later, and whoever closes a connection meanwhile waits.
                    time.sleep(0.03)
            if name == "vif-bridge of Xen":
                # What it leaves behind is not the others' to find.
                sh(f"ip addr flush dev vif{vif}.0 2>/dev/null || true")
    return times


def gone_of(args, lab, vif, rounds):
    """Times of `offline` by contestant as netback leaves a vif of a domain that has ended: its link is not there any more."""
    times = {}
    found = {name: c for name, c in contestants(args, lab).items() if "xennet" in name or "Xen" in name}
    environment = lab.environment(vif)
    for number in range(rounds + 1):
        for name, command in found.items():
            timed(command("online"), environment)
            if lab.master(vif) != "xenbr0":
                sys.exit(f"{name} online: the vif is a port of {lab.master(vif)}")
            sh(f"ip link del vif{vif}.0")
            result = timed(command("offline"), environment)
            if number:
                times.setdefault(name, []).append(result)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"/run/xennet/vif{vif}.0.journal")
            lab.vif(vif)
            time.sleep(0.03)
    return times


def guard(lab):
    """The guard's table has to be there for floor.c: another vif that stays brings it."""
    lab.vif(30000)
    timed([lab.bin + "/vif-bridge", "online", "type_if=vif"], lab.environment(30000))


def one(args):
    lab = Lab(args, args.ports)
    guard(lab)
    lab.vif(5)
    times = rounds_of(args, lab, 5, args.rounds)
    gone = gone_of(args, lab, 5, args.rounds)
    versions = {"static no-op": [], "xennet --version": []}
    for _ in range(args.rounds * 3):
        versions["static no-op"].append(timed([args.nothing], {}))
        versions["xennet --version"].append(timed([args.xennet, "--version"], {}))
    rows = [["", "online ms", "CPU ms", "offline ms", "CPU ms"]]
    names = list(dict.fromkeys(name for name, _ in times))
    for name in names:
        cells = [name]
        for verb in ("online", "offline"):
            walls, cpus = zip(*times[name, verb])
            cells += [spread(walls), spread(cpus)]
        rows.append(cells)
    for name, samples in gone.items():
        walls, cpus = zip(*samples)
        rows.append([f"{name}, the link gone", "", "", spread(walls), spread(cpus)])
    for name, samples in versions.items():
        if name != "static no-op":
            walls, cpus = zip(*samples)
            rows.append([name, spread(walls), spread(cpus), "", ""])
    table(rows)

    def ratio(a, b, verb, which):
        pairs = zip(times[a, verb], times[b, verb])
        return median([x[which] / y[which] for x, y in pairs])

    print()
    if args.stock:
        for verb in ("online", "offline"):
            wall = ratio("vif-bridge of Xen", "xennet, static", verb, 0)
            cpu = ratio("vif-bridge of Xen", "xennet, static", verb, 1)
            print(f"{verb}: Xen's script takes {wall:.0f} times as long as xennet, and {cpu:.0f} times the CPU time")
    if args.helper:
        for verb in ("online", "offline"):
            wall, cpu = (ratio("helper in C", "xennet, static", verb, which) for which in (0, 1))
            print(f"{verb}: the helper in C takes {wall:.2f} times as long as xennet, and {cpu:.2f} times the CPU time")
    for floor in ("floor.c, static", "floor.c that reads too"):
        for verb in ("online", "offline"):
            wall, cpu = (ratio("xennet, static", floor, verb, which) for which in (0, 1))
            print(f"{verb}: xennet takes {wall:.2f} times as long as {floor}, and {cpu:.2f} times the CPU time")
    version = median([a[0] / b[0] for a, b in zip(versions["xennet --version"], versions["static no-op"])])
    print(f"--version takes {version:.2f} times as long as a static program that does nothing")
    lab.close()


def instructions(args):
    """What each call runs outside of the kernel, counted by valgrind, without the copy of the process that closes its sockets."""
    lab = Lab(args, args.ports)
    guard(lab)
    lab.vif(5)
    environment = lab.environment(5)
    # Each kind of call comes once before it is counted: verb, whether the link goes before it, whether it is counted.
    calls = [("online", False, False), ("offline", False, False), ("online", False, True), ("offline", False, True),
             ("online", False, False), ("offline", True, True)]
    rows = [["instructions", "online", "offline", "offline, the link gone"]]
    for name, command in contestants(args, lab).items():
        if "no-op" in name or "Xen" in name:
            continue
        cells = [name]
        for verb, goes, counts in calls:
            if goes and "floor" in name:
                cells.append("")
            elif goes:
                sh("ip link del vif5.0")
            if counts and len(cells) < 4 and not (goes and "floor" in name):
                call = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={lab.dir}/%p", *command(verb)]
                with subprocess.Popen(call, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
                    told = process.stderr.read().decode()
                if process.returncode != 0:
                    sys.exit(f"{call}: status {process.returncode}: {told}")
                with open(f"{lab.dir}/{process.pid}") as lines:
                    cells.append(f"{next(int(line.split()[1]) for line in lines if line.startswith(('summary:', 'totals:'))):,}")
            else:
                timed(command(verb), environment)
            if verb == "offline":
                with contextlib.suppress(FileNotFoundError):
                    os.unlink("/run/xennet/vif5.0.journal")
                time.sleep(0.03)
            if goes and "floor" not in name:
                lab.vif(5)
        rows.append(cells)
    table(rows)
    lab.close()


def outside():
    """A link to the rest of the world, for networks."""
    sh("ip link add eth0 type veth peer name lan; ip link set eth0 up; ip link set lan up;"
       "ip address add 192.168.0.3/24 dev eth0; ip route add default via 192.168.0.1")


def behind_network(args, lab, vif, script):
    """A vif of this script's mode, and the network that it belongs to; the environment of its calls."""
    network = script.replace("vif", "network")
    for name in (script, network):
        os.symlink(args.xennet, f"{lab.bin}/{name}")
    lab.vif(vif)
    lab.store.write(f"/local/domain/0/backend/vif/{vif}/0/script", script)
    # Of Xen's network script only the rule that matters here is needed; ours has a table.
    sh(f"{lab.bin}/{network} start netdev=eth0 2>/dev/null")
    return {**lab.environment(vif), "script": script, "netdev": "eth0"}


def modes(args):
    """vif-nat and vif-route: what the scripts do, and what makes a guest reachable only from where it should be."""
    lab = Lab(args, args.ports)
    outside()
    rows = [["", "online ms", "CPU ms", "offline ms", "CPU ms", "script : xennet, online", "offline"]]
    for vif, script in ((5, "vif-nat"), (6, "vif-route")):
        environment = behind_network(args, lab, vif, script)
        commands = {"xennet": [f"{lab.bin}/{script}"]}
        if args.stock:
            commands["Xen's script"] = ["/bin/bash", f"{args.stock}/{script}"]
        # Without those whose addresses are others' gateways.
        others = [n for n in range(1000, 5000) if 0 < n & 255 < 100][:args.guests]
        for other in others:
            if script == "vif-nat":
                lab.vif(other)
            lab.store.write(f"/local/domain/0/backend/vif/{other}/0/script", script)
            timed([f"{lab.bin}/{script}", "online", "type_if=vif"], {**lab.environment(other), "script": script, "netdev": "eth0"})
        times = {}
        for number in range(args.rounds + 1):
            for name, command in commands.items():
                for verb, wanted in (("online", True), ("offline", False)):
                    result = timed([*command, verb, "type_if=vif"], environment)
                    found = subprocess.run(["ip", "route", "show", "dev", f"vif{vif}.0"], capture_output=True, text=True).stdout
                    if bool(found) != wanted and (name == "xennet" or wanted):
                        sys.exit(f"{name} {script} {verb}: routes: {found!r}")
                    if number:
                        times.setdefault((name, verb), []).append(result)
                    time.sleep(0.03)
                # What one leaves behind is not the other's to find.
                sh(f"ip link set vif{vif}.0 down; ip addr flush dev vif{vif}.0; rm -f /run/xennet/vif{vif}.0.journal")
        for name in commands:
            cells = [f"{script}, {name}"]
            for verb in ("online", "offline"):
                walls, cpus = zip(*times[name, verb])
                cells += [spread(walls), spread(cpus)]
            for verb in ("online", "offline"):
                pairs = zip(times.get(("Xen's script", verb), []), times["xennet", verb])
                quotients = [(x[0] / y[0], x[1] / y[1]) for x, y in pairs] if name != "xennet" else []
                cells.append(" and CPU ".join(f"{median(q):.0f}" for q in zip(*quotients)) if quotients else "")
            rows.append(cells)
        for other in others:
            timed([f"{lab.bin}/{script}", "offline", "type_if=vif"], {**lab.environment(other), "script": script, "netdev": "eth0"})
    table(rows)
    lab.close()


def growth(args):
    figures = {}
    for ports in (10, 1000):
        lab = Lab(args, ports)
        guard(lab)
        lab.vif(5)
        # As many guests behind the guard as there are ports.
        elements = [f"add element bridge xennet-guard host4 {{ \"vif{n}.9\" . {MAC % (9, n >> 8, n & 255)} . 10.9.{n >> 8}.{n & 255} }}"
                    for n in range(ports)]
        if subprocess.run(["which", "nft"], capture_output=True).returncode == 0:
            subprocess.run(["nft", "-f", "-"], input="\n".join(elements).encode(), check=True)
        times = rounds_of(args, lab, 5, args.rounds, ["floor.c, static", "xennet, static"])
        for key, samples in times.items():
            figures[key, ports] = median([wall for wall, _ in samples])
        lab.close()
        sh("ip link del xenbr0; ip -o link | sed -n 's/^[0-9]*: \\([pvg][0-9a-z.]*\\)@.*/\\1/p' | while read -r l; do ip link del $l 2>/dev/null || true; done; nft flush ruleset || true; rm -rf /run/xennet")
    rows = [["", "online, 10 ports", "1,000 ports", "quotient", "offline, 10 ports", "1,000 ports", "quotient"]]
    for name in ("floor.c, static", "xennet, static"):
        cells = [name]
        for verb in ("online", "offline"):
            few, many = figures[(name, verb), 10], figures[(name, verb), 1000]
            cells += [f"{few:.2f} ms", f"{many:.2f} ms", f"{many / few:.2f}"]
        rows.append(cells)
    table(rows)


def many(args):
    lab = Lab(args, 0)
    count = args.vifs
    for n in range(1, min(count, 1000) + 1):
        lab.vif(n)
    command = lab.bin + "/vif-bridge"
    commands = {"xennet": [command]}
    if args.stock:
        commands["Xen's script"] = ["/bin/bash", args.stock + "/vif-bridge"]
    for name, words in commands.items():
        for verb in ("online", "offline"):
            start = time.perf_counter()
            for n in range(1, count + 1):
                timed([*words, verb, "type_if=vif"], lab.environment(n))
            print(f"{count} vifs {verb} one after another, {name}: {time.perf_counter() - start:.2f} s", flush=True)
    # Two at once: the same vifs in two halves.
    half = min(200, count // 2)

    def go(verb, first, last):
        for n in range(first, last):
            timed([command, verb, "type_if=vif"], lab.environment(n))

    def by_two(verb):
        child = os.fork()
        if child == 0:
            go(verb, 1, half + 1)
            os._exit(0)
        go(verb, half + 1, 2 * half + 1)
        if os.waitpid(child, 0)[1]:
            sys.exit(f"{verb}: one of two failed")

    times = {}
    for _ in range(args.rounds):
        for name, work in (("one", lambda verb: go(verb, 1, 2 * half + 1)), ("two", by_two)):
            for verb in ("online", "offline"):
                start = time.perf_counter()
                work(verb)
                times.setdefault((verb, name), []).append(time.perf_counter() - start)
                time.sleep(0.3)
    for verb in ("online", "offline"):
        alone, together = (median(times[verb, name]) for name in ("one", "two"))
        print(f"{2 * half} calls {verb}: {alone:.2f} s by one, {together:.2f} s by two at once: {alone / together:.2f} times the throughput")
    lab.close()


ORDER = """\
/*
 * Puts the functions that a hotplug call runs side by side in the program. Scattered over all of it they take some 16 page
 * faults more. Nothing else depends on it: a name that no function has any more says nothing, and a
 * function that is missing here lies where it would without this file.
 *
 * Written by `xennet-core/benches/hotplug/run.py order`. A star stands for what compilers make anew each time.
 */
SECTIONS
{
  .text.hotplug :
  {
%s
  }
}
INSERT BEFORE .text;

/*
 * Tables for unwinding: a tenth of the program, of no use to one that ends at a panic. What the compiler puts at both ends of a
 * program has to keep its own, a few bytes, since GNU ld misses them else.
 */
SECTIONS
{
  /DISCARD/ : { *(EXCLUDE_FILE(*crt*.o) .eh_frame) *(.gcc_except_table .gcc_except_table.*) }
}
INSERT AFTER .text;
"""


def order(args):
    lab = Lab(args, 10)
    guard(lab)
    outside()
    lab.vif(5)
    calls = [([args.xennet, "--version"], {})]
    for vif, script in ((5, "vif-bridge"), (6, "vif-nat"), (7, "vif-route")):
        environment = lab.environment(vif) if script == "vif-bridge" else behind_network(args, lab, vif, script)
        calls += [([f"{lab.bin}/{script}", verb, "type_if=vif"], environment) for verb in ("online", "offline")]
    ours, c_library = {}, set()
    members = members_by_function()
    for number, (command, environment) in enumerate(calls):
        # The copy that stays behind for a moment writes a file of its own.
        options = ["-q", "--child-silent-after-fork=yes", "--demangle=no", f"--callgrind-out-file={lab.dir}/%p"]
        call = ["valgrind", "--tool=callgrind", *options, *command]
        with subprocess.Popen(call, env=environment, stdout=subprocess.DEVNULL) as process:
            if process.wait() != 0:
                sys.exit(f"{call}: status {process.returncode}")
        with open(f"{lab.dir}/{process.pid}") as lines:
            called = (re.match(r"c?fn=\(\d+\) (.+?)('\d+)?$", line) for line in lines)
            for name in {m[1] for m in called if m}:
                if name.startswith("_R"):
                    ours.setdefault(section(name), set()).add(number)
                c_library |= members.get(name, set())
    lab.close()
    if not ours:
        sys.exit("the program has no symbols")
    # What the first call runs, then what the next one runs besides; of these first what most of the others run, too.
    names = sorted(ours, key=lambda name: (min(ours[name]), -len(ours[name]), sorted(ours[name]), name))
    found = [f"*libc.a:{member}(.text .text.*)" for member in sorted(c_library)]
    found += [f"*(.text.{name} .text.unlikely.{name})" for name in names]
    with open(f"{ROOT}/xennet-cli/hotplug.ld", "w") as out:
        out.write(ORDER % "\n".join(f"    {pattern}" for pattern in found))


def members_by_function():
    """Of the C library, the objects that have a function of this name; of one for several processors all."""
    library = subprocess.run([os.environ.get("CC", "cc"), "-print-file-name=libc.a"], capture_output=True, text=True).stdout.strip()
    members = {"(below main)": {"libc-start.o"}}
    for line in subprocess.run(["nm", "-A", library], capture_output=True, text=True).stdout.splitlines():
        found = re.match(r".*:([^:]+\.o):[0-9a-f]+ [TtWi] (\S+)$", line)
        if found:
            member = re.sub(r"-(avx|evex|sse|ssse)\S*\.o$", "-*.o", found[1])
            members.setdefault(found[2], set()).add(member)
    return members


def section(symbol):
    """The section of a function without what is before its name, whatever the hashes in it, and with any suffix of the
    compiler's."""
    symbol = re.sub(r"\.llvm\.\d+$", "", symbol)
    symbol = re.sub(r"Cs[0-9A-Za-z]{9,13}_", "Cs*_", symbol)
    # What else a name can have means something in the linker's language.
    return re.sub(r"[^A-Za-z0-9_.*]", "?", symbol) + "*"


def library(compiler):
    """The C library that a compiler links with."""
    if "musl" in compiler:
        return "musl"
    return subprocess.run(["getconf", "GNU_LIBC_VERSION"], capture_output=True, text=True).stdout.strip() or "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["one", "growth", "many", "modes", "instructions", "order"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--ports", type=int, default=10)
    parser.add_argument("--vifs", type=int, default=1000)
    parser.add_argument("--guests", type=int, default=0, help="modes: how many others are there already")
    parser.add_argument("--stock", help="directory with Xen's scripts")
    parser.add_argument("--helper", help="examples/c/hotplug.c, as a program with the name vif-bridge")
    host = subprocess.run(["rustc", "-vV"], capture_output=True, text=True).stdout
    host = next((line.split()[1] for line in host.splitlines() if line.startswith("host:")), "")
    parser.add_argument("--xennet", default=f"{ROOT}/target/{host}/static/xennet")
    parser.add_argument("--xenstored", default=f"{ROOT}/target/release/xenstored")
    args = parser.parse_args()
    inside()
    place = tempfile.mkdtemp(dir="/run")
    args.floor, args.nothing = place + "/floor", place + "/nothing"
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", "-static", "-o", args.floor, HERE + "/floor.c"], check=True)
    subprocess.run([compiler, "-O2", "-static", "-x", "c", "-o", args.nothing, "-"], input=b"int main(void){return 0;}", check=True)
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    print(f"{os.cpu_count()} x {cpu}, Linux {os.uname().release}, load {os.getloadavg()[0]:.1f}")
    mine = "musl" if "musl" in args.xennet else library("cc")
    print(f"C library, static: floor.c and no-op {library(compiler)}, xennet {mine}\n")
    whats = {"one": one, "growth": growth, "many": many, "modes": modes, "instructions": instructions, "order": order}
    whats[args.what](args)



main()
