use super::*;
use crate::config::legacy::LegacyVerb;

/// The calls as lines, and the notes.
fn read(text: &str) -> (Vec<String>, Vec<String>) {
    let parsed = parse_wrapper(text).unwrap_or_else(|e| panic!("{text}\n{}", e.report()));
    let line = |call: &WrapperCall| {
        let passes = if call.passes_options { " ..." } else { "" };
        format!("{}: {}{passes} {}", call.line, call.script, call.options.join(" ")).trim_end().to_owned()
    };
    (parsed.value.iter().map(line).collect(), parsed.notes.iter().map(|n| n.message.clone()).collect())
}

const TWO: [&str; 2] = ["3: network-bridge netdev=eth0 bridge=xenbr0", "4: network-bridge netdev=eth1 bridge=xenbr1"];

#[test]
fn the_usual_forms_are_the_same() {
    for (head, call) in [
        ("", "/etc/xen/scripts/network-bridge $1"),
        ("set -e", "/etc/xen/scripts/network-bridge \"$1\""),
        ("dir=/etc/xen/scripts", "$dir/network-bridge ${1}"),
        ("dir=/etc/xen/scripts/", "\"${dir}network-bridge\" \"${1:-start}\""),
        ("dir=$(dirname \"$0\")", "\"$dir/network-bridge\" '' \"$1\""),
        ("dir=`dirname $0`", "$dir/network-bridge start"),
        ("script=/etc/xen/scripts/network-bridge", "$script $1"),
        ("OP=$1; shift", "/etc/xen/scripts/network-bridge $OP"),
        ("cd /etc/xen/scripts", "./network-bridge \"$1\" \\\n  "),
        ("export PATH=/bin", "sh -e /etc/xen/scripts/network-bridge \"$1\""),
        ("", ". /etc/xen/scripts/network-bridge $1"),
        ("exec 2>>/var/log/xen.log", "echo making; /etc/xen/scripts/network-bridge $1"),
        ("", "[ -x /etc/xen/scripts/network-bridge ] || exit 1; network-bridge \"$1\""),
    ] {
        let lines: Vec<String> =
            (0..2).map(|n| format!("{call} netdev=eth{n} bridge=xenbr{n} >/dev/null 2>&1 || exit $?\n")).collect();
        let text = format!("#!/bin/sh\n{head}\n{}# the end\nexit 0\n", lines.concat());
        let (calls, notes) = read(&text);
        let wanted: Vec<String> = match (call.contains("''"), call.contains('\\')) {
            (true, _) => TWO.iter().map(|l| l.replace("bridge netdev", "bridge  netdev")).collect(),
            (_, true) => vec![TWO[0].to_owned(), TWO[1].replace("4:", "5:")],
            _ => TWO.map(str::to_owned).to_vec(),
        };
        assert_eq!((calls, notes), (wanted, Vec::new()), "{text}");
    }
}

#[test]
fn what_xend_gives_the_wrapper_goes_where_it_is_passed() {
    let (calls, notes) =
        read("dir=$(dirname \"$0\")\n\"$dir/network-bridge\" \"$@\" vifnum=0\nnetwork-bridge $* vifnum=1\n");
    assert_eq!(calls, ["2: network-bridge ... vifnum=0", "3: network-bridge ... vifnum=1"]);
    assert_eq!(notes, [""; 0]);
    let (calls, _) = read("op=$1\nshift\nnetwork-nat $op ${1+\"$@\"}\nnetwork-route start \"$@\"");
    assert_eq!(calls, ["3: network-nat ...", "4: network-route ..."]);
    let call = &parse_wrapper("network-bridge \"$@\" bridge=br0").unwrap().value[0];
    let read = call.call(&["netdev=eth7".to_owned()]).unwrap().value;
    assert_eq!((read.verb, read.netdev.unwrap().as_str()), (LegacyVerb::Start, "eth7"));
    let own = &parse_wrapper("network-bridge \"$1\" bridge=br0").unwrap().value[0];
    assert_eq!(own.call(&["netdev=eth7".to_owned()]).unwrap().value.netdev, None);
    assert!(parse_wrapper("network-bridge-bonding $1").unwrap().value[0].call(&[]).is_err());
}

#[test]
fn a_case_on_the_verb_runs_the_branch_of_start() {
    let multi = "#!/bin/sh\n# First arg is the operation.\nset -e\nOP=$1\nshift\nscript=/etc/xen/scripts/network-bridge.xen\n\
        case ${OP} in\nstart)\n  $script start vifnum=1 bridge=xenbr1 netdev=eth1\n  $script start vifnum=0 bridge=xenbr0 netdev=eth0\n  ;;\n\
        stop)\n  $script stop vifnum=1 bridge=xenbr1 netdev=eth1\n  ;;\nstatus)\n  $script status\n  ;;\n\
        *)\n  echo 'Unknown command: ' ${OP}\n  exit 1\nesac\n";
    let (calls, notes) = read(multi);
    assert_eq!(
        calls,
        [
            "9: network-bridge vifnum=1 bridge=xenbr1 netdev=eth1",
            "10: network-bridge vifnum=0 bridge=xenbr0 netdev=eth0"
        ]
    );
    assert_eq!(notes, ["network-bridge.xen is taken for network-bridge"; 2]);
    for (text, wanted) in [
        ("case $1 in status) exit 0;; *) network-nat \"$1\" netdev=eth0;; esac", &["1: network-nat netdev=eth0"][..]),
        (
            "case \"$1\" in (start|restart) network-nat start;; esac\nnetwork-route $1",
            &["1: network-nat", "2: network-route"],
        ),
        (
            "case $1 in\n stop) network-nat stop ;;\n 'start') network-nat start\n exit 0\n ;;\n *) network-nat start x=1;;\nesac",
            &["3: network-nat"],
        ),
        (
            "case $1 in\n start) n=1;;\n stop) n=2;;\nesac\nnetwork-bridge $1 netdev=eth$n",
            &["5: network-bridge netdev=eth1"],
        ),
        ("case $1 in\n stop) case $2 in a) b;; esac;;\nesac\nnetwork-bridge $1", &["4: network-bridge"]),
    ] {
        let (calls, notes) = read(text);
        assert_eq!((calls, notes), (wanted.iter().map(|w| (*w).to_owned()).collect(), Vec::new()), "{text}");
    }
}

#[test]
fn variables_are_followed() {
    for (text, wanted) in [
        ("n=1\nnetwork-bridge $1 netdev=eth$n bridge=\"xenbr${n}\"", "2: network-bridge netdev=eth1 bridge=xenbr1"),
        ("O='netdev=eth0  bridge=b'\nnetwork-bridge $1 $O", "2: network-bridge netdev=eth0 bridge=b"),
        ("O='netdev=eth0  bridge=b'\nnetwork-bridge $1 \"$O\"", "2: network-bridge netdev=eth0  bridge=b"),
        ("a=1 b=2; export c=3\nnetwork-bridge $1 vifnum=$a$b$c", "2: network-bridge vifnum=123"),
        ("a=x\na=\nnetwork-bridge $1 $a netdev=eth0", "3: network-bridge netdev=eth0"),
        ("cat <<E\nnetwork-bridge $1 netdev=eth9\nE\nnetwork-bridge $1", "4: network-bridge"),
    ] {
        assert_eq!(read(text).0, [wanted], "{text}");
    }
}

#[test]
fn other_commands_and_calls_that_never_ran_are_noted() {
    for (text, calls, message) in [
        (
            "modprobe netloop nloopbacks=8\nnetwork-bridge $1",
            1,
            "\"modprobe netloop nloopbacks=8\" is not carried over",
        ),
        ("network-bridge $1 && brctl addbr br7", 1, "\"brctl addbr br7\" is not carried over"),
        ("if true; then ip link set eth3 up; fi", 0, "\"ip link set eth3 up\" is not carried over"),
        ("exec network-bridge $1\nnetwork-bridge $1 netdev=eth1", 1, "\"network-bridge $1 netdev=eth1\" never ran"),
        ("exec /bin/other\nnetwork-bridge $1", 0, "\"exec /bin/other\" is not carried over"),
        ("exit 0\nnetwork-bridge $1", 0, "\"network-bridge $1\" never ran"),
        ("network-bridge stop netdev=eth0", 0, "\"network-bridge stop netdev=eth0\" makes no network"),
        ("network-bridge stop $1 netdev=eth0", 0, "\"network-bridge stop $1 netdev=eth0\" makes no network"),
        ("network-bridge restart $*", 0, "\"network-bridge restart $*\" makes no network"),
        ("network-bridge netdev=eth0", 1, "\"network-bridge netdev=eth0\" has no verb"),
    ] {
        let parsed = parse_wrapper(text).unwrap_or_else(|e| panic!("{text}\n{}", e.report()));
        assert_eq!(parsed.value.len(), calls, "{text}");
        assert!(parsed.notes.iter().any(|n| n.message == message && n.hint.is_some()), "{text}: {:?}", parsed.notes);
    }
}

/// Xen's scripts take the first word without `=` as the verb, set what has one, and look at nothing else.
#[test]
fn what_the_scripts_ignore_is_ignored_and_told() {
    for (text, told) in [
        ("network-bridge start vifnum=0 bridge=xenbr0 netdev=bond0 $*", &["\"start\" is a second word"][..]),
        ("network-bridge \"$@\" start vifnum=0 bridge=xenbr0 netdev=bond0", &["\"start\" is a second word"]),
        ("network-bridge $1 vifnum=0 bridge=xenbr0 netdev=bond0 ${1+\"$@\"}", &["\"start\" is a second word"]),
        ("network-bridge $1 $1 vifnum=0 bridge=xenbr0 netdev=bond0", &["\"start\" is a second word"]),
        ("network-bridge start stop vifnum=0 bridge=xenbr0 netdev=bond0", &["\"stop\" is a second word"]),
        ("network-bridge $1 $2 $3 vifnum=0 bridge=xenbr0 netdev=bond0 ${4}", &[]),
        ("shift; network-bridge start $1 vifnum=0 bridge=xenbr0 netdev=bond0", &[]),
        (
            "network-bridge $1 -x vifnum=0 bridge=xenbr0 mtu=9000 netdev=bond0 dhcp=no",
            &["\"-x\" is a second word", "does not know the option \"mtu\"", "does not know the option \"dhcp\""],
        ),
    ] {
        let calls = parse_wrapper(text).unwrap_or_else(|e| panic!("{text}\n{}", e.report())).value;
        let read = calls[0].call(&[]).unwrap_or_else(|e| panic!("{text}\n{}", e.report()));
        let call = &read.value;
        assert_eq!((call.verb, call.vifnum, call.netdev.unwrap().as_str()), (LegacyVerb::Start, Some(0), "bond0"));
        let told_of: Vec<&str> =
            read.notes.iter().map(|n| n.message.as_str()).filter(|m| !m.starts_with("vifnum=")).collect();
        assert_eq!(told_of.len(), told.len(), "{text}: {told_of:?}");
        assert!(told_of.iter().zip(told).all(|(is, wanted)| is.contains(wanted)), "{text}: {told_of:?}");
        let given = calls[0].call(&["antispoof=yes".to_owned()]).unwrap().value;
        assert_eq!(given.antispoof == Some(true), calls[0].passes_options, "{text}");
    }
}

#[test]
fn what_cannot_be_known_without_running_it_is_refused_with_its_place() {
    for (text, position, message) in [
        ("for i in 0 1; do\n network-bridge $1 netdev=eth$i; done", (2, 2), "a call of network-bridge in a loop"),
        ("while read n; do network-bridge $1 netdev=$n; done", (1, 18), "in a loop"),
        ("if [ -e /x ]; then network-bridge $1; fi", (1, 20), "in an if"),
        ("start () {\n  network-bridge start\n}\nstart", (2, 3), "in a function"),
        ("function f {\nnetwork-nat start; }", (2, 1), "in a function"),
        ("(network-bridge $1)", (1, 2), "in a subshell"),
        ("case $(uname) in Linux) network-bridge $1;; esac", (1, 25), "a branch that may run or not"),
        ("case $1 in sta*) network-bridge $1;; esac", (1, 18), "a branch that may run or not"),
        ("[ -x /x ] && network-bridge $1", (1, 14), "runs on a condition"),
        ("[ -x /x ] && echo it && network-bridge $1", (1, 25), "runs on a condition"),
        ("network-bridge $1 || network-nat $1", (1, 22), "runs on a condition"),
        ("network-bridge $1 netdev=$DEV", (1, 19), "only the shell knows"),
        ("network-bridge $1 netdev=$(get)", (1, 19), "only the shell knows"),
        ("[ -x /x ] && shift; network-bridge start $1", (1, 42), "only the shell knows"),
        ("if x; then n=1; fi\nnetwork-bridge $1 netdev=eth$n", (2, 19), "only the shell knows"),
        ("network-bridge $1 netdev=eth{0,1}", (1, 19), "a pattern"),
        ("netdev=eth0 network-bridge start", (1, 1), "a variable set before a call"),
        ("sh -c 'network-bridge start'", (1, 1), "is not understood"),
        ("xargs network-bridge", (1, 1), "is not understood"),
        ("$script \"$1\" netdev=eth0", (1, 1), "is not understood"),
        ("network-bridge 'x", (1, 16), "this quote is never closed"),
        ("case $1 in start) true", (1, 1), "never ended"),
        ("case $1 in start", (1, 1), "never ended"),
        ("case $1 start)", (1, 1), "a case without in"),
        ("case $1 in &) x;; esac", (1, 12), "no branch of a case"),
        ("if true", (1, 1), "never ended"),
        ("fi", (1, 1), "fi ends nothing"),
        ("true )", (1, 6), ") ends nothing"),
        ("true ;; ", (1, 6), ";; outside of a case"),
    ] {
        let error = parse_wrapper(text).map(|p| panic!("{text}: {p:?}")).unwrap_err();
        assert!(error.message().contains(message), "{text}: {}", error.message());
        assert_eq!(error.diagnostic().unwrap().position(), position, "{text}\n{}", error.report());
        assert!(error.hint().is_some(), "{text}");
    }
}

#[test]
fn a_value_that_doubles_with_each_line_costs_nothing() {
    for start in ["a=x", "a=\"$1 $1\"", "a=$b$c"] {
        let text = format!("{start}\n{}network-bridge $1", "a=$a$a\n".repeat(200));
        assert_eq!(read(&text).0, ["202: network-bridge"]);
    }
}

#[test]
fn an_if_on_the_verb_runs_the_branch_of_start() {
    for (text, wanted) in [
        ("if [ \"$1\" = start ]; then\n network-bridge start netdev=eth1\nfi", &["2: network-bridge netdev=eth1"][..]),
        (
            "if test $1 == \"start\"\nthen network-bridge $1\nelse network-nat $1; fi\nnetwork-route $1",
            &["2: network-bridge", "4: network-route"],
        ),
        ("op=$1\nif [[ $op != start ]]; then network-bridge $op; exit 0; fi\nnetwork-nat start", &["3: network-nat"]),
        ("if [ $1 = stop ]; then network-bridge stop; else network-bridge start; fi", &["1: network-bridge"]),
        (
            "if [ $1 = stop ]; then network-bridge stop\nelif [ $1 = start ]; then network-bridge $1 vifnum=1\nelse exit 1; fi\nnetwork-nat $1",
            &["2: network-bridge vifnum=1", "4: network-nat"],
        ),
        ("if [ $1 = start ]; then n=1; else n=2; fi\nnetwork-bridge $1 vifnum=$n", &["2: network-bridge vifnum=1"]),
        ("if [ $1 = stop ]; then if [ -x /y ]; then network-nat stop; fi; fi\nnetwork-nat $1", &["2: network-nat"]),
    ] {
        let (calls, notes) = read(text);
        assert_eq!((calls, notes), (wanted.iter().map(|w| (*w).to_owned()).collect(), Vec::new()), "{text}");
    }
    for text in [
        "if [ $1 = start -a -x /y ]; then network-bridge $1; fi",
        "if [ \"$1\" = start ] && [ -x /y ]; then network-bridge $1; fi",
        "if [ $1 = stop ]; then exit; elif [ -x /y ]; then network-bridge $1; fi",
        "if [ $1 = stop ]; then exit; elif [ -x /y ]; then true; else network-bridge $1; fi",
        "if [ $1 = $2 ]; then network-bridge $1; fi",
        "if [ -x /y ]; then true; elif [ $1 = start ]; then network-bridge $1; fi",
        "if [ -x /y ]; then true; else network-bridge $1; fi",
    ] {
        let error = parse_wrapper(text).map(|p| panic!("{text}: {p:?}")).unwrap_err();
        assert!(error.message().contains("a call of network-bridge in "), "{text}: {}", error.message());
    }
}

#[test]
fn a_text_without_measure_is_refused_soon() {
    for (text, message) in [
        ("network-nat $1\n".repeat(300_000), "one call too many"),
        ("(".repeat(300_000) + &"true\n".repeat(300_000), "blocks in blocks"),
        ("if x\n".repeat(300_000), "blocks in blocks"),
        ("case $1 in start) ".repeat(300_000), "blocks in blocks"),
    ] {
        let error = parse_wrapper(&text).unwrap_err();
        assert!(error.message().contains(message), "{}", error.message());
    }
    let many = format!("{}network-nat $1", "true;\n".repeat(100_000));
    assert_eq!(parse_wrapper(&many).unwrap().value[0].line, 100_001);
}
