//! What a call must not do: start another program, or list what grows with the host.

use xennet_tests::in_netns;

use crate::rig::{Rig, guarded, link, nat_network, outside, routed_network};
use crate::trace::{self, Syscall};

const VIF: &str = "vif5.0";

fn count(calls: &[Syscall], names: &[&str]) -> usize {
    calls.iter().filter(|c| names.contains(&c.name.as_str())).count()
}

/// One call under strace, checked for what no call may do.
fn watched(rig: &Rig, vif: &str, verb: &str) -> Vec<Syscall> {
    watched_of("vif-bridge", rig, vif, verb)
}

fn watched_of(script: &str, rig: &Rig, vif: &str, verb: &str) -> Vec<Syscall> {
    let (calls, status) = trace::syscalls(rig, &rig.command_of(script, vif, verb), &["-v", "-s", "4096"]);
    assert!(status.success(), "{verb}: {status}");
    assert_eq!(count(&calls, &["execve", "execveat"]), 1, "{verb} starts no other program");
    // Addresses of one link, and the rules of the guard's own table, of which there are always the same.
    let constant = ["RTM_GETADDR", "NFT_MSG_GETCHAIN", "NFT_MSG_GETRULE", "NFT_MSG_GETSET,", "NFT_MSG_GETTABLE"];
    // The VLANs of one port, for which the kernel has no question but a listing that it filters by the port's number.
    let of_one_port = |line: &str| line.contains("RTM_GETVLAN") && !line.contains(r"\7\0\0\0\0\0\0\0");
    for call in calls.iter().filter(|c| c.line.contains("NLM_F_DUMP") && c.name.starts_with("send")) {
        let is_narrow = constant.iter().any(|what| call.line.contains(what)) || of_one_port(&call.line);
        assert!(is_narrow, "{verb} lists: {}", call.line);
    }
    assert!(calls.iter().any(|c| c.line.contains("RTM_GETLINK")), "{verb}: strace must have understood netlink");
    by_no_ioctl(verb, &calls);
    calls
}

/// For a link's name that is not there, each of these makes the kernel run modprobe twice: `dev_ioctl` begins with `dev_load`.
/// By number (`SIOCGIFNAME`) it does not.
fn by_no_ioctl(what: &str, calls: &[Syscall]) {
    for call in calls.iter().filter(|c| c.name == "ioctl") {
        assert!(!call.line.contains("SIOCG") || call.line.contains("SIOCGIFNAME"), "{what}: {}", call.line);
        assert!(!call.line.contains("SIOCS"), "{what}: {}", call.line);
    }
}

/// Names of links that are there, that are gone, and that have never been.
#[test]
fn no_link_is_looked_up_by_ioctl() {
    in_netns("hot_path::no_link_is_looked_up_by_ioctl", || {
        if !trace::is_there() {
            return;
        }
        let rig = Rig::new();
        let plain = [("bridge", "xenbr0"), ("ip", "192.0.2.6"), ("mac", "00:16:3e:01:02:03")];
        let options = ["-e", "trace=ioctl,sendto,sendmsg"];
        // Names that are there, so that something is asked for, and one that only the nodes know.
        rig.vif("vif5.0", &[plain[0], plain[1], plain[2], ("vifname", "dummy")]);
        let mut seen = 0;
        for (gone, verb) in [(false, "online"), (true, "offline"), (true, "offline"), (true, "online")] {
            if gone && link("dummy").is_some() {
                rig.remove("dummy");
            }
            let (calls, _) = trace::syscalls(&rig, &rig.command("vif5.0", verb), &options);
            by_no_ioctl(verb, &calls);
            seen += calls.len();
        }
        outside(&rig, "eth0", "192.0.2.1/24");
        let file = rig.path("networks.toml");
        let text = "[network.lan]\nmode = \"nat\"\negress = \"br7\"\nsubnets = [\"10.1.0.0/24\"]\nbridge = \"natbr0\"\n\
            [network.up]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"br7\"\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        for words in [
            &["attach", "9", "bridge=nowhere"][..],
            &["attach", "9", "bridge=xenbr0"],
            &["network", "start", "up", "--file", file],
            &["network", "start", "lan", "--file", file],
            &["network", "status", "--file", file],
            &["show"],
            &["detach", "9"],
            &["network", "stop", "lan"],
            &["network", "stop", "up"],
            &["recover"],
        ] {
            let mut command = std::process::Command::new(crate::rig::program());
            command.arg("--state-dir").arg(rig.path("state")).args(words);
            let (calls, status) = trace::syscalls(&rig, &command, &options);
            by_no_ioctl(&words.join(" "), &calls);
            assert!(words[0] == "attach" || status.success(), "{words:?}: {status}");
            seen += calls.len();
        }
        assert!(seen > 100, "strace must have seen what was asked for: {seen}");
    });
}

const FORKS: [&str; 4] = ["fork", "vfork", "clone", "clone3"];

#[test]
fn no_program_and_no_listing() {
    in_netns("hot_path::no_program_and_no_listing", || {
        if !trace::is_there() {
            return;
        }
        let rig = Rig::new();
        let plain = [("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03")];
        let all = [plain[0], plain[1], ("ip", "192.0.2.6 2001:db8::6"), ("vifname", "web0"), ("mtu", "1400")];
        // The first vif with ip= makes the guard's table, which happens once in the life of a host.
        rig.vif("vif4.0", &all[..3]);
        rig.ok("vif4.0", "online");
        for (vif, nodes, slow) in [("vif5.0", &plain[..], false), ("vif6.0", &all[..], true)] {
            rig.vif(vif, nodes);
            for round in ["first", "second"] {
                let online = watched(&rig, vif, "online");
                assert_eq!(count(&online, &FORKS), 0, "online has no child");
                println!("online {vif} ({round}): {}", trace::counts(&online));
            }
            let offline = watched(&rig, vif, "offline");
            // The copy that closes the netfilter socket.
            assert_eq!(count(&offline, &FORKS), usize::from(slow), "offline has one child where the guard was told");
            println!("offline {vif}: {}", trace::counts(&offline));
            let gone = watched(&rig, vif, "offline");
            assert_eq!(count(&gone, &FORKS), 0, "nothing was removed");
        }
        assert_eq!(guarded().len(), 7, "those of the first vif");
        assert_eq!(rig.status(VIF).as_deref(), Some("connected"));
    });
}

#[test]
fn no_program_and_no_listing_in_nat_and_routed_mode() {
    in_netns("hot_path::no_program_and_no_listing_in_nat_and_routed_mode", || {
        if !trace::is_there() {
            return;
        }
        let rig = Rig::bare();
        outside(&rig, "eth0", "192.0.2.1/24");
        rig.started(&nat_network("lan"));
        // The first vif makes the gate's table, which happens once in the life of a host.
        rig.vif("vif4.0", &[("bridge", "lan"), ("ip", "10.1.0.4")]);
        rig.ok_of("vif-nat", "vif4.0", "online");
        for (script, vif, network, ip) in
            [("vif-nat", "vif5.0", "lan", "10.1.0.5 fd00:1::5"), ("vif-route", "vif6.0", "dmz", "10.1.0.6 fd00:1::6")]
        {
            rig.started(&routed_network("dmz"));
            rig.vif(vif, &[("bridge", network), ("ip", ip)]);
            for round in ["first", "second"] {
                let online = watched_of(script, &rig, vif, "online");
                assert_eq!(count(&online, &FORKS), 0, "online has no child");
                println!("{script} online ({round}): {}", trace::counts(&online));
            }
            // As netback leaves it.
            rig.remove(vif);
            let offline = watched_of(script, &rig, vif, "offline");
            assert_eq!(count(&offline, &FORKS), 1, "offline has one child where the gate was told");
            println!("{script} offline: {}", trace::counts(&offline));
        }
    });
}
