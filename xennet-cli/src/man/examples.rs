//! The examples of the pages: the words of the command, its lines, and what each does. A test reads each line with the command's own
//! definition.

type Example = (&'static str, &'static str);

pub(super) const ALL: &[(&str, &[Example])] = &[
    (
        "",
        &[
            ("xennet show", "Show the networking of this host:"),
            ("xennet --sandbox attach 1 bridge=xenbr0", "Try a command where it changes nothing real:"),
        ],
    ),
    ("parse", &[("xennet parse vif 'mac=00:16:3e:01:02:03,bridge=xenbr0,rate=10Mb/s'", "Read a vif line:")]),
    (
        "parse vif",
        &[
            ("xennet parse vif 'mac=00:16:3e:01:02:03,bridge=xenbr0'", "Read a vif line:"),
            ("xennet parse vif --dialect xl --json 'bridge=br0,foo=1'", "See what xl makes of it:"),
        ],
    ),
    (
        "parse networks",
        &[
            ("xennet parse networks /etc/xennet/networks.toml", "Check the networks before they are started:"),
            ("xennet parse networks --schema", "Print the JSON schema, for an editor:"),
        ],
    ),
    ("parse hotplug", &[("xennet parse hotplug", "Check the settings, and show every one of them:")]),
    (
        "mac generate",
        &[(
            "xennet mac generate --scheme uuid --seed 1b4e28ba-2fa1-11d2-883f-0016d3cca427",
            "Make the address that a domain has at every start:",
        )],
    ),
    ("plan", &[("xennet plan attach 5 bridge=xenbr0", "Show the steps of an attach:")]),
    ("plan network-start", &[("xennet plan network-start lan", "Show what starting the network lan would change:")]),
    (
        "apply",
        &[(
            "xennet apply plan.json",
            "Carry out a plan that `xennet --json plan` has printed, if it is still the plan:",
        )],
    ),
    (
        "attach",
        &[("xennet attach 5 mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.5", "Connect the first vif of domain 5:")],
    ),
    ("detach", &[("xennet detach vif5.0", "Disconnect it:")]),
    (
        "show",
        &[
            ("xennet show --watch", "Show the networking anew after each change:"),
            ("xennet show --counters", "Show which packets of guests were dropped:"),
        ],
    ),
    (
        "doctor",
        &[
            ("xennet doctor web01", "Find what keeps the guest web01 from its network:"),
            ("xennet doctor web01 --fix", "Mend it:"),
        ],
    ),
    (
        "picture",
        &[
            ("xennet picture --svg --output host.svg", "Draw this host:"),
            ("xennet picture --described networks.toml", "Draw networks before they are started:"),
        ],
    ),
    ("record", &[("xennet record host.json --anonymous", "Record the network state for a bug report:")]),
    ("trace", &[("xennet trace web01 outside tcp 443", "Follow a packet from web01 to a web server:")]),
    ("network", &[("xennet network status", "Show how the networks are:")]),
    (
        "network start",
        &[(
            "xennet network start lan --confirm 30",
            "Start a network; it is stopped after 30 seconds unless it is confirmed:",
        )],
    ),
    ("network stop", &[("xennet network stop lan", "Put back what the start changed:")]),
    ("network status", &[("xennet network status lan", "Show how the network lan is:")]),
    ("confirm", &[("xennet confirm lan", "Keep the network that was started with --confirm:")]),
    ("undo", &[("xennet undo vif5.0", "Put back what was there before the last operation on vif5.0:")]),
    (
        "recover",
        &[("xennet recover", "Put back what attached guests lack, for example after a reload of the firewall:")],
    ),
    (
        "log",
        &[
            ("xennet log --failed", "Show the calls that failed:"),
            ("xennet log --vif vif1.0 --last 3", "Show the last three calls of a vif:"),
        ],
    ),
    (
        "install-scripts",
        &[
            ("xennet install-scripts", "Install the scripts beside those of Xen:"),
            ("xennet install-scripts --undo", "Remove them:"),
        ],
    ),
    ("advise", &[("xennet advise --lan yes --addresses own --reachable no", "Ask which mode fits:")]),
    (
        "import",
        &[("xennet import /etc/xen/xend-config.sxp > networks.toml", "Take over the network of Xen up to 4.4:")],
    ),
    (
        "snippets",
        &[
            ("xennet snippets --check --bridge xenbr0", "See which programs would take the links of guests:"),
            ("xennet snippets --bridge xenbr0 --dir /", "Tell them to leave these links alone:"),
        ],
    ),
    (
        "guest",
        &[(
            "xennet guest vif5.0 --format netplan",
            "Print the network configuration of an attached guest for netplan:",
        )],
    ),
    (
        "hotplug",
        &[("xennet hotplug vif-bridge online type_if=vif", "The call of libxl for a new vif, with its environment:")],
    ),
    ("demo", &[("xennet demo", "See the three modes at work:")]),
    ("schema", &[("xennet schema plan", "Print the schema of a plan:")]),
    (
        "completions",
        &[(
            "xennet completions bash > /usr/share/bash-completion/completions/xennet",
            "Install the completions for bash:",
        )],
    ),
    (
        "man",
        &[
            ("xennet man network start | man -l -", "Read a page that is not installed:"),
            ("xennet man --dir /usr/local/share/man", "Install every page:"),
        ],
    ),
];
