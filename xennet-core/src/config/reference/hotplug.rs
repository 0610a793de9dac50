//! The keys of hotplug.toml, by the alphabet.

use super::Absent::Value;
use super::Key;
use super::Kind::{Flag, Number, Text, Texts};

const PATH: &str = "an absolute path, or an empty text for none";

/// The keys of the file.
pub(in crate::config) const HOTPLUG: &[Key] = &[
    Key::new(
        "bind_mac",
        Flag,
        Value("false"),
        "true",
        "A guest sends from its own MAC address only, also where its vif line has no `ip=`.",
    ),
    Key::new(
        "deadline",
        Number(1, 35),
        Value("10"),
        "20",
        "The most seconds that a call takes without its hooks. With `hook_deadline` at most 38: libxl kills a call after 40 seconds.",
    ),
    Key::new(
        "hook_deadline",
        Number(1, 30),
        Value("10"),
        "5",
        "The most seconds that all hooks of a call take together. In a driver domain a call that disconnects has 4 seconds with its hooks.",
    ),
    Key::new(
        "hooks",
        Text(PATH),
        Value("\"/etc/xen/scripts/vif-post.d\""),
        "\"\"",
        "The directory of the hooks. Its executable files `*.hook` are run after each call.",
    ),
    Key::new(
        "isolated",
        Texts("a bridge's name"),
        Value("[]"),
        "[\"br-dmz\"]",
        "Bridges whose guests do not reach each other, whatever their vif lines say.",
    ),
    Key::new(
        "log_file",
        Text(PATH),
        Value("\"/var/log/xen/xen-hotplug.log\""),
        "\"\"",
        "The log file. Its times are UTC.",
    ),
    Key::new(
        "state_dir",
        Text("an absolute path"),
        Value("\"/run/xennet\""),
        "\"/run/xen-network\"",
        "The directory for journals, locks, records and the list of calls. It should be empty after a boot, as `/run` is.",
    ),
    Key::new(
        "syslog",
        Flag,
        Value("true"),
        "false",
        "Calls are logged to the journal, or to syslog where there is no journal.",
    ),
];
