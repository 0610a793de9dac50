//! `xennet show`: what dom0's networking is, on the kernel: by what is there, as it changes, and as far as one may look.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{Address, NftTableId, Route};
use xennet_core::step::{AddrStep, LinkChange, LinkStep, NewLink, NftOp, NftTransaction, RouteStep, Step};
use xennet_tests::steps::{into, name, run as step, set, up};
use xennet_tests::{StateDir, in_netns};

use crate::command::{Run, finish, xennet};

const NETWORKS: &str = r#"
[network.private]
mode = "nat"
subnets = ["10.0.0.0/24"]
egress = "eth0"

[network.later]
mode = "routed"
subnets = ["10.9.0.0/24"]
"#;

/// A host with an uplink, a bridge and two vifs, in the namespace of the calling thread.
struct Host {
    state: StateDir,
    kernel: Netlink,
}

impl Host {
    fn new() -> Self {
        let mut host = Host { state: StateDir::new(), kernel: Netlink::open().unwrap() };
        for link in ["eth0", "vif1.0", "vif2.0"] {
            let kind = NewLink::Veth { peer: name(&format!("far-{link}")) };
            host.change(Step::Link(LinkStep::Create { name: name(link), kind, change: LinkChange::default() }));
        }
        let (kind, change) = (NewLink::Bridge, LinkChange::default());
        host.change(Step::Link(LinkStep::Create { name: name("xenbr0"), kind, change }));
        for link in ["eth0", "far-eth0", "far-vif1.0", "far-vif2.0", "xenbr0"] {
            set(&mut host.kernel, link, up());
        }
        host.change(Step::Addr(AddrStep::Add(Address::new(name("eth0"), "192.168.0.3/24".parse().unwrap()))));
        let gateway = Some("192.168.0.1".parse().unwrap());
        let default = Route::to("0.0.0.0/0".parse().unwrap(), name("eth0")).with_gateway(gateway);
        host.change(Step::Route(RouteStep::Add(default)));
        fs::write(host.state.path().join("networks.toml"), NETWORKS).unwrap();
        host
    }

    fn change(&mut self, change: Step) {
        step(&mut self.kernel, change);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = xennet();
        command.arg("--state-dir").arg(self.state.path().join("state")).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        finish(&mut self.command(arguments))
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let got = self.run(arguments);
        assert_eq!(got.code, 0, "{arguments:?}: {got:?}");
        got.stdout
    }

    /// The network is started, and a guest is on it and one on the bridge.
    fn with_guests(self) -> Self {
        let file = self.state.path().join("networks.toml");
        self.ok(&["network", "start", "private", "--file", file.to_str().unwrap()]);
        self.ok(&["attach", "1", "mac=00:16:3e:00:00:01,bridge=xenbr0,ip=192.168.0.6"]);
        self.ok(&["attach", "2", "mac=00:16:3e:00:00:02,bridge=private,ip=10.0.0.1"]);
        self
    }
}

/// The cells of the row that begins so.
#[track_caller]
fn row<'a>(text: &'a str, begin: &str) -> Vec<&'a str> {
    let line = text.lines().find(|line| line.split_whitespace().next() == Some(begin));
    line.unwrap_or_else(|| panic!("{begin}: {text}")).split_whitespace().collect()
}

#[test]
fn a_host_is_shown_by_what_is_there() {
    in_netns("show::a_host_is_shown_by_what_is_there", || {
        let mut host = Host::new().with_guests();
        let shown = host.ok(&["show"]);
        assert_eq!(row(&shown, "private"), ["private", "nat", "started", "eth0", "10.0.0.0/24", "1"], "{shown}");
        assert_eq!(row(&shown, "eth0")[..4], ["eth0", "up", "192.168.0.3/24", "192.168.0.1"], "{shown}");
        assert_eq!(row(&shown, "vif1.0")[..4], ["vif1.0", "1", "xenbr0", "up"], "{shown}");
        assert_eq!(
            row(&shown, "vif2.0")[..6],
            ["vif2.0", "2", "private", "up", "10.0.0.1", "00:16:3e:00:00:02"],
            "{shown}"
        );
        assert!(shown.contains("default via 192.168.0.1 on eth0, by boot"), "{shown}");
        assert!(shown.contains("2 vifs: 1 filtered by the guard, 1 by the gate, 0 not at all"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
        let document = host.run(&["--json", "show"]).json();
        assert_eq!(document["vifs"].as_array().unwrap().len(), 2);
        assert_eq!(document["networks"][0]["state"], "started");

        // Somebody empties the firewall: the network, its guest and the guarded one are not as they were made.
        for table in [NftTableId::guard(), NftTableId::gate()] {
            host.change(Step::Nft(NftTransaction::new(table, vec![NftOp::DelTable])));
        }
        let shown = host.ok(&["show"]);
        assert_eq!(row(&shown, "private")[..3], ["private", "nat", "damaged"], "{shown}");
        for vif in ["vif1.0", "vif2.0"] {
            assert_eq!(row(&shown, vif)[3], "damaged", "{shown}");
            assert!(shown.contains(&format!("{vif}: not as it was made: ")), "{shown}");
        }
        assert!(shown.contains("0 filtered by the guard, 0 by the gate, 2 not at all"), "{shown}");
        let drawn = host.ok(&["picture"]);
        assert!(drawn.contains("damaged: ") && !drawn.contains("what guests may send"), "{drawn}");
        host.ok(&["recover"]);
        assert_eq!(row(&host.ok(&["show"]), "private")[2], "started");

        // A port that somebody else has taken.
        set(&mut host.kernel, "vif1.0", LinkChange::default().with_master(xennet_core::step::NewMaster::None));
        let shown = host.ok(&["show"]);
        assert_eq!(row(&shown, "vif1.0")[3], "damaged", "{shown}");
        set(&mut host.kernel, "vif1.0", into("xenbr0"));
    });
}

#[test]
fn who_may_not_look_is_told_what_was_not_seen() {
    in_netns("show::who_may_not_look_is_told_what_was_not_seen", || {
        let host = Host::new().with_guests();
        if Command::new("setpriv").arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "setpriv is missing, and CI is set");
            eprintln!("skipped: setpriv is missing (apt-get install util-linux)");
            return;
        }
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"]);
        let whole = host.command(&["--json", "show"]);
        command.arg(whole.get_program()).args(whole.get_args());
        let got = finish(&mut command);
        assert_eq!(got.code, 0, "{got:?}");
        let document = got.json();
        let unseen: Vec<&str> =
            document["unseen"].as_array().unwrap().iter().map(|u| u["what"].as_str().unwrap()).collect();
        assert!(unseen.iter().any(|what| what.contains("nft")), "{unseen:?}");
        // What it cannot see whole it does not call whole.
        assert!(document["networks"].as_array().unwrap().iter().all(|n| n["state"] != "started"), "{document}");
        assert_eq!(document["bridges"].as_array().map(Vec::len), Some(1), "{document}");
        assert_eq!(document["picture"]["uplinks"][0]["addresses"][0], "192.168.0.3/24");
    });
}

#[test]
fn what_changes_is_shown_anew() {
    in_netns("show::what_changes_is_shown_anew", || {
        let mut host = Host::new();
        let mut child =
            host.command(&["--json", "show", "--watch"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (tell, told) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Ok(document) = serde_json::from_str::<Value>(&line) else { break };
                if tell.send(document).is_err() {
                    break;
                }
            }
        });
        let patience = Duration::from_secs(10);
        let next = || told.recv_timeout(patience);
        // Ports of the bridge, once they are these.
        let until = |ports: usize| loop {
            let document = next().expect("a change is shown");
            if document["bridges"][0]["ports"].as_array().map(Vec::len) == Some(ports) {
                return;
            }
        };
        until(0);
        set(&mut host.kernel, "vif1.0", into("xenbr0"));
        until(1);
        host.change(Step::Nft(NftTransaction::new(NftTableId::guard(), vec![NftOp::AddTable])));
        let has_table =
            |d: &Value| d["filters"].as_array().unwrap().iter().any(|f| f["table"] == "bridge xennet-guard");
        while !has_table(&next().expect("a change of a table is shown")) {}
        // Where nothing happens nothing is shown: the kernel is done with its IPv6 addresses at some time.
        let quiet = (0..20).any(|_| told.recv_timeout(Duration::from_millis(1500)).is_err());
        assert!(quiet, "it is shown again and again");
        assert!(child.try_wait().unwrap().is_none(), "it goes on until somebody ends it");
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        host.kernel.observe(&xennet_core::snapshot::Scope::none()).unwrap();
    });
}

#[test]
fn a_file_and_a_model_are_not_watched() {
    for (arguments, code) in [
        (&["show", "--watch", "--from", "x"][..], 2),
        (&["--backend", "fake", "show", "--watch"], i32::from(xennet_core::ErrorKind::Unsupported.number())),
    ] {
        let got = finish(xennet().args(arguments));
        assert_eq!(got.code, code, "{got:?}");
    }
}

/// What the command writes on a terminal so wide.
fn on_terminal(columns: u16, no_colour: &str, arguments: &[&str]) -> String {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let path = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let size = rustix::termios::Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&ours, size).unwrap();
    let theirs = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut command = xennet();
    command.args(arguments).env("TERM", "xterm").env("NO_COLOR", no_colour).stdout(theirs);
    let mut child = command.spawn().unwrap();
    // The command's own copy is the last one then, and its end is the end of what can be read.
    drop(command);
    let mut text = Vec::new();
    let mut ours = fs::File::from(ours);
    let mut some = [0_u8; 4096];
    while let Ok(n) = std::io::Read::read(&mut ours, &mut some) {
        text.extend_from_slice(&some[..n]);
        if n == 0 {
            break;
        }
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8(text).unwrap().replace("\r\n", "\n")
}

#[test]
fn a_terminal_gets_colours_and_lines_of_its_width() {
    let state = StateDir::new();
    let dir = state.path().join("state");
    let fake = |more: &[&str]| {
        let mut all = vec!["--backend", "fake", "--state-dir", dir.to_str().unwrap()];
        all.extend(more);
        all.into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    for n in 1..=9 {
        let line = format!("mac=00:16:3e:00:00:0{n},bridge=xenbr0,ip=192.0.2.1{n} 2001:db8::{n}");
        assert_eq!(finish(xennet().args(fake(&["attach", &n.to_string(), &line]))).code, 0);
    }
    let show = fake(&["show"]);
    let show: Vec<&str> = show.iter().map(String::as_str).collect();
    let coloured = on_terminal(120, "", &show);
    assert!(coloured.contains("\x1b[32mup\x1b[0m") && coloured.contains("\x1b[1mVIF"), "{coloured}");
    let piped = finish(xennet().args(&show)).stdout;
    assert!(!piped.contains('\x1b') && piped.lines().all(|line| line.chars().count() <= 100), "{piped}");
    for columns in [80, 120] {
        let plain = on_terminal(columns, "1", &show);
        assert!(!plain.contains('\x1b'), "{plain}");
        assert!(plain.lines().all(|line| line.chars().count() <= usize::from(columns)), "{plain}");
        for n in 1..=9 {
            assert!(plain.contains(&format!("192.0.2.1{n}")) && plain.contains(&format!("2001:db8::{n}")), "{plain}");
        }
    }
}
