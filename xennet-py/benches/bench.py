"""How fast the Python face is: python3 bench.py [NAME ...]

Each line is the best of several rounds. What is compared with the kernel or with pyroute2 needs root, or a user namespace in which one is root
(``unshare --user --map-root-user --net``); it works in network namespaces of its own. For figures that count, install a wheel that was built with
``maturin build`` in xennet-py, whose profile is that of what is installed.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time

import xennet

LINES = [f"mac=00:16:3e:00:{n >> 8:02x}:{n & 255:02x},bridge=xenbr0,ip=192.0.2.{n % 250 + 1}" for n in range(20_000)]
HERE = pathlib.Path(__file__).parent


def best(work, times, rounds=5):
    """Seconds for one of ``times`` that ``work`` does."""
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds) / times


def told(name, seconds, goal=""):
    print(f"{name:<44} {seconds * 1e6:>10.2f} us {1e-6 / seconds:>8.3f} M/s   {goal}")


def parse():
    def each(dialect):
        def work():
            parse = xennet.VifSpec.parse
            for line in LINES:
                parse(line, dialect=dialect)

        return work

    told("VifSpec.parse, strict", best(each("strict"), len(LINES)))
    told("VifSpec.parse, xl", best(each("xl"), len(LINES)))

    def documents():
        for line in LINES[:5000]:
            xennet.parse_vif(line, dialect="xl")

    told("parse_vif, xl (a document)", best(documents, 5000))
    told("parse_vifs, a list", best(lambda: xennet.parse_vifs(LINES), len(LINES)), "goal: 0.7 M/s")
    text = "\n".join(LINES)
    told("parse_vifs, a text", best(lambda: xennet.parse_vifs(text), len(LINES)), "goal: 0.7 M/s")


def errors():
    def work():
        parse, invalid = xennet.VifSpec.parse, xennet.Invalid
        for _ in range(10_000):
            try:
                parse("mac=00:16:3e:01:02,bridge=xenbr0")
            except invalid:
                pass

    told("an error, raised and caught", best(work, 10_000), "goal: 0.3 M/s")

    def looked_at():
        for _ in range(2_000):
            try:
                xennet.VifSpec.parse("mac=00:16:3e:01:02,bridge=xenbr0")
            except xennet.Invalid as error:
                error.hint

    told("an error, looked at", best(looked_at, 2_000))


def replace():
    vif = xennet.VifSpec.parse(LINES[0])

    def work():
        replace = vif.replace
        for _ in range(20_000):
            replace(bridge="xenbr1")

    told("VifSpec.replace", best(work, 20_000), "goal: 0.3 M/s")


def loading():
    def run(*arguments):
        seconds = []
        for _ in range(25):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-I", *arguments], check=True)
            seconds.append(time.perf_counter() - begun)
        return statistics.median(seconds)

    bare = run("-c", "pass")
    whole = run("-c", "import xennet")
    told("import over bare Python", whole - bare, "goal: 30,000 us")
    told("bare Python", bare)


def attach():
    """Attaching and detaching a vif, with what has to be looked up and read back, and pyroute2's same messages."""
    with xennet.Host.sandbox() as host:
        host.add_vif(5)
        host.ensure_bridge("xenbr0")
        vif = xennet.VifSpec(bridge="xenbr0")
        rounds = []
        for _ in range(200):
            begun = time.perf_counter()
            host.attach(5, vif)
            middle = time.perf_counter()
            host.detach(5)
            rounds.append((middle - begun, time.perf_counter() - middle))
        told("attach in a sandbox (a thread a call)", statistics.median(r[0] for r in rounds))
        told("detach in a sandbox (a thread a call)", statistics.median(r[1] for r in rounds))
    for name in ("ours", "pyroute2"):
        done = subprocess.run([sys.executable, str(HERE / "against.py"), name], capture_output=True, text=True)
        print(done.stdout + done.stderr, end="")


ALL = [parse, errors, replace, loading, attach]

if __name__ == "__main__":
    chosen = sys.argv[1:]
    for one in ALL:
        if not chosen or one.__name__ in chosen:
            one()
    print(f"on {os.cpu_count()} processors, Python {sys.version.split()[0]}")
