//! What the kernel learns of guests: put in by the programs that administrators use, and listed.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use xennet_core::MacAddr;
use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{LearnedNeighbour, Station};

/// Whether the programs are here; says so if not, and fails where nothing may be skipped.
pub(crate) fn programs_are_here() -> bool {
    let missing: Vec<&str> = ["conntrack", "ip", "bridge"]
        .into_iter()
        .filter(|program| Command::new(program).arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err())
        .collect();
    if !missing.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "{missing:?} are missing, and CI is set");
        eprintln!("skipped: {missing:?} are missing (apt-get install conntrack iproute2)");
    }
    missing.is_empty()
}

/// Carries out some lines of a program that reads them from its input. What is refused is not learned.
fn batch(program: &str, lines: &[String]) {
    let mut command = Command::new(program);
    command.args(["-force", "-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all((lines.join("\n") + "\n").as_bytes()).unwrap();
    child.wait().unwrap();
}

/// Who is learned.
pub(crate) struct Who<'a> {
    pub(crate) addresses: &'a [IpAddr],
    pub(crate) mac: MacAddr,
    pub(crate) link: &'a str,
    pub(crate) bridge: Option<&'a str>,
    /// Another port of the bridge, behind which the same MAC was seen.
    pub(crate) elsewhere: Option<&'a str>,
}

/// The kernel learns of a guest; how many entries.
pub(crate) fn learn(who: &Who<'_>, port: usize) -> usize {
    let port = 1024 + port % 60_000;
    let mut lines = Vec::new();
    for address in who.addresses {
        let (outside, dom0) =
            if address.is_ipv4() { ("203.0.113.9", "192.0.2.1") } else { ("2001:db8::9", "2001:db8::1") };
        // Begun by the guest and hidden, and begun outside and handed on to it.
        lines.push(format!(
            "-I -p udp -t 300 -s {address} -d {outside} --sport {port} --dport 53 -r {outside} -q {dom0} --reply-port-src 53 \
             --reply-port-dst {port}"
        ));
        lines.push(format!(
            "-I -p tcp --state ESTABLISHED -u ASSURED -t 300 -s {outside} -d {dom0} --sport {port} --dport 80 -r {address} -q {outside} \
             --reply-port-src 80 --reply-port-dst {port}"
        ));
    }
    let mut count = lines.len();
    let words = lines.iter().map(|line| format!("conntrack {line}"));
    let output = Command::new("sh").args(["-c", &words.collect::<Vec<_>>().join("\n")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if let Some(bridge) = who.bridge {
        let neighbours = who.addresses.iter();
        let lines: Vec<String> =
            neighbours.map(|a| format!("neigh replace {a} dev {bridge} lladdr {} nud stale", who.mac)).collect();
        batch("ip", &lines);
        let mut fdb = vec![
            format!("fdb replace {} dev {} master dynamic", who.mac, who.link),
            format!("mdb add dev {bridge} port {} grp 239.1.1.1 temp", who.link),
        ];
        if let Some(elsewhere) = who.elsewhere {
            fdb[0] = format!("fdb replace {} dev {elsewhere} master dynamic", who.mac);
        }
        batch("bridge", &fdb);
        count += lines.len() + fdb.len();
    } else {
        let neighbours = who.addresses.iter();
        let lines: Vec<String> =
            neighbours.map(|a| format!("neigh replace {a} dev {} lladdr {} nud stale", who.link, who.mac)).collect();
        batch("ip", &lines);
        count += lines.len();
    }
    count
}

/// What is learned at this moment.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Who has begun a connection, or answers in one; with its line.
    pub(crate) connections: Vec<(IpAddr, String)>,
    pub(crate) neighbours: BTreeSet<LearnedNeighbour>,
    pub(crate) stations: BTreeSet<Station>,
    /// A line each: port and group.
    pub(crate) groups: Vec<String>,
}

pub(crate) fn look() -> Learned {
    let mut learned = Learned::default();
    for line in connections().lines() {
        // The file writes all digits of an IPv6 address.
        let short = |word: &str| match word.split_once('=') {
            Some((key @ ("src" | "dst"), address)) => format!("{key}={}", address.parse::<IpAddr>().unwrap()),
            _ => word.to_owned(),
        };
        let line = line.split_whitespace().map(short).collect::<Vec<_>>().join(" ");
        let sources: Vec<IpAddr> =
            line.split(' ').filter_map(|word| word.strip_prefix("src=")).map(|a| a.parse().unwrap()).collect();
        learned.connections.extend(sources.into_iter().map(|source| (source, line.clone())));
    }
    let (details, missed) = Netlink::open().unwrap().details().unwrap();
    let needed = ["learned neighbours", "stations that bridges have learned"];
    assert!(!missed.iter().any(|m| needed.contains(&m.what)), "{missed:?}");
    (learned.neighbours, learned.stations) = (details.neighbours, details.stations);
    let output = Command::new("bridge").args(["mdb", "show"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    learned.groups = text.lines().filter(|line| line.contains("239.1.1.1")).map(str::to_owned).collect();
    learned
}

/// A line each. To read the file takes a thirtieth of the time of a listing by netlink; a kernel without it lists.
fn connections() -> String {
    if let Ok(text) = std::fs::read_to_string("/proc/thread-self/net/nf_conntrack") {
        return text;
    }
    let list = |family| Command::new("conntrack").args(["-L", "-f", family]).output().unwrap();
    ["ipv4", "ipv6"].map(|family| String::from_utf8(list(family).stdout).unwrap()).concat()
}
