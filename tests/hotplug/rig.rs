//! A host for hotplug calls: a network namespace, a xenstored of ours, and the program under the name of a script.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{AddrGenMode, Address, Link, Part, Scope, Snapshot, SysctlKey};
use xennet_core::step::{AddrStep, BridgeChange, LinkChange, LinkRef, LinkStep, NewLink, Step};
use xennet_core::xenstore::server::{Server, Settings};
use xennet_core::xenstore::tree::Caller;
use xennet_core::xenstore::wire::Kind;
use xennet_core::{MacAddr, NatNetwork, Network, NetworkMode, RoutedNetwork, Started, Subnet, VifId};
use xennet_tests::steps;
pub(crate) use xennet_tests::steps::name;
use xennet_tests::{StateDir, slower};

/// What a call printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

/// The host. Everything of it is in the calling thread's network namespace and in a directory of its own.
pub(crate) struct Rig {
    pub(crate) store: Server,
    pub(crate) dir: StateDir,
}

impl Rig {
    /// A host with the bridge `xenbr0` and nothing else.
    pub(crate) fn new() -> Self {
        let rig = Rig::bare();
        rig.bridge("xenbr0", 1500);
        rig
    }

    /// A host with nothing but loopback.
    pub(crate) fn bare() -> Self {
        let dir = StateDir::new();
        let store = Server::start(Settings::default().with_path(dir.path().join("xenstored"))).unwrap();
        for place in ["hooks", "scripts"] {
            std::fs::create_dir(dir.path().join(place)).unwrap();
        }
        for script in ["vif-bridge", "xennet-vif-bridge", "vif-nat", "vif-route"] {
            std::os::unix::fs::symlink(helper(), dir.path().join("scripts").join(script)).unwrap();
        }
        let rig = Rig { store, dir };
        rig.settings("");
        rig
    }

    /// Writes the administrator's settings: these lines, and where everything is.
    pub(crate) fn settings(&self, lines: &str) {
        let at = |name: &str| self.dir.path().join(name).display().to_string();
        let mut text = lines.to_owned();
        for (key, place) in [("state_dir", "state"), ("log_file", "xen-hotplug.log"), ("hooks", "hooks")] {
            if !lines.contains(&format!("{key} =")) {
                text.push_str(&format!("\n{key} = \"{}\"", at(place)));
            }
        }
        if !lines.contains("syslog =") {
            text.push_str("\nsyslog = false\n");
        }
        std::fs::write(self.dir.path().join("hotplug.toml"), text).unwrap();
    }

    /// Gives a call this many seconds, or as many more as this machine is slower, but no more than there can be beside the hooks' own.
    pub(crate) fn deadline(&self, seconds: u32) -> Duration {
        let seconds = (seconds * slower()).min(28);
        self.settings(&format!("deadline = {seconds}"));
        Duration::from_secs(seconds.into())
    }

    pub(crate) fn state(&self) -> xennet_core::exec::StateDir {
        xennet_core::exec::StateDir::at(self.dir.path().join("state"))
    }

    /// Notes that a network is started, as `xennet network start` does.
    pub(crate) fn started(&self, started: &Started) {
        self.state().set_started(started).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn bridge(&self, which: &str, mtu: u32) {
        let quick = BridgeChange::default().with_forward_delay_cs(0);
        let change = LinkChange::default().with_mac(mac(1)).with_mtu(mtu).with_bridge(quick);
        apply(Step::Link(LinkStep::Create { name: name(which), kind: NewLink::Bridge, change }));
        // IPv6 makes its addresses some time after the link goes up, which would differ from run to run.
        set(which, LinkChange::default().with_addr_gen_mode(AddrGenMode::None));
        set(which, LinkChange::default().with_up(true));
    }

    /// A link as netback makes it, or a device model's tap; its other end stays down.
    pub(crate) fn link(&self, which: &str) {
        let peer = format!("g{}", which.trim_start_matches("vif"));
        let kind = NewLink::Veth { peer: name(&peer) };
        let change = LinkChange::default().with_mac(MacAddr::BACKEND);
        apply(Step::Link(LinkStep::Create { name: name(which), kind, change }));
        // The same in every run, so that runs can be compared.
        let sum = peer.bytes().fold(0, u8::wrapping_add);
        set(&peer, LinkChange::default().with_mac(MacAddr::new([2, 0, 1, 0, 0, sum])));
    }

    pub(crate) fn remove(&self, which: &str) {
        apply(Step::Link(LinkStep::Delete { link: LinkRef::named(name(which)) }));
    }

    /// Makes the link and the nodes of a vif, as netback and libxl do.
    pub(crate) fn vif(&self, vif: &str, nodes: &[(&str, &str)]) {
        self.link(vif);
        self.nodes(vif, nodes);
    }

    /// Writes what libxl writes for a vif, and these nodes.
    pub(crate) fn nodes(&self, vif: &str, nodes: &[(&str, &str)]) {
        let id = VifId::from_vif_name(vif).unwrap();
        let (domid, handle) = (id.domid.to_string(), id.devid.to_string());
        let backend = format!("/local/domain/0/{}", path_of(vif));
        let frontend = format!("/local/domain/{domid}/device/vif/{handle}");
        self.store.tree(|tree| {
            let usual = [
                ("frontend", frontend.as_str()),
                ("frontend-id", &domid),
                ("online", "1"),
                ("state", "2"),
                ("handle", &handle),
            ];
            for (node, value) in usual.iter().chain(nodes) {
                tree.set(&format!("{backend}/{node}"), value.as_bytes()).unwrap();
            }
            tree.set(&format!("{backend}/hotplug-status"), b"").unwrap();
            tree.set(&format!("{frontend}/mtu"), b"1500").unwrap();
        });
    }

    /// Another xenstored in the place of the one that died, with nothing in it.
    pub(crate) fn restart_store(&mut self) {
        let path = self.store.path().to_owned();
        // The old one removes its socket when it goes, so it has to go first.
        drop(std::mem::replace(&mut self.store, Server::start(Settings::default()).unwrap()));
        self.store = Server::start(Settings::default().with_path(path)).unwrap();
    }

    /// Removes a node and all below it, as when a domain has ended.
    pub(crate) fn forget(&self, path: &str) {
        self.store.tree(|tree| {
            let connection = tree.connect(0);
            let gone = tree.rm(Caller::of(connection), path);
            tree.disconnect(connection);
            gone.unwrap();
        });
    }

    /// The value of a node, relative to dom0's home or absolute.
    pub(crate) fn node(&self, path: &str) -> Option<String> {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/local/domain/0/{path}") };
        self.store.tree(|tree| tree.get(&path).map(|v| String::from_utf8_lossy(v).into_owned()))
    }

    pub(crate) fn status(&self, vif: &str) -> Option<String> {
        self.node(&format!("{}/hotplug-status", path_of(vif)))
    }

    pub(crate) fn error(&self, vif: &str) -> Option<String> {
        self.node(&format!("{}/hotplug-error", path_of(vif)))
    }

    /// The script's call, as libxl makes it: `online` and the like are about the vif, with `vif<domid>.<devid>`.
    pub(crate) fn command(&self, vif: &str, verb: &str) -> Command {
        self.command_of("vif-bridge", vif, verb)
    }

    /// The call of one of the scripts.
    pub(crate) fn command_of(&self, script: &str, vif: &str, verb: &str) -> Command {
        let type_if = if matches!(verb, "add" | "remove") { "tap" } else { "vif" };
        let mut command = self.script(script);
        command.arg(verb).arg(format!("type_if={type_if}"));
        command.env("XENBUS_PATH", path_of(vif)).env("vif", vif).env("INTERFACE", format!("{vif}-emu"));
        command
    }

    /// A script, with the environment of libxl that is the same for every vif.
    pub(crate) fn script(&self, script: &str) -> Command {
        let program = self.path("scripts").join(script);
        let mut command = Command::new(&program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        command.env("script", &program).env("XENBUS_TYPE", "vif").env("XENBUS_BASE_PATH", "backend").env("netdev", "");
        command.env("XENSTORED_PATH", self.store.path()).env("XENNET_HOTPLUG_CONFIG", self.path("hotplug.toml"));
        command
    }

    pub(crate) fn call(&self, vif: &str, verb: &str) -> Run {
        run(&mut self.command(vif, verb))
    }

    #[track_caller]
    pub(crate) fn ok(&self, vif: &str, verb: &str) -> Run {
        let got = self.call(vif, verb);
        assert_eq!(got.code, Some(0), "{verb} {vif}: {}", got.stderr);
        got
    }

    #[track_caller]
    pub(crate) fn ok_of(&self, script: &str, vif: &str, verb: &str) -> Run {
        let got = run(&mut self.command_of(script, vif, verb));
        assert_eq!(got.code, Some(0), "{script} {verb} {vif}: {}", got.stderr);
        got
    }

    #[track_caller]
    pub(crate) fn fails(&self, vif: &str, verb: &str) -> Run {
        self.fails_of("vif-bridge", vif, verb)
    }

    #[track_caller]
    pub(crate) fn fails_of(&self, script: &str, vif: &str, verb: &str) -> Run {
        let got = run(&mut self.command_of(script, vif, verb));
        assert_eq!(got.code, Some(1), "{script} {verb} {vif}: {}", got.stderr);
        assert!(got.stderr.starts_with(&format!("{script}: error: ")), "{}", got.stderr);
        got
    }

    /// What calls wrote to the store, in order, as `path = value`; `rm path`. Forgets it.
    pub(crate) fn writes(&self) -> Vec<String> {
        let log = self.store.log();
        self.store.clear_log();
        let written = log.iter().filter_map(|r| match r.kind {
            Some(Kind::Write) => Some(format!("{} = {}", r.path, String::from_utf8_lossy(&r.value))),
            Some(Kind::Rm) => Some(format!("rm {}", r.path)),
            _ => None,
        });
        written.collect()
    }
}

/// Where a vif's nodes are, as libxl says it.
pub(crate) fn path_of(vif: &str) -> String {
    let id = VifId::from_vif_name(vif).unwrap();
    format!("backend/vif/{}/{}", id.domid, id.devid)
}

/// What stands in for the scripts: the program, or another helper (`tests/c-hotplug`).
fn helper() -> PathBuf {
    std::env::var_os("XENNET_HOTPLUG_BIN").map_or_else(program, PathBuf::from)
}

/// The command.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("XENNET_BIN").map_or_else(|| Path::new(env!("CARGO_BIN_EXE_xennet")).to_owned(), PathBuf::from)
}

pub(crate) fn run(command: &mut Command) -> Run {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(stdout, b"", "a script says nothing on standard output");
    Run { code: status.code(), stderr: String::from_utf8(stderr).unwrap() }
}

pub(crate) fn mac(last: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 0, last])
}

#[track_caller]
pub(crate) fn apply(step: Step) {
    steps::run(&mut Netlink::open().unwrap(), step);
}

#[track_caller]
pub(crate) fn set(link: &str, change: LinkChange) {
    steps::set(&mut Netlink::open().unwrap(), link, change);
}

/// A file of the tests: recorded cases and the like. Where the checkout is private there is a copy.
pub(crate) fn tests_file(path: &str) -> String {
    let place = std::env::var_os("XENNET_TESTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests"), PathBuf::from);
    let path = place.join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The whole network of the namespace.
pub(crate) fn look() -> Snapshot {
    Netlink::open().unwrap().observe(&Scope::network()).unwrap()
}

pub(crate) fn link(which: &str) -> Option<Link> {
    look().links.remove(which)
}

/// The elements that the guard has of vifs, a line each: all but the one that says which version of it it is.
pub(crate) fn guarded() -> Vec<String> {
    let of_vif =
        |l: &&str| l.starts_with("nft add element bridge xennet-guard") && !l.contains("xennet-guard version ");
    look().render().lines().filter(of_vif).map(str::to_owned).collect()
}

/// The elements that the gate has, a line each: what stands behind `inet xennet`. Without those that say which networks' guests may connect:
/// they are a network's, which no guest makes or takes away.
pub(crate) fn gated() -> Vec<String> {
    let lines = look().render();
    let of_guest = lines.lines().filter_map(|l| l.strip_prefix("nft add element inet xennet "));
    of_guest
        .filter(|l| !["version ", "reach4 ", "reach6 "].iter().any(|set| l.starts_with(set)))
        .map(str::to_owned)
        .collect()
}

/// A link of dom0's own with this address, which is the only one it has.
pub(crate) fn outside(rig: &Rig, which: &str, address: &str) {
    rig.link(which);
    set(which, LinkChange::default().with_addr_gen_mode(AddrGenMode::None));
    set(which, LinkChange::default().with_up(true));
    apply(Step::Addr(AddrStep::Add(Address::new(name(which), address.parse().unwrap()))));
}

/// The routes of a link that are not the kernel's own, as `ip` writes them.
pub(crate) fn routes(which: &str) -> Vec<String> {
    let all = look().render();
    let about = format!(" dev {which} ");
    let own = all.lines().filter(|l| l.starts_with("ip route add ") && format!("{l} ").contains(&about));
    own.filter(|l| !l.contains(" proto kernel")).map(|l| l["ip route add ".len()..].to_owned()).collect()
}

/// The addresses of a link, as `ip` writes them.
pub(crate) fn addresses(which: &str) -> Vec<String> {
    look().addresses_of(&name(which)).map(|a| a.address.to_string()).collect()
}

/// A kernel setting of a link: `net/ipv4/conf/vif5.0/proxy_arp`.
pub(crate) fn setting(key: &str) -> Option<String> {
    let key: SysctlKey = key.parse().unwrap();
    Netlink::open()
        .unwrap()
        .observe(&Scope::none().with(Part::Sysctl(key.clone())))
        .unwrap()
        .sysctls
        .get(&key)
        .map(str::to_owned)
}

pub(crate) fn subnets(list: &[&str]) -> Vec<Subnet> {
    list.iter().map(|n| Subnet::new(n.parse().unwrap()).unwrap()).collect()
}

/// A NAT network that is started, behind `eth0`.
pub(crate) fn nat(which: &str, mode: NatNetwork) -> Started {
    let mut started = Started::new(Network::new(name(which), NetworkMode::Nat(mode)).unwrap());
    started.outside = Some(name("eth0"));
    started
}

/// A vif a guest, 10.1.0.0/24 and fd00:1::/64, behind `eth0`.
pub(crate) fn nat_network(which: &str) -> Started {
    let mut mode = NatNetwork::new();
    mode.subnets = subnets(&["10.1.0.0/24", "fd00:1::/64"]);
    nat(which, mode)
}

/// The same subnets, routed.
pub(crate) fn routed_network(which: &str) -> Started {
    let mut mode = RoutedNetwork::new();
    mode.subnets = subnets(&["10.1.0.0/24", "fd00:1::/64"]);
    routed(which, mode)
}

/// A routed network that is started, behind `eth0`, with dom0's address 192.0.2.1.
pub(crate) fn routed(which: &str, mode: RoutedNetwork) -> Started {
    let mut started = Started::new(Network::new(name(which), NetworkMode::Routed(mode)).unwrap());
    started.outside = Some(name("eth0"));
    started.source = vec!["192.0.2.1".parse().unwrap()];
    started
}

/// Numbers that are no pattern, and the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
