//! A start that nobody confirms is taken back: in time, after the caller was killed anywhere, and never after a confirmation.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xennet_core::MacAddr;
use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{AddrGenMode, Address, Route, Scope};
use xennet_core::step::{AddrStep, LinkChange, LinkStep, NewLink, NewMaster, RouteStep, Step};
use xennet_tests::steps::{name, run, set, up};
use xennet_tests::{StateDir, in_netns};

/// Long enough for a machine with much else to do; a passing test never waits so long.
const LONG: Duration = Duration::from_secs(30);

/// An uplink with an address, a global IPv6 address and two routes, and the file that moves it to a bridge.
struct Place {
    state: StateDir,
    file: String,
}

impl Place {
    fn new() -> Self {
        let mut on = Netlink::open().unwrap();
        set(&mut on, "lo", up());
        let kind = NewLink::Veth { peer: name("lan") };
        let change = LinkChange::default().with_mac(MacAddr::new([2, 0, 0, 0, 0, 1]));
        run(&mut on, Step::Link(LinkStep::Create { name: name("eth0"), kind, change }));
        // Addresses that come by themselves some time later would differ from run to run.
        for link in ["eth0", "lan"] {
            set(&mut on, link, LinkChange::default().with_addr_gen_mode(AddrGenMode::None));
            set(&mut on, link, up());
        }
        run(&mut on, Step::Addr(AddrStep::Add(Address::new(name("eth0"), "192.168.0.3/24".parse().unwrap()))));
        run(&mut on, Step::Addr(AddrStep::Add(Address::new(name("eth0"), "2001:db8::3/64".parse().unwrap()))));
        for (to, gateway) in [("0.0.0.0/0", "192.168.0.1"), ("::/0", "2001:db8::1")] {
            let route = Route::to(to.parse().unwrap(), name("eth0")).with_gateway(Some(gateway.parse().unwrap()));
            run(&mut on, Step::Route(RouteStep::Add(route)));
        }
        let state = StateDir::new();
        std::fs::create_dir_all(state.path()).unwrap();
        let file = state.path().join("networks.toml").display().to_string();
        std::fs::write(&file, "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"\n").unwrap();
        Place { state, file }
    }

    fn xennet(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xennet"));
        command.stdin(Stdio::null()).arg("--state-dir").arg(self.state.path()).args(arguments);
        command
    }

    fn start(&self, seconds: &str) -> [String; 7] {
        let words = ["network", "start", "lan", "--confirm", seconds, "--file", &self.file];
        words.map(str::to_owned)
    }

    fn call(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.xennet(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    fn status(&self) -> String {
        let (code, text) = self.call(&["network", "status", "lan", "--json", "--file", &self.file]);
        assert_eq!(code, 0, "{text}");
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        document["networks"][0]["state"].as_str().unwrap().to_owned()
    }

    /// Waits until the host is as it was, and nobody holds a lock or a guard's place.
    fn is_again(&self, before: &str, what: &str) -> Duration {
        let begin = Instant::now();
        loop {
            let now = look();
            if now == before && self.status() == "stopped" {
                return begin.elapsed();
            }
            assert!(begin.elapsed() < LONG, "{what}: not as before\n{now}\nbefore:\n{before}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn look() -> String {
    Netlink::open().unwrap().observe(&Scope::network()).unwrap().render()
}

fn words(list: &[String]) -> Vec<&str> {
    list.iter().map(String::as_str).collect()
}

#[test]
fn a_start_that_nobody_confirms_is_taken_back() {
    in_netns("a_start_that_nobody_confirms_is_taken_back", || {
        let place = Place::new();
        let before = look();
        let (code, text) = place.call(&words(&place.start("1")));
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("taken back in 1 s unless you confirm it: xennet confirm lan"), "{text}");
        assert_ne!(look(), before);
        assert_eq!(place.status(), "unconfirmed");
        let waited = place.is_again(&before, "late");
        assert!(waited > Duration::from_millis(500), "not before its time: {waited:?}");
        let (code, text) = place.call(&["confirm"]);
        assert_eq!(code, 19, "{text}");
        assert!(text.contains("no network waits for a confirmation"), "{text}");
        let (code, text) = place.call(&["confirm", "lan"]);
        assert_eq!(code, 19, "{text}");
    });
}

#[test]
fn what_is_confirmed_stays() {
    in_netns("what_is_confirmed_stays", || {
        let place = Place::new();
        let before = look();
        let (code, text) = place.call(&words(&place.start("2")));
        assert_eq!(code, 0, "{text}");
        let started = look();
        // While it waits, nobody else can be its guard.
        let (code, text) = place.call(&words(&place.start("2")));
        assert_eq!(code, 18, "{text}");
        assert!(text.contains("waits for a confirmation already"), "{text}");
        let (code, text) = place.call(&["confirm", "lan"]);
        assert_eq!((code, text.as_str()), (0, "network lan: confirmed\n"));
        assert_eq!(place.status(), "started");
        std::thread::sleep(Duration::from_millis(2500));
        assert_eq!(look(), started, "the deadline has no meaning any more");
        // Where nothing has to be done, there is nothing to confirm.
        let (code, text) = place.call(&words(&place.start("1")));
        assert_eq!((code, text.as_str()), (0, "network lan: started already\n"));
        assert_eq!(place.status(), "started");
        let (code, text) = place.call(&["network", "stop", "lan"]);
        assert_eq!(code, 0, "{text}");
        place.is_again(&before, "stopped");
    });
}

/// The numbers of an undisturbed run's requests to the kernel: calls of `sendto`.
fn requests(place: &Place) -> usize {
    let trace = place.state.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-qq", "-e", "trace=sendto", "-o", trace.to_str().unwrap()]).arg(env!("CARGO_BIN_EXE_xennet"));
    command.arg("--state-dir").arg(place.state.path()).args(place.start("60"));
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success());
    let text = std::fs::read_to_string(&trace).unwrap();
    std::fs::remove_file(&trace).unwrap();
    text.lines().filter(|l| l.starts_with("sendto(")).count()
}

#[test]
fn whoever_is_killed_leaves_the_host_as_it_was() {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing, and CI is set");
        eprintln!("skipped: strace is missing (apt-get install strace)");
        return;
    }
    in_netns("whoever_is_killed_leaves_the_host_as_it_was", || {
        let place = Place::new();
        let before = look();
        let requests = requests(&place);
        assert_eq!(place.call(&["confirm"]).0, 0);
        assert_eq!(place.call(&["network", "stop", "lan"]).0, 0);
        place.is_again(&before, "stopped");
        let (mut changed, mut longest) = (0, Duration::ZERO);
        // Also where the kernel takes nothing any more from then on, not even the way back.
        let kills = (1..=requests).map(|at| (at, format!("inject=sendto:signal=KILL:when={at}")));
        let refusals = (1..=requests).map(|at| (at, format!("inject=sendto:error=EPERM:when={at}+")));
        for (at, inject) in kills.chain(refusals) {
            let what = format!("{inject}: request {at} of {requests}");
            let mut command = Command::new("strace");
            command.args(["-qq", "-e", "trace=sendto", "-e", &inject, "-o", "/dev/null"]);
            command.arg(env!("CARGO_BIN_EXE_xennet")).arg("--state-dir").arg(place.state.path());
            command.args(place.start("60")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            assert!(!command.status().unwrap().success(), "{what}: it was not");
            changed += usize::from(look() != before);
            // Long before the deadline: the guard sees who was killed.
            longest = longest.max(place.is_again(&before, &what));
        }
        println!(
            "killed at each of {requests} requests; {changed} had changed something; as before after {longest:.0?} at most"
        );
        assert!(requests > 10 && changed > 3);
    });
}

/// Guests are on it by now: what was not confirmed is the repair, not the network.
#[test]
fn a_network_that_was_started_before_is_not_stopped() {
    in_netns("a_network_that_was_started_before_is_not_stopped", || {
        let place = Place::new();
        let before = look();
        let (code, text) = place.call(&["network", "start", "lan", "--file", &place.file]);
        assert_eq!(code, 0, "{text}");
        let started = look();
        // Somebody takes the uplink off its bridge.
        let off = LinkChange::default().with_master(NewMaster::None);
        set(&mut Netlink::open().unwrap(), "eth0", off);
        let damaged = look();
        assert_ne!(damaged, started);
        let (code, text) = place.call(&words(&place.start("1")));
        assert_eq!(code, 0, "{text}");
        assert_eq!(look(), started);
        let begin = Instant::now();
        while look() != damaged {
            assert!(begin.elapsed() < LONG, "not as before\n{}\nbefore:\n{damaged}", look());
            std::thread::sleep(Duration::from_millis(20));
        }
        let begin = Instant::now();
        while place.status() != "damaged" {
            assert!(begin.elapsed() < LONG, "{}", place.status());
        }
        // And again, which is confirmed; the first start is not forgotten.
        let (code, text) = place.call(&words(&place.start("20")));
        assert_eq!(code, 0, "{text}");
        assert_eq!(place.call(&["confirm"]).0, 0);
        assert_eq!((look(), place.status().as_str()), (started, "started"));
        let (code, text) = place.call(&["network", "stop", "lan"]);
        assert_eq!(code, 0, "{text}");
        place.is_again(&before, "stopped");
    });
}

/// What was not confirmed is the change, not the network.
#[test]
fn a_change_that_nobody_confirms_is_taken_back() {
    in_netns("a_change_that_nobody_confirms_is_taken_back", || {
        let place = Place::new();
        let before = look();
        let describe = |keys: &str| {
            let text = format!("[network.lan]\nmode = \"nat\"\negress = \"eth0\"\nsubnets = [\"10.0.0.0/24\"]\n{keys}");
            std::fs::write(&place.file, text).unwrap();
        };
        let forward = |port: u16| format!("forward = [{{ protocol = \"tcp\", ports = {port}, to = \"10.0.0.1\" }}]\n");
        describe(&forward(80));
        assert_eq!(place.call(&["network", "start", "lan", "--file", &place.file]).0, 0);
        let started = look();
        describe(&forward(81));
        let (code, text) = place.call(&["network", "status", "--file", &place.file]);
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("lan: new, and does not hold until it is started once more: forward"), "{text}");
        let (code, text) = place.call(&words(&place.start("1")));
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("note: network lan: new is its forward\n"), "{text}");
        assert!(text.contains("network lan: changed, 1 step, verified\n"), "{text}");
        assert_ne!(look(), started);
        // One change at a time; what changes nothing is no change.
        assert_eq!(place.call(&["network", "start", "lan", "--file", &place.file]).0, 0);
        describe(&forward(82));
        let (code, text) = place.call(&["network", "start", "lan", "--file", &place.file]);
        assert!(code != 0 && text.contains("the last start of network lan waits for a confirmation"), "{code}: {text}");
        describe(&forward(81));
        // Who has taken the port meanwhile keeps it.
        let other = place.file.replace("networks.toml", "other.toml");
        let keys = forward(80).replace("10.0.0.1", "10.1.0.1");
        let text = format!("[network.other]\nmode = \"nat\"\negress = \"eth0\"\nsubnets = [\"10.1.0.0/24\"]\n{keys}");
        std::fs::write(&other, text).unwrap();
        let (code, text) = place.call(&["network", "start", "other", "--file", &other]);
        assert_eq!(code, 0, "{text}");
        let taken = "nft add element inet xennet forward4 { tcp . 80 : 10.1.0.1 }";
        let started = started.replace("nft add element inet xennet forward4 { tcp . 80 : 10.0.0.1 }", taken);
        assert!(started.contains(taken), "{started}");
        let begin = Instant::now();
        // The other network's guests may reach each other.
        let look_again = || {
            look().lines().filter(|l| !l.contains(" reach4 { 10.1.0.")).map(|l| format!("{l}\n")).collect::<String>()
        };
        while look_again() != started {
            assert!(begin.elapsed() < LONG, "not as before\n{}\nbefore:\n{started}", look());
            std::thread::sleep(Duration::from_millis(20));
        }
        // And once more, which is confirmed.
        assert_eq!(place.call(&["network", "stop", "other"]).0, 0);
        assert_eq!(place.call(&words(&place.start("20"))).0, 0);
        assert_eq!(place.call(&["confirm"]).0, 0);
        let (code, text) = place.call(&["network", "start", "lan", "--file", &place.file]);
        assert_eq!((code, text.as_str()), (0, "network lan: started already\n"));
        let (code, text) = place.call(&["network", "stop", "lan"]);
        assert_eq!(code, 0, "{text}");
        // The table stays, with nothing in it.
        let now = look();
        let (of_table, others): (Vec<&str>, Vec<&str>) = now.lines().partition(|l| l.contains(" inet xennet"));
        assert_eq!(others, before.lines().collect::<Vec<_>>());
        let elements: Vec<&str> =
            of_table.into_iter().filter(|l| l.contains(" element ") && !l.contains(" version ")).collect();
        assert_eq!(elements, [""; 0]);
    });
}

/// A network that has been confirmed, or was started without a guard, is not stopped because somebody was killed who wanted to
/// start it once more.
#[test]
fn a_network_that_runs_outlives_whoever_starts_it_again() {
    in_netns("a_network_that_runs_outlives_whoever_starts_it_again", || {
        let place = Place::new();
        let start = ["network", "start", "lan", "--file", &place.file];
        assert_eq!(place.call(&start).0, 0);
        // The bridge's link-local address comes when it comes.
        let look = || look().lines().filter(|l| !l.contains("fe80::")).map(str::to_owned).collect::<Vec<_>>();
        let started = look();
        let mut guard = place
            .xennet(&["network", "guard", "lan", "30"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It listens, and then hears that whoever called it has ended.
        let mut told = [0; 5];
        std::io::Read::read_exact(guard.stdout.as_mut().unwrap(), &mut told).unwrap();
        assert_eq!(&told, b"true\n");
        drop(guard.stdin.take());
        assert!(guard.wait().unwrap().success());
        assert_eq!((look(), place.status()), (started, "started".into()));
    });
}

/// A guard that outlives the start that it was called for would take back the next one, which nobody wanted to be guarded.
#[test]
fn a_start_that_was_taken_back_by_hand_has_no_guard_left() {
    in_netns("a_start_that_was_taken_back_by_hand_has_no_guard_left", || {
        let place = Place::new();
        let before = look();
        for by_hand in [&["network", "stop", "lan"][..], &["undo", "network-lan"]] {
            let (code, text) = place.call(&words(&place.start("60")));
            assert_eq!(code, 0, "{text}");
            let (code, text) = place.call(by_hand);
            assert_eq!(code, 0, "{text}");
            place.is_again(&before, "by hand");
            let (code, text) = place.call(&["confirm", "lan"]);
            assert_eq!(code, 19, "nobody waits after {by_hand:?}: {text}");
        }
        let (code, text) = place.call(&["network", "start", "lan", "--file", &place.file]);
        assert_eq!(code, 0, "{text}");
        assert_eq!(place.status(), "started");
    });
}

/// Who confirms while the change is still being made, and was told after a while that nobody answers, has not confirmed.
#[test]
fn a_confirmation_that_was_given_up_does_not_count() {
    in_netns("a_confirmation_that_was_given_up_does_not_count", || {
        let place = Place::new();
        let before = look();
        let mut guard = place
            .xennet(&["network", "guard", "lan", "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = [0; 5];
        std::io::Read::read_exact(guard.stdout.as_mut().unwrap(), &mut told).unwrap();
        drop(std::os::unix::net::UnixStream::connect(place.state.path().join("networks/lan.confirm")).unwrap());
        let networks = xennet_core::config::networks::parse(&std::fs::read_to_string(&place.file).unwrap()).unwrap();
        let state = xennet_core::exec::StateDir::at(place.state.path());
        let mut host = xennet_core::Host::netlink().unwrap().with_state_dir(state);
        host.start_guarded(networks.get("lan").unwrap()).unwrap_or_else(|e| panic!("{}", e.report()));
        std::io::Write::write_all(guard.stdin.as_mut().unwrap(), xennet_core::exec::confirm::Told::Made.bytes())
            .unwrap();
        place.is_again(&before, "given up");
        assert!(guard.wait().unwrap().success());
    });
}
