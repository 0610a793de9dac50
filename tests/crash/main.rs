//! Killed between any two system calls, then recovered: the state is the one before or the one after, exactly.
//!
//! `strace` lists the command's system calls, then kills it at each of them in turn. After each kill `xennet recover` has to
//! close the operation. Of operations on networks, which make hundreds of calls, some are left out; by hand all are taken:
//! `XENNET_CRASH_ALL=1 cargo test -p xennet-cli --test crash`.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use xennet_core::MacAddr;
use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::exec::Subject;
use xennet_core::plan::Goal;
use xennet_core::snapshot::{
    AddrGenMode, Address, NftBase, NftChainKind, NftFamily, NftHook, NftPolicy, NftTableId, Part, Route, Scope,
    Snapshot,
};
use xennet_core::step::{AddrStep, LinkChange, LinkRef, LinkStep, NewLink, NftOp, NftTransaction, RouteStep, Step};
use xennet_tests::steps::name;
use xennet_tests::{StateDir, in_netns};

fn program() -> std::ffi::OsString {
    std::env::var_os("XENNET_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_xennet").into())
}

fn apply(step: Step) {
    Netlink::open().unwrap().apply(&step).unwrap();
}

fn set(link: &str, change: LinkChange) {
    apply(Step::Link(LinkStep::Set { link: LinkRef::named(name(link)), change }));
}

/// Two bridges, and a vif as netback makes it.
fn build() {
    for bridge in ["xenbr0", "xenbr1"] {
        apply(Step::Link(LinkStep::Create { name: name(bridge), kind: NewLink::Bridge, change: mac(1) }));
        // IPv6 makes its addresses by itself some time after the link goes up, which would differ from run to run.
        set(bridge, LinkChange::default().with_addr_gen_mode(AddrGenMode::None));
        set(bridge, LinkChange::default().with_up(true));
    }
    let kind = NewLink::Veth { peer: name("guest") };
    let change = LinkChange::default().with_mac(MacAddr::BACKEND);
    apply(Step::Link(LinkStep::Create { name: name("vif5.0"), kind, change }));
    set("guest", mac(2));
    let kind = NewLink::Veth { peer: name("lan") };
    apply(Step::Link(LinkStep::Create { name: name("eth0"), kind, change: mac(3) }));
    for (link, last) in [("eth0", 3), ("lan", 4)] {
        set(link, mac(last).with_addr_gen_mode(AddrGenMode::None));
        set(link, LinkChange::default().with_up(true));
    }
    apply(Step::Addr(AddrStep::Add(Address::new(name("eth0"), "192.168.0.3/24".parse().unwrap()))));
    let gateway = Some("192.168.0.1".parse().unwrap());
    let default = Route::to("0.0.0.0/0".parse().unwrap(), name("eth0")).with_gateway(gateway);
    apply(Step::Route(RouteStep::Add(default)));
    let base = NftBase::new(NftChainKind::Filter, NftHook::Forward, 0, NftPolicy::Drop);
    let chain = |name: &str, base| NftOp::AddChain { chain: name.into(), base };
    let ops = vec![NftOp::AddTable, chain("forward", Some(base)), chain("guests", None)];
    apply(Step::Nft(NftTransaction::new(theirs(), ops)));
}

/// Another firewall, of which nothing is changed but rules of a network that names its chains.
fn theirs() -> NftTableId {
    NftTableId::new(NftFamily::Inet, "theirs")
}

fn mac(last: u8) -> LinkChange {
    LinkChange::default().with_mac(MacAddr::new([2, 0, 0, 0, 0, last]))
}

fn clear() {
    let links = look().links;
    for (link, _) in links.iter().filter(|(n, _)| !["lo", "guest", "lan"].contains(&n.as_str())) {
        apply(Step::Link(LinkStep::Delete { link: LinkRef::named(*link) }));
    }
    // A table that is there already is another run than one that has to be made.
    for table in look().nft.into_keys() {
        apply(Step::Nft(NftTransaction::new(table, vec![NftOp::DelTable])));
    }
}

fn look() -> Snapshot {
    Netlink::open().unwrap().observe(&Scope::network().with(Part::Nft(theirs()))).unwrap()
}

fn xennet(state: &StateDir) -> Command {
    let mut command = Command::new(program());
    command.stdin(Stdio::null()).arg("--state-dir").arg(state.path());
    command
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The command under strace, with these options.
fn traced(state: &StateDir, options: &[&str], arguments: &[&str]) -> std::process::ExitStatus {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(options).arg(program()).arg("--state-dir").arg(state.path()).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap()
}

/// The system calls of an undisturbed run from the first that names the state directory, each with the number of calls of
/// the same name up to it: what `strace` needs to find it again.
fn calls(state: &StateDir, arguments: &[&str]) -> Vec<(String, usize)> {
    let trace = state.path().with_extension("trace");
    let status = traced(state, &["-o", trace.to_str().unwrap()], arguments);
    let text = std::fs::read_to_string(&trace).unwrap();
    std::fs::remove_file(&trace).unwrap();
    assert!(status.success(), "{arguments:?} under strace: {status}\n{text}");
    let mut counts = std::collections::BTreeMap::new();
    let mut found = Vec::new();
    let (mut begun, mut last) = (false, 0);
    for line in text.lines() {
        // "1234  openat(AT_FDCWD, ..." ; what is not a call is a signal or an exit.
        let Some((name, rest)) = line.split_once(char::is_whitespace).and_then(|(_, call)| call.trim().split_once('('))
        else {
            continue;
        };
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            continue;
        }
        let count = counts.entry(name.to_owned()).or_insert(0);
        *count += 1;
        let names_it = name != "execve" && rest.contains(state.path().to_str().unwrap());
        begun |= names_it;
        if begun {
            found.push((name.to_owned(), *count));
        }
        // What comes behind the last word about the operation is about nothing of it.
        if names_it || name == "sendto" || (name == "write" && !rest.starts_with("1, ")) {
            last = found.len();
        }
    }
    found.truncate(last);
    found
}

/// System calls that change nothing that others can see.
const LOOKS: [&str; 17] = [
    "geteuid",
    "read",
    "recvfrom",
    "recvmsg",
    "fstat",
    "newfstatat",
    "statx",
    "lseek",
    "getdents64",
    "mmap",
    "munmap",
    "mremap",
    "brk",
    "close",
    "poll",
    "readlink",
    "rt_sigprocmask",
];

/// Of the system calls of an operation on networks, the first one of every so many: all of them take half an hour together. With
/// `XENNET_CRASH_ALL` set each of them.
const EVERY: usize = 4;

/// How many calls are passed over for each that is taken.
fn every() -> usize {
    if std::env::var_os("XENNET_CRASH_ALL").is_some() { 1 } else { EVERY }
}

/// Whether strace is there; says so if not, and fails where nothing may be skipped.
fn has_strace() -> bool {
    let is_there = Command::new("strace").arg("-V").output().is_ok();
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "strace is missing, and CI is set");
        eprintln!("skipped: strace is missing (apt-get install strace)");
    }
    is_there
}

/// Kills `arguments` at every system call in turn; `prepared` are commands that are carried out before.
fn sweep(prepared: &[&[&str]], arguments: &[&str]) {
    if !has_strace() {
        return;
    }
    let prepare = |state: &StateDir| {
        build();
        let built = look();
        for line in prepared {
            succeed(xennet(state).args(*line));
        }
        built
    };
    let state = StateDir::new();
    prepare(&state);
    let mut calls = calls(&state, arguments);
    if arguments[0] == "network" {
        // The command looks at much of the system. Between two calls that only look, the state is the same.
        calls.retain(|(name, _)| !LOOKS.contains(&name.as_str()));
        calls = calls.into_iter().step_by(every()).collect();
    }
    let after = look();
    clear();
    let (mut befores, mut afters, mut missed) = (0, 0, 0);
    for (call, count) in &calls {
        let at = format!("{arguments:?} killed at {call} number {count}");
        let state = StateDir::new();
        let built = prepare(&state);
        let before = look();
        assert!(!before.changes(&after).is_empty(), "the command must change something");
        // The signal is there before the call is made.
        let inject = format!("inject={call}:signal=KILL:when={count}");
        let status = traced(&state, &["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject], arguments);
        if status.success() {
            // What the command reads of other processes, to warn of them, is another number of calls each time.
            missed += 1;
            clear();
            continue;
        }
        assert!(status.signal() == Some(9) || status.code() == Some(137), "{at}: it was not: {status}");
        succeed(xennet(&state).arg("recover"));
        let now = look();
        let (from_before, from_after) = (before.changes(&now), after.changes(&now));
        assert!(
            from_before.is_empty() || from_after.is_empty(),
            "{at}: neither before nor after\nagainst before:\n{}\nagainst after:\n{}",
            lines(&from_before),
            lines(&from_after),
        );
        befores += usize::from(from_before.is_empty());
        afters += usize::from(from_after.is_empty());
        assert_eq!(
            xennet_core::exec::StateDir::at(state.path()).interrupted().unwrap(),
            [],
            "{at}: nothing stays open"
        );
        // What hotplug calls go by is what was made.
        if let ["network", _, network, ..] = arguments {
            let (dir, name) = (xennet_core::exec::StateDir::at(state.path()), network.parse().unwrap());
            let made = dir.record(Subject::Network(name)).unwrap().map(|entry| match entry.goal {
                Goal::Start { started, .. } => started.network,
                other => panic!("{at}: {other:?}"),
            });
            assert_eq!(dir.started(&name).unwrap().map(|s| s.network), made, "{at}");
        }
        // It has to work again afterwards, whatever was left. (An undo that is done is done.)
        if arguments[0] != "undo" || from_before.is_empty() {
            succeed(xennet(&state).args(arguments));
            let rest = after.changes(&look());
            assert!(rest.is_empty(), "{at}, and called again:\n{}", lines(&rest));
        }
        // What is remembered leads back, too; the table of NAT stays.
        if let ["network", "start", network, ..] = arguments {
            succeed(xennet(&state).args(["network", "stop", network]));
            let rest = built.changes(&look());
            let of_table = |line: &String| {
                line.contains("inet xennet") && (!line.contains(" element ") || line.contains(" version "))
            };
            let rest: Vec<String> = rest.iter().map(ToString::to_string).filter(|line| !of_table(line)).collect();
            assert!(rest.is_empty(), "{at}, and stopped:\n{}", lines(&rest));
        }
        clear();
    }
    println!("{arguments:?}: killed at each of {} system calls; before {befores}, after {afters}", calls.len());
    let enough = if arguments[0] == "network" { 5 / every() } else { 5 };
    assert!(befores > enough && afters > enough, "the sweep must have reached the operation");
    assert!(missed * 10 < calls.len(), "{missed} were not killed");
}

fn lines<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn attach() {
    in_netns("attach", || sweep(&[], &["attach", "5", "bridge=xenbr0,vifname=web0,mtu=1400,isolated"]));
}

#[test]
fn change() {
    in_netns("change", || {
        sweep(&[&["attach", "5", "bridge=xenbr0"]], &["attach", "5", "bridge=xenbr1,vifname=web0,mtu=1300"]);
    });
}

#[test]
fn detach() {
    in_netns("detach", || sweep(&[&["attach", "5", "bridge=xenbr0,vifname=web0"]], &["detach", "5"]));
}

#[test]
fn undo() {
    in_netns("undo", || {
        sweep(&[&["attach", "5", "bridge=xenbr0"], &["attach", "5", "bridge=xenbr1,mtu=1300"]], &["undo", "vif5.0"]);
    });
}

/// A file that describes a network whose uplink moves, and one with NAT.
struct Networks(std::path::PathBuf);

impl Networks {
    fn new(test: &str) -> Self {
        let file = std::env::temp_dir().join(format!("xennet-crash-{}-{test}.toml", std::process::id()));
        let text = "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr9\"\n\n[network.nat]\nmode = \"nat\"\n\
                    subnets = [\"10.0.0.0/24\"]\nbridge = \"natbr0\"\nforward = [{ protocol = \"tcp\", ports = 80, to = \"10.0.0.5\" }]\n";
        std::fs::write(&file, text).unwrap();
        Networks(file)
    }

    /// The network with NAT as it may be described later.
    fn changed(test: &str) -> Self {
        let networks = Networks::new(test);
        let text = std::fs::read_to_string(&networks.0).unwrap();
        let new = text.replace("ports = 80,", "ports = \"81-84\",").replace("/24\"]", "/24\", \"10.1.0.0/24\"]");
        assert_ne!(new, text);
        std::fs::write(&networks.0, new).unwrap();
        networks
    }

    fn start<'a>(&'a self, network: &'a str) -> [&'a str; 5] {
        ["network", "start", network, "--file", self.0.to_str().unwrap()]
    }

    /// A network that is described, and may not be started.
    fn stop<'a>(&'a self, network: &'a str) -> [&'a str; 5] {
        ["network", "stop", network, "--file", self.0.to_str().unwrap()]
    }
}

impl Drop for Networks {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn network_start() {
    let networks = Networks::new("start");
    in_netns("network_start", || sweep(&[], &networks.start("lan")));
}

#[test]
fn network_stop() {
    let networks = Networks::new("stop");
    in_netns("network_stop", || sweep(&[&networks.start("lan")], &networks.stop("lan")));
}

#[test]
fn nat_change() {
    let (networks, changed) = (Networks::new("was"), Networks::changed("is"));
    in_netns("nat_change", || sweep(&[&networks.start("nat")], &changed.start("nat")));
}

#[test]
fn nat_start() {
    let networks = Networks::new("nat");
    in_netns("nat_start", || sweep(&[], &networks.start("nat")));
}

/// A network with rules of its own in chains of another firewall, in both of which or in one.
fn accepted(test: &str, chains: &str) -> Networks {
    let networks = Networks::new(test);
    let text = format!("[network.nat]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\naccept_in = [{chains}]\n");
    std::fs::write(&networks.0, text).unwrap();
    networks
}

const BOTH: &str = "\"inet theirs forward\", \"inet theirs guests\"";

#[test]
fn accepts_start() {
    let networks = accepted("accepts-start", BOTH);
    in_netns("accepts_start", || sweep(&[], &networks.start("nat")));
}

#[test]
fn accepts_stop() {
    let networks = accepted("accepts-stop", BOTH);
    in_netns("accepts_stop", || sweep(&[&networks.start("nat")], &networks.stop("nat")));
}

#[test]
fn accepts_change() {
    let (was, is) =
        (accepted("accepts-was", "\"inet theirs guests\""), accepted("accepts-is", "\"inet theirs forward\""));
    in_netns("accepts_change", || sweep(&[&was.start("nat")], &is.start("nat")));
}

/// Kills `arguments` at every system call that can change something, each time on a host with `prepared`, and goes on with `after`.
fn each_kill(prepared: &[&[&str]], arguments: &[&str], after: impl Fn(&StateDir, usize, &str)) {
    if !has_strace() {
        return;
    }
    let prepare = |state: &StateDir| {
        build();
        std::fs::write(FORWARD, "0").unwrap();
        for line in prepared {
            succeed(xennet(state).args(*line));
        }
    };
    // What the command reads of other processes is another number of calls each time: the shorter way is gone again and again.
    let of_one = || {
        let state = StateDir::new();
        prepare(&state);
        let all = calls(&state, arguments);
        clear();
        all
    };
    let [one, two] = [of_one(), of_one()];
    let mut calls = if one.len() < two.len() { one } else { two };
    calls.retain(|(name, _)| !LOOKS.contains(&name.as_str()));
    calls = calls.into_iter().step_by(every()).collect();
    let mut killed = 0;
    for (number, (call, count)) in calls.iter().enumerate() {
        let at = format!("{arguments:?} killed at {call} number {count}");
        let state = StateDir::new();
        prepare(&state);
        let inject = format!("inject={call}:signal=KILL:when={count}");
        let status = traced(&state, &["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject], arguments);
        killed += usize::from(!status.success());
        after(&state, number, &at);
        // As it was before any network.
        assert_eq!(std::fs::read_to_string(FORWARD).unwrap(), "0\n", "{at}");
        let dir = xennet_core::exec::StateDir::at(state.path());
        assert_eq!((dir.recorded().unwrap(), dir.all_started().unwrap()), (vec![], vec![]), "{at}");
        let left = std::fs::read_dir(state.path().join("networks")).unwrap().map(|e| e.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| name != "lock").collect();
        assert!(left.is_empty(), "{at}: {left:?}");
        clear();
    }
    println!("{arguments:?}: killed at {killed} of {} system calls", calls.len());
    assert!(killed > 20 / every() && killed * 10 > calls.len() * 9, "the sweep must have reached the operation");
}

const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// Two networks with NAT: both need forwarding.
fn two(test: &str) -> Networks {
    let networks = Networks::new(test);
    let text = "[network.nat]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\nbridge = \"natbr0\"\n\n[network.private]\n\
                mode = \"nat\"\nsubnets = [\"10.9.0.0/24\"]\nbridge = \"natbr1\"\n";
    std::fs::write(&networks.0, text).unwrap();
    networks
}

#[test]
fn a_stop_that_was_killed_is_forgotten_by_a_start_and_a_stop() {
    let networks = two("forgotten");
    in_netns("a_stop_that_was_killed_is_forgotten_by_a_start_and_a_stop", || {
        each_kill(&[&networks.start("nat")], &networks.stop("nat"), |state, _, _| {
            succeed(xennet(state).args(networks.start("nat")));
            succeed(xennet(state).args(networks.stop("nat")));
        });
    });
}

#[test]
fn a_start_that_was_killed_does_not_outlive_the_network_that_it_was_begun_beside() {
    let networks = two("outlive");
    in_netns("a_start_that_was_killed_does_not_outlive_the_network_that_it_was_begun_beside", || {
        each_kill(&[&networks.start("nat")], &networks.start("private"), |state, number, _| {
            succeed(xennet(state).args(networks.stop("nat")));
            if number % 2 == 0 {
                succeed(xennet(state).arg("recover"));
            } else {
                succeed(xennet(state).args(networks.start("private")));
            }
            succeed(xennet(state).args(networks.stop("private")));
        });
    });
}
